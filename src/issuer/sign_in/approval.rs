//! The user's answer to the consent form, and what it starts.
//!
//! Defends against: replay of the form (its id is inserted once; a second post leads where the first one led), stale consent
//! (an old form asks again), and a flood of sign-ins (rate limit per address).

use super::answered::EarlierOutcome;
use super::authorization_response::{Answer, ClientRecipient, ClientRedirect, Recipient, Recipients};
use super::authorize::{Authorize, Validated};
use super::beginning::{Again, Beginnings, Begun, Prepared, Withdrawal};
use super::fault::{Fault, Trouble};
use super::form::{OpenedForm, ProvenForm};
use super::remembering::Remembering;
use crate::audit::{Audit, Event};
use crate::clock::Clock;
use crate::config::Lifetimes;
use crate::model::authorization::{Authorization, ClientRequest, Consent, Purpose};
use crate::secret::{BrowserMark, Token};
use crate::storage::Store;
use crate::telemetry::metrics::{self, SignInOutcome};
use crate::wire::Arrival;

/// An expired form asks its question again until it is this many times as old as a form may get. After that the question is
/// stale: a user who comes back after days may no longer mean to allow it.
const ASKED_AGAIN: u32 = 4;

/// Takes answered consent forms.
pub(in crate::issuer) struct Approvals {
    pub(in crate::issuer) authorize: Authorize,
    pub(in crate::issuer) recipients: Recipients,
    pub(in crate::issuer) beginnings: Beginnings,
    pub(in crate::issuer) remembering: Remembering,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) lifetimes: Lifetimes,
    pub(in crate::issuer) metrics: metrics::Grants,
    pub(in crate::issuer) audit: Audit,
}

/// The user's answer, and the browser that it came from.
#[derive(Debug)]
pub(crate) struct Decision {
    /// The chosen provider, or `None` for a denial.
    pub identity: Option<String>,
    /// Whether an approval is to be remembered in this browser.
    pub remember: bool,
    /// The browser's mark, if it has one.
    pub mark: Option<Token<BrowserMark>>,
    /// The request that carried it.
    pub arrival: Arrival,
}

/// An approval that came in time.
struct Approval<'a> {
    request: ClientRequest,
    /// The chosen provider.
    identity: &'a str,
    /// The mark of the browser in which it is to be remembered.
    mark: Option<Token<BrowserMark>>,
}

/// What an answered form leads to.
#[derive(Debug)]
pub(crate) enum ConsentOutcome {
    /// The browser goes to the identity provider, or to our own sign-in page, with the cookie that the callback requires.
    SignIn(Begun),
    /// The user denied access: back to the client.
    Denied(ClientRedirect),
    /// The form has expired: the same question again.
    Expired(Box<Validated>),
    /// This form was answered before and the sign-in is over.
    Answered(EarlierOutcome),
}

impl Approvals {
    /// Takes the user's answer.
    ///
    /// # Errors
    /// What the user is told on a page.
    pub(in crate::issuer) async fn answer(
        &self,
        form: &OpenedForm<ClientRequest>,
        decision: &Decision,
    ) -> Result<ConsentOutcome, Fault> {
        let address = decision.arrival.address;
        let (now, rendered_at) = (self.clock.now(), form.rendered_at());
        if now >= rendered_at + self.lifetimes.consent.saturating_mul(ASKED_AGAIN) {
            return Err(Fault::new(Trouble::Expired, "a consent form that expired long ago"));
        }
        let late = now >= rendered_at + self.lifetimes.consent;
        let recipient = self.recipients.of_request(form.question(), address).await?;
        let proven = match form.proven() {
            Ok(proven) => proven,
            // browsers drop the cookie when the form expires; asking once more needs no proof
            Err(_) if late => return self.ask_again(form, recipient),
            Err(fault) => return Err(fault),
        };
        self.beginnings.admit(address).await?;
        let request = form.question().clone();
        match &decision.identity {
            None => self.deny(&proven, request, recipient, &decision.arrival).await,
            Some(_) if late => match self.store.authorization(&proven.authorization).await? {
                Some(_) => self.posted_again(&proven, recipient).await,
                None => self.ask_again(form, recipient),
            },
            Some(identity) => {
                let mark = self.mark(&proven, decision, &request, &recipient);
                self.approve(&proven, Approval { request, identity, mark }, recipient).await
            }
        }
    }

