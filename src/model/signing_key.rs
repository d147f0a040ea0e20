//! A key that signs our tokens, as it is stored.

use super::ids::KeyId;
use crate::clock::Timestamp;

/// A stored signing key; its private half is sealed.
#[derive(Debug, Clone)]
pub struct StoredSigningKey {
    /// The `kid`.
    pub id: KeyId,
    /// The JWS algorithm, as RFC 7518 names it.
    pub algorithm: String,
    /// PKCS #8, sealed with the root key.
    pub sealed_private_key: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
}
