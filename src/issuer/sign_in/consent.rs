//! The consent form: what the user is asked, and whose answer it is.
//!
//! The request travels sealed in the form, and nothing is stored until the user answers. Each rendering has an id and a
//! secret of its own: the secret lies in a cookie of the one browser that saw the page, its hash in the sealed form. What the
//! provider's leg needs is derived from that secret, so a form that is posted twice leads to the same place twice.
//!
//! Defends against: CSRF (a form without its cookie is refused), forged and altered requests (the seal), a confused deputy
//! (each client is consented to, at every authorization), and phishing by a client's own name (an address that the operator
//! does not know is pointed out, also where a well-known host describes the client: many programs may share that document).

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::authorize::Validated;
use super::fault::{Fault, Trouble};
use crate::clock::{Clock, Timestamp};
use crate::config::{Pages, ScopeText};
use crate::identity::{ExchangeError, Identities, Provider};
use crate::issuer::clients::Clients;
use crate::issuer::resources::Resources;
use crate::keys::Sealer;
use crate::model::authorization::{Binding, ClientRequest, render_secret};
use crate::model::client::{Client, ClientOrigin};
use crate::model::ids::AuthorizationId;
use crate::oauth::redirect_uri::{RedirectClass, RedirectUri};
use crate::oauth::scope::ScopeSet;
use crate::secret::{SecretText, Sha256, base64url, same_text};

const SEAL_LABEL: &str = "consent form";

/// Makes consent forms and opens those that come back.
pub(in crate::issuer) struct ConsentForms {
    pub(in crate::issuer) identities: Identities,
    pub(in crate::issuer) clients: Clients,
    pub(in crate::issuer) resources: Resources,
    pub(in crate::issuer) sealer: Sealer,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) issuer: Arc<str>,
    /// The operator's list of receivers that people are not warned of.
    pub(in crate::issuer) pages: Pages,
}

/// A consent page and the cookie that belongs to it.
#[derive(Debug)]
pub(crate) struct ConsentPrompt {
    /// The page.
    pub view: ConsentView,
    /// The cookie that must come back with the form.
    pub cookie: AuthorizationCookie,
}

/// What the consent page shows.
#[derive(Debug)]
pub struct ConsentView {
    /// The client that asks.
    pub client: Client,
    /// Where the code will go.
    pub redirect_uri: RedirectUri,
    /// Whether the operator, or everybody, knows who receives codes there: others are pointed out.
    pub known_receiver: bool,
    /// What people call the server that is asked for.
    pub resource_name: String,
    /// What the client will be allowed: the scope that will be granted, and what it implies.
    pub scope: ScopeSet,
    /// What people read of the server's scopes, in the operator's order.
    pub scope_texts: Vec<ScopeText>,
    /// Whether a refresh token will be given, even where `scope` does not name `offline_access`.
    pub refresh: bool,
    /// The providers that can sign the user in; at least one.
    pub providers: Vec<ProviderChoice>,
    /// The form's hidden field: the sealed request.
    pub form: String,
}

/// One button of the consent page.
#[derive(Debug)]
pub struct ProviderChoice {
    /// The value of the button.
    pub id: String,
    /// What people call the provider.
    pub name: String,
    /// What the provider is asked for; empty for users of our own.
    pub scope: ScopeSet,
}

/// A cookie of the browser that saw the consent page: one kind proves the page's form, the other binds the sign-in after it.
#[derive(Debug)]
pub(crate) struct AuthorizationCookie {
    /// Part of its name.
    pub authorization: AuthorizationId,
    /// Its value: a secret.
    pub value: SecretText,
}

/// The content of a form.
#[derive(Serialize, Deserialize)]
struct Sealed {
    authorization: AuthorizationId,
    rendered_at: Timestamp,
    secret_hash: String,
    request: ClientRequest,
}

/// A posted form that is one of ours; whose it is, the cookie must prove.
pub(crate) struct OpenedForm(Sealed);

impl OpenedForm {
    /// The authorization that it is about: the consent cookie of that name must come with it.
    #[must_use]
    pub(crate) const fn authorization(&self) -> &AuthorizationId {
        &self.0.authorization
    }

    /// The request that the user was asked about.
    pub(super) const fn request(&self) -> &ClientRequest {
        &self.0.request
    }

    /// When it was shown.
    pub(super) const fn rendered_at(&self) -> Timestamp {
        self.0.rendered_at
    }

    /// Proves that `cookie` is the one that was set with the form.
    pub(super) fn proven(&self, cookie: Option<&str>) -> Result<ProvenForm, Fault> {
        let other =
            |why: &str| Fault::new(Trouble::OtherBrowser, format!("consent form of {}: {why}", self.0.authorization));
        let cookie = cookie.ok_or_else(|| other("its cookie did not come"))?;
        let secret = BASE64URL_NOPAD.decode(cookie.as_bytes()).or(Err(other("its cookie is malformed")))?;
        if !same_text(&base64url(Sha256::of(&secret).as_bytes()), &self.0.secret_hash) {
            return Err(other("its cookie belongs to another form"));
        }
        Ok(ProvenForm {
            authorization: self.0.authorization.clone(),
            request: self.0.request.clone(),
            binding: Binding::of_render(&secret),
        })
    }
}

