//! Signing and verifying, sealing and opening, and other people's keys.

mod key_ring;
mod provider_token;
mod public_keys;
mod refetch;
mod remote;
mod reseal;
mod seal;
mod signed_jwt;
mod signing_key;
#[cfg(test)]
mod test_shelf;
mod verifier;

pub use key_ring::{KeyError, KeyRing};
pub(crate) use provider_token::{OpenedToken, TokenOwner, open_provider_token, seal_provider_token};
pub use public_keys::PublicKeys;
pub(crate) use refetch::{Refetch, Refetched};
pub use remote::{ReadKeys, RemoteKeys, RemoteKeysError, Unfound};
pub use reseal::{Resealed, Resealing};
pub use seal::{Sealer, Unsealable, open_with, seal_with};
pub(crate) use signed_jwt::{Members, SignedJwt, SignedJwtError, verify_signed_jwt};
pub(crate) use verifier::MAX_ACCESS_TOKEN;
pub use verifier::{Expected, Validity, VerifyError, verify_access_token};
