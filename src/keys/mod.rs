//! Signing and verifying, sealing and opening, and other people's keys.

mod refetch;
mod remote;
mod reseal;
mod seal;
mod signer;
mod signing_key;
#[cfg(test)]
mod test_shelf;
mod verifier;

pub(crate) use refetch::{Refetch, Refetched};
pub use remote::{ParseKeys, ReadKeys, RemoteKeys, RemoteKeysError, Unfound};
pub(crate) use reseal::PROVIDER_TOKEN;
pub use reseal::{Resealed, Resealing};
pub use seal::{Sealer, Unsealable, open_with, seal_with};
pub use signer::{KeyError, KeyRing};
pub use verifier::{VerifyError, verify_access_token};