/// A posted form of ours that came from the browser that was shown it.
pub(super) struct ProvenForm {
    pub(super) authorization: AuthorizationId,
    pub(super) request: ClientRequest,
    /// What ties the rest of the sign-in to that browser.
    pub(super) binding: Binding,
}

impl ConsentForms {
    /// Prepares the consent page for a request.
    ///
    /// # Errors
    /// When no identity provider can be reached now.
    pub(in crate::issuer) async fn prompt(&self, validated: Validated) -> Result<ConsentPrompt, Fault> {
        let providers = self.reachable_providers(validated.request.refresh).await?;
        let Validated { request, client, redirect_uri } = validated;
        let (authorization, secret) = (AuthorizationId::random(), render_secret());
        let form = self.seal(&Sealed {
            authorization: authorization.clone(),
            rendered_at: self.clock.now(),
            secret_hash: base64url(Sha256::of(&secret).as_bytes()),
            request: request.clone(),
        })?;
        let upstream = self.resources.of_audience(&request.resource);
        let scopes = upstream.map(|upstream| &upstream.settings.scopes);
        let view = ConsentView {
            known_receiver: self.knows_receiver(&client, &redirect_uri),
            resource_name: self.resources.name_of(&request.resource),
            scope: scopes.map_or_else(ScopeSet::empty, |scopes| scopes.hierarchy.effective(&request.scope)),
            scope_texts: scopes.map_or_else(Vec::new, |scopes| scopes.texts.clone()),
            refresh: request.refresh,
            client,
            redirect_uri,
            providers,
            form,
        };
        Ok(ConsentPrompt { view, cookie: AuthorizationCookie { authorization, value: base64url(&secret).into() } })
    }

    /// Whether it is known who receives codes at an address: by the operator's lists, or because a configured client has it.
    /// Earlier sign-ins do not count, because an attacker could have made them. Any program may listen on loopback, and the
    /// page says so in plain words: a warning at every sign-in would teach people to skip warnings.
    fn knows_receiver(&self, client: &Client, redirect_uri: &RedirectUri) -> bool {
        match redirect_uri.class() {
            RedirectClass::Loopback | RedirectClass::ListedApplication => true,
            RedirectClass::Application => client.origin == ClientOrigin::Configured,
            RedirectClass::Https => {
                self.pages.knows(redirect_uri) || self.clients.is_configured_redirect_uri(redirect_uri)
            }
        }
    }

    async fn reachable_providers(&self, refresh: bool) -> Result<Vec<ProviderChoice>, Fault> {
        let asked = self.identities.iter().map(async |provider| (provider, provider.is_reachable().await));
        let asked: Vec<(&Provider, Result<(), ExchangeError>)> = join_all(asked).await;
        let reachable = asked.iter().filter(|(_, answer)| answer.is_ok());
        let choices: Vec<_> = reachable.map(|(provider, _)| choice(provider, refresh)).collect();
        if !choices.is_empty() {
            return Ok(choices);
        }
        let names: Vec<_> = asked.iter().map(|(provider, _)| provider.name()).collect();
        let unreachable = asked.iter().filter_map(|(provider, answer)| Some((provider, answer.as_ref().err()?)));
        let causes: Vec<_> = unreachable.map(|(provider, error)| format!("{}: {error}", provider.name())).collect();
        Err(Fault::new(Trouble::ProviderUnavailable { provider: names.join(", ") }, causes.join("; ")))
    }

    fn seal(&self, form: &Sealed) -> Result<String, Fault> {
        let plain = serde_json::to_vec(form).map_err(|error| Fault::internal(&error))?;
        Ok(base64url(&self.sealer.seal(SEAL_LABEL, self.issuer.as_bytes(), &plain)))
    }

    /// Opens a posted form.
    ///
    /// # Errors
    /// When it is not one of ours.
    pub(in crate::issuer) fn open(&self, form: &str) -> Result<OpenedForm, Fault> {
        let not_ours = |why: &str| Fault::not_ours(format!("consent form: {why}"));
        let sealed = BASE64URL_NOPAD.decode(form.as_bytes()).or(Err(not_ours("not base64url")))?;
        let plain = self.sealer.open(SEAL_LABEL, self.issuer.as_bytes(), &sealed);
        let plain = plain.map_err(|unsealable| not_ours(&unsealable.to_string()))?;
        serde_json::from_slice(&plain).map(OpenedForm).map_err(|error| not_ours(&error.to_string()))
    }
}

fn choice(provider: &Provider, refresh: bool) -> ProviderChoice {
    ProviderChoice {
        id: provider.id().to_string(),
        name: provider.name().to_owned(),
        scope: provider.requested_scopes(provider.asks_offline() && refresh),
    }
}
