//! Our own signing keys, and their public key set.
//!
//! Defends against: floods of tokens with unknown `kid`s, which would each cost a read of the store.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jsonwebtoken::jwk::JwkSet;
use tokio::sync::Semaphore;

use super::error::{KeyError, VerifyError};
use super::refetch::{Refetch, Refetched};
use super::seal::Sealer;
use super::signing_key::{self, SigningKey};
use crate::clock::Clock;
use crate::config::SigningAlgorithm;
use crate::model::ids::KeyId;
use crate::model::signing_key::StoredSigningKey;
use crate::oauth::claims::AccessTokenClaims;
use crate::outbound::Diagnosis;
use crate::storage::{Store, StoreError};

/// How many requests may wait for the next read of the store.
const MAX_WAITING: usize = 128;

/// Where the keys are stored; a trait for tests without a database.
pub(super) trait Shelf: Send + Sync + 'static {
    fn insert_first<'a>(&'a self, key: &'a StoredSigningKey) -> BoxFuture<'a, Result<(), StoreError>>;
    fn all(&self) -> BoxFuture<'_, Result<Vec<StoredSigningKey>, StoreError>>;
}

impl Shelf for Store {
    fn insert_first<'a>(&'a self, key: &'a StoredSigningKey) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.insert_first_signing_key(key))
    }

    fn all(&self) -> BoxFuture<'_, Result<Vec<StoredSigningKey>, StoreError>> {
        Box::pin(self.signing_keys())
    }
}

/// Our signing keys, in memory. Cheap to clone.
#[derive(Clone)]
pub struct KeyRing(Arc<Ring>);

struct Ring {
    shelf: Box<dyn Shelf>,
    sealer: Sealer,
    algorithm: SigningAlgorithm,
    keys: RwLock<Arc<KeySet>>,
    reread: Refetch,
    /// Bounds the requests that wait for the next read.
    waiting: Semaphore,
}

/// The result of one read of the store.
struct KeySet {
    /// Oldest first. The oldest key of the configured algorithm signs; younger ones are only published.
    keys: Vec<Arc<SigningKey>>,
    /// Keys that exist but cannot be used by this process: it cannot judge their tokens.
    unreadable: Vec<KeyId>,
    jwks: Bytes,
}

impl KeyRing {
    /// Loads the keys, and generates one if there is none for `algorithm`.
    ///
    /// # Errors
    /// When the store fails or a stored key cannot be opened.
    pub async fn load(
        store: Store,
        sealer: Sealer,
        algorithm: SigningAlgorithm,
        clock: Clock,
    ) -> Result<Self, KeyError> {
        Self::from_shelf(Box::new(store), sealer, algorithm, clock).await
    }

    pub(super) async fn from_shelf(
        shelf: Box<dyn Shelf>,
        sealer: Sealer,
        algorithm: SigningAlgorithm,
        clock: Clock,
    ) -> Result<Self, KeyError> {
        let mut stored = shelf.all().await?;
        if !stored.iter().any(|key| signing_key::algorithm_of(key) == Some(algorithm)) {
            let (for_making, now) = (sealer.clone(), clock.now());
            let made = tokio::task::spawn_blocking(move || signing_key::generate(algorithm, &for_making, now));
            let made = made.await.map_err(|cause| KeyError::Unmade(cause.to_string()))??;
            shelf.insert_first(&made).await?;
            // another process may have been faster: the key that the store now contains is used by all processes
            stored = shelf.all().await?;
        }
        let (keys, failure) = KeySet::open(&stored, &sealer);
        if let Some(failure) = failure {
            return Err(failure);
        }
        keys.signing(algorithm)?;
        let (keys, reread) = (RwLock::new(Arc::new(keys)), Refetch::new(clock));
        let waiting = Semaphore::new(MAX_WAITING);
        Ok(Self(Arc::new(Ring { shelf, sealer, algorithm, keys, reread, waiting })))
    }

    /// Signs an access token (`typ: at+jwt`).
    ///
    /// # Errors
    /// When the cryptography library fails, which is not expected.
    pub fn sign(&self, claims: &AccessTokenClaims) -> Result<String, KeyError> {
        self.0.keys().signing(self.0.algorithm)?.sign(claims)
    }

