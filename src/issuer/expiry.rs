//! What goes on in the background: grants that can no longer be used end, and what has expired is deleted.

use std::time::Duration;

use super::Issuer;
use crate::storage::{Abandoned, Retention, StoreError};

const BATCH: i64 = 500;
const PAUSE: Duration = Duration::from_secs(30);

impl Issuer {
    /// Ends and deletes what is no longer needed, again and again.
    pub(crate) async fn run_expiry(self) {
        loop {
            tokio::time::sleep(PAUSE).await;
            self.expire().await;
        }
    }

    /// Ends and deletes what is no longer needed, now.
    pub async fn expire(&self) {
        match self.give_up_abandoned().await {
            Ok(()) => self.delete_expired().await,
            // what would be deleted may hold a token that is to be revoked
            Err(error) => tracing::warn!(%error, "sign-ins that came to nothing could not be read; it is tried again"),
        }
        if let Err(error) = self.end_departed().await {
            tracing::warn!(%error, "grants of what has left the configuration could not be ended; it is tried again");
        }
        if let Err(error) = self.end_unusable_grants().await {
            tracing::warn!(%error, "grants that came to their end could not be ended; it is tried again");
        }
    }

    /// Revokes the offline tokens of sign-ins whose code was never redeemed.
    async fn give_up_abandoned(&self) -> Result<(), StoreError> {
        let mut tokens = Vec::new();
        loop {
            let now = self.now();
            let abandoned = self.store().take_abandoned_tokens(now, BATCH).await?;
            if abandoned.is_empty() {
                break;
            }
            for Abandoned { identity, subject, standing } in abandoned {
                if !self.store().has_live_grant(&subject, &identity, now).await? {
                    tokens.extend(self.ended_token(&identity, &subject, &standing));
                }
            }
        }
        self.revoke_patiently(&tokens).await;
        Ok(())
    }

    async fn delete_expired(&self) {
        let lifetimes = &self.config().lifetimes;
        let retention = Retention {
            consent: lifetimes.consent,
            replay_window: lifetimes.replay_window,
            unused_client: lifetimes.unused_client,
            used_client: lifetimes.used_client,
            access_token: lifetimes.access_token,
        };
        loop {
            match self.store().delete_expired(&retention, self.now(), BATCH).await {
                Ok(0) => return,
                Ok(deleted) => tracing::debug!(deleted, "deleted what had expired"),
                Err(error) => {
                    tracing::warn!(%error, "what has expired could not be deleted; it is tried again");
                    return;
                }
            }
        }
    }
}
