//! The user's answer to the consent form, and what it starts.
//!
//! Defends against: replay of the form (its id is inserted once; a second post leads where the first one led), stale consent
//! (an old form asks again), and a flood of sign-ins (rate limit per address).

use super::authorization_response::{Answer, ClientRedirect, Recipient, Recipients};
use super::authorize::{Authorize, Validated};
use super::consent::{AuthorizationCookie, OpenedForm, ProvenForm};
use super::fault::{Fault, Trouble};
use super::first_answer::{EarlierOutcome, FirstAnswers};
use super::provider_leg::ProviderLeg;
use crate::clock::Clock;
use crate::config::Lifetimes;
use crate::identity::Identities;
use crate::limits::{Key, Limit, Limits, Part};
use crate::model::authorization::{Authorization, Binding, Purpose, Stage};
use crate::model::ids::AuthorizationId;
use crate::storage::Store;
use crate::telemetry::metrics::{self, SignInOutcome};
use crate::wire::ClientAddress;

/// An expired form asks its question again until it is this many times as old as a form may get. After that the question is
/// stale: a user who comes back after days may no longer mean to allow it.
const ASKED_AGAIN: u32 = 4;

/// Takes answered consent forms.
pub(in crate::issuer) struct Approvals {
    pub(in crate::issuer) authorize: Authorize,
    pub(in crate::issuer) recipients: Recipients,
    pub(in crate::issuer) identities: Identities,
    pub(in crate::issuer) leg: ProviderLeg,
    pub(in crate::issuer) first_answers: FirstAnswers,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) lifetimes: Lifetimes,
    pub(in crate::issuer) limits: Limits,
    pub(in crate::issuer) counted: metrics::Grants,
}

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
    /// The user denied access: back to the client.
    Denied(ClientRedirect),
    /// The form has expired: the same question again.
    Expired(Box<Validated>),
    /// This form was answered before and the sign-in is over.
    Answered(EarlierOutcome),
}

impl Approvals {
    /// Takes the user's answer. `cookie` is the value of the form's cookie; `identity` the chosen provider, or `None` for a
    /// denial.
    ///
    /// # Errors
    /// What the user is told on a page.
    pub(in crate::issuer) async fn answer(
        &self,
        form: &OpenedForm,
        cookie: Option<&str>,
        identity: Option<&str>,
        address: ClientAddress,
    ) -> Result<Approval, Fault> {
        let (now, rendered_at) = (self.clock.now(), form.rendered_at());
        if now >= rendered_at + self.lifetimes.consent.saturating_mul(ASKED_AGAIN) {
            return Err(Fault::new(Trouble::Expired, "a consent form that expired long ago"));
        }
        let late = now >= rendered_at + self.lifetimes.consent;
        let recipient = self.recipients.of_request(form.request(), address).await?;
        let proven = match form.proven(cookie) {
            Ok(proven) => proven,
            // browsers drop the cookie when the form expires; to ask once more needs no proof
            Err(_) if late => return self.ask_again(form, recipient),
            Err(fault) => return Err(fault),
        };
        self.limits.check(Limit::SignIns, &Key::of(&[Part::Address(address)])).await?;
        match identity {
            None => self.deny(proven, &recipient).await,
            Some(_) if late => match self.store.authorization(&proven.authorization).await? {
                Some(_) => self.posted_again(&proven.authorization, &proven.binding, &recipient).await,
                None => self.ask_again(form, recipient),
            },
            Some(identity) => self.approve(proven, identity, &recipient).await,
        }
    }

    fn ask_again(&self, form: &OpenedForm, recipient: Recipient) -> Result<Approval, Fault> {
        let Recipient { client, redirect_uri, .. } = recipient;
        let validated = self.authorize.judged_anew(form.request().clone(), client, redirect_uri)?;
        Ok(Approval::Expired(Box::new(validated)))
    }

    /// Records the denial, unless the form was approved before and that sign-in came to its end. The record is kept as
    /// long as the form can be posted: a concurrent or later approval of it has no effect.
    async fn deny(&self, form: ProvenForm, recipient: &Recipient) -> Result<Approval, Fault> {
        let ProvenForm { authorization: id, request, binding } = form;
        let denial = Authorization::denied(id.clone(), Purpose::Client(request), &binding, self.clock.now());
        let is_news = self.store.insert_authorization(&denial).await? || self.store.withdraw_authorization(&id).await?;
        if is_news {
            self.counted.signed_in("", SignInOutcome::Denied);
        } else {
            let first = self.first_answer(&id).await?;
            // that answer may have begun another round, which can still be withdrawn
            let withdrawn = first.stage == Stage::Pending && self.store.withdraw_authorization(&id).await?;
            // a second denial gets the response of the first
            if !withdrawn && first.stage != Stage::Denied {
                return Ok(Approval::Answered(self.first_answers.outcome(&first, &binding, recipient).await?));
            }
        }
        Ok(Approval::Denied(recipient.respond(Answer::Denied)))
    }

    async fn approve(&self, form: ProvenForm, identity: &str, recipient: &Recipient) -> Result<Approval, Fault> {
        let ProvenForm { authorization: id, request, binding } = form;
        let provider = self.identities.get(identity);
        let provider =
            provider.ok_or_else(|| Fault::not_ours("consent form: the chosen identity provider is not configured"))?;
        let now = self.clock.now();
        let authorization = Authorization {
            identity: Some(provider.id().clone()),
            binding_hash: binding.sha256(),
            round: 0,
            // a client that gets no refresh token has no use for access that outlives the user's session
            offline: provider.asks_offline() && request.refresh,
            retried: false,
            stage: Stage::Pending,
            created_at: now,
            expires_at: now + self.lifetimes.authorization,
            purpose: Purpose::Client(request),
            id,
        };
        let location = self.leg.location(provider, &authorization, &binding)?;
        if self.store.insert_authorization(&authorization).await? {
            return Ok(Approval::SignIn { location, binding: binding_cookie(&authorization.id, &binding) });
        }
        self.posted_again(&authorization.id, &binding, recipient).await
    }

    /// The second post of a form: the same way again while the sign-in is pending, later a page.
    async fn posted_again(
        &self,
        id: &AuthorizationId,
        binding: &Binding,
        recipient: &Recipient,
    ) -> Result<Approval, Fault> {
        let first = self.first_answer(id).await?;
        if !first.binding_hash.same(&binding.sha256()) {
            return Err(Fault::new(Trouble::OtherBrowser, format!("authorization {id}: a form of another browser")));
        }
        let pending = first.stage == Stage::Pending && self.clock.now() < first.expires_at;
        let chosen = first.identity.as_ref().and_then(|identity| self.identities.get(identity.as_str()));
        match chosen {
            Some(provider) if pending => Ok(Approval::SignIn {
                location: self.leg.location(provider, &first, binding)?,
                binding: binding_cookie(id, binding),
            }),
            _ => Ok(Approval::Answered(self.first_answers.outcome(&first, binding, recipient).await?)),
        }
    }

    /// The authorization that the first post of a form has left.
    async fn first_answer(&self, id: &AuthorizationId) -> Result<Authorization, Fault> {
        let first = self.first_answers.settled(id).await?;
        first.ok_or_else(|| Fault::new(Trouble::Expired, format!("authorization {id} was deleted")))
    }
}

fn binding_cookie(id: &AuthorizationId, binding: &Binding) -> AuthorizationCookie {
    AuthorizationCookie { authorization: id.clone(), value: binding.expose().into() }
}
