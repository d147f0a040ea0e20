//! The provider behind the id of each identity, and the grants there.
//!
//! Defends against: account takeover by confusing two users. A subject begins with the id of the identity, so under another
//! issuer equal `sub`s would be two people with one subject.

use super::error::Failure;
use super::exclusive::Exclusive;
use super::row::{FromRow, Row};
use super::value::values;
use super::{Priority, Store, StoreError};
use crate::model::ids::{ClientId, IdentityId};

sql! {
    /// When several processes start at once with different providers, one wins and all read what it wrote.
    INSERT = "INSERT INTO identities (id, issuer, client_id) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";

    FIND = "SELECT id, issuer, client_id FROM identities WHERE id = $1";

    RENAME_CLIENT = "UPDATE identities SET client_id = $3 WHERE id = $1 AND issuer = $2";

    /// The sign-ins in progress were begun at the old provider.
    REFUSE_OPEN = "
        UPDATE authorizations SET stage = 'refused', provider_token = NULL
        WHERE identity = $1 AND stage IN ('pending', 'claimed', 'code_issued')";

    /// Not while a grant of the old provider lives.
    REPLACE = "
        UPDATE identities SET issuer = $3, client_id = $4
        WHERE id = $1 AND issuer = $2
          AND NOT EXISTS (SELECT 1 FROM grants WHERE identity = $1 AND ended_at IS NULL)";

    /// No user has signed in at the old one yet, so none can be confused with another.
    CORRECT = "
        UPDATE identities SET issuer = $3, client_id = $4
        WHERE id = $1 AND issuer = $2
          AND NOT EXISTS (SELECT 1 FROM grants WHERE identity = $1)
          AND NOT EXISTS (SELECT 1 FROM authorizations WHERE identity = $1)";

    /// Machines have no provider.
    KNOWN = "
        SELECT id FROM identities UNION
        SELECT identity FROM grants WHERE ended_at IS NULL AND (basis IS NULL OR basis = 'assertion')";

    CLIENTS_WITHOUT_REGISTRATION = "
        SELECT client_id FROM grants
        WHERE ended_at IS NULL AND (basis IS NULL OR basis <> 'api_key') AND NOT EXISTS (SELECT 1 FROM clients WHERE clients.id = grants.client_id)
        UNION
        SELECT client_id FROM authorizations
        WHERE NOT EXISTS (SELECT 1 FROM clients WHERE clients.id = authorizations.client_id)";
}

/// An identity provider as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredIdentity {
    /// Its id in the configuration.
    pub id: IdentityId,
    /// Its issuer.
    pub issuer: String,
    /// Our client id there.
    pub client_id: String,
}

impl FromRow for StoredIdentity {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("identities");
        Ok(Self {
            id: IdentityId::from(row.text("id")?),
            issuer: row.text("issuer")?,
            client_id: row.text("client_id")?,
        })
    }
}

impl Store {
    /// Remembers a provider when its id is new, and returns which one is behind the id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keep_identity(&self, identity: &StoredIdentity) -> Result<StoredIdentity, StoreError> {
        let StoredIdentity { id, issuer, client_id } = identity;
        self.write(Priority::Token, Exclusive::Nothing, async |tx| {
            tx.execute(INSERT, values![id.as_str(), issuer, client_id]).await?;
            tx.one(FIND, values![id.as_str()]).await
        })
        .await
    }

    /// Remembers that we are another client at the same provider.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn rename_identity_client(&self, identity: &StoredIdentity) -> Result<(), StoreError> {
        let rename = values![identity.id.as_str(), &identity.issuer, &identity.client_id];
        self.execute(Priority::Token, Exclusive::Nothing, RENAME_CLIENT, rename).await?;
        Ok(())
    }

    /// Puts another provider behind an id at which no sign-in ever began; `false` when one did, or when another process was
    /// faster.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn correct_identity(&self, before: &str, identity: &StoredIdentity) -> Result<bool, StoreError> {
        let StoredIdentity { id, issuer, client_id } = identity;
        let correct = values![id.as_str(), before, issuer, client_id];
        Ok(self.execute(Priority::Token, Exclusive::Identity(id), CORRECT, correct).await? == 1)
    }

    /// Puts another provider behind an id, and ends every sign-in in progress there. `false` while a grant of the old one
    /// lives, or when another process did it.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn replace_identity(&self, before: &str, identity: &StoredIdentity) -> Result<bool, StoreError> {
        let StoredIdentity { id, issuer, client_id } = identity;
        self.write(Priority::Token, Exclusive::Identity(id), async |tx| {
            if tx.execute(REPLACE, values![id.as_str(), before, issuer, client_id]).await? == 0 {
                return Ok(false);
            }
            tx.execute(REFUSE_OPEN, values![id.as_str()]).await?;
            Ok(true)
        })
        .await
    }

    /// Which provider is behind an id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn identity(&self, id: &IdentityId) -> Result<Option<StoredIdentity>, StoreError> {
        self.find(FIND, values![id.as_str()]).await
    }

    /// The identities that were ever configured, and those of which a grant lives.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn known_identities(&self) -> Result<Vec<IdentityId>, StoreError> {
        let ids: Vec<String> = self.list(KNOWN, values![]).await?;
        Ok(ids.into_iter().map(IdentityId::from).collect())
    }

    /// The clients of which there is a grant or a sign-in and that are not registered: those of the configuration, of today
    /// or of before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unregistered_clients(&self) -> Result<Vec<ClientId>, StoreError> {
        let ids: Vec<String> = self.list(CLIENTS_WITHOUT_REGISTRATION, values![]).await?;
        Ok(ids.into_iter().map(ClientId::from).collect())
    }
}
