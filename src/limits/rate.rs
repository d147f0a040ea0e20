//! How often: the one handle that counts, for all rate limits.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::key::Key;
use super::limit::{Limit, Limited};
use super::sketch::{NARROW, Sketch, WIDE};
use crate::clock::Clock;
use crate::config::{Lifetimes, Registration};
use crate::telemetry::metrics;

/// Counts what is rate limited, within this process. Cheap to clone; clones count together.
#[derive(Clone)]
pub(crate) struct Limits(Arc<Counters>);

struct Counters {
    registrations: Counter,
    registrations_of_all_hosts: Counter,
    known_registrations: Counter,
    documents_per_address: Counter,
    documents_per_host: Counter,
    client_secrets: Counter,
    assertions: Counter,
    key_sets: Counter,
    registration_tokens: Counter,
    client_updates: Counter,
    sign_ins: Counter,
    device_codes: Counter,
    device_codes_of_all_clients: Counter,
    user_codes_per_form: Counter,
    user_codes_per_address: Counter,
    user_codes: Counter,
    passwords_per_user_and_address: Counter,
    passwords_per_user: Counter,
    passwords_per_address: Counter,
    api_keys: Counter,
    opaque_tokens: Counter,
    refreshes: Counter,
    fruitless_queries: Counter,
    wrong_logout_tokens: Counter,
    counted: metrics::Limits,
}

/// What counts for one limit.
struct Counter {
    networks: Sketch,
    /// By IPv6 /48, where the limit counts by that.
    sites: Option<Sketch>,
}

impl Counter {
    /// Counts a use; the error says how many seconds to wait.
    fn check(&self, key: &Key, cost: NonZeroU32) -> Result<(), u64> {
        self.networks.check(key, cost)?;
        match (&self.sites, key.of_site()) {
            (Some(sites), Some(site)) => sites.check(site, cost),
            _ => Ok(()),
        }
    }
}

impl Limits {
    /// All limits, unused.
    #[must_use]
    pub(crate) fn new(
        registration: &Registration,
        lifetimes: &Lifetimes,
        clock: &Clock,
        counted: metrics::Limits,
    ) -> Self {
        let counting = |limit: Limit, width| {
            let per_hour = limit.per_hour(registration, lifetimes);
            let of_site = limit.networks_per_site().map(|networks| per_hour.saturating_mul(networks));
            let sketch = |per_hour| Sketch::new(per_hour, width, clock);
            Counter { networks: sketch(per_hour), sites: of_site.map(sketch) }
        };
        Self(Arc::new(Counters {
            registrations: counting(Limit::Registrations, WIDE),
            registrations_of_all_hosts: counting(Limit::RegistrationsOfAllHosts, WIDE),
            // a key that is limited by mistake loses nothing but the record of a use
            known_registrations: counting(Limit::KnownRegistrations, NARROW),
            // a key that is limited by mistake can still use every stored document
            documents_per_address: counting(Limit::DocumentsPerAddress, NARROW),
            documents_per_host: counting(Limit::DocumentsPerHost, NARROW),
            client_secrets: counting(Limit::ClientSecrets, WIDE),
            assertions: counting(Limit::Assertions, WIDE),
            key_sets: counting(Limit::KeySets, WIDE),
            registration_tokens: counting(Limit::RegistrationTokens, WIDE),
            client_updates: counting(Limit::ClientUpdates, NARROW),
            sign_ins: counting(Limit::SignIns, WIDE),
            device_codes: counting(Limit::DeviceCodes, WIDE),
            device_codes_of_all_clients: counting(Limit::DeviceCodesOfAllClients, WIDE),
            user_codes_per_form: counting(Limit::UserCodesPerForm, WIDE),
            user_codes_per_address: counting(Limit::UserCodesPerAddress, WIDE),
            // it has a single key
            user_codes: counting(Limit::UserCodes, NARROW),
            passwords_per_user_and_address: counting(Limit::PasswordsPerUserAndAddress, WIDE),
            passwords_per_user: counting(Limit::PasswordsPerUser, WIDE),
            passwords_per_address: counting(Limit::PasswordsPerAddress, WIDE),
            api_keys: counting(Limit::ApiKeys, WIDE),
            opaque_tokens: counting(Limit::OpaqueTokens, NARROW),
            refreshes: counting(Limit::Refreshes, WIDE),
            fruitless_queries: counting(Limit::FruitlessQueries, NARROW),
            wrong_logout_tokens: counting(Limit::WrongLogoutTokens, NARROW),
            counted,
        }))
    }

