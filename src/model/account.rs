//! The user's own page: who is signed in there, and what it shows.

use std::time::Duration;

use super::grant::Holder;
use super::ids::{ClientId, GrantId, IdentityId, Subject};
use crate::clock::Timestamp;
use crate::oauth::scope::ScopeSet;

/// How long a session lives without a use.
pub const SESSION_IDLE: Duration = Duration::from_mins(15);
/// How long a session lives in all.
pub const SESSION_AGE: Duration = Duration::from_hours(1);

/// A user who is signed in at their own page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSession {
    /// The user.
    pub subject: Subject,
    /// The provider that signed them in.
    pub identity: IdentityId,
    /// The issuer that was behind it then: under another one, the subject is another user.
    pub issuer: String,
    /// What the user is called.
    pub name: Option<String>,
    /// When the session was used last, at least to the minute.
    pub last_used_at: Timestamp,
}

/// A live grant as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnGrant {
    /// Its id.
    pub id: GrantId,
    /// The client that acts for the user.
    pub client_id: ClientId,
    /// What that client calls itself, when it is not in the configuration.
    pub client_name: Option<String>,
    /// The audience.
    pub resource: String,
    /// What is allowed.
    pub scope: ScopeSet,
    /// Whether the client can renew it by itself.
    pub refresh: bool,
    /// Where its tokens are.
    pub holder: Holder,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was made or refreshed last.
    pub last_used_at: Timestamp,
}
