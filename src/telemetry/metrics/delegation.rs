//! Tokens of identity providers for servers behind us.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    upstream: Arc<str>,
    result: &'static str,
}

/// How often providers were asked for such tokens.
#[derive(Clone)]
pub struct Delegation(Family<Asked, Counter>);

/// The counters of one upstream.
#[derive(Clone)]
pub struct DelegationCounters {
    /// The provider issued one.
    pub issued: Counter,
    /// It refused, or wants the user to sign in again.
    pub refused: Counter,
    /// It could not be asked.
    pub unavailable: Counter,
}

impl Delegation {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let asked = Family::default();
        let help = "Tokens that an identity provider was asked for on behalf of a user, by upstream and result";
        registry.register("delegated_tokens", help, asked.clone());
        Self(asked)
    }

    /// The counters of one upstream, by its id.
    #[must_use]
    pub fn of(&self, upstream: &str) -> DelegationCounters {
        let of = |result| self.0.get_or_create_owned(&Asked { upstream: upstream.into(), result });
        DelegationCounters { issued: of("issued"), refused: of("refused"), unavailable: of("unavailable") }
    }
}
