//! What an operator asks for: everything that lives, page by page, so that no call takes long however much there is.

use super::error::Failure;
use super::exclusive::Exclusive;
use super::row::{Columns, FromRow, Row};
use super::value::{json, values};
use super::{Priority, Store, StoreError};
use crate::clock::Timestamp;
use crate::model::grant::Basis;
use crate::model::ids::{ClientId, GrantId, IdentityId, Subject};
use crate::model::user::User;
use crate::oauth::scope::ScopeSet;

/// A client, and how it is used (`$2` is now).
macro_rules! client_columns {
    () => {
        "c.id, c.name, c.redirect_uris, c.auth_method, c.created_at, count(g.id) AS grants,
            COALESCE(max(g.last_used_at), c.last_grant_at) AS last_used_at,
            d.client_id IS NOT NULL AS disabled
        FROM clients c LEFT JOIN disabled_clients d ON d.client_id = c.id
            LEFT JOIN grants g ON g.client_id = c.id AND g.ended_at IS NULL AND g.expires_at > $2"
    };
}

/// The same for a client that is known by a document.
macro_rules! document_columns {
    () => {
        "c.id, c.document, count(g.id) AS grants, max(g.last_used_at) AS last_used_at, d.client_id IS NOT NULL AS disabled
        FROM client_documents c LEFT JOIN disabled_clients d ON d.client_id = c.id
            LEFT JOIN grants g ON g.client_id = c.id AND g.ended_at IS NULL AND g.expires_at > $2"
    };
}

sql! {
    GRANTS = "
        SELECT g.id, g.subject, g.identity, g.client_id, COALESCE(c.name, d.name) AS client_name, g.resource, g.scope, g.user_claims,
            g.created_at, g.last_used_at, g.expires_at, g.basis, g.device
        FROM grants g LEFT JOIN clients c ON c.id = g.client_id LEFT JOIN client_documents d ON d.id = g.client_id
        WHERE g.id > $1 AND g.ended_at IS NULL AND g.expires_at > $2
          AND (CAST($3 AS TEXT) IS NULL OR g.subject = $3) AND (CAST($4 AS TEXT) IS NULL OR g.client_id = $4) AND (CAST($5 AS TEXT) IS NULL OR g.resource = $5)
        ORDER BY g.id LIMIT $6";

    CLIENTS = concat!("
        SELECT ", client_columns!(), "
        WHERE c.id > $1 GROUP BY c.id, d.client_id ORDER BY c.id LIMIT $3");

    CLIENT = concat!("SELECT ", client_columns!(), " WHERE c.id = $1 GROUP BY c.id, d.client_id");

    /// Clients that are known by a document which is kept here.
    DOCUMENTS = concat!("
        SELECT ", document_columns!(), "
        WHERE c.id > $1 GROUP BY c.id, d.client_id ORDER BY c.id LIMIT $3");

    DOCUMENT = concat!("SELECT ", document_columns!(), " WHERE c.id = $1 GROUP BY c.id, d.client_id");

    /// Ids that are disabled and of which nothing else is known: of clients whose document is not kept, or that left.
    DISABLED_ONLY = "
        SELECT d.client_id FROM disabled_clients d
        WHERE d.client_id > $1 AND NOT EXISTS (SELECT 1 FROM clients c WHERE c.id = d.client_id)
          AND NOT EXISTS (SELECT 1 FROM client_documents m WHERE m.id = d.client_id)
        ORDER BY d.client_id LIMIT $2";

    USE_OF_CLIENT = "
        SELECT count(*) AS grants, max(last_used_at) AS last_used_at FROM grants WHERE client_id = $1 AND ended_at IS NULL AND expires_at > $2";

    /// The next pending sign-ins, by id, that may belong to this user; those already barred are returned too. `$3` is a
    /// piece of JSON, see [`resource_in`].
    BAR_UNDER_WAY = "
        INSERT INTO barred_sign_ins (authorization_id, subject)
        SELECT id, $1 FROM authorizations
        WHERE id > $4 AND stage IN ('pending', 'claimed') AND (CAST($2 AS TEXT) IS NULL OR client_id = $2)
          AND (CAST($3 AS TEXT) IS NULL OR replace(request, $3, '') <> request)
        ORDER BY id LIMIT $5
        ON CONFLICT (authorization_id, subject) DO UPDATE SET subject = excluded.subject
        RETURNING authorization_id";

    /// The next ones, by id. The provider's tokens stay: what is abandoned is revoked before it is deleted. The outer condition
    /// is for a sign-in that was redeemed while this statement waited for its row.
    REFUSE_UNDER_WAY = "
        UPDATE authorizations SET stage = 'refused'
        WHERE stage IN ('pending', 'claimed', 'code_issued') AND id IN (
            SELECT id FROM authorizations
            WHERE id > $4 AND stage IN ('pending', 'claimed', 'code_issued')
              AND (CAST($1 AS TEXT) IS NULL OR subject = $1) AND (CAST($2 AS TEXT) IS NULL OR client_id = $2)
              AND (CAST($3 AS TEXT) IS NULL OR replace(request, $3, '') <> request)
            ORDER BY id LIMIT $5)
        RETURNING id";

    DELETE_CLIENT = "DELETE FROM clients WHERE id = $1";
}

/// How many sign-ins one transaction takes back.
pub(super) const AT_ONCE: usize = 2000;

/// Which grants are meant: those that agree with everything that is named.
#[derive(Debug, Clone, Default)]
pub struct GrantFilter {
    /// Whose.
    pub subject: Option<String>,
    /// Of which client.
    pub client: Option<String>,
    /// At which audience.
    pub resource: Option<String>,
}

/// What a grant rests on, as an operator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantKind {
    /// A user's consent, in the browser.
    User,
    /// A user's consent for a device that polled (RFC 8628).
    Device,
    /// Something else.
    Basis(Basis),
}

impl GrantKind {
    /// As commands print it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Device => "device",
            Self::Basis(Basis::ClientCredentials) => "machine",
            Self::Basis(Basis::Assertion) => "assertion",
            Self::Basis(Basis::ApiKey) => "api_key",
        }
    }
}

