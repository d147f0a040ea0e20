//! Registered clients, how they manage themselves, and which of them goes when there are too many.
//!
//! Defends against: a flood of registrations. Anyone may register, so the number of clients that never led to a grant is
//! limited, and when it is reached the address that holds most of them pays. And an oracle: a client that manages itself is
//! found by the hash of its registration access token, so the answer to a wrong token does not depend on which clients exist.

use super::engine::Transaction;
use super::error::Failure;
use super::exclusive::Exclusive;
use super::row::{FromRow, Row};
use super::value::{json, values};
use super::{Priority, Store, StoreError};
use crate::clock::Timestamp;
use crate::model::client::{Authentication, Client, ClientOrigin};
use crate::model::ids::ClientId;
use crate::oauth::client_metadata::AuthMethod;
use crate::oauth::client_name::clean_client_name;
use crate::secret::Sha256;

/// How many clients one registration may evict. More than one: while authorizations are pending the table may exceed its
/// limit, and must come back to it.
const MAX_EVICTIONS: i64 = 16;

/// True of a client `c` that nothing needs: no authorization of it is pending and no grant lives (`$2` is now).
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

/// All columns of a client.
macro_rules! columns {
    () => {
        "id, name, redirect_uris, auth_method, secret_hash, client_keys, refresh_token, device, dpop_bound, scope,
            application_type, created_at,
            EXISTS (SELECT 1 FROM disabled_clients d WHERE d.client_id = clients.id) AS disabled"
    };
}

sql! {
    /// A public client is shared: the same metadata gives the same id at every registration. Its row counts as one address's,
    /// and when the table is full the address that holds most rows loses its oldest.
    ///
    /// The attack: fill the table from one address, register a victim's client from there too, so that its row counts as that
    /// address's, and have it evicted together with the rest.
    ///
    /// The rule: registering a known client moves it to the caller's address only if that address holds fewer unused clients
    /// than the present one does without it. So a client never moves towards a flooder, and leaves one when anyone else
    /// registers it.
    INSERT = "
        INSERT INTO clients (id, name, redirect_uris, auth_method, secret_hash, refresh_token, scope, application_type,
            created_at, address, registered_at, client_keys, management_hash, device, dpop_bound)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        ON CONFLICT (id) DO UPDATE SET registered_at = excluded.registered_at,
            address = CASE WHEN excluded.address <> clients.address AND (
                    SELECT count(*) FROM clients o
                    WHERE o.address = excluded.address AND o.last_grant_at IS NULL
                ) < (
                    SELECT count(*) FROM clients o
                    WHERE o.address = clients.address AND o.last_grant_at IS NULL AND o.id <> clients.id
                ) THEN excluded.address ELSE clients.address END";

    FIND = concat!("SELECT ", columns!(), " FROM clients WHERE id = $1");

    FIND_MANAGED = concat!("SELECT ", columns!(), " FROM clients WHERE management_hash = $1");

    /// Replaces the metadata of a client and its registration access token. If two updates carry one token, one is refused.
    UPDATE = "
        UPDATE clients SET name = $3, redirect_uris = $4, auth_method = $5, secret_hash = $6, client_keys = $7,
            refresh_token = $8, scope = $9, application_type = $10, management_hash = $11, device = $12, dpop_bound = $13
        WHERE id = $1 AND management_hash = $2";

    COUNT_UNUSED = "SELECT count(*) FROM clients WHERE last_grant_at IS NULL";

    /// The address is chosen by all the clients that it holds, not by those that may go. Otherwise a flooder could keep an
    /// authorization pending for each of its clients, and have those of everyone else evicted. An address that holds the new
    /// client alone has none to give.
    EVICT_ONE = concat!("
        DELETE FROM clients WHERE id = (
            SELECT c.id FROM clients c
            WHERE c.last_grant_at IS NULL AND c.id <> $1
              AND c.address = (
                SELECT address FROM clients WHERE last_grant_at IS NULL
                GROUP BY address HAVING count(CASE WHEN id <> $1 THEN 1 END) > 0
                ORDER BY count(*) DESC, min(registered_at), address LIMIT 1)
              AND ", not_needed!(), "
            ORDER BY c.registered_at, c.id LIMIT 1)");

    NOTE_GRANT = "UPDATE clients SET last_grant_at = $2 WHERE id = $1";

    pub(super) DELETE_UNUSED = concat!("
        DELETE FROM clients WHERE id IN (
            SELECT c.id FROM clients c
            WHERE c.last_grant_at IS NULL AND c.registered_at <= $1 AND ", not_needed!(), "
            ORDER BY c.registered_at LIMIT $3)");

    /// A client that registered again a moment ago is about to be used (`$4`: unused ones that registered before it go).
    pub(super) DELETE_USED = concat!("
        DELETE FROM clients WHERE id IN (
            SELECT c.id FROM clients c
            WHERE c.last_grant_at <= $1 AND c.registered_at <= $4 AND ", not_needed!(), "
            ORDER BY c.last_grant_at LIMIT $3)");
}

/// A registered client, and whether it may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredClient {
    /// The client.
    pub client: Client,
    /// Whether the operator disabled it.
    pub disabled: bool,
}

/// A client that manages itself (RFC 7592), with the hash of its registration access token.
#[derive(Debug, Clone, Copy)]
pub struct ManagedClient<'a> {
    /// The client.
    pub client: &'a Client,
    /// The hash of the token.
    pub token: &'a Sha256,
}

impl FromRow for StoredClient {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        Ok(Self { client: Client::from_row(row)?, disabled: row.of("clients").get("disabled")? })
    }
}

