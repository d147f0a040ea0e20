//! What goes on in the background: grants that nobody can use any more end, and what has expired is deleted.

use std::time::Duration;

use super::Issuer;
use crate::storage::Retention;

const BATCH: i64 = 500;
const PAUSE: Duration = Duration::from_secs(30);

impl Issuer {
    /// Ends and deletes what nobody can need any more, for ever.
    pub(crate) async fn run_expiry(self) {
        loop {
            tokio::time::sleep(PAUSE).await;
            self.expire().await;
        }
    }

    /// Ends and deletes what nobody can need any more, now.
    pub async fn expire(&self) {
        self.delete_expired().await;
        if let Err(error) = self.end_unusable_grants().await {
            tracing::warn!(%error, "grants that came to their end could not be ended; it is tried again");
        }
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
