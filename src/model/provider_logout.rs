//! A sign-out at an identity provider, as its logout token says it (OpenID Connect Back-Channel Logout 1.0).

use super::ids::{IdentityId, Subject};
use crate::clock::Timestamp;
use crate::secret::Sha256;

/// Who signed out there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderLogout {
    /// The hash of what makes the token single-use.
    pub id: Sha256,
    /// The provider.
    pub identity: IdentityId,
    /// The user. A token may name the session alone.
    pub subject: Option<Subject>,
    /// The session, as [`super::authorization::ProviderStanding::session`]; `None`: every session of the user.
    pub session: Option<Sha256>,
    /// Whether the provider wants offline access to end as well. Otherwise it may stand: the provider is asked.
    pub ends_offline: bool,
    /// When it happened, by the provider's clock.
    pub issued_at: Timestamp,
    /// When the token reached us.
    pub received_at: Timestamp,
    /// Until when it is remembered: so long, the token could be replayed or a sign-in that was under way could be completed.
    pub remembered_until: Timestamp,
}

/// A user whose provider is to be asked whether their offline token still stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingCheck {
    /// The user.
    pub subject: Subject,
    /// How often the provider has said yes since.
    pub good: i64,
    /// Which request it answers: it is over when no later one was made.
    pub request: i64,
}