    /// The public keys as a JSON Web Key Set (RFC 7517): the body of `/.well-known/jwks.json`.
    #[must_use]
    pub fn jwks(&self) -> Bytes {
        self.0.keys().jwks.clone()
    }

    /// Finds a key in memory.
    pub(super) fn find(&self, kid: &str) -> Option<Arc<SigningKey>> {
        self.0.keys().find(kid)
    }

    /// Finds a key that is not in memory: waits for the next read of the store, which concurrent callers share.
    ///
    /// Unauthenticated clients can call this at will, with made-up `kid`s. Reads are therefore at least a second apart, a
    /// bounded number of calls may wait for one, and a key that it does not return is unknown. When too many calls wait,
    /// further ones are refused as unknown, too: the next read makes the key known within a second.
    pub(super) async fn find_in_store(&self, kid: &str) -> Result<Arc<SigningKey>, VerifyError> {
        let unknown = || VerifyError::Invalid("no key of ours has its kid");
        let Ok(_permit) = self.0.waiting.try_acquire() else { return Err(unknown()) };
        let ring = Arc::clone(&self.0);
        let refetched = self.0.reread.ask_next(async move { ring.read().await }).await;
        let keys = self.0.keys();
        if let Some(key) = keys.find(kid) {
            return Ok(key);
        }
        let unreadable = keys.unreadable.iter().any(|id| id.as_str() == kid);
        match refetched {
            Refetched::Failed(_) => Err(VerifyError::Unavailable),
            _ if unreadable => Err(VerifyError::Unavailable),
            Refetched::Fresh | Refetched::TooSoon => Err(unknown()),
        }
    }
}

impl Ring {
    fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn read(&self) -> Result<(), Diagnosis> {
        let stored = self.shelf.all().await.map_err(|cause| {
            tracing::warn!(%cause, "the signing keys could not be read again");
            Diagnosis::new(cause.to_string())
        })?;
        let (keys, failure) = KeySet::open(&stored, &self.sealer);
        if let Some(failure) = failure {
            tracing::error!(%failure, "a signing key of another process cannot be used here");
        }
        keys.signing(self.algorithm).map_err(|cause| {
            tracing::error!(%cause, "the signing keys in memory stay in use");
            Diagnosis::new(cause.to_string())
        })?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }
}

impl KeySet {
    /// Decrypts the keys; the error is that of the last key that failed. An unknown algorithm is not an error: a newer version
    /// made the key, and this one must still start.
    fn open(stored: &[StoredSigningKey], sealer: &Sealer) -> (Self, Option<KeyError>) {
        let (mut keys, mut unreadable, mut failure) = (Vec::new(), Vec::new(), None);
        for key in stored {
            let opened = signing_key::algorithm_of(key).map(|algorithm| SigningKey::open(key, algorithm, sealer));
            match opened {
                Some(Ok(opened)) => keys.push(Arc::new(opened)),
                Some(Err(cause)) => {
                    failure = Some(cause);
                    unreadable.push(key.id.clone());
                }
                None => {
                    tracing::warn!(kid = %key.id, algorithm = key.algorithm, "a signing key of a newer version is ignored");
                    unreadable.push(key.id.clone());
                }
            }
        }
        let set = JwkSet { keys: keys.iter().map(|key| key.jwk().clone()).collect() };
        let jwks = serde_json::to_vec(&set).unwrap_or_default().into();
        (Self { keys, unreadable, jwks }, failure)
    }

    fn find(&self, kid: &str) -> Option<Arc<SigningKey>> {
        self.keys.iter().find(|key| key.id().as_str() == kid).map(Arc::clone)
    }

    fn signing(&self, algorithm: SigningAlgorithm) -> Result<&SigningKey, KeyError> {
        let key = self.keys.iter().find(|key| key.algorithm() == algorithm);
        key.map(AsRef::as_ref).ok_or_else(|| KeyError::Missing(algorithm.as_str()))
    }
}

#[cfg(test)]
mod tests;
