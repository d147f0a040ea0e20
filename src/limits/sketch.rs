//! What counts for one rate limit: a count-min sketch with the arithmetic of GCRA.
//!
//! Defends against brute force by an attacker with many addresses or invented names, who must neither fill our memory nor
//! make us forget who is limited. A table of keys cannot promise both: when it is full, an entry is evicted. A sketch has a
//! fixed size. Each key has a cell in each of four rows, and its least used cell counts. Nothing is ever evicted: a limited
//! key stays limited. Keys that share all their cells count together. `governor` does the arithmetic; its own stores are
//! tables.
//!
//! | width | memory | keys that are used up | a new key that is limited by mistake |
//! |---|---|---|---|
//! | [`WIDE`] | 4 MiB | 10,000 | one in 34,000 |
//! | | | 65,536 (every /64 of a /48) | one in 42 |
//! | [`NARROW`] | 512 KiB | 1,000 | one in 81,000 |
//! | | | 10,000 | one in 23 |
//!
//! Beyond that, more and more keys are limited too early. The memory is zeroed by the system, which gives it page by page
//! when a cell is first used: a limit that nothing was counted for costs nothing.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use super::key::Key;
use crate::clock::Clock;
use crate::secret::{hmac_sha256, random};

/// How many cells a key has.
const ROWS: usize = 4;
/// How many cells a row has where an attacker can invent keys; each takes 8 bytes.
pub(super) const WIDE: usize = 1 << 17;
/// The same where a key that is limited by mistake loses nothing that it needs.
pub(super) const NARROW: usize = 1 << 14;

/// A number per hour for each key, all at once if need be; what was used grows back evenly.
pub(super) struct Sketch {
    clock: Clock,
    /// Decides which cells a key has, so that an attacker cannot tell which keys share them.
    seed: [u8; 32],
    width: usize,
    per_hour: NonZeroU32,
    limiter: RateLimiter<CellsOfKey, Cells, GovernorClock, NoOpMiddleware<Nanos>>,
}

impl Sketch {
    /// A sketch in which no key has used anything.
    #[must_use]
    pub(super) fn new(per_hour: NonZeroU32, width: usize, clock: &Clock) -> Self {
        let limiter = RateLimiter::new(Quota::per_hour(per_hour), Cells::unused(width), GovernorClock(clock.clone()));
        Self { clock: clock.clone(), seed: random(), width, per_hour, limiter }
    }

    /// Counts a use with its cost, at most a whole hour's; the error says how many seconds to wait.
    ///
    /// # Errors
    /// When the key has used up what it may.
    pub(super) fn check(&self, key: &Key, cost: NonZeroU32) -> Result<(), u64> {
        let checked = self.limiter.check_key_n(&self.cells(key), cost.min(self.per_hour));
        // a cost beyond the capacity does not come here
        checked.or(Err(3600_u64))?.map_err(|not_until| {
            let wait = not_until.wait_time_from(GovernorClock(self.clock.clone()).now());
            wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1)
        })
    }

    fn cells(&self, key: &Key) -> CellsOfKey {
        let mac = hmac_sha256(&self.seed, &[key.as_bytes()]);
        let mut cells = [0; ROWS];
        for (row, (cell, bytes)) in cells.iter_mut().zip(mac.as_chunks().0).enumerate() {
            *cell = row * self.width + u32::from_le_bytes(*bytes) as usize % self.width;
        }
        cells
    }
}

/// The cells of a key, one in each row.
type CellsOfKey = [usize; ROWS];

/// All cells, with conservative update. A cell holds the time until which it is used up (GCRA's theoretical arrival time), or
/// 0 when it was never used.
struct Cells(Mutex<Vec<u64>>);

impl Cells {
    fn unused(width: usize) -> Self {
        Self(Mutex::new(vec![0; ROWS * width]))
    }
}

impl StateStore for Cells {
    type Key = CellsOfKey;

