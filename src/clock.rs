//! The only source of time. Tests hold a [`Clock`] that they move; nothing sleeps to see time pass.

use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Whole seconds since 1970, as JWTs and our database count them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// How long from `earlier` until this; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This moment less a duration.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(seconds(duration)))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(seconds(duration)))
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Tells the time. Cheap to clone; clones of a manual clock move together.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `start` until it is moved.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self(Some(Arc::new(AtomicI64::new(start.0.saturating_mul(1000)))))
    }

    /// The current second.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.millis().div_euclid(1000))
    }

    /// Milliseconds since 1970, for limits that count in fractions of a second.
    #[must_use]
    pub fn millis(&self) -> i64 {
        if let Some(manual) = &self.0 {
            return manual.load(Ordering::SeqCst);
        }
        #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
        let now = SystemTime::now();
        now.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
    }

    /// Moves a manual clock; the system's stays as it is.
    pub fn advance(&self, duration: Duration) {
        if let Some(manual) = &self.0 {
            manual.fetch_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}