    /// Counts one use of a limit by a key. The counts are in this process, so it never waits; it is async because counts that
    /// several processes share would be asked of a server.
    ///
    /// # Errors
    /// When the key has used up the limit.
    pub(crate) async fn check(&self, limit: Limit, key: &Key) -> Result<(), Limited> {
        self.check_cost(limit, key, 1).await
    }

    /// The same for a use that costs more than one; one that costs more than the limit allows per hour costs all of it.
    ///
    /// # Errors
    /// When the key has not so much left.
    #[expect(clippy::unused_async, reason = "its callers allow for counts that are kept elsewhere")]
    pub(crate) async fn check_cost(&self, limit: Limit, key: &Key, cost: u32) -> Result<(), Limited> {
        let cost = NonZeroU32::new(cost).unwrap_or(NonZeroU32::MIN);
        self.counter(limit).check(key, cost).map_err(|retry_after| self.refused(limit, retry_after))
    }

    fn counter(&self, limit: Limit) -> &Counter {
        match limit {
            Limit::Registrations => &self.0.registrations,
            Limit::RegistrationsOfAllHosts => &self.0.registrations_of_all_hosts,
            Limit::KnownRegistrations => &self.0.known_registrations,
            Limit::DocumentsPerAddress => &self.0.documents_per_address,
            Limit::DocumentsPerHost => &self.0.documents_per_host,
            Limit::ClientSecrets => &self.0.client_secrets,
            Limit::Assertions => &self.0.assertions,
            Limit::KeySets => &self.0.key_sets,
            Limit::RegistrationTokens => &self.0.registration_tokens,
            Limit::ClientUpdates => &self.0.client_updates,
            Limit::SignIns => &self.0.sign_ins,
            Limit::DeviceCodes => &self.0.device_codes,
            Limit::DeviceCodesOfAllClients => &self.0.device_codes_of_all_clients,
            Limit::UserCodesPerForm => &self.0.user_codes_per_form,
            Limit::UserCodesPerAddress => &self.0.user_codes_per_address,
            Limit::UserCodes => &self.0.user_codes,
            Limit::PasswordsPerUserAndAddress => &self.0.passwords_per_user_and_address,
            Limit::PasswordsPerUser => &self.0.passwords_per_user,
            Limit::PasswordsPerAddress => &self.0.passwords_per_address,
            Limit::ApiKeys => &self.0.api_keys,
            Limit::OpaqueTokens => &self.0.opaque_tokens,
            Limit::Refreshes => &self.0.refreshes,
            Limit::FruitlessQueries => &self.0.fruitless_queries,
            Limit::WrongLogoutTokens => &self.0.wrong_logout_tokens,
        }
    }

