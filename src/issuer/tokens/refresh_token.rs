//! `grant_type=refresh_token` (RFC 6749 6, OAuth 2.1 4.3), from the presented token to the response: look it up, take the
//! grant's lease, ask the identity provider, and write everything in one transaction.
//!
//! Defends against: stolen refresh tokens (each use rotates the token; `presented` recognises replays), and races between
//! processes. The lease is given only while the token is unused. The grant that was read before is then the latest: without
//! the lease no rotation can change it, and a rotation before would have used the token. The last transaction succeeds only
//! while the lease is held.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::access_token::{AccessTokens, Answered};
use super::persistence::persist;
use super::presented::{Found, Presented, PresentedTokens, Unused};
use super::refresh_lease::{RefreshLease, RefreshLeases, too_long};
use super::refusal::TokenRefusal;
use super::renewal::Renewals;
use super::requester::Requester;
use crate::clock::Clock;
use crate::issuer::grants::ProviderTokens;
use crate::keys::seal_with;
use crate::limits::{Key, Limit, Limits, Part};
use crate::model::grant::Grant;
use crate::model::ids::GrantId;
use crate::oauth::parameters::Parameters;
use crate::storage::{Rotation, Store};
use crate::telemetry::metrics::RefreshOutcome;

/// How long a refresh waits for another one of the same grant: clients give up after 10 seconds.
const PATIENCE: Duration = Duration::from_secs(8);
/// The delay before it asks again for a lease that another process holds.
const POLL: Duration = Duration::from_millis(100);

/// The response, and whether it is a new one.
pub(super) struct Refreshed {
    pub(super) response: Vec<u8>,
    pub(super) outcome: RefreshOutcome,
}

/// Answers refreshes.
pub(in crate::issuer) struct Refreshes {
    pub(in crate::issuer) presented: PresentedTokens,
    pub(in crate::issuer) leases: Arc<RefreshLeases>,
    pub(in crate::issuer) renewals: Arc<Renewals>,
    pub(in crate::issuer) access_tokens: AccessTokens,
    pub(in crate::issuer) provider_tokens: ProviderTokens,
    pub(in crate::issuer) limits: Limits,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
}

impl Refreshes {
    /// Answers a refresh.
    pub(super) async fn refresh(&self, by: &Requester<'_>, parameters: &Parameters) -> Result<Refreshed, TokenRefusal> {
        let presented = Presented::read(by, parameters)?;
        let deadline = Instant::now() + PATIENCE;
        // when the lease is refused, its previous holder has most likely used the token: look it up at once
        let mut pause = Duration::ZERO;
        loop {
            let unused = match self.presented.look_up(&presented).await? {
                Found::Answered(grant, response) => return self.repeated(by, &grant, response).await,
                Found::Unused(unused) => unused,
            };
            if let Some(lease) = self.leases.take(&presented, &unused.grant.id, deadline).await? {
                return self.under_lease(&lease, &presented, *unused).await;
            }
            if Instant::now() >= deadline {
                return Err(too_long(&unused.grant.id));
            }
            sleep(pause).await;
            pause = POLL;
        }
    }

    /// The response of a used token. A retry needs a proof of its own, whose use is a write: it counts like a refresh.
    async fn repeated(
        &self,
        by: &Requester<'_>,
        grant: &GrantId,
        response: Vec<u8>,
    ) -> Result<Refreshed, TokenRefusal> {
        if by.proof.is_some() {
            self.limits.check(Limit::Refreshes, &Key::of(&[Part::Grant(grant)])).await?;
            self.presented.proofs.use_up(by).await?;
        }
        Ok(Refreshed { response, outcome: RefreshOutcome::Repeated })
    }

    /// Refreshes, and releases the lease unless the rotation did.
    async fn under_lease(
        &self,
        lease: &RefreshLease,
        presented: &Presented<'_>,
        mut unused: Unused,
    ) -> Result<Refreshed, TokenRefusal> {
        unused.grant.standing = lease.standing.clone();
        let answer = self.rotate(lease, presented, &unused).await;
        if answer.is_err() {
            self.leases.release(lease).await;
        }
        answer.map_err(|refusal| refusal.of_grant(&unused.grant.id))
    }

    /// Asks the provider, signs, and writes.
    async fn rotate(
        &self,
        lease: &RefreshLease,
        presented: &Presented<'_>,
        unused: &Unused,
    ) -> Result<Refreshed, TokenRefusal> {
        let Unused { grant, key } = unused;
        // a response that is given again asks no provider, and does not count
        self.limits.check(Limit::Refreshes, &Key::of(&[Part::Grant(&grant.id)])).await?;
        self.presented.proofs.use_up(presented.by).await?;
        let (asked, renewed) = self.renewals.ask(grant, presented.by.arrival).await?;
        let mut grant = self.renewals.renewed_grant(&asked, &renewed);
        grant.scope = self.renewals.admitted(&grant, presented.by.arrival).await?;
        let now = self.clock.now();
        let narrowed = presented.scope.as_ref().map(|asked| self.presented.resources.narrowed(&grant, asked));
        let answered = Answered {
            allowed: narrowed.as_ref().unwrap_or(&grant.scope),
            named: presented.scope.as_ref().or(grant.named_scope.as_ref()),
            key: *key,
        };
        let fresh = self.access_tokens.fresh_refresh_token(&grant, key.is_some(), now);
        let response = self.access_tokens.response(&grant, &answered, Some(&fresh.token), now)?;
        let rotation = Rotation {
            grant: &grant.id,
            lease: &lease.holder,
            used: &presented.hash,
            parameters: &presented.parameters_hash,
            sealed_response: &seal_with(presented.token.expose().as_bytes(), &response),
            successor: &fresh.stored,
            standing: renewed.token.is_some().then_some(&grant.standing),
            user: renewed.user.as_ref(),
            bound_to: key.as_ref(),
            now,
        };
        if self.write(&rotation).await? {
            Ok(Refreshed { response, outcome: RefreshOutcome::Rotated })
        } else {
            self.lost(presented, &grant).await
        }
    }

    /// Writes a rotation. The provider may have spent its old token by now: a store that fails for a moment must not cost us
    /// the new one.
    async fn write(&self, rotation: &Rotation<'_>) -> Result<bool, TokenRefusal> {
        Ok(persist(rotation.grant, || self.store.rotate_refresh_token(rotation)).await?)
    }

    /// The lease was lost, or the grant ended, while the provider was asked. Another refresh may have left a response; if
    /// there is none, no grant holds the token that the provider has just given, and it is revoked.
    async fn lost(&self, presented: &Presented<'_>, grant: &Grant) -> Result<Refreshed, TokenRefusal> {
        match self.presented.look_up(presented).await {
            Ok(Found::Answered(_, response)) => Ok(Refreshed { response, outcome: RefreshOutcome::Repeated }),
            Ok(Found::Unused(_)) => Err(TokenRefusal::unavailable("the refresh lease was lost")),
            Err(refusal) => {
                self.provider_tokens.give_up(&grant.identity, &grant.subject, &grant.standing).await;
                Err(refusal)
            }
        }
    }
}
