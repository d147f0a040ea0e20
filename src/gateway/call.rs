//! One request to an upstream, and what the door knows of it.

use http::Response;
use http::request::Parts;
use serde_json::value::RawValue;

use super::Route;
use super::body::Body;
use super::call_record::CallRecord;
use super::refusal::{Asked, Refusal};
use crate::config::{Config, Spelling, Upstream};
use crate::limits::ClientAddress;
use crate::telemetry::RequestId;

/// What is known of a request when it arrives, and where to note what is learnt of it.
pub(crate) struct CallContext<'a> {
    /// Its id in the log.
    pub(crate) id: RequestId,
    /// Who sent it.
    pub(crate) client: ClientAddress,
    /// What its line in the access log says.
    pub(crate) record: &'a mut CallRecord,
}

/// Why a request to an upstream's path is not let in.
pub(crate) enum Unwelcome {
    /// Its body could end in two places (request smuggling). The words are for the log.
    Malformed(&'static str),
    /// It came under a host name that is none of ours (DNS rebinding, or a proxy that does not pass the name on).
    Misdirected(String),
    /// There are too many requests.
    Busy(&'static str),
}

impl From<Unwelcome> for Refusal {
    fn from(unwelcome: Unwelcome) -> Self {
        match unwelcome {
            Unwelcome::Malformed(why) => Self::Malformed(why),
            Unwelcome::Misdirected(cause) => Self::Misdirected(cause),
            Unwelcome::Busy(why) => Self::Busy(why),
        }
    }
}

/// One request to an upstream: where it goes, who sent it, and its id in the log.
pub(super) struct Call<'a> {
    pub(super) route: &'a Route,
    pub(super) id: RequestId,
    pub(super) client: ClientAddress,
    spelling: Spelling<'a>,
}

impl<'a> Call<'a> {
    pub(super) fn of(route: &'a Route, config: &'a Config, context: &CallContext<'_>, parts: &Parts) -> Self {
        let spelling = Spelling::of(&config.public_url, &parts.uri, &parts.headers);
        Self { route, id: context.id.clone(), client: context.client, spelling }
    }

    pub(super) fn upstream(&self) -> &'a Upstream {
        &self.route.served.upstream
    }

    /// Refuses it; `id` is that of its message, as far as it is known.
    pub(super) fn refuse(&self, refusal: &Refusal, id: Option<&RawValue>) -> Response<Body> {
        refusal.response(&Asked {
            upstream: self.upstream(),
            names: &self.route.names,
            spelling: &self.spelling,
            request_id: &self.id,
            id,
        })
    }
}

impl AsRef<Upstream> for Call<'_> {
    fn as_ref(&self) -> &Upstream {
        self.upstream()
    }
}
