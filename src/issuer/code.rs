//! The code that a sign-in ends in (RFC 6749 4.1.2).

use super::Issuer;
use super::authorization_response::{Answer, ClientRedirect};
use super::bound::Bound;
use super::fault::{Fault, Trouble};
use crate::audit::{self, Event};
use crate::identity::{Provider, SignedIn};
use crate::model::authorization::{Authorization, Binding, ProviderStanding, SignIn};
use crate::model::ids::Subject;
use crate::storage::NewCode;

impl Issuer {
    /// Makes the code for an authorization that was claimed.
    pub(super) async fn issue_code(&self, bound: &Bound<'_>, signed_in: SignedIn) -> Result<ClientRedirect, Fault> {
        let Bound { provider, authorization, binding } = bound;
        let subject = Subject::new(provider.id(), &signed_in.key);
        let standing = self.seal_standing(provider, &subject, &signed_in);
        let sign_in = SignIn { subject, user: signed_in.user, standing };
        let code = binding.code(authorization.round);
        let expires_at = self.now() + self.config().lifetimes.code;
        let new = NewCode { hash: &code.sha256(), expires_at, issuer: provider.issuer(), sign_in: &sign_in };
        let issued = self.store().issue_code(&authorization.id, &new).await;
        if !matches!(issued, Ok(true)) {
            self.give_up_token(provider.id(), &sign_in.subject, &sign_in.standing).await;
        }
        if !issued? {
            // so that another answer of the browser finds it settled, and does not wait for a code
            self.store().refuse_authorization(&authorization.id, authorization.round).await?;
            return Err(Fault::new(
                Trouble::Expired,
                "the authorization was taken back, or expired, while the provider was asked",
            ));
        }
        let request = &authorization.request;
        let (subject, client, resource) = (&sign_in.subject, &request.client_id, request.resource.as_str());
        audit::record(&Event::SignedIn { subject, client, resource });
        let redirect = self.to_client(authorization, &Answer::Code(code.expose())).await?;
        Ok(ClientRedirect { user: sign_in.user.known_as().map(str::to_owned), ..redirect })
    }

    fn seal_standing(&self, provider: &Provider, subject: &Subject, signed_in: &SignedIn) -> ProviderStanding {
        let token = signed_in.token.as_ref();
        ProviderStanding {
            sealed_token: token.map(|token| self.seal_provider_token(provider, subject, &token.token)),
            offline: token.is_some_and(|token| token.offline),
            ends_at: token.and_then(|token| token.ends_at),
            renewable: signed_in.renewable,
        }
    }

    /// The link that finishes: for the browser that holds the binding, while the code is unredeemed.
    pub(super) async fn finish(
        &self,
        authorization: &Authorization,
        binding: &Binding,
    ) -> Result<Option<ClientRedirect>, Fault> {
        let code = binding.code(authorization.round);
        let issued = self.store().issued_code(&code.sha256()).await?;
        let good = issued.is_some_and(|issued| issued.redeemed.is_none() && self.now() < issued.code_expires_at);
        if !good {
            return Ok(None);
        }
        self.to_client(authorization, &Answer::Code(code.expose())).await.map(Some)
    }
}
