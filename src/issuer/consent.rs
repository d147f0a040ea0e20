//! The consent form: what the user is asked, and whose answer it is.
//!
//! The request travels sealed in the form, and nothing is stored until the user answers. Each rendering has an id and a
//! secret of its own; the secret lies in a cookie of the one browser that saw the page, its hash in the sealed form. What
//! the identity provider's leg needs is derived from that secret, so a form posted twice leads to the same place twice.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::Issuer;
use super::authorize::Validated;
use super::fault::{Fault, Trouble};
use crate::clock::Timestamp;
use crate::config::ScopeText;
use crate::model::authorization::{AuthorizationRequest, Binding, render_secret};
use crate::model::client::{Client, ClientOrigin};
use crate::model::ids::AuthorizationId;
use crate::oauth::redirect_uri::{RedirectClass, RedirectUri};
use crate::oauth::scope::ScopeSet;
use crate::secret::{SecretText, Sha256, base64url, same_text};

const SEAL_LABEL: &str = "consent form";

/// What the consent page shows.
#[derive(Debug)]
pub(crate) struct ConsentView {
    /// Who asks.
    pub client: Client,
    /// Where the code will go.
    pub redirect_uri: RedirectUri,
    /// Whether the operator, or everybody, knows who receives codes there: others are pointed out.
    pub known_receiver: bool,
    /// What people call the server that is asked for.
    pub resource_name: String,
    /// What will be granted.
    pub scope: ScopeSet,
    /// What people read of the server's scopes.
    pub scope_texts: Vec<ScopeText>,
    /// Whether access may go on while the user is away.
    pub refresh: bool,
    /// Who can sign the user in.
    pub providers: Vec<ProviderChoice>,
    /// The form's hidden field.
    pub form: String,
    /// The cookie that must come back with it.
    pub cookie: AuthorizationCookie,
}

/// One button of the consent page.
#[derive(Debug)]
pub(crate) struct ProviderChoice {
    /// The value of the button.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it is asked for.
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

/// What the form holds, sealed.
#[derive(Serialize, Deserialize)]
struct Sealed {
    authorization: AuthorizationId,
    rendered_at: Timestamp,
    secret_hash: String,
    request: AuthorizationRequest,
}

/// A posted form that is one of ours; whose it is, the cookie must say.
pub(crate) struct OpenedForm(Sealed);

impl OpenedForm {
    /// The authorization that it is about: the consent cookie of that name must come with it.
    #[must_use]
    pub(crate) const fn authorization(&self) -> &AuthorizationId {
        &self.0.authorization
    }

    /// What it asks for, and when it was shown.
    pub(super) const fn question(&self) -> (&AuthorizationRequest, Timestamp) {
        (&self.0.request, self.0.rendered_at)
    }

    /// Proves that `cookie` is the one that was set with the form.
    pub(super) fn proven(self, cookie: Option<&str>) -> Result<ProvenForm, Fault> {
        let Self(Sealed { authorization, rendered_at: _, secret_hash, request }) = self;
        let other = |why: &str| Fault::new(Trouble::OtherBrowser, format!("consent form: {why}"));
        let cookie = cookie.ok_or_else(|| other("its cookie did not come"))?;
        let secret = BASE64URL_NOPAD.decode(cookie.as_bytes()).or(Err(other("its cookie is malformed")))?;
        if !same_text(&base64url(Sha256::of(&secret).as_bytes()), &secret_hash) {
            return Err(other("its cookie is another's"));
        }
        Ok(ProvenForm { authorization, request, binding: Binding::of_render(&secret) })
    }
}

/// A posted form of ours that came from the browser that was shown it.
pub(super) struct ProvenForm {
    pub(super) authorization: AuthorizationId,
    pub(super) request: AuthorizationRequest,
    /// What ties the rest of the sign-in to that browser.
    pub(super) binding: Binding,
}

impl Issuer {
    /// Prepares the consent page for a request.
    ///
    /// # Errors
    /// When no identity provider can be reached now.
    pub(crate) async fn consent(&self, validated: Validated) -> Result<ConsentView, Fault> {
        let providers = self.reachable_providers(validated.request.refresh).await?;
        let Validated { request, client, redirect_uri } = validated;
        let upstream = self.upstream_of(&request.resource);
        let (authorization, secret) = (AuthorizationId::random(), render_secret());
        let sealed = Sealed {
            authorization: authorization.clone(),
            rendered_at: self.now(),
            secret_hash: base64url(Sha256::of(&secret).as_bytes()),
            request: request.clone(),
        };
        let plain = serde_json::to_vec(&sealed).map_err(|error| Fault::new(Trouble::Unavailable, error.to_string()))?;
        let form = base64url(&self.0.parts.sealer.seal(SEAL_LABEL, self.issuer().as_bytes(), &plain));
        Ok(ConsentView {
            known_receiver: self.knows_receiver(&client, &redirect_uri),
            resource_name: upstream.map_or_else(String::new, |upstream| upstream.settings.name.clone()),
            scope: request.scope,
            scope_texts: upstream.map_or_else(Vec::new, |upstream| upstream.settings.scope_texts.clone()),
            refresh: request.refresh,
            cookie: AuthorizationCookie { authorization, value: base64url(&secret).into() },
            client,
            redirect_uri,
            providers,
            form,
        })
    }

    /// Whether an address is known beforehand: by the operator's lists, or as one of a configured client's. Earlier
    /// sign-ins do not count, because an attacker could have made them. Any program may wait on loopback, which people
    /// are told in plain words: a warning at every sign-in teaches them to skip warnings.
    fn knows_receiver(&self, client: &Client, redirect_uri: &RedirectUri) -> bool {
        let config = self.config();
        match redirect_uri.class() {
            RedirectClass::Loopback | RedirectClass::ListedApplication => true,
            RedirectClass::Application => client.origin == ClientOrigin::Configured,
            RedirectClass::Https => {
                let policy = &config.registration.redirect_policy;
                let mut configured = config.clients.iter().flat_map(|client| &client.redirect_uris);
                config.pages.knows(redirect_uri)
                    || configured.any(|uri| policy.parse(uri).is_ok_and(|uri| uri.is_same(redirect_uri)))
            }
        }
    }

    async fn reachable_providers(&self, refresh: bool) -> Result<Vec<ProviderChoice>, Fault> {
        let mut unreachable = Vec::new();
        let mut providers = Vec::new();
        for provider in self.0.parts.identities.iter() {
            match provider.is_reachable().await {
                Ok(()) => providers.push(ProviderChoice {
                    id: provider.id().to_string(),
                    name: provider.name().to_owned(),
                    scope: provider.requested_scopes(provider.asks_offline() && refresh),
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
    pub(crate) fn open_form(&self, form: &str) -> Result<OpenedForm, Fault> {
        let forged = |why: &str| Fault::forged(format!("consent form: {why}"));
        let sealed = BASE64URL_NOPAD.decode(form.as_bytes()).or(Err(forged("not base64url")))?;
        let plain = self.0.parts.sealer.open(SEAL_LABEL, self.issuer().as_bytes(), &sealed);
        let plain = plain.map_err(|unsealable| forged(&unsealable.to_string()))?;
        serde_json::from_slice(&plain).map(OpenedForm).map_err(|error| forged(&error.to_string()))
    }
}
