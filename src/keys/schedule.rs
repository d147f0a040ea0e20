//! When signing keys rotate by themselves: at their age, and after a change of the configured algorithm.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::error::KeyError;
use super::key_ring::{KeyRing, KeyTimes};
use super::rotation::{HORIZON, Rotation, RotationTerms};
use crate::audit::Actor;
use crate::clock::Timestamp;
use crate::model::ids::KeyId;
use crate::telemetry::metrics::TaskRuns;

/// How often the store is read: a key that another process or the command line withdrew is refused here after that.
const INTERVAL: Duration = Duration::from_secs(1);

/// The background task: reads the keys again, and rotates them when it is time.
pub struct RotationSchedule {
    ring: KeyRing,
    rotation: Rotation,
    /// Whether the store has held a newest key of the configured algorithm. From then on this process leaves the algorithm
    /// alone: while a change is rolled out, processes with the old and the new configuration must not undo each other's keys.
    algorithm_settled: AtomicBool,
    /// The key that signed at the last run.
    signing: Mutex<Option<KeyId>>,
}

impl RotationSchedule {
    /// Rotates the keys of this ring.
    #[must_use]
    pub fn new(ring: KeyRing, rotation: Rotation) -> Self {
        let signing = ring.signing().ok().map(|key| key.id().clone());
        Self { ring, rotation, algorithm_settled: AtomicBool::new(false), signing: Mutex::new(signing) }
    }

    /// Runs [`Self::tend`] every second, without end.
    pub async fn run(self, runs: TaskRuns) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            interval.tick().await;
            let tended = self.tend().await;
            runs.ran(tended.is_ok());
            match &tended {
                // an unreadable store is logged where it is read
                Err(cause) if !failing && !matches!(cause, KeyError::Unread(_)) => {
                    tracing::error!(%cause, "the signing keys could not be rotated; retrying");
                }
                _ => {}
            }
            failing = tended.is_err();
        }
    }

    /// Reads the keys again, publishes the next one when it is time, and deletes those whose last token has expired. What it
    /// changes is in the store then, and in memory after the next run.
    ///
    /// # Errors
    /// When the store fails or no key can be made.
    pub async fn tend(&self) -> Result<(), KeyError> {
        self.ring.read_again().await?;
        self.note_signing()?;
        let now = self.rotation.clock.now();
        let signing_since = self.ring.signing()?.active_from();
        let (due, retires) = self.ring.times(|keys| {
            let changed = self.has_another_algorithm(keys);
            (!awaits_one(keys, now) && (changed || self.is_of_age(signing_since, now)), self.retires(keys, now))
        });
        if due && self.rotation.prepare(Actor::Upkeep).await?.is_some() {
            self.algorithm_settled.store(true, Ordering::Relaxed);
        }
        if retires {
            self.rotation.retire().await?;
        }
        Ok(())
    }

    /// Whether the newest key is of another algorithm than the configured one, and this process is to change that.
    fn has_another_algorithm(&self, keys: &[KeyTimes]) -> bool {
        let algorithm = self.rotation.terms.algorithm.as_str();
        if keys.last().is_some_and(|newest| newest.algorithm == algorithm) {
            self.algorithm_settled.store(true, Ordering::Relaxed);
        }
        !self.algorithm_settled.load(Ordering::Relaxed)
    }

    /// Whether the next key must be published now, to sign when the current one is as old as it may become.
    fn is_of_age(&self, signing_since: Timestamp, now: Timestamp) -> bool {
        let RotationTerms { every, lead, .. } = &self.rotation.terms;
        every.is_some_and(|every| now >= signing_since + every.saturating_sub(*lead))
    }

    /// Whether a key has a successor for so long that its last token has expired.
    fn retires(&self, keys: &[KeyTimes], now: Timestamp) -> bool {
        keys.iter().skip(1).any(|successor| successor.active_from + self.rotation.terms.overlap <= now)
    }

    /// Logs when another key signs than at the last run.
    fn note_signing(&self) -> Result<(), KeyError> {
        let id = self.ring.signing()?.id().clone();
        let mut signing = self.signing.lock().unwrap_or_else(PoisonError::into_inner);
        if signing.as_ref() != Some(&id) {
            tracing::info!(kid = %id, "access tokens are signed with another key from now on");
            *signing = Some(id);
        }
        Ok(())
    }
}

/// Whether a published key waits for its time.
fn awaits_one(keys: &[KeyTimes], now: Timestamp) -> bool {
    keys.iter().any(|key| now < key.active_from && key.active_from <= now + HORIZON)
}
