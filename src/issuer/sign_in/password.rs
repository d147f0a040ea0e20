//! Sign-in of local users with a password: the page that replaces the identity provider.
//!
//! Defends against: CSRF and session fixation (binding cookie and form token must agree), brute force of passwords
//! (`identity::Local` limits attempts per user and address), and user enumeration (a wrong name and a wrong password get the
//! same answer in the same time).

use super::answered::Answered;
use super::authorization_response::Recipient;
use super::bound::{Bound, BoundSignIns};
use super::conclusion::Conclusions;
use super::fault::Fault;
use super::first_answer::FirstAnswers;
use crate::audit::{Audit, Event};
use crate::clock::Clock;
use crate::identity::{Local, PasswordCheck, SignInMethod, SignedIn};
use crate::issuer::resources::Resources;
use crate::limits::{Limited, Limits};
use crate::model::authorization::Authorization;
use crate::model::client::Client;
use crate::model::ids::AuthorizationId;
use crate::secret::{SecretText, same_text};
use crate::storage::Store;
use crate::telemetry::metrics::{self, SignInOutcome};
use crate::wire::{Arrival, ClientAddress};

/// Signs in the users of a local identity provider.
pub(in crate::issuer) struct PasswordSignIn {
    pub(in crate::issuer) bound: BoundSignIns,
    pub(in crate::issuer) first_answers: FirstAnswers,
    pub(in crate::issuer) conclusions: Conclusions,
    pub(in crate::issuer) metrics: metrics::Grants,
    pub(in crate::issuer) audit: Audit,
    pub(in crate::issuer) resources: Resources,
    pub(in crate::issuer) limits: Limits,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
}

/// What the sign-in page shows.
#[derive(Debug)]
pub struct SignInView {
    /// The provider's id.
    pub identity: String,
    /// What people call the provider.
    pub identity_name: String,
    /// The authorization that the sign-in belongs to.
    pub authorization: AuthorizationId,
    /// The CSRF token: it ties the form to the browser's binding cookie.
    pub form_token: String,
    /// `None` when the user opens their own page.
    pub asker: Option<Asker>,
    /// The user name that was typed before; empty at first.
    pub username: String,
    /// Why the page is shown again.
    pub problem: Option<SignInProblem>,
}

/// The client that a user signs in for.
#[derive(Debug)]
pub struct Asker {
    /// The client.
    pub client: Client,
    /// What people call the server that it asks for.
    pub resource_name: String,
}

/// A filled-in sign-in page.
#[derive(Debug)]
pub(crate) struct SignInAttempt {
    /// The provider, from the path.
    pub identity: String,
    /// The authorization.
    pub authorization: AuthorizationId,
    /// The form's CSRF token.
    pub form_token: String,
    /// The user name that was typed.
    pub username: String,
    /// The password that was typed.
    pub password: SecretText,
    /// The request that carried it.
    pub arrival: Arrival,
}

/// Why a sign-in page is shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInProblem {
    /// User name or password is wrong; which of the two is not said (user enumeration).
    Wrong,
    /// Too many attempts for this user or from this address, or too many passwords are being checked.
    Busy,
}

/// The result of the sign-in page or of its form.
#[derive(Debug)]
pub(crate) enum SignInStep {
    /// The page, for the first time or once more.
    Ask(Box<SignInView>),
    /// The page once more: too many passwords came for this user, or from this address.
    Limited(Box<SignInView>, Limited),
    /// The sign-in is over: onwards.
    Answered(Answered),
}

impl PasswordSignIn {
    /// Prepares the sign-in page for an authorization that this browser began. `cookie` is the value of its binding cookie.
    ///
    /// # Errors
    /// What the user is told on a page.
    pub(in crate::issuer) async fn page(
        &self,
        identity: &str,
        id: &AuthorizationId,
        cookie: Option<&str>,
        from: ClientAddress,
    ) -> Result<SignInStep, Fault> {
        let bound = self.bound.bind(identity, id, cookie, from).await?;
        local(&bound)?;
        if !bound.is_pending(self.clock.now())? {
            return self.first_answers.repeated(&bound).await.map(SignInStep::Answered);
        }
        Ok(SignInStep::Ask(self.view(bound, String::new(), None)))
    }

    /// Takes a typed password. `cookie` is the value of the authorization's binding cookie.
    ///
    /// # Errors
    /// What the user is told on a page.
    pub(in crate::issuer) async fn attempt(
        &self,
        attempt: SignInAttempt,
        cookie: Option<&str>,
    ) -> Result<SignInStep, Fault> {
        let (identity, id, from) = (&attempt.identity, &attempt.authorization, attempt.arrival.address);
        let bound = self.bound.bind(identity, id, cookie, from).await?;
        let local = local(&bound)?;
        if !same_text(&attempt.form_token, &bound.binding.form_token()) {
            return Err(Fault::not_ours("a sign-in form that is not ours"));
        }
        if !bound.is_pending(self.clock.now())? {
            return self.first_answers.repeated(&bound).await.map(SignInStep::Answered);
        }
        let (problem, limited) = match local.check(&self.limits, &attempt.username, attempt.password, from).await {
            PasswordCheck::Right(signed_in) => {
                return self.signed_in(&bound, *signed_in, &attempt.arrival).await.map(SignInStep::Answered);
            }
            PasswordCheck::Busy => (SignInProblem::Busy, None),
            PasswordCheck::Limited(limited) => (SignInProblem::Busy, Some(limited)),
            PasswordCheck::Wrong => (SignInProblem::Wrong, None),
        };
        if problem == SignInProblem::Wrong {
            self.metrics.signed_in(bound.provider.id().as_str(), SignInOutcome::WrongPassword);
        }
        let failed = Event::SignInFailed { identity: &attempt.identity, limited: problem == SignInProblem::Busy };
        self.audit.record(&failed, &attempt.arrival);
        let view = self.view(bound, attempt.username, Some(problem));
        Ok(match limited {
            Some(limited) => SignInStep::Limited(view, limited),
            None => SignInStep::Ask(view),
        })
    }

    async fn signed_in(&self, bound: &Bound<'_>, signed_in: SignedIn, arrival: &Arrival) -> Result<Answered, Fault> {
        let Authorization { id, round, .. } = &bound.authorization;
        if !self.store.claim_authorization(id, *round, self.clock.now()).await? {
            return self.first_answers.repeated(bound).await;
        }
        self.conclusions.conclude(bound, signed_in, arrival).await
    }

    fn view(&self, bound: Bound<'_>, username: String, problem: Option<SignInProblem>) -> Box<SignInView> {
        let Bound { provider, authorization, binding, recipient } = bound;
        let resource_name = authorization.purpose.asked().map(|(_, resource)| self.resources.name_of(resource));
        let client = match recipient {
            Recipient::Client(recipient) => Some(recipient.client),
            Recipient::Device(recipient) => Some(recipient.client),
            Recipient::Account => None,
        };
        Box::new(SignInView {
            identity: provider.id().to_string(),
            identity_name: provider.name().to_owned(),
            form_token: binding.form_token(),
            asker: client.zip(resource_name).map(|(client, resource_name)| Asker { client, resource_name }),
            authorization: authorization.id,
            username,
            problem,
        })
    }
}

fn local<'a>(bound: &Bound<'a>) -> Result<&'a Local, Fault> {
    match bound.provider.sign_in_method() {
        SignInMethod::Password(local) => Ok(local),
        SignInMethod::Redirect(_) => Err(Fault::not_ours("this identity provider has no sign-in page here")),
    }
}
