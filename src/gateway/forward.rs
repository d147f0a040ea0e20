//! Forwarding: a permitted call goes to its upstream, and the response comes back.
//!
//! Caller and target are taken from the permit alone, so a call cannot leave in another caller's name (confused deputy).

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION, LOCATION};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::answer_headers::clean_response;
use super::caller::VerifiedCaller;
use super::carried::Carried;
use super::early::{self, Early};
use super::events::{Events, are_events, are_open};
use super::headers::Forwarding;
use super::lease::CallLease;
use super::refusal::Refusal;
use super::routes::{Permit, Served};
use super::session::{Owner, Sessions};
use super::stream::{EarlyEnd, Stream};
use crate::config::{self, PublicUrl};
use crate::keys::Sealer;
use crate::policy::AnswerFilter;
use crate::upstream::{Outgoing, Payload, Sending, UpstreamBody};
use crate::wire::{Arrival, Body, BoxError, REQUEST_ID};

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Sends calls on.
pub(super) struct Forwarder {
    pub(super) sessions: Sessions,
    forwarding: Forwarding,
}

impl Forwarder {
    pub(super) fn new(public_url: &PublicUrl, sealer: &Sealer) -> Self {
        Self { sessions: Sessions::new(sealer), forwarding: Forwarding::new(public_url) }
    }

    /// Forwards a call and returns the upstream's own response.
    ///
    /// # Errors
    /// When the upstream sends no response that may pass, or none before the call is over.
    pub(super) async fn forward(
        &self,
        permit: &Permit<'_>,
        carried: Option<Carried<'_>>,
        mut outgoing: Outgoing,
        mut lease: CallLease,
    ) -> Result<Response<Body>, Refusal> {
        let served = permit.upstream();
        let send = |outgoing| match carried {
            Some(carried) => carried.send(served, outgoing),
            None => served.upstream.send(outgoing, &served.calls),
        };
        if !early::listens(&outgoing) {
            let answer = lease.hold(send(outgoing)).await??;
            return self.incoming(permit, answer, lease);
        }
        // an answer that comes late joins a stream of ours, which has no content coding
        outgoing.headers.remove(ACCEPT_ENCODING);
        let mut pending = send(outgoing);
        match lease.hold(pin!(timeout(early::PATIENCE, &mut pending))).await? {
            Ok(answer) => self.incoming(permit, answer?, lease),
            Err(_elapsed) => Ok(open_early(permit, pending, lease.streaming(served.calls.stream()))),
        }
    }

    /// A permitted request as it leaves: those headers of the client that may pass, and our own.
    ///
    /// # Errors
    /// When its query does not fit the upstream's URL.
    pub(super) fn outgoing(
        &self,
        permit: &Permit<'_>,
        arrival: &Arrival,
        head: &mut Parts,
        payload: Payload,
    ) -> Result<Outgoing, Refusal> {
        let unfit = |error: http::Error| {
            tracing::debug!(%error, "a query that does not fit the upstream's URL");
            Refusal::Malformed("the query cannot be forwarded")
        };
        let Served { upstream, rules, .. } = permit.upstream();
        let target = upstream.target(head.uri.query()).map_err(unfit)?;
        let (method, mut headers) = (head.method.clone(), std::mem::take(&mut head.headers));
        rules.clean(&mut headers);
        if method == Method::POST && payload.is_empty() {
            // the HTTP library writes the length of every other body, but omits it for an empty one (RFC 9110 8.6)
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        self.forwarding.write(&mut headers, arrival.address);
        if let Some(id) = arrival.id.header() {
            headers.insert(REQUEST_ID, id);
        }
        permit.caller().identity.write(&mut headers);
        rules.add(&mut headers);
        Ok(Outgoing { method, target, headers, payload })
    }

    /// Turns an upstream's response into the client's.
    ///
    /// # Errors
    /// When it must not pass.
    fn incoming(
        &self,
        permit: &Permit<'_>,
        answer: Response<UpstreamBody>,
        lease: CallLease,
    ) -> Result<Response<Body>, Refusal> {
        match answer.status() {
            refused @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST) => {
                return Err(Refusal::ByUpstream(refused));
            }
            StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Refusal::BadGateway("switched to a protocol that was not asked for".to_owned()));
            }
            _ => {}
        }
        let (mut parts, body) = answer.into_parts();
        clean_response(&mut parts.headers);
        // they would name internal addresses, and MCP uses neither
        parts.headers.remove(LOCATION);
        parts.headers.remove(CONTENT_LOCATION);
        if parts.status == StatusCode::NO_CONTENT {
            // RFC 9110 8.6; clients of HTTP/2 refuse the whole answer
            parts.headers.remove(CONTENT_LENGTH);
        }
        self.sessions.bind(&mut parts.headers, owner(permit.caller(), &permit.upstream().config))?;
        let events = are_events(&parts.headers);
        if events {
            parts.headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        }
        let whole = !events || parts.headers.contains_key(CONTENT_LENGTH);
        let early_end = if whole { EarlyEnd::Broken } else { EarlyEnd::Clean };
        let lease = if events { lease.streaming(permit.upstream().calls.stream()) } else { lease };
        let commented = events && are_open(&parts.headers) && parts.status == StatusCode::OK;
        let interval = permit.upstream().config.settings.keep_alive.filter(|_| commented);
        let body = passed(permit, body, interval, lease, early_end);
        parts.extensions.clear();
        parts.version = http::Version::HTTP_11;
        Ok(Response::from_parts(parts, body))
    }
}

/// The owner of the sessions that a caller may use at an upstream.
pub(super) fn owner<'a>(caller: &'a VerifiedCaller, upstream: &'a config::Upstream) -> Owner<'a> {
    Owner { subject: &caller.caller.subject, resource: upstream.audience() }
}

/// The body that the client gets: what the permit lets pass, for as long as the lease lasts, with a comment wherever it was
/// silent for `interval`.
fn passed<B>(
    permit: &Permit<'_>,
    upstream: B,
    interval: Option<Duration>,
    lease: CallLease,
    early_end: EarlyEnd,
) -> Body
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let AnswerFilter::Everything = permit.filter();
    match interval {
        Some(interval) => Stream::new(Events::new(upstream, interval), lease, early_end).boxed_unsync(),
        None => Stream::new(upstream, lease, early_end).boxed_unsync(),
    }
}

/// Opens a stream of events whose upstream has not answered yet.
fn open_early(permit: &Permit<'_>, pending: Sending, lease: CallLease) -> Response<Body> {
    let settings = &permit.upstream().config.settings;
    let early = Early::new(pending, settings.id.clone());
    let mut response = early::head(passed(permit, early, settings.keep_alive, lease, EarlyEnd::Clean));
    response.headers_mut().insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}
