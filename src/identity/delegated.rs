//! Tokens of a provider's for a server behind us.
//!
//! Defends against: a confused deputy. A token belongs to one grant: it is made from the token that the provider gave us for that
//! grant's user, never from anything that a client sent.

use futures_util::future::BoxFuture;

use crate::clock::Timestamp;
use crate::model::grant::Grant;
use crate::model::ids::GrantId;
use crate::secret::SecretText;
use crate::wire::Arrival;

/// An access token of a provider's.
#[derive(Debug, Clone)]
pub struct DelegatedToken {
    /// The token.
    pub(crate) token: SecretText,
    /// When it may be used no more.
    pub(crate) expires_at: Timestamp,
    /// Whether its holder needs nothing but the token (RFC 6750), as its `token_type` says.
    pub(super) is_bearer: bool,
}

impl DelegatedToken {
    /// The longest that is sent to a server, in bytes: servers refuse heads above 8 or 16 KiB.
    const LONGEST: usize = 12 * 1024;

    /// The token, if it can be sent to a server as it is at this time.
    ///
    /// # Errors
    /// Why not, for the operator.
    pub(super) fn sendable(self, now: Timestamp) -> Result<Self, &'static str> {
        let token = self.token.expose();
        if !self.is_bearer {
            Err("its token_type is not Bearer")
        } else if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            Err("it is empty, or not printable ASCII without spaces")
        } else if token.len() > Self::LONGEST {
            Err("it is longer than 12 KiB, more than a server would read")
        } else if self.expires_at <= now {
            Err("its expires_in is 0 or less")
        } else {
            Ok(self)
        }
    }
}

/// Why a provider gives no token for a server behind us. The texts are for the operator.
#[derive(Debug, Clone)]
pub(crate) enum DelegateError {
    /// It passes: unreachable, 5xx, 429.
    Unavailable(String),
    /// The provider wants something of the user, such as a second factor, which a new sign-in brings.
    SignInAgain {
        /// For the operator.
        why: String,
        /// What the next authorization request must carry (`claims`, OpenID Connect Core 5.5).
        claims: Option<String>,
    },
    /// A permission or a setting is missing, or the answer cannot be used.
    Refused(String),
}

/// Why there is no access token of a user's to begin with. The texts are for the operator.
#[derive(Debug, Clone)]
pub(crate) enum NoSubjectToken {
    /// The grant rests on none: nobody signed in at a provider for it.
    NotSignedIn,
    /// The user has to sign in again, or the grant has ended.
    SignInAgain(String),
    /// It passes.
    Unavailable(String),
}

/// Access tokens of users, from the refresh tokens that belong to their grants. Those are the issuer's to renew and keep, and the
/// gateway does not know it.
pub(crate) trait SubjectTokens: Send + Sync + 'static {
    /// An access token of the user of a grant, fresh from the provider, and the grant.
    fn of_grant<'a>(
        &'a self,
        grant: &'a GrantId,
        arrival: &'a Arrival,
    ) -> BoxFuture<'a, Result<(Grant, DelegatedToken), NoSubjectToken>>;

    /// The provider wants the user of a grant to sign in again: its client is told so when it refreshes, and `claims` go into the
    /// sign-in that it begins.
    fn demand_sign_in(&self, grant: &Grant, claims: Option<&str>);
}
