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