impl GrantFilter {
    /// All of a client.
    #[must_use]
    pub fn of_client(id: &ClientId) -> Self {
        Self { client: Some(id.as_str().to_owned()), ..Self::default() }
    }

    /// Whether it matches all grants of each user that it matches.
    #[must_use]
    pub const fn is_of_whole_users(&self) -> bool {
        self.client.is_none() && self.resource.is_none()
    }
}

/// A live grant as an operator sees it.
#[derive(Debug, Clone)]
pub struct ListedGrant {
    /// Its id.
    pub id: GrantId,
    /// Whose it is.
    pub subject: Subject,
    /// Who signed the user in.
    pub identity: IdentityId,
    /// What it rests on.
    pub kind: GrantKind,
    /// Who acts for the user.
    pub client: ClientId,
    /// What that client calls itself, when it registered itself or has a document.
    pub client_name: Option<String>,
    /// Where.
    pub resource: String,
    /// What is allowed.
    pub scope: ScopeSet,
    /// What the provider told of the user last.
    pub user: User,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was made or refreshed last.
    pub last_used_at: Timestamp,
    /// Its absolute end.
    pub expires_at: Timestamp,
}

/// A registered client as an operator sees it.
#[derive(Debug, Clone)]
pub struct ListedClient {
    /// Its id.
    pub id: ClientId,
    /// What it calls itself.
    pub name: Option<String>,
    /// Where codes may be sent.
    pub redirect_uris: Vec<String>,
    /// How it authenticates, by the name of the protocol.
    pub auth_method: String,
    /// Whether the operator disabled it.
    pub disabled: bool,
    /// When it was first known.
    pub created_at: Timestamp,
    /// How it is used.
    pub use_of: ClientUse,
}

/// A client that is known by its document, as an operator sees it.
#[derive(Debug, Clone)]
pub struct ListedDocument {
    /// Its id: the URL of the document.
    pub id: ClientId,
    /// The document, as it came.
    pub document: String,
    /// Whether the operator disabled it.
    pub disabled: bool,
    /// How it is used.
    pub use_of: ClientUse,
}

/// How a client is used.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientUse {
    /// How many live grants it has.
    pub grants: i64,
    /// When one of them was made or refreshed last.
    pub last_used_at: Option<Timestamp>,
}

impl FromRow for ListedGrant {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("grants");
        Ok(Self {
            id: GrantId::from(row.text("id")?),
            subject: Subject::stored(row.text("subject")?),
            identity: IdentityId::from(row.text("identity")?),
            kind: kind(row)?,
            client: ClientId::from(row.text("client_id")?),
            client_name: row.get("client_name")?,
            resource: row.text("resource")?,
            scope: row.scope("scope")?,
            user: row.json("user_claims")?,
            created_at: row.time("created_at")?,
            last_used_at: row.time("last_used_at")?,
            expires_at: row.time("expires_at")?,
        })
    }
}

fn kind(row: Columns<'_>) -> Result<GrantKind, Failure> {
    let basis: Option<String> = row.get("basis")?;
    match basis {
        Some(basis) => Basis::parse(&basis).map(GrantKind::Basis).ok_or_else(|| row.corrupt("basis")),
        None if row.get("device")? => Ok(GrantKind::Device),
        None => Ok(GrantKind::User),
    }
}

impl FromRow for ListedClient {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let columns = row.of("clients");
        Ok(Self {
            id: ClientId::from(columns.text("id")?),
            name: columns.get("name")?,
            redirect_uris: columns.json("redirect_uris")?,
            auth_method: columns.text("auth_method")?,
            disabled: columns.get("disabled")?,
            created_at: columns.time("created_at")?,
            use_of: ClientUse::from_row(row)?,
        })
    }
}

impl FromRow for ListedDocument {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let columns = row.of("client_documents");
        Ok(Self {
            id: ClientId::from(columns.text("id")?),
            document: columns.text("document")?,
            disabled: columns.get("disabled")?,
            use_of: ClientUse::from_row(row)?,
        })
    }
}

impl FromRow for ClientUse {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("grants");
        Ok(Self { grants: row.get("grants")?, last_used_at: row.optional_time("last_used_at")? })
    }
}

