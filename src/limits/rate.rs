//! Rate limits, keyed by address, client or user.
//!
//! Defends against brute force, also by an attacker with many addresses or invented names.
//!
//! Such an attacker must neither fill our memory nor make us forget who is limited. A table of keys cannot promise
//! both: when it is full, an entry is evicted. So this is a sketch of fixed size. Each key has a cell in each of four
//! rows, and its least used cell counts. Nothing is ever evicted: a limited key stays limited. Keys that share all
//! their cells count together. With 10,000 busy keys that happens to one new key in 34,000, with 65,536 (every /64 of a
//! /48, all used up) to one in 42; beyond that, more and more keys are limited too early. `governor` does the
//! arithmetic (GCRA); its own stores are tables.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::secret::{hmac_sha256, random};

/// How many cells a key has.
const ROWS: usize = 4;
/// How many cells a row has; each takes 8 bytes.
const WIDTH: usize = 1 << 17;

/// A number per hour for each key, all at once if need be; what was used grows back evenly.
pub(crate) struct Limiter {
    clock: Clock,
    /// Decides which cells a key has, so that an attacker cannot tell which keys share them.
    seed: [u8; 32],
    sketch: RateLimiter<Cells, Sketch, GovernorClock, NoOpMiddleware<Nanos>>,
}

impl Limiter {
    /// A limiter.
    #[must_use]
    pub(crate) fn per_hour(count: NonZeroU32, clock: &Clock) -> Self {
        let sketch = RateLimiter::new(Quota::per_hour(count), Sketch::empty(), GovernorClock(clock.clone()));
        Self { clock: clock.clone(), seed: random(), sketch }
    }

    /// Counts one; the error says how many seconds to wait.
    ///
    /// # Errors
    /// When the key has used up what it may.
    pub(crate) fn check(&self, key: &str) -> Result<(), u64> {
        self.sketch.check_key(&self.cells(key)).map_err(|not_until| {
            let wait = not_until.wait_time_from(GovernorClock(self.clock.clone()).now());
            wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1)
        })
    }

    fn cells(&self, key: &str) -> Cells {
        let mac = hmac_sha256(&self.seed, &[key.as_bytes()]);
        let mut cells = [0; ROWS];
        for (row, (cell, bytes)) in cells.iter_mut().zip(mac.as_chunks().0).enumerate() {
            *cell = row * WIDTH + u32::from_le_bytes(*bytes) as usize % WIDTH;
        }
        cells
    }
}

/// The cells of a key, one in each row.
type Cells = [usize; ROWS];

/// A count-min sketch with conservative update. A cell holds the time until which it is used up (GCRA's theoretical
/// arrival time), or 0 when it was never used.
struct Sketch(Mutex<Vec<u64>>);

impl Sketch {
    fn empty() -> Self {
        Self(Mutex::new(vec![0; ROWS * WIDTH]))
    }
}

impl StateStore for Sketch {
    type Key = Cells;

    fn measure_and_replace<T, F, E>(&self, cells: &Cells, judge: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let least = cells.iter().filter_map(|cell| used.get(*cell)).min().copied().filter(|until| *until > 0);
        let (answer, until) = judge(least.map(Nanos::new))?;
        for cell in cells {
            if let Some(used) = used.get_mut(*cell) {
                *used = until.as_u64().max(*used);
            }
        }
        Ok(answer)
    }
}

/// Our clock in the limiter's words.
struct GovernorClock(Clock);

impl governor::clock::Clock for GovernorClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        // by the wall clock, a step forward and back would limit every key until the time that the clock had shown
        Nanos::new(u64::try_from(self.0.monotonic().as_nanos()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use governor::RateLimiter;
    use proptest::prelude::*;

    use super::{GovernorClock, Limiter, Quota};
    use crate::clock::{Clock, Timestamp};

    fn limiter(count: u32) -> (Limiter, Clock) {
        let clock = Clock::manual(Timestamp(1_800_000_000));
        (Limiter::per_hour(NonZeroU32::new(count).unwrap(), &clock), clock)
    }

    #[test]
    fn a_key_may_use_its_hour_at_once_and_then_waits_as_long_as_it_is_told() {
        let (limiter, clock) = limiter(3);
        for _ in 0..3 {
            assert_eq!(limiter.check("a"), Ok(()));
        }
        let wait = limiter.check("a").unwrap_err();
        assert_eq!(wait, 1200);
        clock.advance(Duration::from_secs(wait - 1));
        assert_eq!(limiter.check("a"), Err(1));
        clock.advance(Duration::from_secs(1));
        assert_eq!(limiter.check("a"), Ok(()));
        assert!(limiter.check("a").is_err());
    }

    #[test]
    fn one_key_never_uses_up_what_another_may() {
        let (limiter, _clock) = limiter(1);
        assert_eq!(limiter.check("a"), Ok(()));
        assert!(limiter.check("a").is_err());
        assert_eq!(limiter.check("b"), Ok(()));
    }

    #[test]
    fn a_flood_of_invented_names_does_not_lift_a_limit() {
        let (limiter, _clock) = limiter(3);
        for _ in 0..3 {
            limiter.check("limited").unwrap();
        }
        for _ in 0..2 {
            limiter.check("almost").unwrap();
        }
        for name in 0..200_000 {
            limiter.check(&name.to_string()).ok();
        }
        assert_eq!(limiter.check("limited"), Err(1200));
        limiter.check("almost").ok();
        assert!(limiter.check("almost").is_err());
    }

    #[test]
    fn ten_thousand_limited_keys_hardly_limit_others() {
        let (limiter, _clock) = limiter(1);
        let refused = |names: std::ops::Range<u32>| names.filter(|n| limiter.check(&n.to_string()).is_err()).count();
        assert!(refused(0..10_000) < 50);
        assert!(refused(10_000..11_000) < 20);
    }

    proptest! {
        #[test]
        fn each_key_is_limited_as_if_it_were_the_only_one(steps in prop::collection::vec((0..6_usize, 0..700_u64), 0..200)) {
            let (limiter, clock) = limiter(5);
            let quota = Quota::per_hour(NonZeroU32::new(5).unwrap());
            let alone: Vec<_> =
                (0..6).map(|_| RateLimiter::direct_with_clock(quota, GovernorClock(clock.clone()))).collect();
            for (key, seconds) in steps {
                clock.advance(Duration::from_secs(seconds));
                prop_assert_eq!(limiter.check(&format!("key {key}")).is_ok(), alone[key].check().is_ok());
            }
        }
    }
}
