//! The consent form: what the user is asked. It travels sealed (`form`), and nothing is stored until the user answers.
//!
//! Defends against: a confused deputy (consent is per client, and asked at every authorization unless it is remembered), and
//! phishing by a client's own name (an address that the operator does not know is pointed out, even if a well-known host
//! describes the client: many programs may share that document).

use std::time::Duration;

use super::authorize::Validated;
use super::choices::{ProviderChoice, ProviderChoices};
use super::fault::Fault;
use super::form::{FormPage, Question, RenderedForm, SealedForms};
use super::receivers::Receivers;
use super::remembering::Remembering;
use crate::issuer::resources::{AccessView, Resources};
use crate::model::authorization::ClientRequest;
use crate::model::client::Client;
use crate::oauth::redirect_uri::RedirectUri;

/// Makes consent forms.
pub(in crate::issuer) struct ConsentForms {
    pub(in crate::issuer) choices: ProviderChoices,
    pub(in crate::issuer) receivers: Receivers,
    pub(in crate::issuer) remembering: Remembering,
    pub(in crate::issuer) resources: Resources,
    pub(in crate::issuer) forms: SealedForms,
}

/// What the consent page shows.
#[derive(Debug)]
pub struct ConsentView {
    /// The client that asks.
    pub client: Client,
    /// Where the code will go.
    pub redirect_uri: RedirectUri,
    /// Whether the receiver of codes there is known: the page points out unknown ones.
    pub known_receiver: bool,
    /// What the client will be allowed.
    pub access: AccessView,
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
    pub(in crate::issuer) async fn prompt(
        &self,
        validated: Validated,
        direct: bool,
    ) -> Result<FormPage<ConsentView>, Fault> {
        let providers = self.choices.reachable(validated.request.refresh).await?;
        let remember_for = self.remembering.offer(&validated).filter(|_| direct);
        let Validated { request, client, redirect_uri, prompt: _ } = validated;
        let RenderedForm { field: form, cookie } = self.forms.render(request.clone())?;
        let view = ConsentView {
            known_receiver: self.receivers.know(&client, &redirect_uri),
            access: self.resources.access_view(&request.resource, &request.scope, request.refresh),
            client,
            redirect_uri,
            remember_for,
            providers,
            form,
        };
        Ok(FormPage { view, cookie })
    }
}