    /// The one place where a limit refuses.
    fn refused(&self, limit: Limit, retry_after: u64) -> Limited {
        self.0.counted.refused(limit.name());
        Limited { limit, retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, Limit, Limited, Limits};
    use crate::clock::{Clock, Timestamp};
    use crate::config::{Lifetimes, Registration};
    use crate::limits::Part;
    use crate::wire::ClientAddress;

    #[tokio::test]
    async fn limits_count_apart_and_clones_together() {
        let clock = Clock::manual(Timestamp(1_800_000_000));
        let counted = crate::telemetry::metrics::Metrics::default().limits;
        let (limits, key) = (
            Limits::new(&Registration::default(), &Lifetimes::default(), &clock, counted),
            Key::of(&[Part::User("alice")]),
        );
        for _ in 0..30 {
            assert_eq!(limits.check(Limit::ClientSecrets, &key).await, Ok(()));
        }
        let refused = limits.clone().check(Limit::ClientSecrets, &key).await;
        assert_eq!(refused, Err(Limited { limit: Limit::ClientSecrets, retry_after: 120 }));
        for other in [Limit::PasswordsPerUserAndAddress, Limit::SignIns, Limit::Refreshes] {
            assert_eq!(limits.check(other, &key).await, Ok(()), "{other:?}");
        }
        assert_eq!(limits.check(Limit::ClientSecrets, &Key::of(&[Part::User("bob")])).await, Ok(()));
    }

    #[tokio::test]
    async fn the_more_device_codes_are_open_the_fewer_codes_may_be_typed() {
        for (open, tries) in [(10_000, 2560), (100, 256_000)] {
            let clock = Clock::manual(Timestamp(1_800_000_000));
            let counted = crate::telemetry::metrics::Metrics::default().limits;
            let limits = Limits::new(&Registration::default(), &Lifetimes::default(), &clock, counted);
            for _ in 0..tries {
                assert_eq!(limits.check_cost(Limit::UserCodes, &Key::of(&[]), open).await, Ok(()));
            }
            assert!(limits.check_cost(Limit::UserCodes, &Key::of(&[]), open).await.is_err());
        }
    }

    fn unused() -> (Limits, Clock) {
        let clock = Clock::manual(Timestamp(1_800_000_000));
        let counted = crate::telemetry::metrics::Metrics::default().limits;
        (Limits::new(&Registration::default(), &Lifetimes::default(), &clock, counted), clock)
    }

    /// How often a limit lets a caller through who takes another of these addresses each time.
    async fn passed(limits: &Limits, limit: Limit, addresses: impl Iterator<Item = String>) -> usize {
        let mut passed = 0;
        for address in addresses {
            let key = Key::of(&[Part::Address(ClientAddress(address.parse().unwrap()))]);
            passed += usize::from(limits.check(limit, &key).await.is_ok());
        }
        passed
    }

    #[tokio::test]
    async fn the_holder_of_an_ipv6_site_gets_four_times_as_much_as_one_network_and_its_neighbours_lose_nothing() {
        let (limits, clock) = unused();
        let site = |prefix: &'static str| (0..20_000).map(move |n| format!("{prefix}:{n:x}::1"));
        for (limit, of_one) in [
            (Limit::DeviceCodesOfAllClients, 900),
            (Limit::UserCodesPerAddress, 120),
            (Limit::SignIns, 600),
            (Limit::PasswordsPerAddress, 1000),
            (Limit::ClientSecrets, 30),
        ] {
            let one = std::iter::repeat_n("2001:db8:1:1::1".to_owned(), 4 * of_one + 1);
            assert_eq!(passed(&limits, limit, one).await, of_one, "{limit:?}");
            assert_eq!(passed(&limits, limit, site("2001:db8:1")).await, 3 * of_one, "{limit:?}");
            let other = std::iter::once("2001:db8:2::1".to_owned());
            assert_eq!(passed(&limits, limit, other).await, 1, "{limit:?}: another site");
            let ipv4 = (0..5000).map(|n| format!("203.{}.{}.1", n / 250, n % 250));
            assert_eq!(passed(&limits, limit, ipv4).await, 5000, "{limit:?}: addresses that are no site");
        }
        clock.advance(std::time::Duration::from_hours(1));
        assert_eq!(passed(&limits, Limit::SignIns, site("2001:db8:1")).await, 2400);
    }

    #[tokio::test]
    async fn neighbours_in_an_ipv6_site_cannot_lock_a_user_out() {
        let (limits, _clock) = unused();
        let neighbours = (0..10_000).map(|n| format!("2001:db8:1:{n:x}::1"));
        assert_eq!(passed(&limits, Limit::PasswordsPerUserAndAddress, neighbours).await, 10_000);
    }
}
