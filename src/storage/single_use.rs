//! Single-use ids: the `jti` of signed assertions and proofs, shared by every process on one database.
//!
//! Defends against: replay of client assertions (RFC 7523 3), of identity assertions and of DPoP proofs (RFC 9449 11.1).

use super::exclusive::Exclusive;
use super::value::values;
use super::{Priority, Store, StoreError};
use crate::clock::Timestamp;
use crate::secret::Sha256;

sql! {
    /// The unique key decides between processes that see the same assertion at the same time.
    USE = "INSERT INTO single_use (hash, expires_at) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING";

    pub(super) DELETE_EXPIRED = "
        DELETE FROM single_use WHERE hash IN (
            SELECT hash FROM single_use WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";
}

impl Store {
    /// Uses up an id and returns whether this was its first use. `hash` covers its kind, its sender (so that one sender
    /// cannot use up the ids of another) and its id. It is remembered until `expires_at`, which must not come before the time
    /// from which the assertion or proof is refused for its age.
    ///
    /// # Errors
    /// When the store fails. Then the thing must not be accepted, whether or not it was remembered.
    pub async fn use_once(&self, hash: &Sha256, expires_at: Timestamp) -> Result<bool, StoreError> {
        Ok(self.execute(Priority::Token, Exclusive::Nothing, USE, values![hash, expires_at]).await? == 1)
    }
}
