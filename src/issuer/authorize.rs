//! The authorization request (RFC 6749 4.1.1, OAuth 2.1 4.1.1, RFC 7636 4.3, RFC 8707 2.1).
//!
//! Nothing is stored here: a million calls cost no disk.

use super::Issuer;
use super::authorization_response::{Answer, ClientRedirect, respond};
use super::fault::{Fault, Trouble};
use crate::config::{RefreshTokens, Upstream};
use crate::model::authorization::AuthorizationRequest;
use crate::model::client::{Client, ClientOrigin};
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::parameters::{Parameters, Repeated};
use crate::oauth::pkce::CodeChallenge;
use crate::oauth::redirect_uri::{RedirectClass, RedirectUri};
use crate::oauth::resource::ResourceUri;
use crate::oauth::scope::{OFFLINE_ACCESS, ScopeSet, named_values};

/// How long a client's `state` may be, in bytes.
const MAX_STATE: usize = 2048;

/// A request that passed every rule.
#[derive(Debug, Clone)]
pub(crate) struct Validated {
    /// What consent will be about.
    pub request: AuthorizationRequest,
    /// Who asks.
    pub client: Client,
    /// Where the code would go.
    pub redirect_uri: RedirectUri,
}

/// What a request that did not pass leads to.
#[derive(Debug)]
pub(crate) enum AuthorizeRejection {
    /// A page: the redirect URI cannot be trusted, or belongs to a client that registered itself, and sending the
    /// browser there before the user agreed to anything would make us an open redirector (RFC 9700 4.11.2).
    Page(Fault),
    /// The error goes back to the client (RFC 6749 4.1.2.1).
    Redirect(ClientRedirect),
}

impl From<Fault> for AuthorizeRejection {
    fn from(fault: Fault) -> Self {
        Self::Page(fault)
    }
}

impl Issuer {
    /// Judges an authorization request.
    ///
    /// # Errors
    /// See [`AuthorizeRejection`].
    pub(crate) async fn authorize(&self, parameters: &Parameters) -> Result<Validated, AuthorizeRejection> {
        let (client, redirect_uri) = self.requester(parameters).await?;
        let state = match parameters.one("state") {
            Ok(Some(state)) if state.len() > MAX_STATE => {
                return Err(wrong(OAuthError::new(ErrorCode::InvalidRequest, "state is longer than 2048 bytes")).into());
            }
            Ok(state) => state,
            Err(repeated) => return Err(wrong(repeated.into()).into()),
        };
        match self.request(parameters, &client, &redirect_uri, state) {
            Ok(request) => Ok(Validated { request, client, redirect_uri }),
            Err(error) => Err(self.reject(client, redirect_uri, state, error)),
        }
    }

    /// Who asks, and where the answer may go: until both are known, nothing is sent anywhere.
    async fn requester(&self, parameters: &Parameters) -> Result<(Client, RedirectUri), Fault> {
        let one = |name| parameters.one(name).map_err(|repeated: Repeated| wrong(repeated.into()));
        let Some(client_id) = one("client_id")? else {
            return Err(wrong(OAuthError::new(ErrorCode::InvalidRequest, "client_id is missing")));
        };
        let Some(client) = self.find_client(client_id).await? else {
            let client_id = without_sentences(client_id);
            let redirect_uri = parameters.one("redirect_uri").ok().flatten().map(str::to_owned);
            let detail = format!("client {client_id:?} is not known here");
            return Err(Fault::new(Trouble::UnknownClient { client_id, redirect_uri }, detail));
        };
        let requested = match (one("redirect_uri")?, client.redirect_uris.as_slice()) {
            (Some(uri), _) => uri,
            (None, [only]) => only,
            (None, _) => return Err(wrong(OAuthError::new(ErrorCode::InvalidRequest, "redirect_uri is missing"))),
        };
        let redirect_uri = self.allowed_redirect(&client, requested)?;
        let portless = client.origin == ClientOrigin::Registered && redirect_uri.class() == RedirectClass::Loopback;
        if portless && one("redirect_uri")?.is_none() {
            // its port was cut out when it registered: the code would go to whatever listens on the default port
            let words = "redirect_uri is missing: an address on the user's machine must be sent, with its port";
            return Err(wrong(OAuthError::new(ErrorCode::InvalidRequest, words)));
        }
        Ok((client, redirect_uri))
    }

