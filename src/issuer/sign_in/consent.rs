//! The consent form: what the user is asked. It travels sealed (`form`), and nothing is stored until the user answers.
//!
//! Defends against: a confused deputy (each client is consented to, at every authorization), and phishing by a client's own name
//! (an address that the operator does not know is pointed out, also where a well-known host describes the client: many programs may
//! share that document).

use super::authorize::Validated;
use super::choices::{ProviderChoice, ProviderChoices};
use super::fault::Fault;
use super::form::{AuthorizationCookie, Question, RenderedForm, SealedForms};
use crate::config::{Pages, ScopeText};
use crate::issuer::clients::Clients;
use crate::issuer::resources::Resources;
use crate::model::authorization::ClientRequest;
use crate::model::client::{Client, ClientOrigin};
use crate::oauth::redirect_uri::{RedirectClass, RedirectUri};
use crate::oauth::scope::ScopeSet;

/// Makes consent forms.
pub(in crate::issuer) struct ConsentForms {
    pub(in crate::issuer) choices: ProviderChoices,
    pub(in crate::issuer) clients: Clients,
    pub(in crate::issuer) resources: Resources,
    pub(in crate::issuer) forms: SealedForms,
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

impl Question for ClientRequest {
    const LABEL: &'static str = "consent form";
}

impl ConsentForms {
    /// Prepares the consent page for a request.
    ///
    /// # Errors
    /// When no identity provider can be reached now.
    pub(in crate::issuer) async fn prompt(&self, validated: Validated) -> Result<ConsentPrompt, Fault> {
        let providers = self.choices.reachable(validated.request.refresh).await?;
        let Validated { request, client, redirect_uri } = validated;
        let RenderedForm { field: form, cookie } = self.forms.render(request.clone())?;
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
        Ok(ConsentPrompt { view, cookie })
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
}