impl FromRow for Client {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("clients");
        let name: Option<String> = row.get("name")?;
        let method = AuthMethod::parse(&row.text("auth_method")?).ok_or_else(|| row.corrupt("auth_method"))?;
        let (secret_hash, keys) = (row.optional_sha256("secret_hash")?, row.optional_json("client_keys")?);
        Ok(Self {
            id: ClientId::from(row.text("id")?),
            origin: ClientOrigin::Registered,
            // earlier versions took names that are cleaned today
            name: name.as_deref().and_then(clean_client_name),
            redirect_uris: row.json("redirect_uris")?,
            authentication: Authentication::new(method, secret_hash, keys).ok_or_else(|| row.corrupt("auth_method"))?,
            refresh_token: row.get("refresh_token")?,
            device: row.get("device")?,
            dpop_bound: row.get("dpop_bound")?,
            scope: row.scope("scope")?,
            application_type: row.get("application_type")?,
            created_at: row.time("created_at")?,
        })
    }
}

impl Store {
    /// Inserts a registered client. One that is known (same id) stays as it was, but its time until deletion starts anew.
    ///
    /// `address` is the caller's (IPv6: its /64); a known client moves to it if it holds fewer. When more than `max_unused`
    /// clients never led to a grant, the oldest of the address that holds most of them goes: never one whose authorization is
    /// pending, and never the new one. Returns whether it is new.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn insert_client(
        &self,
        client: &Client,
        address: &str,
        max_unused: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(Priority::Registration, Exclusive::Clients, async |tx| {
            let known: Option<Client> = tx.optional(FIND, values![client.id.as_str()]).await?;
            insert(tx, client, None, address, now).await?;
            evict(tx, &client.id, max_unused, now).await?;
            Ok(known.is_none())
        })
        .await
    }

    /// The same for a client that can manage itself.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn insert_managed_client(
        &self,
        managed: ManagedClient<'_>,
        address: &str,
        max_unused: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let ManagedClient { client, token } = managed;
        self.write(Priority::Registration, Exclusive::Clients, async |tx| {
            insert(tx, client, Some(token), address, now).await?;
            evict(tx, &client.id, max_unused, now).await
        })
        .await
    }

    /// Finds the client that a registration access token manages.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn managed_client(&self, token: &Sha256) -> Result<Option<Client>, StoreError> {
        self.find(FIND_MANAGED, values![token]).await
    }

    /// Replaces the metadata of a client and its registration access token. `false` when `token` does not manage it (any
    /// more).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn update_client(&self, token: &Sha256, new: ManagedClient<'_>) -> Result<bool, StoreError> {
        let ManagedClient { client, token: new_token } = new;
        let updated = self.write(Priority::Registration, Exclusive::Nothing, async |tx| {
            let keys = client.authentication.keys().map(json).transpose()?;
            tx.execute(
                UPDATE,
                values![
                    client.id.as_str(),
                    token,
                    client.name.as_deref(),
                    json(&client.redirect_uris)?,
                    client.authentication.method().as_str(),
                    client.authentication.secret_hash(),
                    keys,
                    client.refresh_token,
                    client.scope.to_string(),
                    client.application_type.as_deref(),
                    new_token,
                    client.device,
                    client.dpop_bound,
                ],
            )
            .await
        });
        Ok(updated.await? == 1)
    }

    /// Finds the client that a registration would make, when it is known already. Refused, as its write would be, while too
    /// many registrations wait.
    ///
    /// # Errors
    /// When the store fails, or is busy with registrations.
    pub async fn known_client(&self, id: &ClientId) -> Result<Option<Client>, StoreError> {
        let taken = self.wait_for_slot(&self.0.lookups, Priority::Registration).await?;
        let known = self.client(id).await;
        drop(taken);
        known
    }

    /// Finds a registered client.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn client(&self, id: &ClientId) -> Result<Option<Client>, StoreError> {
        self.find(FIND, values![id.as_str()]).await
    }

    /// The same, and whether the operator disabled it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn known_by_id(&self, id: &ClientId) -> Result<Option<StoredClient>, StoreError> {
        self.find(FIND, values![id.as_str()]).await
    }
}

async fn insert(
    tx: &mut Transaction,
    client: &Client,
    management: Option<&Sha256>,
    address: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    let values = values![
        client.id.as_str(),
        client.name.as_deref(),
        json(&client.redirect_uris)?,
        client.authentication.method().as_str(),
        client.authentication.secret_hash(),
        client.refresh_token,
        client.scope.to_string(),
        client.application_type.as_deref(),
        client.created_at,
        address,
        now,
        client.authentication.keys().map(json).transpose()?,
        management,
        client.device,
        client.dpop_bound,
    ];
    tx.execute(INSERT, values).await.map(drop)
}

async fn evict(tx: &mut Transaction, new: &ClientId, max_unused: i64, now: Timestamp) -> Result<(), Failure> {
    let unused: i64 = tx.one(COUNT_UNUSED, values![]).await?;
    for _ in 0..unused.saturating_sub(max_unused).min(MAX_EVICTIONS) {
        if tx.execute(EVICT_ONE, values![new.as_str(), now]).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// Notes that the client led to a grant; a configured one has no row and needs none. `false` when it has none: a deletion that
/// runs at the same time may have taken it since the last statement looked.
pub(super) async fn note_grant(tx: &mut Transaction, id: &ClientId, now: Timestamp) -> Result<bool, Failure> {
    Ok(tx.execute(NOTE_GRANT, values![id.as_str(), now]).await? == 1)
}
