//! The authorization request (RFC 6749 4.1.1, OAuth 2.1 4.1.1, RFC 7636 4.3, RFC 8707 2.1).
//!
//! Nothing is stored here, so a flood of requests costs no disk. Defends against: an open redirector. Until client and
//! redirect URI are known nothing is sent anywhere, and an error goes by redirect only to configured clients and to the
//! user's own machine.

use super::authorization_response::{Answer, ClientRedirect, Recipients};
use super::fault::{Fault, Trouble};
use crate::config::{RefreshTokens, Upstream};
use crate::issuer::clients::Clients;
use crate::issuer::resources::Resources;
use crate::model::authorization::{Access, ClientRequest};
use crate::model::client::{Client, ClientOrigin};
use crate::oauth::dpop::Thumbprint;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::parameters::{ParameterError, Parameters};
use crate::oauth::pkce::CodeChallenge;
use crate::oauth::redirect_uri::{RedirectClass, RedirectUri};
use crate::oauth::scope::{OFFLINE_ACCESS, ScopeSet, named_values};
use crate::wire::ClientAddress;

/// The longest `state` of a client, in bytes.
const MAX_STATE: usize = 2048;

/// Checks authorization requests. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct Authorize {
    pub(in crate::issuer) clients: Clients,
    pub(in crate::issuer) resources: Resources,
    pub(in crate::issuer) recipients: Recipients,
    /// Which clients get refresh tokens.
    pub(in crate::issuer) refresh_tokens: RefreshTokens,
}

/// A request that passed every rule.
#[derive(Debug, Clone)]
pub(crate) struct Validated {
    /// What the user is asked to consent to.
    pub(super) request: ClientRequest,
    /// The client.
    pub(super) client: Client,
    /// Where the code would go.
    pub(super) redirect_uri: RedirectUri,
    /// Whether the user must be asked even if a consent is remembered: the client sent `prompt`, or the remembered consent
    /// could not be used.
    pub(super) prompt: bool,
}

/// The response to an invalid request.
#[derive(Debug)]
pub(crate) enum AuthorizeRejection {
    /// A page. The redirect URI cannot be trusted, or it belongs to a client that registered itself: sending the browser
    /// there before the user agreed to anything would make us an open redirector (RFC 9700 4.11.2).
    Page(Fault),
    /// The error goes back to the client (RFC 6749 4.1.2.1).
    Redirect(ClientRedirect),
}

impl From<Fault> for AuthorizeRejection {
    fn from(fault: Fault) -> Self {
        Self::Page(fault)
    }
}

impl Authorize {
    /// Checks an authorization request that came from this address.
    ///
    /// # Errors
    /// See [`AuthorizeRejection`].
    pub(in crate::issuer) async fn authorize(
        &self,
        parameters: &Parameters,
        from: ClientAddress,
    ) -> Result<Validated, AuthorizeRejection> {
        let (client, redirect_uri) = self.requester(parameters, from).await?;
        let state = one(parameters, "state")?;
        if state.is_some_and(|state| state.len() > MAX_STATE) {
            return Err(wrong(invalid_request("state is longer than 2048 bytes")).into());
        }
        match self.request(parameters, &client, &redirect_uri, state) {
            Ok(request) => {
                // every value of OpenID Connect Core 3.1.2.1 asks at least for consent, except `none`, which is not supported
                let prompt = !matches!(parameters.one("prompt"), Ok(None));
                Ok(Validated { request, client, redirect_uri, prompt })
            }
            Err(error) => Err(self.reject(client, redirect_uri, state, &error)),
        }
    }

    /// A request that passed earlier, checked against today's settings: they may have changed since it was sealed into the form.
    ///
    /// # Errors
    /// When its resource has left the configuration.
    pub(super) fn revalidate(
        &self,
        mut request: ClientRequest,
        client: Client,
        redirect_uri: RedirectUri,
    ) -> Result<Validated, Fault> {
        let upstream = self.resources.of_audience(&request.resource);
        let upstream = upstream.ok_or_else(|| Fault::new(Trouble::Expired, "consent form: its resource is gone"))?;
        let givable = upstream.settings.scopes.known().with(OFFLINE_ACCESS);
        request.named_scope = request.named_scope.map(|named| named.intersection(&givable));
        let asked = request.named_scope.clone().unwrap_or_else(ScopeSet::empty);
        request.scope = granted(&asked, upstream);
        request.refresh = self.gets_refresh_token(&client, &asked);
        Ok(Validated { request, client, redirect_uri, prompt: true })
    }

    /// The client and where its answer may go.
    async fn requester(&self, parameters: &Parameters, from: ClientAddress) -> Result<(Client, RedirectUri), Fault> {
        let Some(client_id) = one(parameters, "client_id")? else {
            return Err(wrong(invalid_request("client_id is missing")));
        };
        let found = self.clients.find_current(client_id, from).await;
        let client = found.map_err(|error| Fault::no_client(&error, parameters.one("redirect_uri").ok().flatten()))?;
        let sent = one(parameters, "redirect_uri")?;
        let requested = match (sent, client.redirect_uris.as_slice()) {
            (Some(uri), _) => uri,
            (None, [only]) => only,
            (None, _) => return Err(wrong(invalid_request("redirect_uri is missing"))),
        };
        let redirect_uri = self.clients.redirect_uri(&client, requested)?;
        let portless = client.origin != ClientOrigin::Configured && redirect_uri.class() == RedirectClass::Loopback;
        if portless && sent.is_none() {
            // the port was removed at registration: the code would go to whatever listens on the default port
            let words = "redirect_uri is missing: an address on the user's machine must be sent, with its port";
            return Err(wrong(invalid_request(words)));
        }
        Ok((client, redirect_uri))
    }

