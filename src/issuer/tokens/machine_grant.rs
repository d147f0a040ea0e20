//! The access token of a grant that no user consented to here: the same for `client_credentials` and for assertions. There is
//! no refresh token: the client asks again as it asked before.

use std::time::Duration;

use super::access_token::{AccessTokens, Answered};
use super::proofs::Proofs;
use super::refusal::TokenRefusal;
use super::requester::Requester;
use crate::audit::{Audit, Event};
use crate::clock::Clock;
use crate::model::authorization::ProviderStanding;
use crate::model::grant::{Basis, Grant};
use crate::model::ids::{ClientId, GrantId, IdentityId, Subject};
use crate::model::user::User;
use crate::oauth::dpop::Thumbprint;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::scope::ScopeSet;
use crate::storage::{MachineGrant, Store};
use crate::telemetry::metrics;
use crate::wire::Arrival;

/// Gives access tokens under such grants. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct MachineGrants {
    pub(in crate::issuer) proofs: Proofs,
    pub(in crate::issuer) access_tokens: AccessTokens,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) metrics: metrics::Grants,
    pub(in crate::issuer) audit: Audit,
}

/// The checked request.
pub(super) struct MachineRequest<'a> {
    pub(super) basis: Basis,
    pub(super) identity: IdentityId,
    /// The issuer behind the identity, where there is one.
    pub(super) issuer: Option<&'a str>,
    pub(super) subject: Subject,
    /// The key that its token is bound to.
    pub(super) key: Option<Thumbprint>,
    pub(super) client: &'a ClientId,
    pub(super) resource: &'a str,
    pub(super) scope: ScopeSet,
    /// The scopes that the request named; `None` when it named none.
    pub(super) named: Option<ScopeSet>,
    pub(super) user: User,
}

impl MachineGrants {
    /// The key that tokens for this audience are bound to, when every other rule was checked: the proof is used up.
    pub(super) async fn prove(&self, by: &Requester<'_>, audience: &str) -> Result<Option<Thumbprint>, TokenRefusal> {
        let key = self.proofs.key(by, audience)?;
        self.proofs.use_up(by).await?;
        Ok(key)
    }

    /// The token response.
    pub(super) async fn answer(&self, request: MachineRequest<'_>, arrival: &Arrival) -> Result<Vec<u8>, TokenRefusal> {
        let now = self.clock.now();
        let until = now + self.access_tokens.lifetime;
        let (basis, issuer, named, key) = (request.basis, request.issuer, request.named.clone(), request.key);
        let wanted = self.wanted(request);
        let grant = match self.kept(&wanted, basis).await? {
            Some(grant) => grant,
            None => self.keep(wanted, basis, issuer, arrival).await?,
        };
        debug_assert!(grant.expires_at >= until, "a token lives its lifetime");
        let answered = Answered { allowed: &grant.scope, named: named.as_ref(), key };
        self.access_tokens.response(&grant, &answered, None, now).map_err(|refusal| refusal.of_grant(&grant.id))
    }

    /// A live grant that can be used unchanged. A client that acts for itself asks the same again and again, so most of its
    /// requests write nothing; what an assertion says of its user is new each time.
    async fn kept(&self, wanted: &Grant, basis: Basis) -> Result<Option<Grant>, TokenRefusal> {
        match basis {
            Basis::ClientCredentials => {
                let until = self.clock.now() + self.access_tokens.lifetime;
                Ok(self.store.machine_grant(wanted, basis, until).await?)
            }
            Basis::Assertion | Basis::ApiKey => Ok(None),
        }
    }

    async fn keep(
        &self,
        wanted: Grant,
        basis: Basis,
        issuer: Option<&str>,
        arrival: &Arrival,
    ) -> Result<Grant, TokenRefusal> {
        match self.store.keep_machine_grant(wanted, basis, issuer).await? {
            Some(MachineGrant::Extended(grant)) => Ok(grant),
            Some(MachineGrant::Begun(grant)) => {
                self.metrics.begun(grant.identity.as_str());
                self.audit.record(&Event::Granted { grant: &grant, refresh: false }, arrival);
                Ok(grant)
            }
            Some(MachineGrant::ClientDisabled) => {
                Err(OAuthError::new(ErrorCode::InvalidClient, "the client was disabled by the operator").into())
            }
            None => {
                Err(TokenRefusal::unavailable("another process has another issuer under this id: end this process"))
            }
        }
    }

    fn wanted(&self, request: MachineRequest<'_>) -> Grant {
        let now = self.clock.now();
        let lifetime = self.access_tokens.lifetime;
        // because of the spare lifetime, the requests of one lifetime need no write
        let spare = if request.basis == Basis::ClientCredentials { lifetime } else { Duration::ZERO };
        Grant {
            id: GrantId::random(),
            subject: request.subject,
            identity: request.identity,
            client_id: request.client.clone(),
            resource: request.resource.to_owned(),
            scope: request.scope,
            named_scope: None,
            user: request.user,
            standing: ProviderStanding::default(),
            bound_to: None,
            created_at: now,
            expires_at: now + lifetime + spare,
            ended_at: None,
        }
    }
}
