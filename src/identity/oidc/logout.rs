//! Logout tokens (OpenID Connect Back-Channel Logout 1.0): whether the provider sent this one.
//!
//! Defends against: floods of forged `kid`s. Anyone may send a token. Only one whose claims are right can cause the keys to be
//! read again, at most once in ten seconds, and only a few may wait for that.

use std::sync::Arc;

use super::Oidc;
use crate::identity::id_token::LEEWAY;
use crate::identity::logout_token::{self, Expected, LogoutToken, NotBelieved};
use crate::identity::metadata::ProviderMetadata;
use crate::keys::{PublicKeys, ReadKeys, Unfound, UnverifiedJwt, media_type, verify_signed_jwt};
use crate::telemetry::excerpt;

impl Oidc {
    /// Verifies a logout token with the keys that are known.
    ///
    /// # Errors
    /// See [`NotBelieved`].
    pub(crate) async fn logout_token(&self, token: &str) -> Result<LogoutToken, NotBelieved> {
        let metadata = self.logout_metadata().await?;
        let read = self.id_tokens.keys(&metadata).await.map_err(|cause| self.no_keys(&cause.to_string()))?;
        self.believe(&metadata, token, &read.keys)
    }

    /// The same for one that no known key signed: the keys are read again. A provider sends a logout once, so that one which may be
    /// signed by a new key waits for the next reading.
    ///
    /// # Errors
    /// See [`NotBelieved`]; never [`NotBelieved::UnknownKey`].
    pub(crate) async fn logout_token_by_new_key(&self, token: &str) -> Result<LogoutToken, NotBelieved> {
        let metadata = self.logout_metadata().await?;
        let unverified = UnverifiedJwt::read(token).ok_or_else(|| self.untrue("it is not a signed JWT"))?;
        let typ = unverified.header.text("typ").map_err(|why| self.untrue(&why))?.map(media_type);
        let claimed = logout_token::check(typ.as_deref(), &unverified.claims, &self.expected_logout(&metadata));
        let claimed = claimed.map_err(|why| self.untrue(&why))?;
        let read = match self.id_tokens.refetch(&metadata).await {
            Unfound::Reread(read) => read,
            Unfound::TooSoon(read) if claimed.issued_at + LEEWAY < read.read_at => {
                return Err(self.untrue("no key of the provider signed it"));
            }
            Unfound::TooSoon(_) => self.next_keys(&metadata).await?,
            Unfound::Failed(cause) => return Err(self.no_keys(&cause.to_string())),
        };
        match self.believe(&metadata, token, &read.keys) {
            Err(NotBelieved::UnknownKey) => Err(self.untrue("no key of the provider signed it")),
            believed => believed,
        }
    }

    async fn next_keys(&self, metadata: &ProviderMetadata) -> Result<ReadKeys, NotBelieved> {
        let waiting = self.logouts_waiting.try_acquire();
        let _waiting = waiting.map_err(|_full| self.no_keys("too many logout tokens wait for its keys"))?;
        match self.id_tokens.refetch_patiently(metadata).await {
            Unfound::Reread(read) | Unfound::TooSoon(read) => Ok(read),
            Unfound::Failed(cause) => Err(self.no_keys(&cause.to_string())),
        }
    }

    async fn logout_metadata(&self) -> Result<Arc<ProviderMetadata>, NotBelieved> {
        if !self.settings.flavour.sends_logout_tokens() {
            return Err(self.untrue("the provider sends none (docs/logout.md)"));
        }
        self.discovery.get().await.map_err(|failure| self.no_keys(&failure.to_string()))
    }

    fn expected_logout<'a>(&'a self, metadata: &'a ProviderMetadata) -> Expected<'a> {
        Expected { issuer: &metadata.issuer, client_id: &self.settings.client_id, now: self.clock.now() }
    }

    fn believe(&self, metadata: &ProviderMetadata, token: &str, keys: &PublicKeys) -> Result<LogoutToken, NotBelieved> {
        let signed = verify_signed_jwt(token, keys).map_err(|error| match NotBelieved::from(error) {
            NotBelieved::Untrue(why) => self.untrue(&why),
            other => other,
        })?;
        let expected = self.expected_logout(metadata);
        let checked = logout_token::check(signed.typ.as_deref(), &signed.claims, &expected);
        checked.map_err(|why| self.untrue(&why))
    }

    fn untrue(&self, why: &str) -> NotBelieved {
        NotBelieved::Untrue(format!(
            "the logout token for identity {} is not believed: {}",
            self.identity,
            excerpt(why)
        ))
    }

    fn no_keys(&self, cause: &str) -> NotBelieved {
        NotBelieved::Unavailable(format!("identity {}: {cause}", self.identity))
    }
}
