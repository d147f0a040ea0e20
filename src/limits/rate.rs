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
pub(crate) struct Limits(Arc<Sketches>);

struct Sketches {
    registrations: Sketch,
    registrations_of_all_hosts: Sketch,
    known_registrations: Sketch,
    documents_per_address: Sketch,
    documents_per_host: Sketch,
    client_secrets: Sketch,
    assertions: Sketch,
    key_sets: Sketch,
    registration_tokens: Sketch,
    client_updates: Sketch,
    sign_ins: Sketch,
    device_codes: Sketch,
    device_codes_of_all_clients: Sketch,
    user_codes_per_form: Sketch,
    user_codes_per_address: Sketch,
    user_codes: Sketch,
    passwords_per_user_and_address: Sketch,
    passwords_per_user: Sketch,
    passwords_per_address: Sketch,
    api_keys: Sketch,
    opaque_tokens: Sketch,
    refreshes: Sketch,
    fruitless_queries: Sketch,
    counted: metrics::Limits,
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
        let sketch = |limit: Limit, width| Sketch::new(limit.per_hour(registration, lifetimes), width, clock);
        Self(Arc::new(Sketches {
            registrations: sketch(Limit::Registrations, WIDE),
            registrations_of_all_hosts: sketch(Limit::RegistrationsOfAllHosts, WIDE),
            // a key that is limited by mistake loses nothing but the record of a use
            known_registrations: sketch(Limit::KnownRegistrations, NARROW),
            // a key that is limited by mistake can still use every stored document
            documents_per_address: sketch(Limit::DocumentsPerAddress, NARROW),
            documents_per_host: sketch(Limit::DocumentsPerHost, NARROW),
            client_secrets: sketch(Limit::ClientSecrets, WIDE),
            assertions: sketch(Limit::Assertions, WIDE),
            key_sets: sketch(Limit::KeySets, WIDE),
            registration_tokens: sketch(Limit::RegistrationTokens, WIDE),
            client_updates: sketch(Limit::ClientUpdates, NARROW),
            sign_ins: sketch(Limit::SignIns, WIDE),
            device_codes: sketch(Limit::DeviceCodes, WIDE),
            device_codes_of_all_clients: sketch(Limit::DeviceCodesOfAllClients, WIDE),
            user_codes_per_form: sketch(Limit::UserCodesPerForm, WIDE),
            user_codes_per_address: sketch(Limit::UserCodesPerAddress, WIDE),
            // it has a single key
            user_codes: sketch(Limit::UserCodes, NARROW),
            passwords_per_user_and_address: sketch(Limit::PasswordsPerUserAndAddress, WIDE),
            passwords_per_user: sketch(Limit::PasswordsPerUser, WIDE),
            passwords_per_address: sketch(Limit::PasswordsPerAddress, WIDE),
            api_keys: sketch(Limit::ApiKeys, WIDE),
            opaque_tokens: sketch(Limit::OpaqueTokens, NARROW),
            refreshes: sketch(Limit::Refreshes, WIDE),
            fruitless_queries: sketch(Limit::FruitlessQueries, NARROW),
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
        self.sketch(limit).check(key, cost).map_err(|retry_after| self.refused(limit, retry_after))
    }

    fn sketch(&self, limit: Limit) -> &Sketch {
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
}
