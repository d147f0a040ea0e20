//! What the identity provider is asked at a refresh, and what its answer means for the grant.
//!
//! Defends against: access that outlives the account (the provider is asked at each refresh). Only its `invalid_grant` ends
//! the grant; a fault that passes does not cost the user a sign-in. Where the provider only wants something of the user, such
//! as a second factor, the client is told `invalid_grant`, so that it begins a sign-in, and the grant stays: it is good again
//! as soon as the provider says so.

use super::refusal::TokenRefusal;
use crate::identity::{Identities, Provider, RenewError, Renewed};
use crate::issuer::grants::{GrantEnds, HeldToken, ProviderTokens};
use crate::model::authorization::ProviderStanding;
use crate::model::grant::{EndReason, Grant};
use crate::model::user::User;
use crate::secret::SecretText;
use crate::storage::{Store, StoreError};
use crate::wire::Arrival;

/// Asks identity providers whether users are still good.
pub(in crate::issuer) struct Renewals {
    pub(in crate::issuer) identities: Identities,
    pub(in crate::issuer) provider_tokens: ProviderTokens,
    pub(in crate::issuer) ends: GrantEnds,
    pub(in crate::issuer) store: Store,
}

impl Renewals {
    /// Asks whether the user is still good; the provider's word that the session is over, and nothing else, ends the grant.
    pub(super) async fn ask(&self, grant: &Grant, arrival: &Arrival) -> Result<Renewed, TokenRefusal> {
        let Some(provider) = self.identities.get(grant.identity.as_str()) else {
            return Err(TokenRefusal::unavailable(format_args!(
                "identity {} is not configured: add it again, or its users must sign in again",
                grant.identity
            )));
        };
        let token = self.token(provider, grant, arrival).await?;
        match provider.renew(grant.subject.key(), token.as_ref()).await {
            Ok(renewed) => Ok(renewed),
            Err(RenewError::Ended(why)) => {
                tracing::info!(grant = %grant.id, identity = %grant.identity, why, "the identity provider ended a grant");
                self.ends.end(&grant.id, EndReason::IdentityProvider, arrival).await?;
                Err(TokenRefusal::invalid_grant("the identity provider ended the user's session: sign in again"))
            }
            Err(RenewError::SignInAgain { why, claims }) => {
                tracing::info!(grant = %grant.id, identity = %grant.identity, why, "the identity provider wants a new sign-in");
                if let Some(claims) = claims {
                    provider.challenged(&grant.client_id, &claims);
                }
                Err(TokenRefusal::invalid_grant("the identity provider wants the user to sign in again"))
            }
            Err(RenewError::Unavailable(why)) => {
                Err(TokenRefusal::unavailable(format_args!("{}: {why}", grant.identity)))
            }
        }
    }

    /// The token to ask with, if the provider gave one. A token of another provider or client must not be sent.
    async fn token(
        &self,
        provider: &Provider,
        grant: &Grant,
        arrival: &Arrival,
    ) -> Result<Option<SecretText>, TokenRefusal> {
        match self.provider_tokens.held(provider, &grant.subject, &grant.standing) {
            HeldToken::None => Ok(None),
            HeldToken::Token(token) | HeldToken::Unbound(token) => Ok(Some(token)),
            HeldToken::OfAnotherIssuer if !self.is_behind(provider).await? => {
                Err(TokenRefusal::unavailable(format_args!(
                    "the database has another issuer for identity {}: this process has an outdated configuration, stop it",
                    grant.identity
                )))
            }
            HeldToken::OfAnotherClient | HeldToken::OfAnotherIssuer => {
                self.ends.end(&grant.id, EndReason::IdentityChanged, arrival).await?;
                Err(TokenRefusal::invalid_grant("our registration at the identity provider has changed: sign in again"))
            }
            HeldToken::Unopened => Err(TokenRefusal::unavailable("the provider's token cannot be opened")),
        }
    }

    /// Whether the store, too, has the issuer of this provider behind its id: a process with an older configuration finds
    /// another one there.
    async fn is_behind(&self, provider: &Provider) -> Result<bool, StoreError> {
        let stored = self.store.identity(provider.id()).await?;
        Ok(stored.is_some_and(|stored| stored.issuer == provider.issuer()))
    }

    /// The grant with the provider's new token and news of the user.
    pub(super) fn renewed_grant(&self, grant: &Grant, renewed: &Renewed) -> Grant {
        let mut grant = grant.clone();
        let provider = self.identities.get(grant.identity.as_str());
        if let (Some(provider), Some(token)) = (provider, &renewed.token) {
            grant.standing = ProviderStanding {
                sealed_token: Some(self.provider_tokens.seal(provider, &grant.subject, &token.token)),
                // a response may omit its scope (RFC 6749 5.1): what was offline stays so
                offline: token.offline || grant.standing.offline,
                ends_at: token.ends_at,
                renewable: true,
            };
        }
        if let Some(user) = &renewed.user {
            grant.user = User::clone(user);
        }
        grant
    }
}