/// How a resource is written in the JSON of a request. Neither engine need know JSON for it; and as quotes inside a JSON string
/// are escaped, no other value of a request can contain it.
fn resource_in(resource: &str) -> Result<String, Failure> {
    Ok(format!("\"resource\":{}", json(&resource)?))
}

impl Store {
    /// At most `count` live grants with ids after `after`, in the order of their ids; `None` begins.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list_grants(
        &self,
        filter: &GrantFilter,
        after: Option<&GrantId>,
        now: Timestamp,
        count: i64,
    ) -> Result<Vec<ListedGrant>, StoreError> {
        let grants = values![
            after.map_or("", GrantId::as_str),
            now,
            filter.subject.as_deref(),
            filter.client.as_deref(),
            filter.resource.as_deref(),
            count,
        ];
        self.list(GRANTS, grants).await
    }

    /// At most `count` registered clients with ids after `after`, in the order of their ids; `None` begins.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list_clients(
        &self,
        after: Option<&ClientId>,
        now: Timestamp,
        count: i64,
    ) -> Result<Vec<ListedClient>, StoreError> {
        self.list(CLIENTS, values![after.map_or("", ClientId::as_str), now, count]).await
    }

    /// A registered client.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn listed_client(&self, id: &ClientId, now: Timestamp) -> Result<Option<ListedClient>, StoreError> {
        self.find(CLIENT, values![id.as_str(), now]).await
    }

    /// At most `count` clients whose documents are kept, with ids after `after`, in the order of their ids; `None` begins.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list_documents(
        &self,
        after: Option<&ClientId>,
        now: Timestamp,
        count: i64,
    ) -> Result<Vec<ListedDocument>, StoreError> {
        self.list(DOCUMENTS, values![after.map_or("", ClientId::as_str), now, count]).await
    }

    /// A client whose document is kept.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn listed_document(&self, id: &ClientId, now: Timestamp) -> Result<Option<ListedDocument>, StoreError> {
        self.find(DOCUMENT, values![id.as_str(), now]).await
    }

    /// At most `count` ids that are disabled and of which nothing else is stored, after `after`, in their order.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list_disabled_only(&self, after: Option<&ClientId>, count: i64) -> Result<Vec<ClientId>, StoreError> {
        let ids: Vec<String> = self.list(DISABLED_ONLY, values![after.map_or("", ClientId::as_str), count]).await?;
        Ok(ids.into_iter().map(ClientId::from).collect())
    }

    /// How a client is used, whether it is registered or not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn use_of_client(&self, id: &ClientId, now: Timestamp) -> Result<ClientUse, StoreError> {
        Ok(self.find(USE_OF_CLIENT, values![id.as_str(), now]).await?.unwrap_or_default())
    }

    /// Forgets the remembered consents and cancels the sign-ins in progress whose grants this filter would match; returns how
    /// many were cancelled. With a subject, those that have no code yet are not counted, because it is not known whose they
    /// are: none of them brings this user a code.
    ///
    /// # Errors
    /// When the store fails; then some may have been taken back.
    pub async fn cancel_sign_ins(&self, filter: &GrantFilter) -> Result<u64, StoreError> {
        self.forget_consents(filter).await?;
        if filter.subject.is_some() {
            self.in_batches(BAR_UNDER_WAY, filter).await?;
        }
        // after the bar: a code that this user got before it goes too
        self.in_batches(REFUSE_UNDER_WAY, filter).await
    }

    /// Changes the sign-ins under way and answers how many. Strangers can begin very many, so this takes several transactions:
    /// none of them may run out of time. A sign-in that begins meanwhile may be reached or not.
    async fn in_batches(&self, statement: &'static str, filter: &GrantFilter) -> Result<u64, StoreError> {
        let GrantFilter { subject, client, resource } = filter;
        let exclusive = subject.as_deref().map_or(Exclusive::Batch, Exclusive::BatchOf);
        let batch = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
        let (mut last, mut count) = (String::new(), 0);
        loop {
            let next = self.write(Priority::Token, exclusive, async |tx| {
                let resource = resource.as_deref().map(resource_in).transpose()?;
                let (subject, client) = (subject.as_deref(), client.as_deref());
                tx.all(statement, values![subject, client, resource, &last, batch]).await
            });
            let ids: Vec<String> = next.await?;
            count += ids.len() as u64;
            match ids.into_iter().max() {
                Some(id) => last = id,
                None => return Ok(count),
            }
        }
    }

    /// Forgets a registered client, and cancels its sign-ins in progress; answers how many, `None` when there is no such
    /// client. Its grants are another matter.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_client(&self, id: &ClientId) -> Result<Option<u64>, StoreError> {
        let deleted = self.execute(Priority::Token, Exclusive::Nothing, DELETE_CLIENT, values![id.as_str()]).await?;
        if deleted == 0 {
            return Ok(None);
        }
        // none of them becomes a grant any more: redeeming a code needs the client
        self.in_batches(REFUSE_UNDER_WAY, &GrantFilter::of_client(id)).await.map(Some)
    }
}
