//! What the provider is asked at a refresh, and what its answer means for the grant.

use super::TokenRefusal;
use crate::identity::{RenewError, Renewed};
use crate::issuer::Issuer;
use crate::issuer::provider_tokens::HeldToken;
use crate::model::authorization::ProviderStanding;
use crate::model::grant::{EndReason, Grant};
use crate::model::user::User;

impl Issuer {
    /// Asks whether the user is still good; `invalid_grant` of the provider, and nothing else, ends the grant.
    pub(super) async fn ask_provider(&self, grant: &Grant) -> Result<Renewed, TokenRefusal> {
        let Some(provider) = self.0.parts.identities.get(grant.identity.as_str()) else {
            return Err(TokenRefusal::Unavailable(format!(
                "grant {} is of identity {}, which is not configured: add it again, or the user signs in anew",
                grant.id, grant.identity
            )));
        };
        let token = match self.held_token(provider, &grant.subject, &grant.standing) {
            HeldToken::None => None,
            HeldToken::Token(token) | HeldToken::Unbound(token) => Some(token),
            HeldToken::OfAnotherIssuer if !self.is_behind(provider).await? => {
                let words = format!("identity {} has another issuer by now: end this process", grant.identity);
                return Err(TokenRefusal::Unavailable(words));
            }
            HeldToken::OfAnotherClient | HeldToken::OfAnotherIssuer => {
                self.end_grant(&grant.id, EndReason::IdentityChanged).await?;
                return Err(TokenRefusal::invalid_grant("the identity provider knows this server anew: sign in again"));
            }
            HeldToken::Unopened => {
                let words = format!("the provider's token of grant {} cannot be opened", grant.id);
                return Err(TokenRefusal::Unavailable(words));
            }
        };
        match provider.renew(grant.subject.key(), token.as_ref()).await {
            Ok(renewed) => Ok(renewed),
            Err(RenewError::Ended(why)) => {
                tracing::info!(grant = %grant.id, identity = %grant.identity, why, "the identity provider ended a grant");
                self.end_grant(&grant.id, EndReason::IdentityProvider).await?;
                Err(TokenRefusal::invalid_grant("the identity provider ended the user's session: sign in again"))
            }
            Err(RenewError::Unavailable(why)) => Err(TokenRefusal::Unavailable(format!("{}: {why}", grant.identity))),
        }
    }

    /// The grant with the provider's new token and news of the user.
    pub(super) fn renewed_grant(&self, grant: &Grant, renewed: &Renewed) -> Grant {
        let mut grant = grant.clone();
        let provider = self.0.parts.identities.get(grant.identity.as_str());
        if let (Some(provider), Some(token)) = (provider, &renewed.token) {
            grant.standing = ProviderStanding {
                sealed_token: Some(self.seal_provider_token(provider, &grant.subject, &token.token)),
                // an answer may leave its scope unsaid (RFC 6749 5.1): what was offline stays so
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
