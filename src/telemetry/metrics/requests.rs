//! At the door: requests by route and status, how long until the head of the answer, what is open now.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::seconds::seconds;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: Arc<str>,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Listener {
    listener: &'static str,
}

/// Requests and connections.
#[derive(Clone)]
pub struct Requests {
    answered: Family<Answered, Counter>,
    durations: Family<RouteLabel, Histogram>,
    in_flight: Gauge,
    connections: Family<Listener, Gauge>,
}

impl Requests {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let requests = Self {
            answered: Family::default(),
            durations: Family::new_with_constructor(seconds),
            in_flight: Gauge::default(),
            connections: Family::default(),
        };
        registry.register("requests", "Answered requests, by route and status", requests.answered.clone());
        let help = "Time from the head of a request to the head of its answer";
        registry.register_with_unit("request_duration", help, Unit::Seconds, requests.durations.clone());
        let help = "Requests whose answer has not ended";
        registry.register("requests_in_flight", help, requests.in_flight.clone());
        registry.register("connections", "Open connections, by listener", requests.connections.clone());
        requests
    }

    /// The counters of one route: an entry of the table of routes, or the path of an upstream.
    #[must_use]
    pub fn route(&self, route: &str) -> RouteRequests {
        let route: Arc<str> = route.into();
        let counter = |status: StatusCode| {
            self.answered.get_or_create_owned(&Answered { route: Arc::clone(&route), status: status.as_u16() })
        };
        RouteRequests {
            ok: counter(StatusCode::OK),
            accepted: counter(StatusCode::ACCEPTED),
            durations: self.durations.get_or_create_owned(&RouteLabel { route: Arc::clone(&route) }),
            answered: self.answered.clone(),
            route,
        }
    }

    /// A request begins.
    #[must_use]
    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// How many connections a listener has open now.
    pub fn set_connections(&self, listener: &'static str, open: usize) {
        self.connections.get_or_create(&Listener { listener }).set(i64::try_from(open).unwrap_or(i64::MAX));
    }
}

/// The counters of one route; those of 200 and 202 are found in advance.
#[derive(Clone)]
pub struct RouteRequests {
    route: Arc<str>,
    answered: Family<Answered, Counter>,
    ok: Counter,
    accepted: Counter,
    durations: Histogram,
}

impl RouteRequests {
    /// The head of an answer leaves.
    pub fn answered(&self, status: StatusCode, after: Duration) {
        match status {
            StatusCode::OK => self.ok.inc(),
            StatusCode::ACCEPTED => self.accepted.inc(),
            other => {
                let labels = Answered { route: Arc::clone(&self.route), status: other.as_u16() };
                self.answered.get_or_create(&labels).inc()
            }
        };
        self.durations.observe(after.as_secs_f64());
    }
}

/// A request that has not ended. It counts until it is dropped.
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