    fn ask_again(&self, form: &OpenedForm<ClientRequest>, recipient: ClientRecipient) -> Result<ConsentOutcome, Fault> {
        let ClientRecipient { client, redirect_uri, .. } = recipient;
        let validated = self.authorize.revalidate(form.question().clone(), client, redirect_uri)?;
        Ok(ConsentOutcome::Expired(Box::new(validated)))
    }

    /// Records the denial, unless the form was approved before and that sign-in came to its end. The record is kept as
    /// long as the form can be posted: a concurrent or later approval of it has no effect.
    async fn deny(
        &self,
        form: &ProvenForm,
        request: ClientRequest,
        recipient: ClientRecipient,
        arrival: &Arrival,
    ) -> Result<ConsentOutcome, Fault> {
        let ProvenForm { authorization: id, binding } = form;
        let denied = ConsentOutcome::Denied(recipient.respond(Answer::Denied));
        let denial = Authorization::denied(id.clone(), Purpose::Client(request), binding, self.clock.now());
        if !self.store.insert_authorization(&denial).await? {
            match self.beginnings.withdraw(form, &Recipient::Client(recipient)).await? {
                Withdrawal::Done => {}
                Withdrawal::Repeated => return Ok(denied),
                Withdrawal::TooLate(outcome) => return Ok(ConsentOutcome::Answered(outcome)),
            }
        }
        self.metrics.signed_in("", SignInOutcome::Denied);
        if let Some((client, resource)) = denial.purpose.asked() {
            self.audit.record(&Event::Denied { client, resource }, arrival);
        }
        Ok(denied)
    }

    /// The mark of the browser in which the consent is to be remembered, if it is.
    fn mark(
        &self,
        form: &ProvenForm,
        decision: &Decision,
        request: &ClientRequest,
        ClientRecipient { client, redirect_uri, .. }: &ClientRecipient,
    ) -> Option<Token<BrowserMark>> {
        if !decision.remember || self.remembering.allowed(request, client, redirect_uri).is_none() {
            return None;
        }
        Some(decision.mark.clone().unwrap_or_else(|| form.binding.browser_mark()))
    }

    async fn approve(
        &self,
        form: &ProvenForm,
        approval: Approval<'_>,
        recipient: ClientRecipient,
    ) -> Result<ConsentOutcome, Fault> {
        let Approval { request, identity, mark } = approval;
        let refresh = request.refresh;
        let Prepared { authorization, begun } =
            self.beginnings.prepare(form, identity, Purpose::Client(request), refresh)?;
        let consent = mark.as_ref().map_or(Consent::Asked, |mark| Consent::AskedOnce(mark.sha256()));
        let authorization = Authorization { consent, ..authorization };
        let outcome = if self.store.insert_authorization(&authorization).await? {
            ConsentOutcome::SignIn(begun)
        } else {
            self.posted_again(form, recipient).await?
        };
        Ok(match outcome {
            ConsentOutcome::SignIn(begun) => ConsentOutcome::SignIn(Begun { mark, ..begun }),
            settled => settled,
        })
    }

    async fn posted_again(&self, form: &ProvenForm, recipient: ClientRecipient) -> Result<ConsentOutcome, Fault> {
        Ok(match self.beginnings.again(form, &Recipient::Client(recipient)).await? {
            Again::SignIn(begun) => ConsentOutcome::SignIn(begun),
            Again::Answered(outcome) => ConsentOutcome::Answered(outcome),
        })
    }
}