    fn request(
        &self,
        parameters: &Parameters,
        client: &Client,
        redirect_uri: &RedirectUri,
        state: Option<&str>,
    ) -> Result<AuthorizationRequest, OAuthError> {
        let invalid = |words: &'static str| OAuthError::new(ErrorCode::InvalidRequest, words);
        match parameters.one("response_type")? {
            Some("code") => {}
            None => return Err(invalid("response_type is missing: code")),
            Some(_) => return Err(OAuthError::new(ErrorCode::UnsupportedResponseType, "response_type must be code")),
        }
        if parameters.one("response_mode")?.is_some_and(|mode| mode != "query") {
            return Err(invalid("response_mode must be query"));
        }
        let Some(challenge) = parameters.one("code_challenge")? else {
            return Err(invalid("code_challenge is missing: PKCE is required"));
        };
        if parameters.one("code_challenge_method")? != Some("S256") {
            return Err(invalid("code_challenge_method must be S256"));
        }
        let challenge = CodeChallenge::parse(challenge)
            .ok_or_else(|| invalid("code_challenge is not the base64url of a SHA-256 value"))?;
        let upstream = self.requested_upstream(parameters)?;
        let asked = named_values(parameters.one("scope")?.unwrap_or_default());
        Ok(AuthorizationRequest {
            client_id: client.id.clone(),
            redirect_uri: redirect_uri.as_str().to_owned(),
            state: state.map(str::to_owned),
            code_challenge: challenge.as_str().to_owned(),
            resource: upstream.audience().to_owned(),
            scope: granted(&asked, upstream),
            named_scope: named(&asked, upstream),
            refresh: self.gets_refresh_token(client, &asked),
        })
    }

    /// A request that passed earlier, by the settings of now: they may have changed since, and what is sealed in a form is
    /// of then.
    ///
    /// # Errors
    /// When its resource is gone.
    pub(super) fn judged_anew(&self, mut validated: Validated) -> Result<Validated, Fault> {
        let Validated { request, client, .. } = &mut validated;
        let upstream = self.upstream_of(&request.resource);
        let upstream = upstream.ok_or_else(|| Fault::new(Trouble::Expired, "consent form: its resource is gone"))?;
        let givable = upstream.settings.scopes.clone().with(OFFLINE_ACCESS);
        request.named_scope = request.named_scope.take().map(|named| named.intersection(&givable));
        let asked = request.named_scope.clone().unwrap_or_else(ScopeSet::empty);
        request.scope = granted(&asked, upstream);
        request.refresh = self.gets_refresh_token(client, &asked);
        Ok(validated)
    }

    fn gets_refresh_token(&self, client: &Client, asked: &ScopeSet) -> bool {
        let registered = client.refresh_token && self.config().tokens.refresh == RefreshTokens::Registered;
        asked.contains(OFFLINE_ACCESS) || registered
    }

    /// The one upstream that the request names; without a name the only one, or the operator's default.
    fn requested_upstream(&self, parameters: &Parameters) -> Result<&Upstream, OAuthError> {
        let invalid = |words: &'static str| OAuthError::new(ErrorCode::InvalidTarget, words);
        let mut named: Option<&Upstream> = None;
        for resource in parameters.all("resource") {
            let uri = ResourceUri::parse(resource)
                .map_err(|malformed| OAuthError::new(ErrorCode::InvalidTarget, malformed.to_string()))?;
            let upstream = self.upstream(&uri).ok_or_else(|| invalid("resource names no server here"))?;
            if named.is_some_and(|other| other.audience() != upstream.audience()) {
                return Err(invalid("a token is for one resource: several were named"));
            }
            named = Some(upstream);
        }
        let upstreams = self.config().upstreams.as_slice();
        let implied = || match upstreams {
            [only] => Some(only),
            several => several.iter().find(|upstream| upstream.settings.default),
        };
        named.or_else(implied).ok_or_else(|| invalid("resource is missing, and there are several servers here"))
    }

    fn reject(
        &self,
        client: Client,
        redirect_uri: RedirectUri,
        state: Option<&str>,
        error: OAuthError,
    ) -> AuthorizeRejection {
        let vouched_for = client.origin == ClientOrigin::Configured || redirect_uri.class() == RedirectClass::Loopback;
        if !vouched_for {
            return wrong(error).into();
        }
        let answer = Answer::Error(error.error, &error.error_description);
        AuthorizeRejection::Redirect(respond(client, redirect_uri, &answer, state, self.issuer()))
    }
}

/// Scopes are judged against the resource: what it does not know is dropped; nothing left means its default.
fn granted(asked: &ScopeSet, upstream: &Upstream) -> ScopeSet {
    let known = asked.intersection(&upstream.settings.scopes);
    if known.is_empty() { upstream.settings.scopes.clone() } else { known }
}

/// What was named of all that the resource can give: it bounds what token answers name, and is kept with the grant.
fn named(asked: &ScopeSet, upstream: &Upstream) -> Option<ScopeSet> {
    let known = asked.intersection(&upstream.settings.scopes.clone().with(OFFLINE_ACCESS));
    (!asked.is_empty()).then_some(known)
}

/// An unknown id, made fit for a page: spaces become `?`, so that it cannot carry a stranger's message. No client id has any
/// (RFC 6749 A.1 allows them, we do not).
fn without_sentences(client_id: &str) -> String {
    client_id.chars().take(64).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

fn wrong(error: OAuthError) -> Fault {
    let detail = error.to_string();
    Fault::new(Trouble::Request(error), detail)
}
