//! One request to an upstream's path, as `inbound` hands it over.

use http::request::Parts;
use http::{HeaderMap, Response, Uri};
use serde_json::value::RawValue;

use super::call_record::CallRecord;
use super::credential;
use super::refusal::{Asked, Refusal};
use super::routes::UpstreamRoute;
use crate::config::{Config, Spelling, Upstream};
use crate::limits::Admission;
use crate::wire::{Arrival, Body};

/// A request, and what `inbound` knows of it.
pub(crate) struct Incoming<'a, B> {
    pub(crate) head: &'a mut Parts,
    pub(crate) body: B,
    pub(crate) known: Known<'a>,
    /// Its slot among the requests of its address. It is released as soon as the user is known: from then on the user's own
    /// limits apply.
    pub(crate) admission: &'a mut Admission,
}

/// What is known of a request besides the request itself.
pub(crate) struct Known<'a> {
    pub(crate) arrival: &'a Arrival,
    /// What the access log records of the call.
    pub(crate) record: &'a mut CallRecord,
}

/// The target of a request and how the request spelt it: all that our own response needs.
pub(super) struct Call<'a> {
    route: &'a UpstreamRoute,
    arrival: &'a Arrival,
    spelling: Spelling<'a>,
    speaks_dpop: bool,
}

impl<'a> Call<'a> {
    /// `uri` is that of the request, without the API key that its query held.
    pub(super) fn of(
        route: &'a UpstreamRoute,
        config: &'a Config,
        arrival: &'a Arrival,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Self {
        let dpop = route.takes().dpop;
        let spelling = Spelling::of(&config.public_url, uri, headers);
        Self { route, arrival, spelling, speaks_dpop: credential::speaks_dpop(headers, dpop) }
    }

    /// Whether the request uses the DPoP scheme, where that is on.
    pub(super) const fn speaks_dpop(&self) -> bool {
        self.speaks_dpop
    }

    fn upstream(&self) -> &'a Upstream {
        &self.route.served.config
    }

    /// Refuses it. `message_id` is that of its message, when it was read.
    pub(super) fn refuse(&self, refusal: &Refusal, message_id: Option<&RawValue>) -> Response<Body> {
        refusal.response(&Asked {
            upstream: self.upstream(),
            names: &self.route.names,
            spelling: &self.spelling,
            request_id: &self.arrival.id,
            message_id,
            speaks_dpop: self.speaks_dpop,
        })
    }
}
