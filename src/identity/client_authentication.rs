//! How we prove who we are to a provider, at its token endpoint and wherever else it asks.

use super::entra::Assertions;
use super::generic::{self, Credentials};
use super::metadata::ProviderMetadata;
use crate::clock::Clock;
use crate::config::{OidcFlavour, OidcSettings};
use crate::outbound::Diagnosis;

/// The type of an assertion that is a signed token (RFC 7523 2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Proves who we are.
pub(super) enum ClientAuthentication {
    /// With the client secret, if there is one, in the place that the metadata name.
    Secret,
    /// With the client secret in the form: what Microsoft's own libraries do.
    SecretInForm,
    /// With an assertion.
    Assertion(Assertions),
}

impl ClientAuthentication {
    pub(super) fn new(settings: &OidcSettings, clock: &Clock) -> Self {
        match &settings.flavour {
            OidcFlavour::Generic | OidcFlavour::Keycloak => Self::Secret,
            OidcFlavour::Entra(entra) => match &entra.credential {
                None => Self::SecretInForm,
                Some(credential) => Self::Assertion(Assertions::new(credential.clone(), clock.clone())),
            },
        }
    }

    /// What to send with one request. An assertion is for the token endpoint.
    ///
    /// # Errors
    /// Why there is nothing to send now.
    pub(super) async fn credentials<'a>(
        &self,
        settings: &'a OidcSettings,
        metadata: &ProviderMetadata,
    ) -> Result<Credentials<'a>, Diagnosis> {
        let id = settings.client_id.as_str();
        match self {
            Self::Secret => Ok(generic::credentials(settings, metadata.secret_in())),
            Self::SecretInForm => Ok(generic::credentials(settings, generic::SecretIn::Body)),
            Self::Assertion(assertions) => {
                let assertion = assertions.make(id, &metadata.token_endpoint).await?;
                Ok(Credentials::Form(vec![
                    ("client_id", id.into()),
                    ("client_assertion_type", JWT_BEARER.into()),
                    ("client_assertion", assertion.expose().to_owned().into()),
                ]))
            }
        }
    }
}
