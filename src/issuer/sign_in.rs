//! Signing in with a password that we know ourselves: the page that takes the identity provider's place.

use super::Issuer;
use super::bound::{Answered, Bound};
use super::fault::Fault;
use crate::audit::{self, Event};
use crate::identity::{Local, PasswordCheck, SignedIn};
use crate::limits::ClientAddress;
use crate::model::authorization::Authorization;
use crate::model::client::Client;
use crate::model::ids::AuthorizationId;
use crate::secret::{SecretText, same_text};

/// What the sign-in page shows.
#[derive(Debug)]
pub(crate) struct SignInView {
    /// Which provider this is.
    pub identity: String,
    /// What people call it.
    pub identity_name: String,
    /// The authorization that it is for.
    pub authorization: AuthorizationId,
    /// The form's hidden proof.
    pub form_token: String,
    /// For whom one signs in.
    pub client: Client,
    /// What people call the server that is asked for.
    pub resource_name: String,
    /// What was typed before; empty at first.
    pub username: String,
    /// Why the page is shown again.
    pub problem: Option<SignInProblem>,
}

/// A filled-in sign-in page.
#[derive(Debug)]
pub(crate) struct SignInAttempt {
    /// The provider, from the path.
    pub identity: String,
    /// The authorization.
    pub authorization: AuthorizationId,
    /// The form's hidden proof.
    pub form_token: String,
    /// What was typed.
    pub username: String,
    /// What was typed.
    pub password: SecretText,
    /// From where.
    pub address: ClientAddress,
}

/// Why a sign-in page is shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInProblem {
    /// User or password is wrong; which, nobody is told.
    Wrong,
    /// Too many were wrong, or too many are being checked.
    Busy,
}

/// What the sign-in page, or what was typed there, leads to.
#[derive(Debug)]
pub(crate) enum SignInStep {
    /// The page, for the first time or once more.
    Ask(Box<SignInView>),
    /// Onwards: the sign-in is over.
    Answered(Answered),
}

impl Issuer {
    /// Prepares the sign-in page for an authorization that this browser began. `cookie` is the value of its binding cookie.
    ///
    /// # Errors
    /// What the user is told on a page.
    pub(crate) async fn sign_in_page(
        &self,
        identity: &str,
        id: &AuthorizationId,
        cookie: Option<&str>,
    ) -> Result<SignInStep, Fault> {
        let bound = self.bind(identity, id, cookie).await?;
        local(&bound)?;
        if !bound.is_pending(self.now())? {
            return self.answered_before(&bound).await.map(SignInStep::Answered);
        }
        self.ask(bound, String::new(), None).await
    }

    /// Takes a typed password. `cookie` is the value of the authorization's binding cookie.
    ///
    /// # Errors
    /// What the user is told on a page.
    pub(crate) async fn sign_in(&self, attempt: SignInAttempt, cookie: Option<&str>) -> Result<SignInStep, Fault> {
        let bound = self.bind(&attempt.identity, &attempt.authorization, cookie).await?;
        let local = local(&bound)?;
        if !same_text(&attempt.form_token, &bound.binding.form_token()) {
            return Err(Fault::forged("a sign-in form that is not ours"));
        }
        if !bound.is_pending(self.now())? {
            return self.answered_before(&bound).await.map(SignInStep::Answered);
        }
        let problem = match local.check(&attempt.username, attempt.password, &attempt.address.key()).await {
            PasswordCheck::Right(signed_in) => {
                return self.signed_in(&bound, signed_in).await.map(SignInStep::Answered);
            }
            PasswordCheck::Busy => SignInProblem::Busy,
            PasswordCheck::Wrong => SignInProblem::Wrong,
        };
        let limited = problem == SignInProblem::Busy;
        audit::record(&Event::SignInFailed { identity: &attempt.identity, address: attempt.address.0, limited });
        self.ask(bound, attempt.username, Some(problem)).await
    }

    async fn signed_in(&self, bound: &Bound<'_>, signed_in: SignedIn) -> Result<Answered, Fault> {
        let Authorization { id, round, .. } = &bound.authorization;
        if !self.store().claim_authorization(id, *round, self.now()).await? {
            return self.answered_before(bound).await;
        }
        self.issue_code(bound, signed_in).await.map(Answered::ToClient)
    }

    async fn ask(
        &self,
        bound: Bound<'_>,
        username: String,
        problem: Option<SignInProblem>,
    ) -> Result<SignInStep, Fault> {
        let Bound { provider, authorization, binding } = bound;
        let allowed = self.still_allowed(&authorization.request).await?;
        let upstream = self.upstream_of(&authorization.request.resource);
        Ok(SignInStep::Ask(Box::new(SignInView {
            identity: provider.id().to_string(),
            identity_name: provider.name().to_owned(),
            authorization: authorization.id,
            form_token: binding.form_token(),
            client: allowed.client,
            resource_name: upstream.map_or_else(String::new, |upstream| upstream.settings.name.clone()),
            username,
            problem,
        })))
    }
}

fn local<'a>(bound: &Bound<'a>) -> Result<&'a Local, Fault> {
    bound.provider.local().ok_or_else(|| Fault::forged("this identity provider has no sign-in page here"))
}
