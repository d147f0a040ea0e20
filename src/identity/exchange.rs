//! What goes to a provider and what comes back, whatever kind it is.

use std::borrow::Cow;

use super::delegated::DelegatedToken;
use super::generic::Meaning;
use crate::clock::Timestamp;
use crate::model::ids::ClientId;
use crate::model::user::User;
use crate::oauth::pkce::{CodeChallenge, CodeVerifier};
use crate::outbound::Diagnosis;
use crate::secret::SecretText;

/// What the browser takes to the provider. Nothing of it is the client's: the provider never learns of the client.
#[derive(Debug)]
pub struct Begin<'a> {
    /// Ours.
    pub state: &'a str,
    /// Ours.
    pub nonce: &'a str,
    /// Ours.
    pub code_challenge: &'a CodeChallenge,
    /// Where the provider sends the browser back.
    pub redirect_uri: &'a str,
    /// Whether to ask for `offline_access`.
    pub offline: bool,
    /// The client that gets a grant by the sign-in, if there is one. It is not sent: it finds what the provider wants to be
    /// asked with, see [`RenewError::SignInAgain`].
    pub client: Option<&'a ClientId>,
}

/// What the provider's code is exchanged with.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// The provider's code.
    pub code: &'a str,
    /// Ours.
    pub code_verifier: &'a CodeVerifier,
    /// What the ID token must carry.
    pub nonce: &'a str,
    /// As at the beginning.
    pub redirect_uri: &'a str,
    /// Whether this round asked for `offline_access`.
    pub offline: bool,
}

/// Who came back.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The provider's own unchanging id of the user.
    pub key: String,
    /// The user, today.
    pub user: User,
    /// What we may ask again with.
    pub token: Option<ProviderToken>,
    /// Whether the provider gave what the configured standing needs; without it no refresh token may be given.
    pub renewable: bool,
    /// The session there.
    pub session: ProviderSession,
}

/// The provider's session that a sign-in came from, as far as the ID token tells. A logout names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderSession {
    /// Its id (`sid`, OpenID Connect Back-Channel Logout 1.0 2.1).
    pub sid: Option<String>,
    /// When the provider made the ID token, by its own clock; `None` for users of our own.
    pub asserted_at: Option<Timestamp>,
}

/// A refresh token of the provider's.
#[derive(Debug, Clone)]
pub struct ProviderToken {
    /// The token.
    pub token: SecretText,
    /// Whether it outlives the user's session.
    pub offline: bool,
    /// The end that the provider stated.
    pub ends_at: Option<Timestamp>,
}

/// What a refresh brought.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// The token to use from now on; `None` keeps the old one.
    pub token: Option<ProviderToken>,
    /// The user, today, when the provider told.
    pub user: Option<User>,
    /// The access token that came with it; nothing keeps it but what `delegation` of an upstream asks for.
    pub access: Option<DelegatedToken>,
}

/// Why a sign-in could not be finished. The text is for the operator: they name the setting.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExchangeError {
    /// The provider will not give offline access to this user: ask again without.
    #[error("the provider refused offline_access: {0}")]
    OfflineRefused(String),
    /// It will pass: unreachable, 5xx, 429.
    #[error("{0}")]
    Unavailable(String),
    /// It will not pass by itself: a setting, or an answer that must not be believed.
    #[error("{0}")]
    Refused(String),
    /// The same, and the user can be told more than that it failed.
    #[error("{why}")]
    Explained {
        /// For the operator.
        why: String,
        /// For the user.
        told: Explanation,
    },
}

/// Why a user is not signed in, in words for them. Nothing of it is secret, and nothing was written by others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What the client is told.
    pub verdict: Verdict,
    /// What happened.
    pub happened: Cow<'static, str>,
    /// What the user can do.
    pub hint: Cow<'static, str>,
}

/// How a sign-in failed, as far as a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// This user does not get in.
    Denied,
    /// The user did not finish what is asked for.
    NotCompleted,
    /// Something is wrong between the provider and us.
    Failed,
}

/// An error on the provider's redirect (RFC 6749 4.1.2.1).
#[derive(Debug)]
pub struct RedirectError<'a> {
    /// `error`.
    pub error: &'a str,
    /// `error_description`.
    pub description: Option<&'a str>,
}

/// What it means.
#[derive(Debug)]
pub struct RedirectRefusal {
    /// For us.
    pub meaning: Meaning,
    /// For the operator, on one line.
    pub diagnosis: Diagnosis,
    /// For the user, where there is more to say than that it failed.
    pub told: Option<Explanation>,
}

impl ExchangeError {
    /// The provider could not be asked.
    pub(super) fn unavailable(failure: &Diagnosis) -> Self {
        Self::Unavailable(failure.to_string())
    }
}

/// Why a refresh brought nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RenewError {
    /// The provider said `invalid_grant`: the user's session or account is over.
    #[error("the provider ended the user's session: {0}")]
    Ended(String),
    /// The provider wants something of the user, such as a second factor: a new sign-in brings it, and nothing has ended.
    #[error("the provider wants the user to sign in again: {why}")]
    SignInAgain {
        /// For the operator.
        why: String,
        /// What the next authorization request must carry (`claims`, OpenID Connect Core 5.5).
        claims: Option<String>,
    },
    /// Everything else: nothing is lost, ask again later. The words name the setting.
    #[error("{0}")]
    Unavailable(String),
}