    fn request(
        &self,
        parameters: &Parameters,
        client: &Client,
        redirect_uri: &RedirectUri,
        state: Option<&str>,
    ) -> Result<ClientRequest, OAuthError> {
        match parameters.one("response_type")? {
            Some("code") => {}
            None => return Err(invalid_request("response_type is missing: code")),
            Some(_) => return Err(OAuthError::new(ErrorCode::UnsupportedResponseType, "response_type must be code")),
        }
        if parameters.one("response_mode")?.is_some_and(|mode| mode != "query") {
            return Err(invalid_request("response_mode must be query"));
        }
        let Some(challenge) = parameters.one("code_challenge")? else {
            return Err(invalid_request("code_challenge is missing: PKCE is required"));
        };
        if parameters.one("code_challenge_method")? != Some("S256") {
            return Err(invalid_request("code_challenge_method must be S256"));
        }
        let challenge = CodeChallenge::parse(challenge)
            .ok_or_else(|| invalid_request("code_challenge is not the base64url of a SHA-256 value"))?;
        let Access { client_id, resource, scope, named_scope, refresh } = self.access(parameters, client)?;
        let dpop_jkt = self.dpop_jkt(parameters, &resource)?;
        Ok(ClientRequest {
            client_id,
            redirect_uri: redirect_uri.as_str().to_owned(),
            state: state.map(str::to_owned),
            code_challenge: challenge.as_str().to_owned(),
            resource,
            scope,
            named_scope,
            refresh,
            dpop_jkt,
        })
    }

    /// The key that the code is bound to (RFC 9449 10), where its resource takes bound tokens.
    fn dpop_jkt(&self, parameters: &Parameters, resource: &str) -> Result<Option<Thumbprint>, OAuthError> {
        let is_on = self.resources.dpop_of(resource).is_on();
        let Some(text) = parameters.one("dpop_jkt")?.filter(|_| is_on) else { return Ok(None) };
        let malformed = || invalid_request("dpop_jkt is not the base64url of a SHA-256 value");
        Thumbprint::parse(text).map(Some).ok_or_else(malformed)
    }

    /// What a request asks for: its `resource` and its `scope`, wherever it came.
    ///
    /// # Errors
    /// `invalid_target`, or a repeated parameter.
    pub(in crate::issuer) fn access(&self, parameters: &Parameters, client: &Client) -> Result<Access, OAuthError> {
        let upstream = self.resources.requested(parameters)?;
        let asked = named_values(parameters.one("scope")?.unwrap_or_default());
        Ok(Access {
            client_id: client.id.clone(),
            resource: upstream.audience().to_owned(),
            scope: granted(&asked, upstream),
            named_scope: named(&asked, upstream),
            refresh: self.gets_refresh_token(client, &asked),
        })
    }

    fn gets_refresh_token(&self, client: &Client, asked: &ScopeSet) -> bool {
        let registered = client.refresh_token && self.refresh_tokens == RefreshTokens::Registered;
        asked.contains(OFFLINE_ACCESS) || registered
    }

    fn reject(
        &self,
        client: Client,
        redirect_uri: RedirectUri,
        state: Option<&str>,
        error: &OAuthError,
    ) -> AuthorizeRejection {
        let vouched_for = client.origin == ClientOrigin::Configured || redirect_uri.class() == RedirectClass::Loopback;
        if !vouched_for {
            return wrong(error.clone()).into();
        }
        let recipient = self.recipients.recipient(client, redirect_uri, state.map(str::to_owned));
        AuthorizeRejection::Redirect(recipient.respond(Answer::Error(error.error, &error.error_description)))
    }
}

/// The granted scope: scopes that the resource does not know are dropped, and an empty rest means those that its calls need.
/// Nothing else is ever taken away, so a client that asks for all that a challenge names gets it and is not challenged again.
fn granted(asked: &ScopeSet, upstream: &Upstream) -> ScopeSet {
    let scopes = &upstream.settings.scopes;
    let known = asked.intersection(&scopes.known());
    if known.is_empty() { scopes.required.clone() } else { known }
}

/// The named scopes that the resource can give: they bound what token responses name, and are kept with the grant.
fn named(asked: &ScopeSet, upstream: &Upstream) -> Option<ScopeSet> {
    let known = asked.intersection(&upstream.settings.scopes.known().with(OFFLINE_ACCESS));
    (!asked.is_empty()).then_some(known)
}

/// The one value of a parameter that decides where an error may go: when it is repeated, the error stays on a page.
fn one<'a>(parameters: &'a Parameters, name: &'static str) -> Result<Option<&'a str>, Fault> {
    parameters.one(name).map_err(|error: ParameterError| wrong(error.into()))
}

fn invalid_request(words: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidRequest, words)
}

fn wrong(error: OAuthError) -> Fault {
    let detail = error.to_string();
    Fault::new(Trouble::Request(error), detail)
}
