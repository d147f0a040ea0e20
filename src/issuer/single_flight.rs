//! One at a time within this process: a refresh of a grant (the lease keeps other processes out), a fetch of a document.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The keys that are being worked on.
pub(super) struct SingleFlight<K>(Mutex<HashMap<K, Weak<AsyncMutex<()>>>>);

impl<K> Default for SingleFlight<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Clone> SingleFlight<K> {
    /// Waits until no other task of this process works on this key.
    pub(super) fn enter(&self, key: &K) -> impl Future<Output = OwnedMutexGuard<()>> + use<K> {
        self.turnstile(key).lock_owned()
    }

    /// Enters only when no other task of this process works on this key.
    pub(super) fn try_enter(&self, key: &K) -> Option<OwnedMutexGuard<()>> {
        self.turnstile(key).try_lock_owned().ok()
    }

    fn turnstile(&self, key: &K) -> Arc<AsyncMutex<()>> {
        let mut turnstiles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turnstile) = turnstiles.get(key).and_then(Weak::upgrade) {
            return turnstile;
        }
        turnstiles.retain(|_, turnstile| turnstile.strong_count() > 0);
        let turnstile = Arc::default();
        turnstiles.insert(key.clone(), Arc::downgrade(&turnstile));
        turnstile
    }
}
