//! Which counters a request counts in: those of its route.
//!
//! Defends against an unauthenticated caller who fills our memory with label values (label cardinality): a path counts by the
//! entry of the table that it belongs to, and all others count together.

use std::sync::Arc;

use crate::config::Config;
use crate::oauth::paths;
use crate::telemetry::metrics::{InFlight, Requests, RouteRequests};

/// The route of all paths that have none.
const OTHER: &str = "other";

/// The counters of all routes, found once.
pub(super) struct Counters {
    requests: Requests,
    /// By the path of each upstream, with its slashed spelling.
    upstreams: Vec<(String, Arc<RouteRequests>)>,
    own: Vec<(&'static str, Arc<RouteRequests>)>,
    other: Arc<RouteRequests>,
}

/// A request that is being counted.
pub(super) struct Counted {
    pub(super) route: Arc<RouteRequests>,
    _in_flight: InFlight,
}

impl Counters {
    pub(super) fn new(config: &Config, requests: Requests) -> Self {
        let of = |route: &str| Arc::new(requests.route(route));
        let upstreams = config.upstreams.iter().flat_map(|upstream| {
            let route = of(&upstream.settings.path);
            [&upstream.plain, &upstream.slashed].map(|names| (names.path.clone(), Arc::clone(&route)))
        });
        Self {
            upstreams: upstreams.collect(),
            own: paths::ROUTES.iter().map(|route| (*route, of(route))).collect(),
            other: of(OTHER),
            requests,
        }
    }

    /// A request to this path begins.
    pub(super) fn begin(&self, path: &str) -> Counted {
        let upstream = self.upstreams.iter().find(|(route, _)| route == path).map(|(_, counters)| counters);
        let own = || {
            let route = paths::route_of(path)?;
            self.own.iter().find(|(own, _)| *own == route).map(|(_, counters)| counters)
        };
        let route = Arc::clone(upstream.or_else(own).unwrap_or(&self.other));
        Counted { route, _in_flight: self.requests.begin() }
    }
}
