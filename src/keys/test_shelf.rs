//! A store of keys in memory, for the tests of this folder.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;

use super::error::KeyError;
use super::key_ring::{KeyRing, Shelf};
use super::seal::Sealer;
use super::signing_key;
use crate::clock::{Clock, Timestamp};
use crate::config::{RootKey, Secrets, SigningAlgorithm};
use crate::model::signing_key::{StoredSigningKey, WithdrawnKey};
use crate::storage::StoreError;

/// Cheap to clone; clones share everything, like two processes with one database.
#[derive(Clone, Default)]
pub(super) struct TestShelf(Arc<State>);

#[derive(Default)]
struct State {
    keys: Mutex<Vec<StoredSigningKey>>,
    withdrawn: Mutex<Vec<WithdrawnKey>>,
    reads: AtomicUsize,
    down: AtomicBool,
}

impl TestShelf {
    pub(super) async fn ring(&self, algorithm: SigningAlgorithm, clock: &Clock) -> Result<KeyRing, KeyError> {
        self.ring_with(&sealer(1), algorithm, clock).await
    }

    pub(super) async fn ring_with(
        &self,
        sealer: &Sealer,
        algorithm: SigningAlgorithm,
        clock: &Clock,
    ) -> Result<KeyRing, KeyError> {
        KeyRing::from_shelf(Box::new(self.clone()), sealer.clone(), algorithm, clock.clone()).await
    }

    pub(super) fn reads(&self) -> usize {
        self.0.reads.load(Ordering::SeqCst)
    }

    pub(super) fn set_down(&self, down: bool) {
        self.0.down.store(down, Ordering::SeqCst);
    }

    pub(super) fn edit(&self, edit: impl FnOnce(&mut Vec<StoredSigningKey>)) {
        edit(&mut self.0.keys.lock().unwrap());
    }

    /// Adds a new key: rings that read from now on sign with it.
    pub(super) fn rotate(&self, algorithm: SigningAlgorithm, sealer: &Sealer) {
        self.rotate_at(algorithm, sealer, Timestamp(0));
    }

    /// Adds a new key that signs from this time on.
    pub(super) fn rotate_at(&self, algorithm: SigningAlgorithm, sealer: &Sealer, from: Timestamp) {
        let key = signing_key::generate(algorithm, sealer, Timestamp(0), from).unwrap();
        self.edit(|keys| keys.push(key));
    }

    /// Withdraws all keys, and puts one in their place that signs at once.
    pub(super) fn replace(&self, algorithm: SigningAlgorithm, sealer: &Sealer) {
        let key = signing_key::generate(algorithm, sealer, Timestamp(0), Timestamp(0)).unwrap();
        let withdrawn =
            |key: StoredSigningKey| WithdrawnKey { id: key.id, algorithm: key.algorithm, withdrawn_at: Timestamp(0) };
        self.edit(|keys| {
            let gone = std::mem::replace(keys, vec![key]);
            self.0.withdrawn.lock().unwrap().extend(gone.into_iter().map(withdrawn));
        });
    }
}

impl Shelf for TestShelf {
    fn insert_first<'a>(&'a self, key: &'a StoredSigningKey) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.edit(|keys| {
                if !keys.iter().any(|there| there.algorithm == key.algorithm) {
                    keys.push(key.clone());
                }
            });
            Ok(())
        })
    }

    fn all(&self) -> BoxFuture<'_, Result<Vec<StoredSigningKey>, StoreError>> {
        Box::pin(async move {
            self.0.reads.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            if self.0.down.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable("down".to_owned()));
            }
            Ok(self.0.keys.lock().unwrap().clone())
        })
    }

    fn withdrawn(&self) -> BoxFuture<'_, Result<Vec<WithdrawnKey>, StoreError>> {
        Box::pin(async move { Ok(self.0.withdrawn.lock().unwrap().clone()) })
    }
}

pub(super) fn sealer(root: u8) -> Sealer {
    Sealer::new(&Secrets { keys: vec![RootKey::from_bytes([root; 32])] })
}
