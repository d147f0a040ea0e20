//! The only source of time. Tests hold a [`Clock`] that they move; nothing sleeps to see time pass.

use std::ops::Add;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Whole seconds since 1970, as JWTs and our database count them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The time since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This moment minus a duration.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(seconds(duration)))
    }
}

impl Timestamp {
    /// In UTC, to the minute: `2027-01-15 08:00`.
    #[must_use]
    pub fn in_utc(self) -> String {
        let (days, seconds) = (self.0.div_euclid(86_400), self.0.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", seconds / 3600, seconds % 3600 / 60)
    }
}

/// Year, month and day of a number of days since 1970 (Gregorian calendar). Years begin in March here, which puts the leap
/// day at the end.
const fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
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
///
/// There are two times. The wall clock ([`Self::now`]) stamps tokens and rows; NTP or an operator may set it, in either
/// direction. The monotonic clock ([`Self::monotonic`]) never goes back; ages, intervals and limits use it.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Manual>>);

/// Both in milliseconds.
#[derive(Debug)]
struct Manual {
    wall: AtomicI64,
    monotonic: AtomicU64,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `start` until it is moved.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        let wall = AtomicI64::new(start.0.saturating_mul(1000));
        Self(Some(Arc::new(Manual { wall, monotonic: AtomicU64::new(0) })))
    }

    /// The current second by the wall clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.wall_millis().div_euclid(1000))
    }

    fn wall_millis(&self) -> i64 {
        if let Some(manual) = &self.0 {
            return manual.wall.load(Ordering::SeqCst);
        }
        #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
        let now = SystemTime::now();
        now.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
    }

    /// The time since an arbitrary moment of this process: never decreases, whatever happens to the wall clock.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
        static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
        if let Some(manual) = &self.0 {
            return Duration::from_millis(manual.monotonic.load(Ordering::SeqCst));
        }
        #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
        let passed = ORIGIN.elapsed();
        passed
    }

    /// Lets time pass on a manual clock; does nothing to the system's.
    pub fn advance(&self, duration: Duration) {
        if let Some(manual) = &self.0 {
            let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            manual.monotonic.fetch_add(millis, Ordering::SeqCst);
            manual.wall.fetch_add(i64::try_from(millis).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }

    /// Sets the wall clock of a manual clock forward or back by so many seconds, as an operator or NTP would: no time
    /// passes.
    pub fn step(&self, seconds: i64) {
        if let Some(manual) = &self.0 {
            manual.wall.fetch_add(seconds.saturating_mul(1000), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Clock, Timestamp};

    #[test]
    fn a_step_of_the_wall_clock_leaves_the_monotonic_clock_alone() {
        let clock = Clock::manual(Timestamp(1000));
        clock.advance(Duration::from_secs(5));
        assert_eq!((clock.now(), clock.monotonic()), (Timestamp(1005), Duration::from_secs(5)));
        clock.step(-4000);
        assert_eq!((clock.now(), clock.monotonic()), (Timestamp(-2995), Duration::from_secs(5)));
        clock.clone().step(4000);
        assert_eq!((clock.now(), clock.monotonic()), (Timestamp(1005), Duration::from_secs(5)));
    }
}
