//! The consent form: what the user is asked, and what their answer starts.
//!
//! The request travels sealed in the form and nothing is stored until the user approves. Each render has an id and a secret
//! of its own; the secret lies in a cookie of the one browser that saw the page, its hash in the sealed form. What the
//! identity provider's leg needs is derived from that secret, so a form posted twice leads to the same place twice.

use serde::{Deserialize, Serialize};

use super::Issuer;
use super::authorize::Validated;
use super::fault::{Answer, ClientRedirect, Fault, Trouble, respond};
use crate::clock::Timestamp;
use crate::identity::{Begin, Provider};
use crate::limits::{ClientAddress, address_key};
use crate::model::authorization::{Authorization, AuthorizationRequest, Binding, Stage, render_secret};
use crate::model::client::Client;
use crate::model::ids::RenderId;
use crate::oauth::error::ErrorCode;
use crate::oauth::redirect_uri::RedirectUri;
use crate::oauth::scope::ScopeSet;
use crate::secret::{Sha256, base64url};

const SEAL_LABEL: &str = "consent form";

/// What the consent page shows.
#[derive(Debug)]
pub struct ConsentView {
    /// Who asks.
    pub client: Client,
    /// Where the code will go.
    pub redirect_uri: RedirectUri,
    /// What people call the server that is asked for.
    pub resource_name: String,
    /// Its URL.
    pub resource: String,
    /// What will be granted.
    pub scope: ScopeSet,
    /// Whether access may go on while the user is away.
    pub refresh: bool,
    /// Who can sign the user in.
    pub providers: Vec<ProviderChoice>,
    /// The form's hidden field.
    pub form: String,
    /// The cookie that must come back with it.
    pub cookie: RenderCookie,
}

/// One button of the consent page.
#[derive(Debug)]
pub struct ProviderChoice {
    /// The value of the button.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it is asked for.
    pub scope: ScopeSet,
}

/// A cookie that belongs to one render of the consent page.
#[derive(Debug)]
pub struct RenderCookie {
    /// Part of its name.
    pub render: RenderId,
    /// Its value: a secret.
    pub value: crate::secret::SecretText,
}

/// What the form holds, sealed.
#[derive(Serialize, Deserialize)]
struct Sealed {
    render: RenderId,
    rendered_at: Timestamp,
    secret_hash: String,
    request: AuthorizationRequest,
}

/// A posted form that is one of ours; whose it is, the cookie must say.
pub struct OpenedForm(Sealed);

impl OpenedForm {
    /// The render whose cookie must come with it.
    #[must_use]
    pub const fn render(&self) -> &RenderId {
        &self.0.render
    }
}

/// What an answered form leads to.
#[derive(Debug)]
pub enum Approval {
    /// The browser goes to the identity provider, or to our own sign-in page, with a cookie that the way back demands.
    SignIn {
        /// Where.
        location: String,
        /// The binding.
        binding: RenderCookie,
    },
    /// The user said no: back to the client, and the form's cookie goes, so that no is final.
    Denied {
        /// The way back.
        redirect: ClientRedirect,
        /// Whose cookie goes.
        render: RenderId,
    },
    /// The form is too old: the same question again.
    Expired(Box<Validated>),
    /// This form was answered before and the sign-in is over.
    Answered {
        /// The way to finish, for the browser that may.
        finish: Option<ClientRedirect>,
    },
}

impl Issuer {
    /// Prepares the consent page for a request.
    ///
    /// # Errors
    /// When no identity provider can be reached now.
    pub async fn consent(&self, validated: Validated) -> Result<ConsentView, Fault> {
        let providers = self.reachable_providers().await?;
        let Validated { request, client, redirect_uri } = validated;
        let upstream = self.upstream_of(&request.resource);
        let (render, secret) = (RenderId::random(), render_secret());
        let sealed = Sealed {
            render: render.clone(),
            rendered_at: self.now(),
            secret_hash: base64url(Sha256::of(&secret).as_bytes()),
            request: request.clone(),
        };
        let plain = serde_json::to_vec(&sealed).map_err(|error| Fault::new(Trouble::Unavailable, error.to_string()))?;
        let form = base64url(&self.0.parts.sealer.seal(SEAL_LABEL, self.issuer().as_bytes(), &plain));
        Ok(ConsentView {
            resource_name: upstream.map_or_else(String::new, |upstream| upstream.settings.name.clone()),
            resource: request.resource,
            scope: request.scope,
            refresh: request.refresh,
            cookie: RenderCookie { render, value: base64url(&secret).into() },
            client,
            redirect_uri,
            providers,
            form,
        })
    }

