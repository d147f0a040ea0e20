//! The leg to the identity provider: where the browser is sent, and where the provider sends it back.
//!
//! Defends against: mix-up of providers (RFC 9207, RFC 9700 4.4). Each provider has a callback path of its own, so one cannot
//! answer for another. `state`, `nonce` and the PKCE verifier follow from the browser's binding and the round.

use crate::config::PublicUrl;
use crate::identity::{Begin, Provider, SignInMethod};
use crate::model::authorization::{Authorization, Binding};
use crate::oauth::paths;

use super::fault::{Fault, Trouble};

/// Makes the URLs of the leg. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct ProviderLeg(PublicUrl);

impl ProviderLeg {
    pub(in crate::issuer) const fn new(public_url: PublicUrl) -> Self {
        Self(public_url)
    }

    /// Where the browser goes to sign in, in the authorization's current round.
    pub(super) fn location(
        &self,
        provider: &Provider,
        authorization: &Authorization,
        binding: &Binding,
    ) -> Result<String, Fault> {
        let oidc = match provider.sign_in_method() {
            SignInMethod::Redirect(oidc) => oidc,
            SignInMethod::Password(_) => {
                return Ok(format!("{}?authorization={}", paths::sign_in(provider.id().as_str()), authorization.id));
            }
        };
        let round = authorization.round;
        let begin = Begin {
            state: &binding.state(&authorization.id, round),
            nonce: &binding.nonce(round),
            code_challenge: &binding.code_verifier(round).challenge(),
            redirect_uri: &self.callback_uri(provider),
            offline: authorization.offline,
            client: authorization.purpose.asked().map(|(client, _)| client),
        };
        oidc.authorization_url(&begin).map_err(|error| unavailable(provider, &error))
    }

    /// Where the provider sends the browser back.
    pub(super) fn callback_uri(&self, provider: &Provider) -> String {
        self.0.join(&paths::callback(provider.id().as_str()))
    }
}

/// The fault of a provider that cannot be reached.
pub(super) fn unavailable(provider: &Provider, cause: &impl std::fmt::Display) -> Fault {
    Fault::new(Trouble::ProviderUnavailable { provider: provider.name().to_owned() }, cause.to_string())
}
