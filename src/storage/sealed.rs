//! Values that are sealed under a root key, as bytes: they are sealed anew when the first root key changes.

use super::error::Failure;
use super::exclusive::Exclusive;
use super::row::{FromRow, Row};
use super::value::values;
use super::{Priority, Store, StoreError};

sql! {
    /// The first bytes of a value name its root key. The cast is for PostgreSQL, whose `SUBSTR` takes no `BIGINT`.
    SIGNING_KEYS = "
        SELECT id, id AS context, sealed_private_key AS bytes, NULL AS issuer, NULL AS client_id FROM signing_keys
        WHERE id > $1 AND SUBSTR(sealed_private_key, 1, CAST($2 AS INTEGER)) <> $3 ORDER BY id LIMIT $4";

    AUTHORIZATIONS = "
        SELECT a.id, a.subject AS context, a.provider_token AS bytes, i.issuer, i.client_id
        FROM authorizations a LEFT JOIN identities i ON i.id = a.identity
        WHERE a.id > $1 AND a.subject IS NOT NULL AND SUBSTR(a.provider_token, 1, CAST($2 AS INTEGER)) <> $3 ORDER BY a.id LIMIT $4";

    GRANTS = "
        SELECT g.id, g.subject AS context, g.provider_token AS bytes, i.issuer, i.client_id
        FROM grants g LEFT JOIN identities i ON i.id = g.identity
        WHERE g.id > $1 AND SUBSTR(g.provider_token, 1, CAST($2 AS INTEGER)) <> $3 ORDER BY g.id LIMIT $4";

    RESEAL_SIGNING_KEY = "UPDATE signing_keys SET sealed_private_key = $3 WHERE id = $1 AND sealed_private_key = $2";

    RESEAL_AUTHORIZATION = "UPDATE authorizations SET provider_token = $3 WHERE id = $1 AND provider_token = $2";

    RESEAL_GRANT = "UPDATE grants SET provider_token = $3 WHERE id = $1 AND provider_token = $2";
}

/// A column with sealed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedColumn {
    /// The private halves of our signing keys.
    SigningKeys,
    /// The providers' tokens of codes that are not redeemed yet.
    Authorizations,
    /// The providers' tokens of grants.
    Grants,
}

impl SealedColumn {
    /// All of them, in the order in which a token moves between tables: a token whose code is redeemed meanwhile is visited
    /// again.
    pub const ALL: [Self; 3] = [Self::SigningKeys, Self::Authorizations, Self::Grants];

    const fn select(self) -> &'static str {
        match self {
            Self::SigningKeys => SIGNING_KEYS,
            Self::Authorizations => AUTHORIZATIONS,
            Self::Grants => GRANTS,
        }
    }

    const fn update(self) -> &'static str {
        match self {
            Self::SigningKeys => RESEAL_SIGNING_KEY,
            Self::Authorizations => RESEAL_AUTHORIZATION,
            Self::Grants => RESEAL_GRANT,
        }
    }
}

/// A sealed value and what it is bound to.
#[derive(Debug, Clone)]
pub struct SealedValue {
    /// Its row.
    pub id: String,
    /// Its owner: the key's id, or the user's subject.
    pub context: String,
    /// The stored bytes.
    pub bytes: Vec<u8>,
    /// For a provider's token: its issuer and our client id there, if known.
    pub issuer: Option<String>,
    /// See `issuer`.
    pub client_id: Option<String>,
}

impl FromRow for SealedValue {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("sealed");
        Ok(Self {
            id: row.text("id")?,
            context: row.text("context")?,
            bytes: row.get("bytes")?,
            issuer: row.get("issuer")?,
            client_id: row.get("client_id")?,
        })
    }
}

impl Store {
    /// At most `batch` values whose bytes do not begin with `head`, from the id after `after` on.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sealed_otherwise(
        &self,
        column: SealedColumn,
        head: &[u8],
        after: &str,
        batch: i64,
    ) -> Result<Vec<SealedValue>, StoreError> {
        let length = i64::try_from(head.len()).unwrap_or(i64::MAX);
        self.list(column.select(), values![after, length, head, batch]).await
    }

    /// Replaces the bytes of each value, in one transaction; a value that changed meanwhile stays as it is. Returns how many
    /// were replaced.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn replace_sealed(
        &self,
        column: SealedColumn,
        values: &[(SealedValue, Vec<u8>)],
    ) -> Result<u64, StoreError> {
        self.write(Priority::Upkeep, Exclusive::Batch, async |tx| {
            let mut replaced = 0;
            for (old, new) in values {
                let (before, after) = (old.bytes.as_slice(), new.as_slice());
                replaced += tx.execute(column.update(), values![&old.id, before, after]).await?;
            }
            Ok(replaced)
        })
        .await
    }
}
