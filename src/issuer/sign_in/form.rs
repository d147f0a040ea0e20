//! Sealed forms: the form carries the question, so that nothing is stored until the user answers.
//!
//! Each rendering has an id and a secret of its own: the secret is in a cookie of the one browser that saw the page, its hash
//! in the sealed form. The sign-in at the provider is derived from that secret, so a form that is posted twice leads to the
//! same place twice.
//!
//! Defends against: CSRF (a form without its cookie is refused), forged and altered requests (the seal), and a confused deputy
//! (each kind of form is sealed under a label of its own, so no form can be answered as one of another kind).

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::fault::{Fault, Trouble};
use crate::clock::{Clock, Timestamp};
use crate::keys::Sealer;
use crate::model::authorization::{Binding, render_secret};
use crate::model::ids::AuthorizationId;
use crate::secret::{SecretText, Sha256, base64url, same_text};

/// Makes sealed forms and opens those that come back. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct SealedForms {
    pub(in crate::issuer) sealer: Sealer,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) issuer: Arc<str>,
}

/// What a form asks.
pub(crate) trait Question: Serialize + DeserializeOwned {
    /// The purpose of the seal, and its name in the log.
    const LABEL: &'static str;
}

/// A form that was rendered, with the cookie that must come back with it.
pub(super) struct RenderedForm {
    /// The hidden field.
    pub(super) field: String,
    pub(super) cookie: AuthorizationCookie,
}

/// A page with a form, and the cookie that must come back with it.
#[derive(Debug)]
pub(crate) struct FormPage<V> {
    pub view: V,
    pub cookie: AuthorizationCookie,
}

/// A cookie of the browser that saw a form: one kind proves the form, the other binds the sign-in after it.
#[derive(Debug)]
pub(crate) struct AuthorizationCookie {
    /// Part of its name.
    pub authorization: AuthorizationId,
    /// Its value: a secret.
    pub value: SecretText,
}

impl AuthorizationCookie {
    /// The cookie that binds a sign-in.
    pub(super) fn binding(id: &AuthorizationId, binding: &Binding) -> Self {
        Self { authorization: id.clone(), value: binding.expose().into() }
    }
}

/// The content of a form.
#[derive(Serialize, Deserialize)]
struct Sealed<Q> {
    authorization: AuthorizationId,
    rendered_at: Timestamp,
    secret_hash: String,
    #[serde(rename = "request")]
    question: Q,
}

/// A posted form that is one of ours, with the cookie that came with it. [`Self::proven`] checks that they belong together.
pub(crate) struct OpenedForm<Q> {
    sealed: Sealed<Q>,
    field: String,
    cookie: Option<String>,
}

/// A posted form of ours that came from the browser that was shown it.
pub(super) struct ProvenForm {
    pub(super) authorization: AuthorizationId,
    /// Binds the rest of the sign-in to that browser.
    pub(super) binding: Binding,
}

impl ProvenForm {
    /// Replaces a form that is not shown: the browser that gets the binding began the sign-in.
    pub(super) fn unasked() -> Self {
        Self { authorization: AuthorizationId::random(), binding: Binding::of_render(&render_secret()) }
    }
}

impl SealedForms {
    /// Renders a form.
    pub(super) fn render<Q: Question>(&self, question: Q) -> Result<RenderedForm, Fault> {
        let (authorization, secret) = (AuthorizationId::random(), render_secret());
        let sealed = Sealed {
            authorization: authorization.clone(),
            rendered_at: self.clock.now(),
            secret_hash: base64url(Sha256::of(&secret).as_bytes()),
            question,
        };
        let plain = serde_json::to_vec(&sealed).map_err(|error| Fault::internal(&error))?;
        let field = base64url(&self.sealer.seal(Q::LABEL, self.issuer.as_bytes(), &plain));
        let cookie = AuthorizationCookie { authorization, value: base64url(&secret).into() };
        Ok(RenderedForm { field, cookie })
    }

    /// Opens a posted form. `cookie_of` finds the value of the cookie that was set with it.
    ///
    /// # Errors
    /// When it is not one of ours, or of another kind.
    pub(in crate::issuer) fn open<Q: Question>(
        &self,
        field: &str,
        cookie_of: impl FnOnce(&AuthorizationId) -> Option<String>,
    ) -> Result<OpenedForm<Q>, Fault> {
        let not_ours = |why: &str| Fault::not_ours(format!("{}: {why}", Q::LABEL));
        let bytes = BASE64URL_NOPAD.decode(field.as_bytes()).or(Err(not_ours("not base64url")))?;
        let plain = self.sealer.open(Q::LABEL, self.issuer.as_bytes(), &bytes);
        let plain = plain.map_err(|unsealable| not_ours(&unsealable.to_string()))?;
        let sealed: Sealed<Q> = serde_json::from_slice(&plain).map_err(|error| not_ours(&error.to_string()))?;
        let cookie = cookie_of(&sealed.authorization);
        Ok(OpenedForm { sealed, field: field.to_owned(), cookie })
    }
}

impl<Q: Question> OpenedForm<Q> {
    /// What the user was asked.
    pub(super) const fn question(&self) -> &Q {
        &self.sealed.question
    }

    /// When it was shown.
    pub(super) const fn rendered_at(&self) -> Timestamp {
        self.sealed.rendered_at
    }

    /// The hidden field, to show the same form again.
    pub(super) fn field(&self) -> &str {
        &self.field
    }

    /// Checks that the cookie is the one that was set with the form (CSRF).
    pub(super) fn proven(&self) -> Result<ProvenForm, Fault> {
        let id = &self.sealed.authorization;
        let other = |why: &str| Fault::new(Trouble::OtherBrowser, format!("{} of {id}: {why}", Q::LABEL));
        let cookie = self.cookie.as_deref().ok_or_else(|| other("its cookie did not come"))?;
        let secret = BASE64URL_NOPAD.decode(cookie.as_bytes()).or(Err(other("its cookie is malformed")))?;
        if !same_text(&base64url(Sha256::of(&secret).as_bytes()), &self.sealed.secret_hash) {
            return Err(other("its cookie is another one's"));
        }
        Ok(ProvenForm { authorization: id.clone(), binding: Binding::of_render(&secret) })
    }
}
