//! The beginning of a sign-in, once the user has answered a form: the authorization, its binding, and the way to the provider.

use super::answered::{EarlierOutcome, Told};
use super::authorization_response::Recipient;
use super::fault::{Fault, Trouble};
use super::first_answer::FirstAnswers;
use super::form::{AuthorizationCookie, OpenedForm, ProvenForm, Question};
use super::provider_leg::ProviderLeg;
use crate::clock::{Clock, Timestamp};
use crate::config::Lifetimes;
use crate::identity::Identities;
use crate::limits::{Key, Limit, Limited, Limits, Part};
use crate::model::authorization::{Authorization, Consent, Purpose, Stage};
use crate::model::ids::AuthorizationId;
use crate::secret::{BrowserMark, Token};
use crate::storage::Store;
use crate::wire::ClientAddress;

/// Begins sign-ins. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct Beginnings {
    pub(in crate::issuer) identities: Identities,
    pub(in crate::issuer) leg: ProviderLeg,
    pub(in crate::issuer) first_answers: FirstAnswers,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) lifetimes: Lifetimes,
    pub(in crate::issuer) limits: Limits,
}

/// A sign-in that begins once its authorization is stored.
pub(super) struct Prepared {
    pub(super) authorization: Authorization,
    pub(super) begun: Begun,
}

/// Where the browser goes to sign in.
#[derive(Debug)]
pub(crate) struct Begun {
    /// The identity provider, or our own sign-in page.
    pub location: String,
    /// The cookie that the callback requires.
    pub binding: AuthorizationCookie,
    /// The mark of the browser, where the consent is to be remembered in it.
    pub mark: Option<Token<BrowserMark>>,
}

/// The result of an answered form that no client's redirect waits for.
#[derive(Debug)]
pub(crate) enum AnsweredForm {
    /// The browser goes to sign in.
    SignIn(Begun),
    /// A page with the outcome.
    Told(Told),
    /// This form was answered before and the sign-in is over.
    Answered(EarlierOutcome),
}

impl From<Again> for AnsweredForm {
    fn from(again: Again) -> Self {
        match again {
            Again::SignIn(begun) => Self::SignIn(begun),
            Again::Answered(outcome) => Self::Answered(outcome),
        }
    }
}

/// The result of a form that is posted again.
pub(super) enum Again {
    /// The same redirect once more: the sign-in is pending.
    SignIn(Begun),
    /// The outcome of its first post.
    Answered(EarlierOutcome),
}

/// The result of a denial after the form was posted.
pub(super) enum Withdrawal {
    /// The sign-in was cancelled.
    Done,
    /// It was denied before: a second denial gets the response of the first.
    Repeated,
    /// It had ended before.
    TooLate(EarlierOutcome),
}

impl Beginnings {
    /// Counts a sign-in that one address begins.
    pub(super) async fn admit(&self, address: ClientAddress) -> Result<(), Limited> {
        self.limits.check(Limit::SignIns, &Key::of(&[Part::Address(address)])).await
    }

    /// Refuses a form that is older than its cookie may be: the row that makes it single-use may be deleted by then.
    pub(super) fn check_age<Q: Question>(&self, form: &OpenedForm<Q>) -> Result<(), Fault> {
        if self.clock.now() >= form.rendered_at() + self.lifetimes.consent {
            return Err(Fault::new(Trouble::Expired, format!("{} that expired", Q::LABEL)));
        }
        Ok(())
    }

    /// The authorization of an answered form, to be stored, and where it leads. `refresh` says whether a client gets a refresh
    /// token by it.
    pub(super) fn prepare(
        &self,
        form: &ProvenForm,
        identity: &str,
        purpose: Purpose,
        refresh: bool,
    ) -> Result<Prepared, Fault> {
        let ProvenForm { authorization: id, binding } = form;
        let provider = self.identities.get(identity);
        let provider =
            provider.ok_or_else(|| Fault::not_ours("a form: the chosen identity provider is not configured"))?;
        let now = self.clock.now();
        let authorization = Authorization {
            id: id.clone(),
            identity: Some(provider.id().clone()),
            binding_hash: binding.sha256(),
            round: 0,
            // a client without a refresh token has no use for access that outlives the user's session
            offline: provider.asks_offline() && refresh,
            retried: false,
            stage: Stage::Pending,
            created_at: now,
            expires_at: self.expiry(&purpose, now),
            purpose,
            consent: Consent::Asked,
        };
        let location = self.leg.location(provider, &authorization, binding)?;
        let begun = Begun { location, binding: AuthorizationCookie::binding(id, binding), mark: None };
        Ok(Prepared { authorization, begun })
    }

    /// A sign-in for a device is of no use once the device has stopped asking.
    fn expiry(&self, purpose: &Purpose, now: Timestamp) -> Timestamp {
        let full = now + self.lifetimes.authorization;
        match purpose {
            Purpose::Client(_) | Purpose::Account => full,
            Purpose::Device(request) => full.min(request.device_code_expires_at),
        }
    }

    /// A form that is posted again, by a double click or the back button, leads where its first post led: to the provider
    /// again while the sign-in is pending, later to a page.
    pub(super) async fn again(&self, form: &ProvenForm, recipient: &Recipient) -> Result<Again, Fault> {
        let ProvenForm { authorization: id, binding } = form;
        let first = self.first_answer(id).await?;
        if !first.binding_hash.same(&binding.sha256()) {
            return Err(Fault::new(Trouble::OtherBrowser, format!("authorization {id}: a form of another browser")));
        }
        let pending = first.stage == Stage::Pending && self.clock.now() < first.expires_at;
        let chosen = first.identity.as_ref().and_then(|identity| self.identities.get(identity.as_str()));
        match chosen {
            Some(provider) if pending => Ok(Again::SignIn(Begun {
                location: self.leg.location(provider, &first, binding)?,
                binding: AuthorizationCookie::binding(id, binding),
                mark: None,
            })),
            _ => self.first_answers.outcome(&first, binding, recipient).await.map(Again::Answered),
        }
    }

    /// Cancels the sign-in of a form that was posted before, unless it has ended.
    pub(super) async fn withdraw(&self, form: &ProvenForm, recipient: &Recipient) -> Result<Withdrawal, Fault> {
        let ProvenForm { authorization: id, binding } = form;
        if self.store.withdraw_authorization(id).await? {
            return Ok(Withdrawal::Done);
        }
        let first = self.first_answer(id).await?;
        // that answer may have begun another round, which can still be withdrawn
        let withdrawn = first.stage == Stage::Pending && self.store.withdraw_authorization(id).await?;
        if withdrawn || first.stage == Stage::Denied {
            return Ok(Withdrawal::Repeated);
        }
        self.first_answers.outcome(&first, binding, recipient).await.map(Withdrawal::TooLate)
    }

    /// The authorization that the first post of a form has left.
    async fn first_answer(&self, id: &AuthorizationId) -> Result<Authorization, Fault> {
        let first = self.first_answers.settled(id).await?;
        first.ok_or_else(|| Fault::new(Trouble::Expired, format!("authorization {id} was deleted")))
    }
}
