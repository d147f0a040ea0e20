//! Registered clients.

use super::error::Failure;
use super::rows::{Column, json};
use super::{Store, StoreError, Transaction, Turn};
use crate::clock::Timestamp;
use crate::model::client::{Authentication, Client, ClientOrigin};
use crate::model::ids::ClientId;
use crate::oauth::client_metadata::AuthMethod;
use crate::oauth::client_name::clean_client_name;

/// How many clients one registration may evict: more than one, so that a table that could not be held at its limit (while
/// authorizations were pending) comes back to it.
const MAX_EVICTIONS: i64 = 16;

/// What keeps a client `c` although its time has come (`$2` is now): an authorization on its way, or a live grant.
macro_rules! not_needed {
    () => {
        "NOT EXISTS (
            SELECT 1 FROM authorizations a
            WHERE a.client_id = c.id AND a.stage IN ('pending', 'claimed', 'code_issued')
              AND COALESCE(a.code_expires_at, a.expires_at) > $2)
          AND NOT EXISTS (
            SELECT 1 FROM grants g WHERE g.client_id = c.id AND g.ended_at IS NULL AND g.expires_at > $2)"
    };
}

sql! {
    /// Anybody can register a public client that others use. Did it count as its first address's for ever, or as its last
    /// one's, then whoever fills the table could take it to their own full address and have it evicted there. So it moves,
    /// but only to an address that holds fewer others: never towards the one whose clients go, and away from it as soon as
    /// anybody else registers it.
    INSERT = "
        INSERT INTO clients (id, name, redirect_uris, auth_method, secret_hash, refresh_token, scope, application_type,
            created_at, address, registered_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (id) DO UPDATE SET registered_at = excluded.registered_at,
            address = CASE WHEN excluded.address <> clients.address AND (
                    SELECT count(*) FROM clients o
                    WHERE o.address = excluded.address AND o.last_grant_at IS NULL
                ) < (
                    SELECT count(*) FROM clients o
                    WHERE o.address = clients.address AND o.last_grant_at IS NULL AND o.id <> clients.id
                ) THEN excluded.address ELSE clients.address END";

    FIND = "
        SELECT id, name, redirect_uris, auth_method, secret_hash, refresh_token, scope, application_type, created_at
        FROM clients WHERE id = $1";

    COUNT_UNUSED = "SELECT count(*) FROM clients WHERE last_grant_at IS NULL";

    /// The address is chosen by all that it holds, not by what may go: who keeps thousands of authorizations pending would
    /// otherwise push everybody else out.
    EVICT_ONE = concat!("
        DELETE FROM clients WHERE id = (
            SELECT c.id FROM clients c
            WHERE c.last_grant_at IS NULL AND c.id <> $1
              AND c.address = (
                SELECT address FROM clients WHERE last_grant_at IS NULL
                GROUP BY address ORDER BY count(*) DESC, min(registered_at), address LIMIT 1)
              AND ", not_needed!(), "
            ORDER BY c.registered_at, c.id LIMIT 1)");

    NOTE_GRANT = "UPDATE clients SET last_grant_at = $2 WHERE id = $1";

    pub(super) DELETE_UNUSED = concat!("
        DELETE FROM clients WHERE id IN (
            SELECT c.id FROM clients c
            WHERE c.last_grant_at IS NULL AND c.registered_at <= $1 AND ", not_needed!(), "
            ORDER BY c.registered_at LIMIT $3)");

    /// One that registered anew a moment ago is about to be used (`$4` is the age of unused ones).
    pub(super) DELETE_USED = concat!("
        DELETE FROM clients WHERE id IN (
            SELECT c.id FROM clients c
            WHERE c.last_grant_at <= $1 AND c.registered_at <= $4 AND ", not_needed!(), "
            ORDER BY c.last_grant_at LIMIT $3)");
}

#[derive(sqlx::FromRow)]
struct ClientRow {
    id: String,
    name: Option<String>,
    redirect_uris: String,
    auth_method: String,
    secret_hash: Option<Vec<u8>>,
    refresh_token: bool,
    scope: String,
    application_type: Option<String>,
    created_at: i64,
}

impl TryFrom<ClientRow> for Client {
    type Error = StoreError;

    fn try_from(row: ClientRow) -> Result<Self, StoreError> {
        let column = |name| Column("clients", name);
        let method = AuthMethod::parse(&row.auth_method).ok_or_else(|| column("auth_method").corrupt())?;
        let secret_hash = row.secret_hash.map(|hash| column("secret_hash").sha256(&hash)).transpose()?;
        Ok(Self {
            id: ClientId::from(row.id),
            origin: ClientOrigin::Registered,
            // earlier versions took names that are cleaned today
            name: row.name.as_deref().and_then(clean_client_name),
            redirect_uris: column("redirect_uris").json(&row.redirect_uris)?,
            authentication: Authentication::new(method, secret_hash).ok_or_else(|| column("secret_hash").corrupt())?,
            refresh_token: row.refresh_token,
            scope: column("scope").scope(&row.scope)?,
            application_type: row.application_type,
            created_at: Timestamp(row.created_at),
        })
    }
}

impl Store {
    /// Remembers a registered client; one that is known already (same id) stays as it was, but its expiry counts anew.
    ///
    /// `address` is the caller's (IPv6: its /64); a known client counts as that address's from now on if fewer others do.
    /// When more than `max_unused` clients never led to a grant, the oldest of
    /// the address that holds most of them goes, but never one whose authorization is pending, and never the new one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn insert_client(&self, client: &Client, address: &str, max_unused: i64) -> Result<(), StoreError> {
        let now = self.0.clock.now();
        let stored = client.authentication.stored();
        // keys come with a document, and a client that is known by its document is not stored
        let (method, secret_hash) = stored.ok_or_else(|| Column("clients", "auth_method").corrupt())?;
        self.write(Turn::Registration, async {
            let mut tx = self.begin().await?;
            sqlx::query(INSERT)
                .bind(client.id.as_str())
                .bind(client.name.as_deref())
                .bind(json(&client.redirect_uris)?)
                .bind(method.as_str())
                .bind(secret_hash.map(|hash| hash.as_bytes().as_slice()))
                .bind(client.refresh_token)
                .bind(client.scope.to_string())
                .bind(client.application_type.as_deref())
                .bind(client.created_at.0)
                .bind(address)
                .bind(now.0)
                .execute(&mut *tx)
                .await?;
            evict(&mut tx, &client.id, max_unused, now).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// Finds the client that a registration would make, when it is known already. Refused, as its write would be, while too
    /// many registrations wait.
    ///
    /// # Errors
    /// When the store fails, or is busy with registrations.
    pub async fn known_client(&self, id: &ClientId) -> Result<Option<Client>, StoreError> {
        let taken = tokio::time::timeout(self.0.limit, self.0.lookups.take(Turn::Registration));
        let taken = taken.await.or(Err(StoreError::Busy))??;
        let known = self.client(id).await;
        drop(taken);
        known
    }

    /// Finds a registered client.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn client(&self, id: &ClientId) -> Result<Option<Client>, StoreError> {
        self.read(async {
            let row: Option<ClientRow> = sqlx::query_as(FIND).bind(id.as_str()).fetch_optional(self.readers()).await?;
            Ok(row.map(Client::try_from).transpose()?)
        })
        .await
    }
}

async fn evict(tx: &mut Transaction, new: &ClientId, max_unused: i64, now: Timestamp) -> Result<(), Failure> {
    let unused: i64 = sqlx::query_scalar(COUNT_UNUSED).fetch_one(&mut **tx).await?;
    for _ in 0..unused.saturating_sub(max_unused).min(MAX_EVICTIONS) {
        let evicted = sqlx::query(EVICT_ONE).bind(new.as_str()).bind(now.0).execute(&mut **tx).await?;
        if evicted.rows_affected() == 0 {
            break;
        }
    }
    Ok(())
}

/// Notes that the client led to a grant; a configured one has no row and needs none.
pub(super) async fn note_grant(tx: &mut Transaction, id: &ClientId, now: Timestamp) -> Result<(), Failure> {
    sqlx::query(NOTE_GRANT).bind(id.as_str()).bind(now.0).execute(&mut **tx).await?;
    Ok(())
}
