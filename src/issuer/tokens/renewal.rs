//! Asks the identity provider at a refresh, and applies its answer to the grant.
//!
//! Defends against: access that outlives the account, or a group on which it rests (the provider is asked at each refresh, and the
//! rules are applied to its answer). Only its plain refusal of the token ends the grant; a temporary failure does not cost the user
//! a sign-in, and neither does a sign-in with another application that replaces the token at the same moment. Where the provider wants something of the user, such as a second factor, the client is
//! told `invalid_grant`, so that it begins a sign-in; the grant stays, and is good again as soon as the provider says so.

use std::time::Duration;

use tokio::time::sleep;

use super::demanded_sign_ins::DemandedSignIns;
use super::refusal::TokenRefusal;
use crate::audit::{Actor, Audit, Event};
use crate::identity::{Identities, Provider, RenewError, Renewed};
use crate::issuer::grants::{GrantEnds, HeldToken, ProviderTokens};
use crate::issuer::resources::Resources;
use crate::model::authorization::ProviderStanding;
use crate::model::caller::NotAdmitted;
use crate::model::grant::{EndReason, Grant};
use crate::model::user::User;
use crate::oauth::scope::ScopeSet;
use crate::policy::{self, Person};
use crate::secret::SecretText;
use crate::storage::{Store, StoreError};
use crate::wire::Arrival;

/// How long a sign-in may take to store the token that the provider gave for it. The end of a grant waits for it.
const FINISHING: Duration = Duration::from_secs(1);

/// Asks identity providers whether accounts are still active. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct Renewals {
    pub(in crate::issuer) identities: Identities,
    pub(in crate::issuer) provider_tokens: ProviderTokens,
    pub(in crate::issuer) ends: GrantEnds,
    pub(in crate::issuer) resources: Resources,
    pub(in crate::issuer) audit: Audit,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) demanded: DemandedSignIns,
}

fn sign_in_again() -> TokenRefusal {
    TokenRefusal::invalid_grant("the identity provider wants the user to sign in again")
}

impl Renewals {
    /// Asks whether the account is still active; only the provider's refusal of the token ends the grant. Answers the grant with
    /// the token that was sent, and what the provider said.
    pub(super) async fn ask(&self, grant: &Grant, arrival: &Arrival) -> Result<(Grant, Renewed), TokenRefusal> {
        if self.demanded.is_demanded(&grant.id) {
            return Err(sign_in_again());
        }
        let provider = self.provider(grant)?;
        let (grant, answer) = self.inquire(grant, arrival.into()).await?;
        match answer {
            Ok(renewed) => Ok((grant, renewed)),
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
                Err(sign_in_again())
            }
            Err(RenewError::Unavailable(why)) => {
                Err(TokenRefusal::unavailable(format_args!("{}: {why}", grant.identity)))
            }
        }
    }

    /// Asks, and answers the grant with the token that was sent and what the provider said of it. The grant ends only if its token
    /// belongs to a provider or a client that we are no longer.
    pub(in crate::issuer) async fn inquire(
        &self,
        grant: &Grant,
        origin: Actor<'_>,
    ) -> Result<(Grant, Result<Renewed, RenewError>), TokenRefusal> {
        let provider = self.provider(grant)?;
        let mut grant = grant.clone();
        let mut answer = self.ask_with(provider, &grant, origin).await?;
        if let Err(RenewError::Ended(_)) = answer
            && let Some(later) = self.replaced(&grant).await?
        {
            grant.standing = later;
            answer = self.ask_with(provider, &grant, origin).await?;
        }
        Ok((grant, answer))
    }

    fn provider(&self, grant: &Grant) -> Result<&Provider, TokenRefusal> {
        self.identities.get(grant.identity.as_str()).ok_or_else(|| {
            TokenRefusal::unavailable(format_args!(
                "identity {} is not configured: add it again, or its users must sign in again",
                grant.identity
            ))
        })
    }

    async fn ask_with(
        &self,
        provider: &Provider,
        grant: &Grant,
        origin: Actor<'_>,
    ) -> Result<Result<Renewed, RenewError>, TokenRefusal> {
        let token = self.token(provider, grant, origin).await?;
        Ok(provider.renew(grant.subject.key(), &grant.user, token.as_ref()).await)
    }

    /// How the grant stands when its offline token was replaced by that of a later sign-in, since it was read or within the next
    /// moment: a provider with one token per user has refused ours because of the other.
    async fn replaced(&self, grant: &Grant) -> Result<Option<ProviderStanding>, TokenRefusal> {
        if !grant.standing.offline {
            return Ok(None);
        }
        for pause in [Duration::ZERO, FINISHING] {
            sleep(pause).await;
            let now = self.store.grant(&grant.id).await?;
            if let Some(now) = now.filter(|now| now.ended_at.is_none() && now.standing.line > grant.standing.line) {
                return Ok(Some(now.standing));
            }
        }
        Ok(None)
    }

    /// The token to ask with, if the provider gave one. A token of another provider or client must not be sent.
    async fn token(
        &self,
        provider: &Provider,
        grant: &Grant,
        origin: Actor<'_>,
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
                self.ends.end(&grant.id, EndReason::IdentityChanged, origin).await?;
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

    /// The scopes of a renewed grant that its user may still have: the access token has no others. The grant keeps them all, so that
    /// one is back as soon as the user is in its group again. The grant of a user who may not use the server any more, or not with
    /// the scopes that are left, ends.
    pub(super) async fn admitted(&self, grant: &Grant, arrival: &Arrival) -> Result<ScopeSet, TokenRefusal> {
        let not_admitted = match self.check(grant) {
            Ok(allowed) => return Ok(allowed),
            Err(not_admitted) => not_admitted,
        };
        let rule = &*not_admitted.rule;
        tracing::info!(grant = %grant.id, identity = %grant.identity, rule, "a grant ends: its user is not admitted any more");
        self.ends.end(&grant.id, EndReason::NotAdmitted, arrival).await?;
        // the provider gave it a moment ago, and no grant has it
        self.provider_tokens.give_up(&grant.identity, &grant.subject, &grant.standing).await;
        let Grant { subject, client_id: client, resource, .. } = grant;
        let event = Event::NotAdmitted { subject, client: Some(client), resource: Some(resource), rule };
        self.audit.record(&event, arrival);
        Err(TokenRefusal::invalid_grant("the user may not use this server any more"))
    }

    fn check(&self, grant: &Grant) -> Result<ScopeSet, NotAdmitted> {
        let person = Person::of(&grant.identity, grant.subject.as_str(), &grant.user);
        if let Some(provider) = self.identities.get(grant.identity.as_str()) {
            policy::admit(&person, provider.admission(), "identity")?;
        }
        self.resources.granted_to(&person, &grant.resource, &grant.scope)
    }

    /// The grant with the provider's new token and claims.
    pub(in crate::issuer) fn renewed_grant(&self, grant: &Grant, renewed: &Renewed) -> Grant {
        let mut grant = grant.clone();
        let provider = self.identities.get(grant.identity.as_str());
        if let (Some(provider), Some(token)) = (provider, &renewed.token) {
            grant.standing = ProviderStanding {
                sealed_token: Some(self.provider_tokens.seal(provider, &grant.subject, &token.token)),
                // a response may omit its scope (RFC 6749 5.1): what was offline stays so
                offline: token.offline || grant.standing.offline,
                ends_at: token.ends_at,
                renewable: true,
                line: grant.standing.line,
                session: grant.standing.session,
            };
        }
        if let Some(user) = &renewed.user {
            grant.user = User::clone(user);
        }
        grant
    }
}
