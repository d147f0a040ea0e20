//! Signing and verifying tokens, encrypting secrets at rest, and the key sets of other issuers.
//!
//! | file | what |
//! |---|---|
//! | `signing_key`, `key_ring` | our own signing keys: one, and all of them |
//! | `rotation`, `schedule` | the next key, the end of old ones: how, and when by itself |
//! | `verifier` | verifies our access tokens |
//! | `public_keys`, `remote` | key sets of other issuers: parsed, and cached |
//! | `client_key_sets` | key sets that clients publish: untrusted clients name them |
//! | `signed_jwt` | verifies tokens of other issuers |
//! | `entra_issuer` | which tenant of Microsoft Entra ID issued a token |
//! | `token_issuer` | other authorization servers whose access tokens are accepted |
//! | `dpop` | proofs that a client has the key of its token |
//! | `refetch` | single flight with a minimum interval between two fetches |
//! | `seal`, `reseal`, `provider_token` | secrets at rest |
//! | `doctor_pass` | how `portcullis doctor` shows a running process that it has the root key |
//! | `error` | errors of our own keys and tokens |
//!
//! Defends against: forged tokens, algorithm confusion, and floods of unknown key ids.

mod client_key_sets;
mod doctor_pass;
pub mod dpop;
mod entra_issuer;
mod error;
mod key_ring;
mod provider_token;
mod public_keys;
mod refetch;
mod remote;
mod reseal;
mod rotation;
mod schedule;
mod seal;
mod signed_jwt;
mod signing_key;
#[cfg(test)]
mod test_shelf;
mod token_issuer;
mod verifier;

pub(crate) use client_key_sets::{ClientKeySets, FetchedKeys, KnownKeys};
pub use doctor_pass::DoctorPasses;
pub(crate) use entra_issuer::{filled, first_segment, issuing_tenant};
pub use error::{KeyError, VerifyError};
pub use key_ring::{KeyRing, KeyStanding};
pub(crate) use provider_token::{OpenedToken, TokenOwner, open_provider_token, seal_provider_token};
pub use public_keys::PublicKeys;
pub(crate) use refetch::{Refetch, Refetched};
pub use remote::{ReadKeys, RemoteKeys, RemoteKeysError, Unfound};
pub use reseal::{Resealed, Resealing};
pub use rotation::{HORIZON, Replaced, Rotation, RotationTerms};
pub use schedule::RotationSchedule;
pub use seal::{Sealer, Unsealable, open_with, seal_with};
pub(crate) use signed_jwt::{Members, SignedJwt, SignedJwtError, UnverifiedJwt, media_type, verify_signed_jwt};
pub use signing_key::KeyWatch;
pub(crate) use token_issuer::{Askers, Introspected, IssuerClient, Unverified as UnverifiedToken};
pub(crate) use verifier::MAX_ACCESS_TOKEN;
pub use verifier::{Expected, Validity, VerifiedToken, verify_access_token};
