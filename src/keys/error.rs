//! Errors of our own keys and tokens.

use crate::model::ids::KeyId;
use crate::storage::StoreError;

/// What can go wrong with our own keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored key was sealed by a root key that the configuration no longer names.
    #[error(
        "signing key {0} was sealed by a root key that `secrets.keys` does not hold: add that key to the list again"
    )]
    Unsealable(KeyId),
    /// The cryptography library refused.
    #[error("signing key {id} cannot be used: {cause}")]
    Unusable {
        /// The key.
        id: KeyId,
        /// What the library says.
        cause: String,
    },
    /// A new key could not be made.
    #[error("a signing key cannot be made: {0}")]
    Unmade(String),
    /// The store holds no key that this program can use.
    #[error("the store holds no signing key that this program can use")]
    Missing,
    /// The keys could not be read again.
    #[error("the signing keys cannot be read: {0}")]
    Unread(String),
}

/// Why a bearer token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It is not one of our tokens, or has expired; the message is for our log.
    #[error("the token is not valid: {0}")]
    Invalid(&'static str),
    /// Its key is unknown and the store cannot be read: 503, never 401, which would force the user to sign in again.
    #[error("the signing keys cannot be read now")]
    Unavailable,
}
