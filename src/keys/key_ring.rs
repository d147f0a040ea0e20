//! Our own signing keys, and their public key set.
//!
//! Defends against: floods of tokens with unknown `kid`s, which would each cost a read of the store, and use of a withdrawn key
//! (it signs nothing, verifies nothing, and ends what hangs on its tokens).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jsonwebtoken::jwk::JwkSet;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::error::{KeyError, VerifyError};
use super::refetch::{OWN_INTERVAL, Refetch, Refetched};
use super::seal::Sealer;
use super::signing_key::{self, KeyWatch, SigningKey};
use crate::clock::{Clock, Timestamp};
use crate::config::SigningAlgorithm;
use crate::model::ids::KeyId;
use crate::model::signing_key::{StoredSigningKey, WithdrawnKey, signing_at};
use crate::oauth::claims::{ASSERTION_TYPE, AccessTokenClaims};
use crate::outbound::Diagnosis;
use crate::storage::{Store, StoreError};

/// How many requests may wait for the next read of the store.
const MAX_WAITING: usize = 128;

/// Where the keys are stored; a trait for tests without a database.
pub(super) trait Shelf: Send + Sync + 'static {
    fn insert_first<'a>(&'a self, key: &'a StoredSigningKey) -> BoxFuture<'a, Result<(), StoreError>>;
    fn all(&self) -> BoxFuture<'_, Result<Vec<StoredSigningKey>, StoreError>>;
    fn withdrawn(&self) -> BoxFuture<'_, Result<Vec<WithdrawnKey>, StoreError>>;
}

impl Shelf for Store {
    fn insert_first<'a>(&'a self, key: &'a StoredSigningKey) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.insert_first_signing_key(key))
    }

    fn all(&self) -> BoxFuture<'_, Result<Vec<StoredSigningKey>, StoreError>> {
        Box::pin(self.signing_keys())
    }

    fn withdrawn(&self) -> BoxFuture<'_, Result<Vec<WithdrawnKey>, StoreError>> {
        Box::pin(self.withdrawn_keys())
    }
}

/// Our signing keys, in memory. Cheap to clone.
///
/// The store says which keys there are and when each begins to sign; the configuration only says of which algorithm the next
/// one will be. So all processes sign with the same key, whatever each is configured with.
#[derive(Clone)]
pub struct KeyRing(Arc<Ring>);

struct Ring {
    shelf: Box<dyn Shelf>,
    sealer: Sealer,
    clock: Clock,
    keys: RwLock<Arc<KeySet>>,
    reread: Refetch,
    /// Bounds the requests that wait for the next read.
    waiting: Semaphore,
    /// Whether the last read failed, so that an outage is logged once.
    failing: AtomicBool,
}

/// The result of one read of the store.
struct KeySet {
    /// In the order in which they take over from each other.
    keys: Vec<Arc<SigningKey>>,
    /// Keys that exist but cannot be used by this process: it cannot check their tokens.
    unreadable: Vec<KeyId>,
    /// All keys, in the same order, as far as rotation needs them.
    times: Vec<KeyTimes>,
    jwks: Bytes,
}

/// A stored key, whether or not this process can use it.
pub(super) struct KeyTimes {
    pub(super) algorithm: String,
    pub(super) active_from: Timestamp,
}

/// How the keys stand, for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyStanding {
    /// Since when the key that signs has done so.
    pub signing_since: Timestamp,
    /// How many keys are published.
    pub published: usize,
}

