//! Signing and verifying access tokens, encrypting secrets at rest, and the key sets of identity providers.
//!
//! Defends against: forged tokens, algorithm confusion, and floods of unknown key ids.

mod error;
mod key_ring;
mod provider_token;
mod refetch;
mod remote;
mod reseal;
mod seal;
mod signing_key;
#[cfg(test)]
mod test_shelf;
mod verifier;

pub use error::{KeyError, VerifyError};
pub use key_ring::KeyRing;
pub(crate) use provider_token::{OpenedToken, TokenOwner, open_provider_token, seal_provider_token};
pub(crate) use refetch::{Refetch, Refetched};
pub use remote::{ParseKeys, ReadKeys, RemoteKeys, RemoteKeysError, Unfound};
pub use reseal::{Resealed, Resealing};
pub use seal::{Sealer, Unsealable, open_with, seal_with};
pub(crate) use verifier::MAX_ACCESS_TOKEN;
pub use verifier::{Expected, Validity, verify_access_token};
