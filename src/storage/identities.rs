//! Which provider stands behind the id of an identity, and whose grants are there.

use super::{Store, StoreError, Turn};
use crate::model::ids::{ClientId, IdentityId};

sql! {
    /// Of several processes that start at once with different providers one wins; all read what it wrote.
    INSERT = "INSERT INTO identities (id, issuer, client_id) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";

    FIND = "SELECT id, issuer, client_id FROM identities WHERE id = $1";

    RENAME_CLIENT = "UPDATE identities SET client_id = $3 WHERE id = $1 AND issuer = $2";

    /// What is still open was begun at the old provider.
    REFUSE_OPEN = "
        UPDATE authorizations SET stage = 'refused', provider_token = NULL
        WHERE identity = $1 AND stage IN ('pending', 'claimed', 'code_issued')";

    /// Not while a grant of the old provider lives.
    REPLACE = "
        UPDATE identities SET issuer = $3, client_id = $4
        WHERE id = $1 AND issuer = $2
          AND NOT EXISTS (SELECT 1 FROM grants WHERE identity = $1 AND ended_at IS NULL)";

    /// Nobody has signed in at the old one yet, so there are no users to be mixed up.
    CORRECT = "
        UPDATE identities SET issuer = $3, client_id = $4
        WHERE id = $1 AND issuer = $2
          AND NOT EXISTS (SELECT 1 FROM grants WHERE identity = $1)
          AND NOT EXISTS (SELECT 1 FROM authorizations WHERE identity = $1)";

    KNOWN = "SELECT id FROM identities UNION SELECT identity FROM grants WHERE ended_at IS NULL";

    CLIENTS_WITHOUT_REGISTRATION = "
        SELECT client_id FROM grants
        WHERE ended_at IS NULL AND NOT EXISTS (SELECT 1 FROM clients WHERE clients.id = grants.client_id)
        UNION
        SELECT client_id FROM authorizations
        WHERE NOT EXISTS (SELECT 1 FROM clients WHERE clients.id = authorizations.client_id)";
}

/// An identity provider as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredIdentity {
    /// Its id in the configuration.
    pub id: IdentityId,
    /// Who is behind it.
    pub issuer: String,
    /// Who we are there.
    pub client_id: String,
}

#[derive(sqlx::FromRow)]
struct IdentityRow {
    id: String,
    issuer: String,
    client_id: String,
}

impl From<IdentityRow> for StoredIdentity {
    fn from(row: IdentityRow) -> Self {
        Self { id: IdentityId::from(row.id), issuer: row.issuer, client_id: row.client_id }
    }
}

impl Store {
    /// Remembers a provider when its id is new, and answers which one is behind the id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keep_identity(&self, identity: &StoredIdentity) -> Result<StoredIdentity, StoreError> {
        self.write(Turn::Token, async {
            let mut tx = self.begin().await?;
            sqlx::query(INSERT)
                .bind(identity.id.as_str())
                .bind(&identity.issuer)
                .bind(&identity.client_id)
                .execute(&mut *tx)
                .await?;
            let row: IdentityRow = sqlx::query_as(FIND).bind(identity.id.as_str()).fetch_one(&mut *tx).await?;
            tx.commit().await?;
            Ok(row.into())
        })
        .await
    }

    /// Remembers that we are another client at the same provider.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn rename_identity_client(&self, identity: &StoredIdentity) -> Result<(), StoreError> {
        let rename =
            sqlx::query(RENAME_CLIENT).bind(identity.id.as_str()).bind(&identity.issuer).bind(&identity.client_id);
        self.execute(Turn::Token, rename).await?;
        Ok(())
    }

    /// Puts another provider behind an id at which nobody ever began to sign in; `false` when somebody did, or when another
    /// process was faster.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn correct_identity(&self, before: &str, identity: &StoredIdentity) -> Result<bool, StoreError> {
        let correct = sqlx::query(CORRECT)
            .bind(identity.id.as_str())
            .bind(before)
            .bind(&identity.issuer)
            .bind(&identity.client_id);
        Ok(self.execute(Turn::Token, correct).await? == 1)
    }

    /// Puts another provider behind an id, and ends every sign-in that is under way there. `false` while a grant of the
    /// old one lives, or when another process did it.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn replace_identity(&self, before: &str, identity: &StoredIdentity) -> Result<bool, StoreError> {
        self.write(Turn::Token, async {
            let mut tx = self.begin().await?;
            let replaced = sqlx::query(REPLACE)
                .bind(identity.id.as_str())
                .bind(before)
                .bind(&identity.issuer)
                .bind(&identity.client_id)
                .execute(&mut *tx)
                .await?;
            if replaced.rows_affected() == 0 {
                tx.rollback().await?;
                return Ok(false);
            }
            sqlx::query(REFUSE_OPEN).bind(identity.id.as_str()).execute(&mut *tx).await?;
            tx.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Which provider is behind an id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn identity(&self, id: &IdentityId) -> Result<Option<StoredIdentity>, StoreError> {
        self.read(async {
            let row: Option<IdentityRow> =
                sqlx::query_as(FIND).bind(id.as_str()).fetch_optional(self.readers()).await?;
            Ok(row.map(StoredIdentity::from))
        })
        .await
    }

    /// The identities that were ever configured, and those of which a grant lives.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn known_identities(&self) -> Result<Vec<IdentityId>, StoreError> {
        self.read(async {
            let ids: Vec<String> = sqlx::query_scalar(KNOWN).fetch_all(self.readers()).await?;
            Ok(ids.into_iter().map(IdentityId::from).collect())
        })
        .await
    }

    /// The clients of which there is a grant or a sign-in and that are not registered: those of the configuration, of today
    /// or of before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unregistered_clients(&self) -> Result<Vec<ClientId>, StoreError> {
        self.read(async {
            let ids: Vec<String> = sqlx::query_scalar(CLIENTS_WITHOUT_REGISTRATION).fetch_all(self.readers()).await?;
            Ok(ids.into_iter().map(ClientId::from).collect())
        })
        .await
    }
}
