//! The state of a provider, as `/ready` reports it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::telemetry::metrics::ProviderCalls;

/// The result of the last real call, and of our credentials there. The provider is never called for this alone.
pub(super) struct Health {
    calls: ProviderCalls,
    last_call: Mutex<Option<String>>,
    credentials: Mutex<Option<String>>,
    renewals: Mutex<Option<String>>,
}

impl Health {
    pub(super) fn new(calls: ProviderCalls) -> Self {
        Self { calls, last_call: Mutex::default(), credentials: Mutex::default(), renewals: Mutex::default() }
    }

    /// What its calls count in.
    pub(super) const fn calls(&self) -> &ProviderCalls {
        &self.calls
    }

    /// A call was answered as it should.
    pub(super) fn answered(&self) {
        *lock(&self.last_call) = None;
    }

    /// A call was not answered, or by something that cannot be used.
    pub(super) fn failed(&self, words: &str) {
        *lock(&self.last_call) = Some(words.to_owned());
    }

    /// The token endpoint accepted who we are.
    pub(super) fn credentials_accepted(&self) {
        *lock(&self.credentials) = None;
    }

    /// The token endpoint did not: that stays so, however well other calls go, until it does.
    pub(super) fn credentials_refused(&self, words: &str) {
        *lock(&self.credentials) = Some(words.to_owned());
    }

    /// A renewal succeeded.
    pub(super) fn renewed(&self) {
        *lock(&self.renewals) = None;
    }

    /// A renewal was refused in a way that says nothing: that stays so until one succeeds.
    pub(super) fn renewal_unclear(&self, words: &str) {
        *lock(&self.renewals) = Some(words.to_owned());
    }

    pub(super) fn trouble(&self) -> Option<String> {
        [&self.last_call, &self.credentials, &self.renewals].into_iter().find_map(|slot| lock(slot).clone())
    }
}

fn lock(slot: &Mutex<Option<String>>) -> MutexGuard<'_, Option<String>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::Health;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn trouble_is_the_last_call_and_refused_credentials_outlast_other_calls() {
        let health = Health::new(Metrics::default().providers.of("keycloak"));
        assert_eq!(health.trouble(), None);
        health.failed("down");
        assert_eq!(health.trouble().as_deref(), Some("down"));
        health.credentials_refused("secret");
        health.answered();
        assert_eq!(health.trouble().as_deref(), Some("secret"));
        health.credentials_accepted();
        assert_eq!(health.trouble(), None);
        health.renewal_unclear("odd");
        health.answered();
        assert_eq!(health.trouble().as_deref(), Some("odd"));
        health.renewed();
        assert_eq!(health.trouble(), None);
    }
}
