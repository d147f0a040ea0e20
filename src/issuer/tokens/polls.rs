//! The last polls of devices, in this process. The polling interval is in the store, for all processes.
//!
//! Defends against: floods of polls (a poll that comes too early is answered from memory).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::secret::Sha256;

/// How many devices are remembered: as many as may have a code open, and those whose codes end meanwhile.
const MOST: usize = 20_000;
/// How early a poll may be: timers are not exact, and the network delays some polls more than others.
const TOLERANCE: Duration = Duration::from_millis(500);
/// How long the last poll of a device is remembered: longer than any interval.
const REMEMBERED: Duration = Duration::from_mins(2);

/// Remembers polls. Cheap to clone; clones remember together.
#[derive(Clone)]
pub(in crate::issuer) struct Polls {
    clock: Clock,
    last: Arc<Mutex<HashMap<Sha256, Poll>>>,
}

#[derive(Clone, Copy)]
struct Poll {
    at: Duration,
    interval: i64,
}

impl Polls {
    pub(in crate::issuer) fn new(clock: Clock) -> Self {
        Self { clock, last: Arc::default() }
    }

    /// The interval that a poll violated; `None` when it came in time. The store is asked in between: the first time without
    /// an interval, which notes nothing, then with the one that is stored.
    pub(super) fn came_too_early(&self, code: &Sha256, stored: Option<i64>) -> Option<i64> {
        let now = self.clock.monotonic();
        let mut polls = self.polls();
        let last = polls.get(code).copied();
        if let Some(Poll { at, interval }) = last {
            let interval = stored.map_or(interval, |stored| stored.max(interval));
            let due = Duration::from_secs(interval.unsigned_abs()).saturating_sub(TOLERANCE);
            if now.saturating_sub(at) < due {
                polls.insert(*code, Poll { at: now, interval });
                return Some(interval);
            }
        }
        if let Some(interval) = stored {
            if polls.len() >= MOST && last.is_none() {
                polls.retain(|_, poll| now.saturating_sub(poll.at) < REMEMBERED);
            }
            if polls.len() < MOST || last.is_some() {
                polls.insert(*code, Poll { at: now, interval });
            }
        }
        None
    }

    /// Notes the new interval of a device that polled too early.
    pub(super) fn set_interval(&self, code: &Sha256, interval: i64) {
        if let Some(poll) = self.polls().get_mut(code) {
            poll.interval = poll.interval.max(interval);
        }
    }

    fn polls(&self) -> MutexGuard<'_, HashMap<Sha256, Poll>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{MOST, Polls, REMEMBERED};
    use crate::clock::{Clock, Timestamp};
    use crate::secret::Sha256;

    #[test]
    fn a_poll_is_early_by_the_longer_of_the_two_intervals() {
        let clock = Clock::manual(Timestamp(1_800_000_000));
        let (polls, code) = (Polls::new(clock.clone()), Sha256::of(b"code"));
        assert_eq!(polls.came_too_early(&code, None), None, "the first");
        assert_eq!(polls.came_too_early(&code, Some(5)), None);
        clock.advance(Duration::from_millis(4499));
        assert_eq!(polls.came_too_early(&code, None), Some(5));
        polls.set_interval(&code, 10);
        clock.advance(Duration::from_secs(9));
        assert_eq!(polls.came_too_early(&code, None), Some(10), "counted from the early one");
        clock.advance(Duration::from_millis(9500));
        assert_eq!(polls.came_too_early(&code, None), None, "half a second is no offence");
        assert_eq!(polls.came_too_early(&code, Some(15)), Some(15), "another process saw it poll too often");
        assert_eq!(polls.came_too_early(&Sha256::of(b"another"), None), None);
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_devices_that_left() {
        let clock = Clock::manual(Timestamp(1_800_000_000));
        let polls = Polls::new(clock.clone());
        let code = |number: usize| Sha256::of(&number.to_be_bytes());
        for number in 0..=MOST {
            assert_eq!(polls.came_too_early(&code(number), Some(5)), None);
        }
        assert_eq!(polls.polls().len(), MOST);
        clock.advance(REMEMBERED);
        polls.came_too_early(&code(MOST + 1), Some(5));
        assert_eq!(polls.polls().len(), 1);
    }
}
