//! Signing in with a password that we know ourselves: the page that takes the identity provider's place.

use super::Issuer;
use super::callback::Answered;
use super::fault::{Fault, Trouble};
use crate::audit::{self, Event};
use crate::identity::{PasswordCheck, Provider};
use crate::limits::{ClientAddress, address_key};
use crate::model::authorization::{Authorization, Binding, Stage};
use crate::model::client::Client;
use crate::model::ids::RenderId;
use crate::secret::{SecretText, same_text};

/// What the sign-in page shows.
#[derive(Debug)]
pub struct SignInView {
    /// Which provider this is.
    pub identity: String,
    /// What people call it.
    pub identity_name: String,
    /// The authorization that it is for.
    pub authorization: RenderId,
    /// The form's hidden proof.
    pub form_token: String,
    /// For whom one signs in.
    pub client: Client,
    /// What people call the server that is asked for.
    pub resource_name: String,
}

/// A filled-in sign-in page.
#[derive(Debug)]
pub struct SignInAttempt {
    /// The provider, from the path.
    pub identity: String,
    /// The authorization.
    pub authorization: RenderId,
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

impl Issuer {
    /// Prepares the sign-in page for an authorization that this browser began.
    ///
    /// # Errors
    /// What the user is told on a page.
    pub async fn sign_in_page(
        &self,
        identity: &str,
        id: &RenderId,
        cookie: Option<&str>,
    ) -> Result<Result<SignInView, Answered>, Fault> {
        let (provider, authorization, binding) = self.local_authorization(identity, id, cookie).await?;
        if authorization.stage != Stage::Pending {
            return self.answered_once(&authorization.id, &binding).await.map(Err);
        }
        let allowed = self.still_allowed(&authorization.request).await?;
        let upstream = self.upstream_of(&authorization.request.resource);
        Ok(Ok(SignInView {
            identity: provider.id().to_string(),
            identity_name: provider.name().to_owned(),
            authorization: authorization.id,
            form_token: binding.form_token(),
            client: allowed.client,
            resource_name: upstream.map_or_else(String::new, |upstream| upstream.settings.name.clone()),
        }))
    }

    /// Takes a typed password. `Ok(Err(_))` is the page again.
    ///
    /// # Errors
    /// What the user is told on a page.
    pub async fn sign_in(
        &self,
        attempt: SignInAttempt,
        cookie: Option<&str>,
    ) -> Result<Result<Answered, SignInProblem>, Fault> {
        let (provider, authorization, binding) =
            self.local_authorization(&attempt.identity, &attempt.authorization, cookie).await?;
        if !same_text(&attempt.form_token, &binding.form_token()) {
            return Err(Fault::new(Trouble::Forged, "a sign-in form that is not ours"));
        }
        if authorization.stage != Stage::Pending {
            return self.answered_once(&authorization.id, &binding).await.map(Ok);
        }
        let Some(local) = provider.local() else {
            return Err(Fault::new(Trouble::Forged, "this identity provider has no sign-in page here"));
        };
        let address = address_key(attempt.address.0);
        let signed_in = match local.check(&attempt.username, attempt.password, &address).await {
            PasswordCheck::Right(signed_in) => signed_in,
            refused => {
                let limited = matches!(refused, PasswordCheck::Busy);
                let (identity, address) = (attempt.identity.as_str(), attempt.address.0);
                audit::record(&Event::SignInFailed { identity, address, limited });
                return Ok(Err(if limited { SignInProblem::Busy } else { SignInProblem::Wrong }));
            }
        };
        if !self.store().claim_authorization(&authorization.id, authorization.round, self.now()).await? {
            return self.answered_once(&authorization.id, &binding).await.map(Ok);
        }
        self.issue_code(&authorization, &binding, provider, signed_in)
            .await
            .map(|redirect| Ok(Answered::ToClient(redirect)))
    }

    async fn local_authorization(
        &self,
        identity: &str,
        id: &RenderId,
        cookie: Option<&str>,
    ) -> Result<(&Provider, Authorization, Binding), Fault> {
        let provider = self.0.parts.identities.get(identity).filter(|provider| provider.local().is_some());
        let provider = provider.ok_or_else(|| Fault::new(Trouble::Forged, "no such sign-in page"))?;
        let binding = cookie.and_then(Binding::parse);
        let binding = binding.ok_or_else(|| Fault::new(Trouble::OtherBrowser, "the binding cookie did not come"))?;
        let authorization = self.store().authorization(id).await?;
        let authorization = authorization.ok_or_else(|| Fault::new(Trouble::Expired, "no such authorization"))?;
        if !authorization.binding_hash.same(&binding.sha256()) || authorization.identity != *provider.id() {
            return Err(Fault::new(Trouble::OtherBrowser, "the binding cookie is another's"));
        }
        if self.now() >= authorization.expires_at && authorization.stage == Stage::Pending {
            return Err(Fault::new(Trouble::Expired, "the sign-in took too long"));
        }
        Ok((provider, authorization, binding))
    }
}
