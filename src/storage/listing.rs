//! What an operator asks for: everything that lives, page by page, so that no call takes long however much there is.

use super::rows::Column;
use super::{Store, StoreError, Turn};
use crate::clock::Timestamp;
use crate::model::ids::{ClientId, GrantId, IdentityId, Subject};
use crate::model::user::User;
use crate::oauth::scope::ScopeSet;

sql! {
    GRANTS = "
        SELECT g.id, g.subject, g.identity, g.client_id, c.name AS client_name, g.resource, g.scope, g.user_claims,
            g.created_at, g.last_used_at, g.expires_at
        FROM grants g LEFT JOIN clients c ON c.id = g.client_id
        WHERE g.id > $1 AND g.ended_at IS NULL AND g.expires_at > $2
          AND ($3 IS NULL OR g.subject = $3) AND ($4 IS NULL OR g.client_id = $4) AND ($5 IS NULL OR g.resource = $5)
        ORDER BY g.id LIMIT $6";

    CLIENTS = "
        SELECT c.id, c.name, c.redirect_uris, c.created_at, count(g.id) AS grants,
            COALESCE(max(g.last_used_at), c.last_grant_at) AS last_used_at
        FROM clients c LEFT JOIN grants g ON g.client_id = c.id AND g.ended_at IS NULL AND g.expires_at > $2
        WHERE c.id > $1 GROUP BY c.id ORDER BY c.id LIMIT $3";

    USE_OF_CLIENT = "
        SELECT count(*), max(last_used_at) FROM grants WHERE client_id = $1 AND ended_at IS NULL AND expires_at > $2";

    /// The next ones, by id, that may yet turn out to be this user's. One that was barred before is answered too.
    BAR_UNDER_WAY = "
        INSERT INTO barred_sign_ins (authorization_id, subject)
        SELECT id, $1 FROM authorizations
        WHERE id > $4 AND stage IN ('pending', 'claimed') AND ($2 IS NULL OR client_id = $2)
          AND ($3 IS NULL OR request ->> 'resource' = $3)
        ORDER BY id LIMIT $5
        ON CONFLICT (authorization_id, subject) DO UPDATE SET subject = excluded.subject
        RETURNING authorization_id";

    /// The next ones, by id. The provider's tokens stay: what is abandoned is revoked before it is deleted.
    REFUSE_UNDER_WAY = "
        UPDATE authorizations SET stage = 'refused'
        WHERE id IN (
            SELECT id FROM authorizations
            WHERE id > $4 AND stage IN ('pending', 'claimed', 'code_issued')
              AND ($1 IS NULL OR subject = $1) AND ($2 IS NULL OR client_id = $2)
              AND ($3 IS NULL OR request ->> 'resource' = $3)
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

/// A live grant as an operator sees it.
#[derive(Debug, Clone)]
pub struct ListedGrant {
    /// Its id.
    pub id: GrantId,
    /// Whose it is.
    pub subject: Subject,
    /// Who signed the user in.
    pub identity: IdentityId,
    /// Who acts for the user.
    pub client: ClientId,
    /// What that client calls itself, when it registered itself.
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
    /// When it was first known.
    pub created_at: Timestamp,
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

#[derive(sqlx::FromRow)]
struct GrantRow {
    id: String,
    subject: String,
    identity: String,
    client_id: String,
    client_name: Option<String>,
    resource: String,
    scope: String,
    user_claims: String,
    created_at: i64,
    last_used_at: i64,
    expires_at: i64,
}

impl TryFrom<GrantRow> for ListedGrant {
    type Error = StoreError;

    fn try_from(row: GrantRow) -> Result<Self, StoreError> {
        let column = |name| Column("grants", name);
        Ok(Self {
            id: GrantId::from(row.id),
            subject: Subject::stored(row.subject),
            identity: IdentityId::from(row.identity),
            client: ClientId::from(row.client_id),
            client_name: row.client_name,
            resource: row.resource,
            scope: column("scope").scope(&row.scope)?,
            user: column("user_claims").json(&row.user_claims)?,
            created_at: Timestamp(row.created_at),
            last_used_at: Timestamp(row.last_used_at),
            expires_at: Timestamp(row.expires_at),
        })
    }
}

#[derive(sqlx::FromRow)]
struct ClientRow {
    id: String,
    name: Option<String>,
    redirect_uris: String,
    created_at: i64,
    grants: i64,
    last_used_at: Option<i64>,
}

impl TryFrom<ClientRow> for ListedClient {
    type Error = StoreError;

    fn try_from(row: ClientRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: ClientId::from(row.id),
            name: row.name,
            redirect_uris: Column("clients", "redirect_uris").json(&row.redirect_uris)?,
            created_at: Timestamp(row.created_at),
            use_of: ClientUse { grants: row.grants, last_used_at: row.last_used_at.map(Timestamp) },
        })
    }
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
        self.read(async {
            let rows: Vec<GrantRow> = sqlx::query_as(GRANTS)
                .bind(after.map_or("", GrantId::as_str))
                .bind(now.0)
                .bind(filter.subject.as_deref())
                .bind(filter.client.as_deref())
                .bind(filter.resource.as_deref())
                .bind(count)
                .fetch_all(self.readers())
                .await?;
            Ok(rows.into_iter().map(ListedGrant::try_from).collect::<Result<_, _>>()?)
        })
        .await
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
        self.read(async {
            let rows: Vec<ClientRow> = sqlx::query_as(CLIENTS)
                .bind(after.map_or("", ClientId::as_str))
                .bind(now.0)
                .bind(count)
                .fetch_all(self.readers())
                .await?;
            Ok(rows.into_iter().map(ListedClient::try_from).collect::<Result<_, _>>()?)
        })
        .await
    }

    /// How a client is used, whether it is registered or not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn use_of_client(&self, id: &ClientId, now: Timestamp) -> Result<ClientUse, StoreError> {
        self.read(async {
            let row = sqlx::query_as(USE_OF_CLIENT).bind(id.as_str()).bind(now.0);
            let (grants, last_used_at): (i64, Option<i64>) = row.fetch_one(self.readers()).await?;
            Ok(ClientUse { grants, last_used_at: last_used_at.map(Timestamp) })
        })
        .await
    }

    /// Takes back the sign-ins under way whose grants this filter would match; answers how many. With a subject, those that
    /// have no code yet are not counted, because it is not known whose they are: none of them brings this user a code.
    ///
    /// # Errors
    /// When the store fails; then some may have been taken back.
    pub async fn refuse_under_way(&self, filter: &GrantFilter) -> Result<u64, StoreError> {
        if filter.subject.is_some() {
            self.in_batches(BAR_UNDER_WAY, filter).await?;
        }
        // last: a code that this user got meanwhile goes too
        self.in_batches(REFUSE_UNDER_WAY, filter).await
    }

    /// Does something to the sign-ins under way, and answers to how many. Strangers can begin very many, so this takes several
    /// transactions: none of them may run out of time. What begins meanwhile may be reached or not.
    async fn in_batches(&self, statement: &'static str, filter: &GrantFilter) -> Result<u64, StoreError> {
        let GrantFilter { subject, client, resource } = filter;
        let (mut last, mut count) = (String::new(), 0);
        loop {
            let batch = sqlx::query_scalar(statement)
                .bind(subject.as_deref())
                .bind(client.as_deref())
                .bind(resource.as_deref())
                .bind(&last)
                .bind(i64::try_from(AT_ONCE).unwrap_or(i64::MAX));
            let ids: Vec<String> = self
                .write(Turn::Token, async {
                    let mut tx = self.begin().await?;
                    let ids = batch.fetch_all(&mut *tx).await?;
                    tx.commit().await?;
                    Ok(ids)
                })
                .await?;
            count += ids.len() as u64;
            let is_last = ids.len() < AT_ONCE;
            match ids.into_iter().max() {
                Some(id) if !is_last => last = id,
                _ => return Ok(count),
            }
        }
    }

    /// Forgets a registered client, and takes back its sign-ins that are under way; `false` when there is none. Its grants
    /// are another matter.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_client(&self, id: &ClientId) -> Result<bool, StoreError> {
        let deleted = self.execute(Turn::Token, sqlx::query(DELETE_CLIENT).bind(id.as_str())).await? == 1;
        if deleted {
            // none of them becomes a grant any more: to redeem a code needs the client
            let its = GrantFilter { client: Some(id.as_str().to_owned()), ..GrantFilter::default() };
            self.in_batches(REFUSE_UNDER_WAY, &its).await?;
        }
        Ok(deleted)
    }
}
