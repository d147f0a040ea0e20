//! Logouts that identity providers report, and what came of asking them what still stands.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

words! {
    /// What came of a logout token.
    pub enum LogoutResult {
        /// It counts.
        Accepted = "accepted",
        /// It came before (replay).
        Replayed = "replayed",
        /// It is wrong.
        Refused = "refused",
        /// It is wrong, or only a newer key can have signed it, and too many of the kind came from its address.
        Limited = "limited",
        /// It could not be checked, or not be kept.
        Unavailable = "unavailable",
    }
}

words! {
    /// What the provider said of an offline token after a logout.
    pub enum CheckResult {
        /// It is good.
        Stands = "stands",
        /// It is not: what rested on it has ended.
        Ended = "ended",
        /// It could not be asked: that is repeated.
        Unavailable = "unavailable",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Token {
    identity: Arc<str>,
    result: LogoutResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Check {
    identity: Arc<str>,
    result: CheckResult,
}

/// Logout tokens, and checks of offline tokens.
#[derive(Clone, Default)]
pub struct Logouts {
    tokens: Family<Token, Counter>,
    checks: Family<Check, Counter>,
}

impl Logouts {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let logouts = Self::default();
        let help = "Logout tokens of identity providers, by provider and result";
        registry.register("logout_tokens", help, logouts.tokens.clone());
        let help = "Questions after a logout whether an offline token still stands, by provider and answer";
        registry.register("standing_checks", help, logouts.checks.clone());
        logouts
    }

    /// A logout token for a configured provider was answered.
    pub fn received(&self, identity: &str, result: LogoutResult) {
        self.tokens.get_or_create(&Token { identity: identity.into(), result }).inc();
    }

    /// A provider was asked about an offline token.
    pub fn checked(&self, identity: &str, result: CheckResult) {
        self.checks.get_or_create(&Check { identity: identity.into(), result }).inc();
    }
}
