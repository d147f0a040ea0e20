//! The consent form: what the user is asked. It travels sealed (`form`), and nothing is stored until the user answers.
//!
//! Defends against: a confused deputy (each client is consented to, at every authorization unless `remembering` knows better), and phishing by a client's own name
//! (an address that the operator does not know is pointed out, also where a well-known host describes the client: many programs may
//! share that document).

use std::time::Duration;

use super::authorize::Validated;
use super::choices::{ProviderChoice, ProviderChoices};
use super::fault::Fault;
use super::form::{AuthorizationCookie, Question, RenderedForm, SealedForms};
use super::receivers::Receivers;
use super::remembering::Remembering;
use crate::config::ScopeText;
use crate::issuer::resources::Resources;
use crate::model::authorization::ClientRequest;
use crate::model::client::Client;
use crate::oauth::redirect_uri::RedirectUri;
use crate::oauth::scope::ScopeSet;

/// Makes consent forms.
pub(in crate::issuer) struct ConsentForms {
    pub(in crate::issuer) choices: ProviderChoices,
    pub(in crate::issuer) receivers: Receivers,
    pub(in crate::issuer) remembering: Remembering,
    pub(in crate::issuer) resources: Resources,
    pub(in crate::issuer) forms: SealedForms,
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
    /// For how long the user may have the answer remembered in this browser; `None`: not at all.
    pub remember_for: Option<Duration>,
    /// The providers that can sign the user in; at least one.
    pub providers: Vec<ProviderChoice>,
    /// The form's hidden field: the sealed request.
    pub form: String,
}

impl Question for ClientRequest {
    const LABEL: &'static str = "consent form";
}

impl ConsentForms {
    /// Prepares the consent page for a request. `direct` is whether no other site sent the browser: only then is it any use
    /// to remember the answer, because other starts always ask.
    ///
    /// # Errors
    /// When no identity provider can be reached now.
    pub(in crate::issuer) async fn prompt(&self, validated: Validated, direct: bool) -> Result<ConsentPrompt, Fault> {
        let providers = self.choices.reachable(validated.request.refresh).await?;
        let remember_for = self.remembering.offer(&validated).filter(|_| direct);
        let Validated { request, client, redirect_uri, prompt: _ } = validated;
        let RenderedForm { field: form, cookie } = self.forms.render(request.clone())?;
        let upstream = self.resources.of_audience(&request.resource);
        let scopes = upstream.map(|upstream| &upstream.settings.scopes);
        let view = ConsentView {
            known_receiver: self.receivers.know(&client, &redirect_uri),
            resource_name: self.resources.name_of(&request.resource),
            scope: scopes.map_or_else(ScopeSet::empty, |scopes| scopes.hierarchy.effective(&request.scope)),
            scope_texts: scopes.map_or_else(Vec::new, |scopes| scopes.texts.clone()),
            refresh: request.refresh,
            client,
            redirect_uri,
            remember_for,
            providers,
            form,
        };
        Ok(ConsentPrompt { view, cookie })
    }
}