impl KeyRing {
    /// Loads the keys, and generates one for `algorithm` if there is none that this program can use.
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
        if !stored.iter().any(|key| signing_key::algorithm_of(key).is_some()) {
            let now = clock.now();
            shelf.insert_first(&signing_key::generate_aside(algorithm, &sealer, now, now).await?).await?;
            // another process may have been faster: the key that the store now contains is used by all processes
            stored = shelf.all().await?;
        }
        let (keys, failure) = KeySet::open(&stored, &sealer, &KeySet::EMPTY);
        if let Some(failure) = failure {
            return Err(failure);
        }
        keys.signing(clock.now())?;
        let (keys, reread) = (RwLock::new(Arc::new(keys)), Refetch::new(clock.clone()));
        let (waiting, failing) = (Semaphore::new(MAX_WAITING), AtomicBool::new(false));
        Ok(Self(Arc::new(Ring { shelf, sealer, clock, keys, reread, waiting, failing })))
    }

    /// Signs an access token (`typ: at+jwt`).
    ///
    /// # Errors
    /// When the cryptography library fails, which is not expected, or when all keys were withdrawn.
    pub fn sign(&self, claims: &AccessTokenClaims) -> Result<String, KeyError> {
        self.0.keys().signing(self.0.clock.now())?.sign(claims)
    }

    /// Signs an assertion about a user for a server behind us ([`ASSERTION_TYPE`]), which no verifier of access tokens takes for
    /// one. Answers the key's watch as well: what is kept of the assertion must not outlive a withdrawn key.
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub(crate) fn sign_assertion<C: Serialize>(&self, claims: &C) -> Result<(String, KeyWatch), KeyError> {
        let keys = self.0.keys();
        let key = keys.signing(self.0.clock.now())?;
        Ok((key.sign_as(ASSERTION_TYPE, claims)?, key.watch().clone()))
    }

    /// The public keys as a JSON Web Key Set (RFC 7517): the body of `/.well-known/jwks.json`.
    #[must_use]
    pub fn jwks(&self) -> Bytes {
        self.0.keys().jwks.clone()
    }

    /// How the keys stand; `None` when none can sign.
    #[must_use]
    pub fn standing(&self) -> Option<KeyStanding> {
        let keys = self.0.keys();
        let signing = keys.signing(self.0.clock.now()).ok()?;
        Some(KeyStanding { signing_since: signing.active_from(), published: keys.keys.len() })
    }

    /// The key that signs now.
    pub(super) fn signing(&self) -> Result<Arc<SigningKey>, KeyError> {
        self.0.keys().signing(self.0.clock.now()).map(Arc::clone)
    }

    /// All stored keys as of the last read, in the order in which they take over from each other.
    pub(super) fn times<T>(&self, read: impl FnOnce(&[KeyTimes]) -> T) -> T {
        read(&self.0.keys().times)
    }

    /// Reads the store again, at most once a second: a caller within that second waits.
    ///
    /// # Errors
    /// When the store fails, or holds no key that can be used here. The keys in memory then stay in use.
    pub(super) async fn read_again(&self) -> Result<(), KeyError> {
        let ring = Arc::clone(&self.0);
        match self.0.reread.ask_next(OWN_INTERVAL, async move { ring.read().await }).await {
            Refetched::Failed(cause) => Err(KeyError::Unread(cause.to_string())),
            Refetched::Fresh | Refetched::TooSoon => Ok(()),
        }
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
        let refetched = self.0.reread.ask_next(OWN_INTERVAL, async move { ring.read().await }).await;
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

    /// Reads the store; runs are one after another. Logs when reading begins to fail and when it works again.
    async fn read(&self) -> Result<(), Diagnosis> {
        let read = self.replace().await;
        let failed_before = self.failing.swap(read.is_err(), Ordering::Relaxed);
        match &read {
            Err(cause) if !failed_before => tracing::error!(%cause, "the signing keys in memory stay in use"),
            Ok(()) if failed_before => tracing::info!("the signing keys can be read again"),
            _ => {}
        }
        read.map_err(|cause| Diagnosis::new(cause.to_string()))
    }

    async fn replace(&self) -> Result<(), KeyError> {
        let stored = self.shelf.all().await?;
        let before = self.keys();
        if before.misses_one(&stored) {
            // read after the keys: a key that was withdrawn is missing there and is here
            for withdrawn in self.shelf.withdrawn().await? {
                before.withdraw(&withdrawn.id);
            }
        }
        let (keys, failure) = KeySet::open(&stored, &self.sealer, &before);
        if let Some(failure) = failure.filter(|_| keys.unreadable != before.unreadable) {
            tracing::error!(%failure, "a signing key of another process cannot be used here");
        }
        let usable = keys.signing(self.clock.now()).map(drop);
        // a store that holds nothing for us takes nothing from memory, but for keys that were withdrawn
        if usable.is_ok() || before.keys.iter().all(|key| key.watch().is_withdrawn()) {
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        }
        usable
    }
}

impl KeySet {
    const EMPTY: Self = Self { keys: Vec::new(), unreadable: Vec::new(), times: Vec::new(), jwks: Bytes::new() };

    /// Decrypts the keys that were not known `before`; the error is that of the last key that failed. An unknown algorithm is
    /// not an error: a newer version made the key, and this one must still start.
    fn open(stored: &[StoredSigningKey], sealer: &Sealer, before: &Self) -> (Self, Option<KeyError>) {
        let (mut keys, mut unreadable, mut failure) = (Vec::new(), Vec::new(), None);
        for key in stored {
            // the same object, so that every watcher of the key learns of the withdrawal
            if let Some(known) = before.keys.iter().find(|known| *known.id() == key.id) {
                keys.push(Arc::clone(known));
                continue;
            }
            match signing_key::algorithm_of(key).map(|algorithm| SigningKey::open(key, algorithm, sealer)) {
                Some(Ok(opened)) => keys.push(Arc::new(opened)),
                Some(Err(cause)) => {
                    failure = Some(cause);
                    unreadable.push(key.id.clone());
                }
                None => {
                    if !before.unreadable.contains(&key.id) {
                        let (kid, algorithm) = (&key.id, &key.algorithm);
                        tracing::warn!(%kid, algorithm, "a signing key of a newer version is ignored");
                    }
                    unreadable.push(key.id.clone());
                }
            }
        }
        let times =
            stored.iter().map(|key| KeyTimes { algorithm: key.algorithm.clone(), active_from: key.active_from });
        let set = JwkSet { keys: keys.iter().map(|key| key.jwk().clone()).collect() };
        let jwks = serde_json::to_vec(&set).unwrap_or_default().into();
        (Self { keys, unreadable, times: times.collect(), jwks }, failure)
    }

    /// Whether a key of this set is not among these.
    fn misses_one(&self, stored: &[StoredSigningKey]) -> bool {
        self.keys.iter().any(|known| !stored.iter().any(|key| key.id == *known.id()))
    }

    /// Tells everything that hangs on a token of this key, if it is one of this set.
    fn withdraw(&self, id: &KeyId) {
        for key in self.keys.iter().filter(|key| key.id() == id && !key.watch().is_withdrawn()) {
            tracing::warn!(kid = %id, "a signing key was withdrawn: its tokens are refused from now on");
            key.watch().withdraw();
        }
    }

    /// A key that was withdrawn is not found, even while the store is being read.
    fn find(&self, kid: &str) -> Option<Arc<SigningKey>> {
        self.keys.iter().find(|key| key.id().as_str() == kid && !key.watch().is_withdrawn()).map(Arc::clone)
    }

    /// The key that signs at a time.
    fn signing(&self, now: Timestamp) -> Result<&Arc<SigningKey>, KeyError> {
        let key = self.keys.get(signing_at(self.keys.iter().map(|key| key.active_from()), now));
        key.filter(|key| !key.watch().is_withdrawn()).ok_or(KeyError::Missing)
    }
}

#[cfg(test)]
mod tests;
