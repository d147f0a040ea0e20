//! The authorization response (RFC 6749 4.1.2): what a client is told, and where its browser goes.

use super::Issuer;
use super::authorize::Validated;
use super::fault::Fault;
use crate::model::authorization::Authorization;
use crate::model::client::Client;
use crate::oauth::error::ErrorCode;
use crate::oauth::redirect_uri::RedirectUri;

/// An authorization response (RFC 6749 4.1.2, RFC 9207): where the browser goes, and what kind of place that is.
#[derive(Clone)]
pub(crate) struct ClientRedirect {
    /// The whole URI. It carries a code: never logged.
    pub location: String,
    /// The redirect URI without the answer.
    pub redirect_uri: RedirectUri,
    /// Who waits there.
    pub client: Box<Client>,
    /// What it is told.
    pub outcome: Outcome,
    /// Who signed in, as people call them.
    pub user: Option<String>,
}

/// How an authorization went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There is a code.
    SignedIn,
    /// The user said no on our page.
    Denied,
    /// The identity provider said no, or the user there.
    Refused,
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
    /// The user's own no.
    Denied,
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
        Answer::Denied => (error_parameters(ErrorCode::AccessDenied, "the user denied access"), Outcome::Denied),
        Answer::Error(error, words) => {
            let refused = error == ErrorCode::AccessDenied;
            (error_parameters(error, words), if refused { Outcome::Refused } else { Outcome::Failed })
        }
    };
    parameters.extend(state.map(|state| ("state", state)));
    parameters.push(("iss", issuer));
    let location = redirect_uri.with_parameters(&parameters);
    ClientRedirect { location, redirect_uri, client: Box::new(client), outcome, user: None }
}

fn error_parameters(error: ErrorCode, words: &str) -> Vec<(&'static str, &str)> {
    vec![("error", error.as_str()), ("error_description", words)]
}

impl Issuer {
    /// The response for an authorization, when its client may still be answered there.
    pub(super) async fn to_client(
        &self,
        authorization: &Authorization,
        answer: &Answer<'_>,
    ) -> Result<ClientRedirect, Fault> {
        let Validated { request, client, redirect_uri } = self.still_allowed(&authorization.request).await?;
        Ok(respond(client, redirect_uri, answer, request.state.as_deref(), self.issuer()))
    }
}
