//! One refresh of a grant at a time within this process; the lease keeps other processes out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::model::ids::GrantId;

/// The grants that are being refreshed here.
#[derive(Default)]
pub(super) struct SingleFlight(Mutex<HashMap<GrantId, Weak<AsyncMutex<()>>>>);

impl SingleFlight {
    /// Waits until no other refresh of this grant runs here.
    pub(super) async fn enter(&self, grant: &GrantId) -> OwnedMutexGuard<()> {
        self.turnstile(grant).lock_owned().await
    }

    fn turnstile(&self, grant: &GrantId) -> Arc<AsyncMutex<()>> {
        let mut turnstiles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turnstile) = turnstiles.get(grant).and_then(Weak::upgrade) {
            return turnstile;
        }
        turnstiles.retain(|_, turnstile| turnstile.strong_count() > 0);
        let turnstile = Arc::default();
        turnstiles.insert(grant.clone(), Arc::downgrade(&turnstile));
        turnstile
    }
}
