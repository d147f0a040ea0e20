//! Named limiters, keyed by address, client or user.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::secret::Sha256;

/// How many keys a limiter remembers; a caller with more addresses than this is not limited by address anyway.
const MAX_KEYS: usize = 100_000;
/// Keys that are as good as new are forgotten every so many checks.
const SWEEP_EVERY: u32 = 1024;

/// Whom a limit counts by: an address, IPv6 by its /64. An IPv4 address written as IPv6 is the IPv4 address.
#[must_use]
pub fn address_key(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            format!("{}/64", Ipv6Addr::from_bits(network))
        }
    }
}

/// So many in an hour for each key, all at once if need be; what was used grows back evenly.
pub struct Limiter {
    clock: Clock,
    quota: Quota,
    keys: RwLock<Keys>,
    checks: AtomicU32,
}

/// The key is hashed: people type passwords where user names belong, and a hash has one size.
type Keys = RateLimiter<Sha256, DashMapStateStore<Sha256>, GovernorClock, NoOpMiddleware<Nanos>>;

impl Limiter {
    /// A limiter.
    #[must_use]
    pub fn per_hour(count: NonZeroU32, clock: &Clock) -> Self {
        let quota = Quota::per_hour(count);
        Self { clock: clock.clone(), quota, keys: RwLock::new(keys(quota, clock)), checks: AtomicU32::new(0) }
    }

    /// Counts one; the error says how many seconds to wait.
    ///
    /// # Errors
    /// When the key has used up what it may.
    pub fn check(&self, key: &str) -> Result<(), u64> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.sweep();
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.check_key(&Sha256::of(key.as_bytes())).map_err(|not_until| {
            let wait = not_until.wait_time_from(GovernorClock(self.clock.clone()).now());
            wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1)
        })
    }

    fn sweep(&self) {
        let full = {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            keys.retain_recent();
            keys.len() > MAX_KEYS
        };
        if full {
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys(self.quota, &self.clock);
        }
    }
}

fn keys(quota: Quota, clock: &Clock) -> Keys {
    RateLimiter::new(quota, DashMapStateStore::default(), GovernorClock(clock.clone()))
}

/// Our clock in the limiter's words.
struct GovernorClock(Clock);

impl governor::clock::Clock for GovernorClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let millis = u64::try_from(self.0.millis()).unwrap_or(0);
        Nanos::new(millis.saturating_mul(1_000_000))
    }
}

/// Who sent a request, after trusted proxies were looked through. `inbound` puts it into every request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::{Limiter, MAX_KEYS, SWEEP_EVERY, address_key};
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
    fn keys_that_are_as_good_as_new_are_forgotten() {
        let (limiter, clock) = limiter(1);
        for key in 0..SWEEP_EVERY - 1 {
            limiter.check(&key.to_string()).unwrap();
        }
        clock.advance(Duration::from_hours(2));
        limiter.check("last").unwrap();
        assert_eq!(limiter.keys.read().unwrap().len(), 1);
    }

    #[test]
    fn a_flood_of_keys_does_not_grow_without_end() {
        let (limiter, _clock) = limiter(1);
        let mut most = 0;
        for key in 0..MAX_KEYS + 3 * SWEEP_EVERY as usize {
            limiter.check(&key.to_string()).unwrap();
            if key % 512 == 0 {
                most = most.max(limiter.keys.read().unwrap().len());
            }
        }
        assert!(most <= MAX_KEYS + SWEEP_EVERY as usize, "{most}");
        assert!(limiter.keys.read().unwrap().len() < MAX_KEYS);
    }

    #[test]
    fn addresses_count_as_ipv4_address_or_ipv6_network() {
        let key = |text: &str| address_key(text.parse().unwrap());
        assert_eq!(key("203.0.113.7"), "203.0.113.7");
        assert_eq!(key("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(key("2001:db8:1:2:ffff::1"), key("2001:db8:1:2::"));
        assert_ne!(key("2001:db8:1:3::"), key("2001:db8:1:2::"));
    }
}
