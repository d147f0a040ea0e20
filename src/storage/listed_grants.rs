//! The live grants for an operator, page by page, and the filter that names some of them.

use super::error::Failure;
use super::row::{Columns, FromRow, Row};
use super::value::values;
use super::{Store, StoreError};
use crate::clock::Timestamp;
use crate::model::grant::Basis;
use crate::model::ids::{ClientId, GrantId, IdentityId, Subject};
use crate::model::user::User;
use crate::oauth::scope::ScopeSet;

sql! {
    GRANTS = "
        SELECT g.id, g.subject, g.identity, g.client_id, COALESCE(c.name, d.name) AS client_name, g.resource, g.scope, g.user_claims,
            g.created_at, g.last_used_at, g.expires_at, g.basis, g.device
        FROM grants g LEFT JOIN clients c ON c.id = g.client_id LEFT JOIN client_documents d ON d.id = g.client_id
        WHERE g.id > $1 AND g.ended_at IS NULL AND g.expires_at > $2
          AND (CAST($3 AS TEXT) IS NULL OR g.subject = $3) AND (CAST($4 AS TEXT) IS NULL OR g.client_id = $4) AND (CAST($5 AS TEXT) IS NULL OR g.resource = $5)
        ORDER BY g.id LIMIT $6";
}

/// Selects the grants that match every field that is set.
#[derive(Debug, Clone, Default)]
pub struct GrantFilter {
    /// The user.
    pub subject: Option<String>,
    /// The client.
    pub client: Option<String>,
    /// The audience.
    pub resource: Option<String>,
}

impl GrantFilter {
    /// All grants of a client.
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

/// What a grant rests on, as an operator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantKind {
    /// A user's consent, in the browser.
    User,
    /// A user's consent for a device that polled (RFC 8628).
    Device,
    /// The credential of a machine.
    Basis(Basis),
}

impl GrantKind {
    /// Its name in the output of commands.
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

/// A live grant as an operator sees it.
#[derive(Debug, Clone)]
pub struct ListedGrant {
    /// Its id.
    pub id: GrantId,
    /// The user, or the machine.
    pub subject: Subject,
    /// The identity provider.
    pub identity: IdentityId,
    /// What it rests on.
    pub kind: GrantKind,
    /// The client that acts for the user.
    pub client: ClientId,
    /// That client's own name, when it registered itself or has a document.
    pub client_name: Option<String>,
    /// The audience.
    pub resource: String,
    /// What it allows.
    pub scope: ScopeSet,
    /// The provider's latest claims about the user.
    pub user: User,
    /// When it began.
    pub created_at: Timestamp,
    /// When it began or was last refreshed.
    pub last_used_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
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

impl Store {
    /// At most `count` live grants with ids after `after`, in the order of their ids; `None` starts at the first.
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
}
