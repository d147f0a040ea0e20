//! The paths of the upstreams. Each path is matched exactly: nothing below an upstream's path is forwarded
//! unless it has an entry of its own, and a route can be given any number of them.

use std::sync::Arc;

use super::caller::VerifiedCaller;
use super::credential::{Takes, TokenForms};
use super::headers::RequestRules;
use crate::config::{self, Config};
use crate::delegation::{Credential, Delegation};
use crate::oauth::dpop::ProofTargets;
use crate::policy;
use crate::telemetry::metrics;
use crate::upstream::Upstream;

/// An upstream, its connections, and the headers that may be sent to it.
pub(crate) struct Served {
    /// What is configured for it.
    pub(super) config: config::Upstream,
    /// Its id, for the log.
    pub(super) id: Arc<str>,
    /// The metrics of its calls.
    pub(super) calls: Arc<metrics::UpstreamCalls>,
    pub(super) upstream: Upstream,
    pub(super) rules: RequestRules,
    /// What calls to it carry besides.
    pub(super) credential: Option<Arc<Credential>>,
}

/// The right of a verified caller to call an upstream of ours.
pub(super) type Permit<'a> = policy::Permit<'a, VerifiedCaller, Served>;

impl AsRef<config::Upstream> for Served {
    fn as_ref(&self) -> &config::Upstream {
        &self.config
    }
}

/// A path and the upstream that it names.
pub(crate) struct UpstreamRoute {
    pub(super) served: Arc<Served>,
    /// The names of the resource in this spelling of its path.
    pub(super) names: config::ResourceNames,
    /// The URLs of this path, for the proofs of its calls; none where no bound tokens are taken.
    pub(super) proof_targets: ProofTargets,
}

impl UpstreamRoute {
    /// Which credentials it takes.
    pub(super) fn takes(&self) -> Takes<'_> {
        let settings = &self.served.config.settings;
        let tokens = if settings.accepts.foreign.is_empty() { TokenForms::Own } else { TokenForms::Any };
        Takes { api_keys: &settings.api_keys, dpop: settings.dpop, tokens }
    }
}

/// All routes, by path.
pub(super) struct Routes {
    served: Vec<Arc<Served>>,
    routes: Vec<Arc<UpstreamRoute>>,
}

impl Routes {
    /// Gives every upstream its paths: the configured one, with and without one trailing slash. At most `max_idle` idle
    /// connections are kept to each.
    pub(super) fn new(config: &Config, delegation: &Delegation, max_idle: usize, calls: &metrics::Calls) -> Self {
        let served = config.upstreams.iter().map(|upstream| {
            let id = upstream.settings.id.as_str().into();
            let credential = delegation.credential(upstream.audience());
            let settings = &upstream.settings;
            let ours = settings.api_keys.headers.iter().chain(credential.as_deref().map(Credential::header));
            Arc::new(Served {
                calls: Arc::new(calls.upstream(&id)),
                id,
                upstream: Upstream::new(settings, config.outbound.ca_file.as_ref(), max_idle),
                rules: RequestRules::new(&settings.request_headers, &ours.collect::<Vec<_>>()),
                credential,
                config: upstream.clone(),
            })
        });
        let served: Vec<_> = served.collect();
        let routes = served.iter().flat_map(|served| {
            let names = [&served.config.plain, &served.config.slashed];
            names.map(|names| {
                let origins = config.public_url.origins().filter(|_| served.config.settings.dpop.is_on());
                let urls: Vec<_> = origins.map(|origin| format!("{origin}{}", names.path)).collect();
                let proof_targets = ProofTargets::new(urls.iter().map(String::as_str));
                Arc::new(UpstreamRoute { served: Arc::clone(served), names: names.clone(), proof_targets })
            })
        });
        Self { routes: routes.collect(), served }
    }

    /// The route of exactly this path.
    pub(super) fn at(&self, path: &str) -> Option<Arc<UpstreamRoute>> {
        self.routes.iter().find(|route| route.names.path == path).cloned()
    }

    /// Every upstream once.
    pub(super) fn served(&self) -> impl Iterator<Item = &Served> {
        self.served.iter().map(|served| &**served)
    }
}