    async fn reachable_providers(&self) -> Result<Vec<ProviderChoice>, Fault> {
        let mut unreachable = Vec::new();
        let mut providers = Vec::new();
        for provider in self.0.parts.identities.iter() {
            match provider.is_reachable().await {
                Ok(()) => providers.push(ProviderChoice {
                    id: provider.id().to_string(),
                    name: provider.name().to_owned(),
                    scope: provider.requested_scopes(provider.asks_offline()),
                }),
                Err(error) => unreachable.push((provider.name(), error)),
            }
        }
        if !providers.is_empty() {
            return Ok(providers);
        }
        let names: Vec<_> = unreachable.iter().map(|(name, _)| *name).collect();
        let causes: Vec<_> = unreachable.iter().map(|(name, error)| format!("{name}: {error}")).collect();
        Err(Fault::new(Trouble::ProviderUnavailable { provider: names.join(", ") }, causes.join("; ")))
    }

    /// Opens a posted form.
    ///
    /// # Errors
    /// When it is not one of ours.
    pub fn open_form(&self, form: &str) -> Result<OpenedForm, Fault> {
        let forged = |why: &str| Fault::new(Trouble::Forged, format!("consent form: {why}"));
        let sealed = data_encoding::BASE64URL_NOPAD.decode(form.as_bytes()).or(Err(forged("not base64url")))?;
        let plain = self.0.parts.sealer.open(SEAL_LABEL, self.issuer().as_bytes(), &sealed);
        let plain = plain.map_err(|unsealable| forged(&unsealable.to_string()))?;
        serde_json::from_slice(&plain).map(OpenedForm).map_err(|error| forged(&error.to_string()))
    }

    /// Takes the user's answer. `cookie` is the value of the render's cookie; `identity` the chosen provider, or `None`
    /// for no.
    ///
    /// # Errors
    /// What the user is told on a page.
    pub async fn answer_form(
        &self,
        form: OpenedForm,
        cookie: Option<&str>,
        identity: Option<&str>,
        address: ClientAddress,
    ) -> Result<Approval, Fault> {
        let OpenedForm(sealed) = form;
        let secret = proven_secret(&sealed, cookie)?;
        if self.0.approvals.check(&address_key(address.0)).is_err() {
            return Err(Fault::new(Trouble::TooMany, "too many sign-ins were begun from one address"));
        }
        let validated = self.still_allowed(&sealed.request).await?;
        if self.now() >= sealed.rendered_at + self.config().lifetimes.consent {
            let binding = Binding::of_render(&secret);
            return match self.store().authorization(&sealed.render).await? {
                Some(authorization) => self.answered_before(&authorization, &binding).await,
                None => Ok(Approval::Expired(Box::new(validated))),
            };
        }
        match identity {
            Some(identity) => self.approve(sealed, &secret, identity).await,
            None => self.deny(sealed.render, &secret, validated).await,
        }
    }

    /// Looks the client up again: it may have gone, or lost the redirect URI, while the user was reading.
    pub(super) async fn still_allowed(&self, request: &AuthorizationRequest) -> Result<Validated, Fault> {
        let client = self.find_client(request.client_id.as_str()).await?;
        let client = client.ok_or_else(|| {
            let trouble = Trouble::UnknownClient {
                client_id: request.client_id.to_string(),
                redirect_uri: Some(request.redirect_uri.clone()),
            };
            Fault::new(trouble, format!("client {} went while it was being used", request.client_id))
        })?;
        let redirect_uri = self.allowed_redirect(&client, &request.redirect_uri)?;
        Ok(Validated { request: request.clone(), client, redirect_uri })
    }

