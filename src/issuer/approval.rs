//! The user's answer to the consent form, and what it starts.

use super::Issuer;
use super::authorization_response::{Answer, ClientRedirect, respond};
use super::authorize::Validated;
use super::bound::Left;
use super::consent::{AuthorizationCookie, OpenedForm, ProvenForm};
use super::fault::{Fault, Trouble};
use crate::identity::{Begin, Provider};
use crate::limits::ClientAddress;
use crate::model::authorization::{Authorization, Binding, Stage};
use crate::model::ids::{AuthorizationId, IdentityId};
use crate::oauth::paths;

/// For how many times its lifetime a form that is too old asks its question again. Later the question itself is too old: of
/// a user who comes back to it after days nobody knows what they still mean to allow.
const ASKED_AGAIN: u32 = 4;

/// What an answered form leads to.
#[derive(Debug)]
pub(crate) enum Approval {
    /// The browser goes to the identity provider, or to our own sign-in page, with a cookie that the way back demands.
    SignIn {
        /// Where.
        location: String,
        /// The binding.
        binding: AuthorizationCookie,
    },
    /// The user said no: back to the client.
    Denied(ClientRedirect),
    /// The form is too old: the same question again.
    Expired(Box<Validated>),
    /// This form was answered before and the sign-in is over.
    Answered(Left),
}

impl Issuer {
    /// Takes the user's answer. `cookie` is the value of the form's cookie; `identity` the chosen provider, or `None`
    /// for no.
    ///
    /// # Errors
    /// What the user is told on a page.
    pub(crate) async fn answer_form(
        &self,
        form: OpenedForm,
        cookie: Option<&str>,
        identity: Option<&str>,
        address: ClientAddress,
    ) -> Result<Approval, Fault> {
        let (request, rendered_at) = form.question();
        let lifetime = self.config().lifetimes.consent;
        if self.now() >= rendered_at + lifetime.saturating_mul(ASKED_AGAIN) {
            return Err(Fault::new(Trouble::Expired, "a consent form that was over long ago"));
        }
        let late = self.now() >= rendered_at + lifetime;
        let validated = self.still_allowed(request).await?;
        let form = match form.proven(cookie) {
            Ok(form) => form,
            // browsers forget the cookie when the form's time is over; to ask once more needs no proof
            Err(_) if late => return self.ask_again(validated),
            Err(fault) => return Err(fault),
        };
        if self.0.approvals.check(&address.key()).is_err() {
            return Err(Fault::new(Trouble::TooMany, "too many sign-ins were begun from one address"));
        }
        match identity {
            None => self.deny(form, validated).await,
            Some(_) if late => match self.store().authorization(&form.authorization).await? {
                Some(_) => self.posted_again(&form.authorization, &form.binding).await,
                None => self.ask_again(validated),
            },
            Some(identity) => self.approve(form, identity).await,
        }
    }

    fn ask_again(&self, validated: Validated) -> Result<Approval, Fault> {
        Ok(Approval::Expired(Box::new(self.judged_anew(validated)?)))
    }

    /// Records the denial, unless the form was approved before and that sign-in came to its end. The record is kept as
    /// long as the form can be posted: a concurrent or later approval of it has no effect.
    async fn deny(&self, form: ProvenForm, validated: Validated) -> Result<Approval, Fault> {
        let ProvenForm { authorization, request, binding } = form;
        let now = self.now();
        let no = Authorization {
            id: authorization.clone(),
            request,
            identity: IdentityId::from(""),
            binding_hash: binding.sha256(),
            round: 0,
            offline: false,
            retried: false,
            stage: Stage::Denied,
            created_at: now,
            expires_at: now,
        };
        if !self.store().insert_authorization(&no).await?
            && !self.store().withdraw_authorization(&authorization).await?
        {
            let first = self.answered_first(&authorization).await?;
            // its answer may have begun another round meanwhile, which can still be withdrawn
            let withdrawn =
                first.stage == Stage::Pending && self.store().withdraw_authorization(&authorization).await?;
            // a second denial gets the answer of the first
            if !withdrawn && first.stage != Stage::Denied {
                return Ok(Approval::Answered(self.left(&first, &binding).await?));
            }
        }
        let Validated { request, client, redirect_uri } = validated;
        let redirect = respond(client, redirect_uri, &Answer::Denied, request.state.as_deref(), self.issuer());
        Ok(Approval::Denied(redirect))
    }

    async fn approve(&self, form: ProvenForm, identity: &str) -> Result<Approval, Fault> {
        let provider = self.0.parts.identities.get(identity);
        let provider =
            provider.ok_or_else(|| Fault::forged("consent form: the chosen identity provider is not configured"))?;
        let binding = form.binding;
        let now = self.now();
        let authorization = Authorization {
            id: form.authorization,
            request: form.request.clone(),
            identity: provider.id().clone(),
            binding_hash: binding.sha256(),
            round: 0,
            // a client that gets no refresh token has no use for access that outlives the user's session
            offline: provider.asks_offline() && form.request.refresh,
            retried: false,
            stage: Stage::Pending,
            created_at: now,
            expires_at: now + self.config().lifetimes.authorization,
        };
        let location = self.sign_in_location(provider, &authorization, &binding)?;
        if self.store().insert_authorization(&authorization).await? {
            return Ok(Approval::SignIn { location, binding: binding_cookie(&authorization.id, &binding) });
        }
        self.posted_again(&authorization.id, &binding).await
    }

    /// What the first post of a form has left.
    async fn answered_first(&self, id: &AuthorizationId) -> Result<Authorization, Fault> {
        self.settled(id).await?.ok_or_else(|| Fault::new(Trouble::Expired, "the authorization went"))
    }

    /// The second post of a form: the same way again while the sign-in is pending, later a page.
    async fn posted_again(&self, id: &AuthorizationId, binding: &Binding) -> Result<Approval, Fault> {
        let first = self.answered_first(id).await?;
        if !first.binding_hash.same(&binding.sha256()) {
            return Err(Fault::new(Trouble::OtherBrowser, "a consent form of another browser"));
        }
        let pending = first.stage == Stage::Pending && self.now() < first.expires_at;
        match self.0.parts.identities.get(first.identity.as_str()) {
            Some(provider) if pending => Ok(Approval::SignIn {
                location: self.sign_in_location(provider, &first, binding)?,
                binding: binding_cookie(&first.id, binding),
            }),
            _ => Ok(Approval::Answered(self.left(&first, binding).await?)),
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
            return Ok(format!("{}?authorization={}", paths::sign_in(provider.id().as_str()), authorization.id));
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
        self.config().public_url.join(&paths::callback(provider.id().as_str()))
    }
}

fn binding_cookie(id: &AuthorizationId, binding: &Binding) -> AuthorizationCookie {
    AuthorizationCookie { authorization: id.clone(), value: binding.expose().into() }
}
