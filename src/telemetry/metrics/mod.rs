//! Metrics: typed families, built once in `app.rs` and handed down; nothing is global, so a test reads its own.
//!
//! Each area of the program gets the struct of its own file and calls its methods; label names live in these files alone.
//! Label values are ids from the configuration, routes from the table, or words of an enumeration, never what an
//! unauthenticated caller sent: an attacker who could invent label values could fill the memory of this process and of the
//! scraper (label cardinality).
//!
//! | file | what is counted |
//! |---|---|
//! | `requests` | requests and connections, at the door |
//! | `calls` | calls to upstreams, bearer tokens, streams |
//! | `grants` | registrations, sign-ins, grants, refreshes |
//! | `providers` | calls to identity providers |
//! | `store` | reads and writes of the store |
//! | `logouts` | logouts that providers report |
//! | `limits` | who was refused by which limit |
//! | `background` | what runs beside the requests |

/// An enumeration whose variants are the values of a label.
macro_rules! words {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl prometheus_client::encoding::EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>) -> std::fmt::Result {
                let word = match self { $(Self::$variant => $word,)* };
                word.encode(encoder)
            }
        }
    };
}

mod background;
mod calls;
mod delegation;
mod grants;
mod limits;
mod logouts;
mod providers;
mod requests;
mod seconds;
mod store;

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub use background::{Background, Task, TaskRuns};
pub use calls::{Calls, OpenStream, TokenCheck, UpstreamCalls};
pub use delegation::{Delegation, DelegationCounters};
pub use grants::{
    DocumentOutcome, Grants, IntrospectionOutcome, RefreshOutcome, RegistrationOutcome, RevocationOutcome,
    SignInOutcome,
};
pub use limits::Limits;
pub use logouts::{CheckResult, LogoutResult, Logouts};
pub use providers::{ProviderCall, ProviderCalls, Providers};
pub use requests::{InFlight, Requests, RouteRequests};
pub use store::{Store, StoreCall};

/// All families. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Metrics {
    /// Requests and connections.
    pub requests: Requests,
    /// Calls to upstreams.
    pub calls: Calls,
    /// Registrations, sign-ins, grants.
    pub grants: Grants,
    /// Calls to identity providers.
    pub providers: Providers,
    /// Logouts that providers report.
    pub logouts: Logouts,
    /// Tokens of theirs for servers behind us.
    pub delegation: Delegation,
    /// The store.
    pub store: Store,
    /// Limits.
    pub limits: Limits,
    /// What runs beside the requests.
    pub background: Background,
    registry: Arc<Registry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("portcullis");
        let limits = Limits::register(&mut registry);
        let build = Info::new(Build { version: crate::VERSION });
        registry.register("build", "The version of this process", build);
        Self {
            requests: Requests::register(&mut registry),
            calls: Calls::register(&mut registry),
            grants: Grants::register(&mut registry),
            providers: Providers::register(&mut registry),
            logouts: Logouts::register(&mut registry),
            delegation: Delegation::register(&mut registry),
            store: Store::register(&mut registry, &limits),
            limits,
            background: Background::register(&mut registry),
            registry: Arc::new(registry),
        }
    }
}

impl Metrics {
    /// The media type of [`Self::encode`]: `OpenMetrics` 1.0.
    pub const MEDIA_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// All families as `OpenMetrics` text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // writing to a text cannot fail
        text::encode(&mut out, &self.registry).ok();
        out
    }
}

#[cfg(test)]
mod tests;
