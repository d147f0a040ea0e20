//! Calls to identity providers: which, how long, whether they were answered.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use super::seconds::seconds;

words! {
    /// An endpoint of an identity provider.
    pub enum ProviderCall {
        /// Its discovery document.
        Discovery = "discovery",
        /// Its key set.
        Jwks = "jwks",
        /// Its token endpoint.
        Token = "token",
        /// Its token endpoint, for a token that a server behind us gets.
        Exchange = "exchange",
        /// Its revocation endpoint.
        Revocation = "revocation",
        /// Its introspection endpoint.
        Introspection = "introspection",
        /// Its userinfo endpoint.
        Userinfo = "userinfo",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Called {
    identity: Arc<str>,
    call: ProviderCall,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    identity: Arc<str>,
    call: ProviderCall,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Identity {
    identity: Arc<str>,
}

/// Calls to identity providers.
#[derive(Clone)]
pub struct Providers {
    calls: Family<Called, Counter>,
    durations: Family<Call, Histogram>,
    up: Family<Identity, Gauge>,
}

impl Providers {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let providers =
            Self { calls: Family::default(), durations: Family::new_with_constructor(seconds), up: Family::default() };
        let help = "Calls to identity providers, by provider, endpoint and outcome";
        registry.register("provider_calls", help, providers.calls.clone());
        let help = "Time that a call to an identity provider took";
        registry.register_with_unit("provider_call_duration", help, Unit::Seconds, providers.durations.clone());
        let help = "Whether the last call to an identity provider succeeded (1) or failed (0)";
        registry.register("provider_up", help, providers.up.clone());
        providers
    }

    /// The counters of one provider.
    #[must_use]
    pub fn of(&self, identity: &str) -> ProviderCalls {
        ProviderCalls { identity: identity.into(), calls: self.calls.clone(), durations: self.durations.clone() }
    }

    /// What the provider's last call says of it.
    pub fn set_up(&self, identity: &str, up: bool) {
        self.up.get_or_create(&Identity { identity: identity.into() }).set(up.into());
    }
}

/// Calls to one identity provider.
#[derive(Clone)]
pub struct ProviderCalls {
    identity: Arc<str>,
    calls: Family<Called, Counter>,
    durations: Family<Call, Histogram>,
}

impl ProviderCalls {
    /// A call came to its end.
    pub fn called(&self, call: ProviderCall, answered: bool, took: Duration) {
        let (identity, outcome) = (Arc::clone(&self.identity), if answered { "answered" } else { "failed" });
        self.calls.get_or_create(&Called { identity: Arc::clone(&identity), call, outcome }).inc();
        self.durations.get_or_create(&Call { identity, call }).observe(took.as_secs_f64());
    }

    /// Makes a call. What it answers with an error counts as failed.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn timed<T, E>(&self, call: ProviderCall, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let began = Instant::now();
        let result = work.await;
        self.called(call, result.is_ok(), began.elapsed());
        result
    }
}