    /// No, unless the same form said yes before and the sign-in came to its end.
    async fn deny(&self, render: RenderId, secret: &[u8], validated: Validated) -> Result<Approval, Fault> {
        if let Some(first) = self.store().authorization(&render).await? {
            let undone = self.store().claim_authorization(&render, first.round, self.now()).await?
                && self.store().refuse_authorization(&render, first.round).await?;
            if !undone {
                return self.answered_before(&first, &Binding::of_render(secret)).await;
            }
        }
        let Validated { request, client, redirect_uri } = validated;
        let answer = Answer::Error(ErrorCode::AccessDenied, "the user denied access");
        let redirect = respond(client, redirect_uri, &answer, request.state.as_deref(), self.issuer());
        Ok(Approval::Denied { redirect, render })
    }

    async fn approve(&self, sealed: Sealed, secret: &[u8], identity: &str) -> Result<Approval, Fault> {
        let provider = self.0.parts.identities.get(identity).ok_or_else(|| {
            Fault::new(Trouble::Forged, "consent form: the chosen identity provider is not configured")
        })?;
        let binding = Binding::of_render(secret);
        let now = self.now();
        let authorization = Authorization {
            id: sealed.render,
            request: sealed.request,
            identity: provider.id().clone(),
            binding_hash: binding.sha256(),
            round: 0,
            offline: provider.asks_offline(),
            retried: false,
            stage: Stage::Pending,
            created_at: now,
            expires_at: now + self.config().lifetimes.authorization,
        };
        let location = self.sign_in_location(provider, &authorization, &binding)?;
        if self.store().insert_authorization(&authorization).await? {
            return Ok(Approval::SignIn { location, binding: binding_cookie(&authorization.id, &binding) });
        }
        let first = self.store().authorization(&authorization.id).await?;
        let first = first.ok_or_else(|| Fault::new(Trouble::Expired, "the authorization went"))?;
        self.answered_before(&first, &binding).await
    }

    /// The second post of a form: the same way again while the sign-in is pending, later a page.
    async fn answered_before(&self, first: &Authorization, binding: &Binding) -> Result<Approval, Fault> {
        if !first.binding_hash.same(&binding.sha256()) {
            return Err(Fault::new(Trouble::OtherBrowser, "a consent form of another browser"));
        }
        let pending = first.stage == Stage::Pending && self.now() < first.expires_at;
        match self.0.parts.identities.get(first.identity.as_str()) {
            Some(provider) if pending => Ok(Approval::SignIn {
                location: self.sign_in_location(provider, first, binding)?,
                binding: binding_cookie(&first.id, binding),
            }),
            _ => Ok(Approval::Answered { finish: self.finish(first, binding).await? }),
        }
    }

    /// Where the browser goes to sign in, in the authorization's current round.
    pub(super) fn sign_in_location(
        &self,
        provider: &Provider,
        authorization: &Authorization,
        binding: &Binding,
    ) -> Result<String, Fault> {
        if provider.local().is_some() {
            return Ok(format!("/sign-in/{}?authorization={}", provider.id(), authorization.id));
        }
        let round = authorization.round;
        let begin = Begin {
            state: &binding.state(&authorization.id, round),
            nonce: &binding.nonce(round),
            code_challenge: &binding.code_verifier(round).challenge(),
            redirect_uri: &self.callback_uri(provider),
            offline: authorization.offline,
        };
        provider.authorization_url(&begin).map_err(|error| {
            Fault::new(Trouble::ProviderUnavailable { provider: provider.name().to_owned() }, error.to_string())
        })
    }

    /// Where a provider sends the browser back: one path each, so that one provider cannot answer for another.
    pub(super) fn callback_uri(&self, provider: &Provider) -> String {
        self.config().public_url.join(&format!("/callback/{}", provider.id()))
    }
}

fn binding_cookie(id: &RenderId, binding: &Binding) -> RenderCookie {
    RenderCookie { render: id.clone(), value: binding.expose().into() }
}

fn proven_secret(sealed: &Sealed, cookie: Option<&str>) -> Result<Vec<u8>, Fault> {
    let other = |why: &str| Fault::new(Trouble::OtherBrowser, format!("consent form: {why}"));
    let cookie = cookie.ok_or_else(|| other("its cookie did not come"))?;
    let secret = data_encoding::BASE64URL_NOPAD.decode(cookie.as_bytes()).or(Err(other("its cookie is malformed")))?;
    let hash = base64url(Sha256::of(&secret).as_bytes());
    if crate::secret::same_text(&hash, &sealed.secret_hash) {
        Ok(secret)
    } else {
        Err(other("its cookie is another's"))
    }
}
