//! What can go wrong where a browser is, and where a browser may be sent.

use crate::model::client::Client;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::redirect_uri::RedirectUri;
use crate::storage::StoreError;

/// Something that the user must be told on a page. `detail` is for the operator's log and never shown.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What the user is told.
    pub trouble: Trouble,
    /// What the operator is told.
    pub detail: String,
}

/// The kinds of pages that end a sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// We do not know this client (any more); the page names the client's own remedy.
    UnknownClient {
        /// The id that came.
        client_id: String,
        /// Where it wanted to be sent, unchecked: it only tells which remedy to show.
        redirect_uri: Option<String>,
    },
    /// The redirect URI is none of the client's.
    RedirectUri,
    /// The request itself is wrong; the words are for the client's developer.
    Request(OAuthError),
    /// The form was made for another browser, or cookies are switched off.
    OtherBrowser,
    /// The form, or the provider's answer, is not one of ours.
    Forged,
    /// The sign-in took too long, or was never begun here.
    Expired,
    /// The identity provider cannot be reached; it will pass.
    ProviderUnavailable {
        /// What people call it.
        provider: String,
    },
    /// Too many sign-ins were begun from this address; it will pass.
    TooMany,
    /// Something of ours cannot be reached; it will pass.
    Unavailable,
}

impl Fault {
    pub(super) fn new(trouble: Trouble, detail: impl Into<String>) -> Self {
        Self { trouble, detail: detail.into() }
    }

    /// A request that is longer than we read.
    #[must_use]
    pub fn too_long() -> Self {
        let error = OAuthError::new(ErrorCode::InvalidRequest, "the request is longer than 8 KiB");
        Self::new(Trouble::Request(error), "an authorization request of more than 8 KiB")
    }

    /// Something of ours broke.
    #[must_use]
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        Self::new(Trouble::Unavailable, cause.to_string())
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::new(Trouble::Unavailable, error.to_string())
    }
}

/// The authorization response (RFC 6749 4.1.2, RFC 9207): where the browser goes, and what kind of place that is.
#[derive(Clone)]
pub struct ClientRedirect {
    /// The whole URI. It carries a code: never logged.
    pub location: String,
    /// The redirect URI without the answer.
    pub redirect_uri: RedirectUri,
    /// Who waits there.
    pub client: Client,
    /// What it is told.
    pub outcome: Outcome,
}

/// How an authorization went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There is a code.
    SignedIn,
    /// The user, or the provider, said no.
    Denied,
    /// Something failed.
    Failed,
}

impl std::fmt::Debug for ClientRedirect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientRedirect").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// What a client is answered.
pub(super) enum Answer<'a> {
    /// A code.
    Code(&'a str),
    /// An error, in words for its developer.
    Error(ErrorCode, &'a str),
}

/// An authorization response for a client: `state` echoed as it came, and our `iss` exactly once.
pub(super) fn respond(
    client: Client,
    redirect_uri: RedirectUri,
    answer: &Answer<'_>,
    state: Option<&str>,
    issuer: &str,
) -> ClientRedirect {
    let (mut parameters, outcome) = match *answer {
        Answer::Code(code) => (vec![("code", code)], Outcome::SignedIn),
        Answer::Error(error, words) => {
            let denied = error == ErrorCode::AccessDenied;
            let outcome = if denied { Outcome::Denied } else { Outcome::Failed };
            (vec![("error", error.as_str()), ("error_description", words)], outcome)
        }
    };
    parameters.extend(state.map(|state| ("state", state)));
    parameters.push(("iss", issuer));
    ClientRedirect { location: redirect_uri.with_parameters(&parameters), redirect_uri, client, outcome }
}