    fn measure_and_replace<T, F, E>(&self, cells: &CellsOfKey, check: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let least = cells.iter().filter_map(|cell| used.get(*cell)).min().copied().filter(|until| *until > 0);
        let (answer, until) = check(least.map(Nanos::new))?;
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

    use super::{GovernorClock, Key, NARROW, Quota, Sketch, WIDE};
    use crate::clock::{Clock, Timestamp};
    use crate::limits::Part;

    fn sketch(count: u32, width: usize) -> (Sketch, Clock) {
        let clock = Clock::manual(Timestamp(1_800_000_000));
        (Sketch::new(NonZeroU32::new(count).unwrap(), width, &clock), clock)
    }

    fn check(sketch: &Sketch, name: &str) -> Result<(), u64> {
        sketch.check(&Key::of(&[Part::User(name)]), NonZeroU32::MIN)
    }

    #[test]
    fn a_use_that_costs_more_leaves_less_and_none_costs_more_than_an_hour() {
        let (sketch, clock) = sketch(10, WIDE);
        let key = Key::of(&[Part::User("a")]);
        let cost = |cost| sketch.check(&key, NonZeroU32::new(cost).unwrap());
        assert_eq!(cost(7), Ok(()));
        assert_eq!(cost(4), Err(360), "one is missing");
        assert_eq!(cost(3), Ok(()));
        clock.advance(Duration::from_hours(1));
        assert_eq!(cost(u32::MAX), Ok(()));
        assert!(cost(1).is_err());
    }

    #[test]
    fn a_key_may_use_its_hour_at_once_and_then_waits_as_long_as_it_is_told() {
        let (sketch, clock) = sketch(3, WIDE);
        for _ in 0..3 {
            assert_eq!(check(&sketch, "a"), Ok(()));
        }
        let wait = check(&sketch, "a").unwrap_err();
        assert_eq!(wait, 1200);
        clock.advance(Duration::from_secs(wait - 1));
        assert_eq!(check(&sketch, "a"), Err(1));
        clock.advance(Duration::from_secs(1));
        assert_eq!(check(&sketch, "a"), Ok(()));
        assert!(check(&sketch, "a").is_err());
    }

    #[test]
    fn one_key_never_uses_up_what_another_may() {
        let (sketch, _clock) = sketch(1, WIDE);
        assert_eq!(check(&sketch, "a"), Ok(()));
        assert!(check(&sketch, "a").is_err());
        assert_eq!(check(&sketch, "b"), Ok(()));
    }

    #[test]
    fn a_flood_of_invented_names_does_not_lift_a_limit() {
        let (sketch, _clock) = sketch(3, WIDE);
        for _ in 0..3 {
            check(&sketch, "limited").unwrap();
        }
        for _ in 0..2 {
            check(&sketch, "almost").unwrap();
        }
        for name in 0..200_000 {
            check(&sketch, &name.to_string()).ok();
        }
        assert_eq!(check(&sketch, "limited"), Err(1200));
        check(&sketch, "almost").ok();
        assert!(check(&sketch, "almost").is_err());
    }

    #[test]
    fn as_many_keys_as_a_sketch_is_made_for_hardly_limit_others() {
        for (width, keys) in [(WIDE, 10_000), (NARROW, 1000)] {
            let (sketch, _clock) = sketch(1, width);
            let refused =
                |names: std::ops::Range<u32>| names.filter(|n| check(&sketch, &n.to_string()).is_err()).count();
            assert!(refused(0..keys) < 50);
            assert!(refused(keys..keys + 1000) < 20);
        }
    }

    proptest! {
        #[test]
        fn each_key_is_limited_as_if_it_were_the_only_one(steps in prop::collection::vec((0..6_usize, 0..700_u64), 0..200)) {
            let (sketch, clock) = sketch(5, WIDE);
            let quota = Quota::per_hour(NonZeroU32::new(5).unwrap());
            let alone: Vec<_> =
                (0..6).map(|_| RateLimiter::direct_with_clock(quota, GovernorClock(clock.clone()))).collect();
            for (key, seconds) in steps {
                clock.advance(Duration::from_secs(seconds));
                prop_assert_eq!(check(&sketch, &format!("key {key}")).is_ok(), alone[key].check().is_ok());
            }
        }
    }
}
