//! The upkeep that runs in the background: grants that can no longer be used end, and what has expired is deleted.

use std::sync::Arc;
use std::time::Duration;

use super::adoption::Adoption;
use super::ends::GrantEnds;
use super::provider_tokens::ProviderTokens;
use crate::clock::Clock;
use crate::config::Lifetimes;
use crate::storage::{Abandoned, Retention, Store, StoreError};
use crate::telemetry::metrics::TaskRuns;

const BATCH: i64 = 500;
const PAUSE: Duration = Duration::from_secs(30);

/// The upkeep of the store.
pub(in crate::issuer) struct Expiry {
    pub(in crate::issuer) adoption: Arc<Adoption>,
    pub(in crate::issuer) ends: GrantEnds,
    pub(in crate::issuer) provider_tokens: ProviderTokens,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) lifetimes: Lifetimes,
    /// How long consents are remembered.
    pub(in crate::issuer) remember_for: Duration,
    pub(in crate::issuer) runs: TaskRuns,
}

impl Expiry {
    /// Runs [`Self::expire`] every half minute, without end.
    pub(in crate::issuer) async fn run(&self) {
        loop {
            tokio::time::sleep(PAUSE).await;
            self.expire().await;
        }
    }

    /// Ends the grants that can no longer be used, revokes abandoned tokens, and deletes expired rows.
    pub(in crate::issuer) async fn expire(&self) {
        let deleted = match self.give_up_abandoned().await {
            Ok(()) => self.delete_expired().await.map_err(|error| (error, "expired rows could not be deleted")),
            // what would be deleted may hold a token that is to be revoked
            Err(error) => Err((error, "abandoned sign-ins could not be read")),
        };
        let departed = self.adoption.end_departed().await;
        let departed =
            departed.map_err(|error| (error, "grants of what has left the configuration could not be ended"));
        let disabled = self.adoption.end_disabled().await;
        let disabled = disabled.map_err(|error| (error, "grants of disabled clients could not be ended"));
        let unusable = self.ends.end_unusable(self.lifetimes.access_token).await;
        let unusable = unusable.map_err(|error| (error, "unusable grants could not be ended"));
        let steps = [deleted, departed, disabled, unusable];
        self.runs.ran(steps.iter().all(Result::is_ok));
        for (error, what) in steps.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "{what}; retrying");
        }
    }

    /// Revokes the offline tokens of sign-ins whose code was never redeemed.
    async fn give_up_abandoned(&self) -> Result<(), StoreError> {
        let mut tokens = Vec::new();
        loop {
            let now = self.clock.now();
            let abandoned = self.store.take_abandoned_tokens(now, BATCH).await?;
            if abandoned.is_empty() {
                break;
            }
            for Abandoned { identity, subject, standing } in abandoned {
                if !self.store.has_live_grant(&subject, &identity, now).await? {
                    tokens.extend(self.provider_tokens.ended(&identity, &subject, &standing));
                }
            }
        }
        self.provider_tokens.revoke_patiently(&tokens).await;
        Ok(())
    }

    async fn delete_expired(&self) -> Result<(), StoreError> {
        let lifetimes = &self.lifetimes;
        let retention = Retention {
            consent: lifetimes.consent,
            replay_window: lifetimes.replay_window,
            unused_client: lifetimes.unused_client,
            used_client: lifetimes.used_client,
            remembered_consent: self.remember_for,
            access_token: lifetimes.access_token,
        };
        loop {
            let deleted = self.store.delete_expired(&retention, self.clock.now(), BATCH).await?;
            if deleted == 0 {
                return Ok(());
            }
            tracing::debug!(deleted, "deleted expired rows");
        }
    }
}
