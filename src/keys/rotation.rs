//! How signing keys take over from each other: the next key is published long before it signs, the old one stays until its last
//! token has expired. A key that may be known to others is withdrawn instead, and its tokens with it.
//!
//! Defends against: tokens that fail at a third party because its copy of our key set is older than the key (a failed request
//! for each rotation), and a stolen key (`replace`).

use std::time::Duration;

use super::error::KeyError;
use super::seal::Sealer;
use super::signing_key;
use crate::audit::{Actor, Audit, Event};
use crate::clock::Clock;
use crate::config::{Config, SigningAlgorithm};
use crate::model::ids::KeyId;
use crate::model::signing_key::StoredSigningKey;
use crate::storage::Store;

/// How much longer a key is published before its first use than others may cache our key set: replicas read the store with a
/// delay, and clocks differ.
const MARGIN_BEFORE: Duration = Duration::from_mins(5);
/// How much longer an old key stays than its last token lives.
const MARGIN_AFTER: Duration = Duration::from_mins(15);
/// A key whose time is further away than this was not made for a rotation of ours: the longest time between publication and
/// first use is a day and five minutes.
pub const HORIZON: Duration = Duration::from_hours(2 * 24);

/// What the configuration says of signing keys.
#[derive(Debug, Clone)]
pub struct RotationTerms {
    /// The algorithm of the next key.
    pub algorithm: SigningAlgorithm,
    /// How long a key signs; `None`: until an operator rotates.
    pub every: Option<Duration>,
    /// How long a key is published before it signs.
    pub lead: Duration,
    /// How long an old key stays after its successor began to sign.
    pub overlap: Duration,
}

impl RotationTerms {
    /// Those of a configuration.
    #[must_use]
    pub const fn of(config: &Config) -> Self {
        Self {
            algorithm: config.tokens.algorithm,
            every: config.tokens.rotate_keys,
            lead: config.lifetimes.jwks_max_age.saturating_add(MARGIN_BEFORE),
            overlap: config.lifetimes.access_token.saturating_add(MARGIN_AFTER),
        }
    }
}

/// Makes, replaces and deletes signing keys in the store. Running processes, this one too, learn of it when they read the store
/// again.
pub struct Rotation {
    /// The store.
    pub store: Store,
    /// What seals the private half.
    pub sealer: Sealer,
    /// What the configuration says.
    pub terms: RotationTerms,
    /// The time.
    pub clock: Clock,
    /// Where it is recorded.
    pub audit: Audit,
}

/// What came of withdrawing all keys.
#[derive(Debug)]
pub struct Replaced {
    /// The key that signs from now on.
    pub key: StoredSigningKey,
    /// Those that were withdrawn.
    pub withdrawn: Vec<KeyId>,
}

impl Rotation {
    /// Publishes the next key; `None` while another one waits for its time.
    ///
    /// # Errors
    /// When the store fails or no key can be made.
    pub async fn prepare(&self, origin: Actor<'_>) -> Result<Option<StoredSigningKey>, KeyError> {
        let now = self.clock.now();
        let RotationTerms { algorithm, lead, .. } = self.terms;
        let key = signing_key::generate_aside(algorithm, &self.sealer, now, now + lead).await?;
        if !self.store.insert_next_signing_key(&key, HORIZON).await? {
            return Ok(None);
        }
        self.record_published(&key, origin);
        Ok(Some(key))
    }

    /// Withdraws every key, also one that waits for its time, and puts a new one in their place that signs at once.
    ///
    /// # Errors
    /// When the store fails or no key can be made; then nothing happened.
    pub async fn replace(&self, origin: Actor<'_>) -> Result<Replaced, KeyError> {
        let now = self.clock.now();
        let key = signing_key::generate_aside(self.terms.algorithm, &self.sealer, now, now).await?;
        let withdrawn = self.store.replace_signing_keys(&key).await?;
        for key in &withdrawn {
            self.audit.record(&Event::KeyWithdrawn { key }, origin);
        }
        self.record_published(&key, origin);
        Ok(Replaced { key, withdrawn })
    }

    /// Deletes the keys whose last token has expired.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn retire(&self) -> Result<(), KeyError> {
        let now = self.clock.now();
        for key in &self.store.delete_retired_signing_keys(now.before(self.terms.overlap)).await? {
            self.audit.record(&Event::KeyRetired { key }, Actor::Upkeep);
        }
        self.store.forget_withdrawn_keys(now).await?;
        Ok(())
    }

    fn record_published(&self, key: &StoredSigningKey, origin: Actor<'_>) {
        let StoredSigningKey { id, algorithm, active_from, .. } = key;
        self.audit.record(&Event::KeyPublished { key: id, algorithm, active_from: *active_from }, origin);
    }
}
