//! Bytes in, bytes out: what is allowed goes to the upstream, and its answer comes back.

use std::pin::pin;

use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION, LOCATION};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::Gateway;
use super::answer_headers::clean_response;
use super::authenticate::VerifiedToken;
use super::body::Body;
use super::call::Call;
use super::early::{self, Early};
use super::events::{Events, are_events, are_open};
use super::lease::Lease;
use super::refusal::Refusal;
use super::session::Owner;
use super::stream::{EarlyEnd, Stream};
use crate::policy::Permit;
use crate::upstream::{Answer, Outgoing, Payload, Sending};

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

impl Gateway {
    /// Sends a permitted request on and answers with the upstream's own words.
    ///
    /// # Errors
    /// When the upstream gives no answer that may pass, or none before the call is over.
    pub(super) async fn forward(
        &self,
        permit: &Permit<'_, Call<'_>>,
        mut outgoing: Outgoing,
        mut lease: Lease,
    ) -> Result<Response<Body>, Refusal> {
        let call = permit.call();
        let client = &call.route.served.client;
        if !early::listens(&outgoing) {
            let answer = lease.hold(client.send(outgoing)).await??;
            return self.incoming(call, answer, lease);
        }
        // an answer that comes late joins a stream of ours, which has no content coding
        outgoing.headers.remove(ACCEPT_ENCODING);
        let mut pending = client.send(outgoing);
        match lease.hold(pin!(timeout(early::PATIENCE, &mut pending))).await? {
            Ok(answer) => self.incoming(call, answer?, lease),
            Err(_elapsed) => Ok(open_early(call, pending, lease)),
        }
    }

    /// A permitted request as it leaves: the client's headers, as far as they may pass, and what we say.
    ///
    /// # Errors
    /// When its query does not fit the upstream's URL.
    pub(super) fn outgoing(
        &self,
        permit: &Permit<'_, Call<'_>>,
        token: &VerifiedToken,
        head: &mut Parts,
        payload: Payload,
    ) -> Result<Outgoing, Refusal> {
        let unfit = |error: http::Error| {
            tracing::debug!(%error, "a query that does not fit the upstream's URL");
            Refusal::Malformed("the query cannot be forwarded")
        };
        let call = permit.call();
        let target = call.route.served.client.target(head.uri.query()).map_err(unfit)?;
        let (method, mut headers) = (head.method.clone(), std::mem::take(&mut head.headers));
        call.route.served.rules.clean(&mut headers);
        if method == Method::POST && payload.is_empty() {
            // the HTTP library writes the length of every other body, but omits it for an empty one (RFC 9110 8.6)
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        self.0.forwarding.write(&mut headers, call.client);
        if let Ok(id) = HeaderValue::from_str(call.id.as_str()) {
            headers.insert(super::REQUEST_ID, id);
        }
        token.identity.write(&mut headers);
        call.route.served.rules.add(&mut headers);
        Ok(Outgoing { method, target, headers, payload })
    }

    /// Makes an upstream's answer the client's.
    ///
    /// # Errors
    /// When it must not pass.
    fn incoming(&self, call: &Call<'_>, answer: Response<Answer>, lease: Lease) -> Result<Response<Body>, Refusal> {
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
        // an upstream names inner addresses, and MCP uses neither
        parts.headers.remove(LOCATION);
        parts.headers.remove(CONTENT_LOCATION);
        if parts.status == StatusCode::NO_CONTENT {
            // RFC 9110 8.6; clients of HTTP/2 refuse the whole answer
            parts.headers.remove(CONTENT_LENGTH);
        }
        let owner = Owner { subject: &lease.token().subject, resource: call.upstream().audience() };
        self.0.sessions.bind(&mut parts.headers, owner)?;
        let events = are_events(&parts.headers);
        if events {
            parts.headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        }
        let whole = !events || parts.headers.contains_key(CONTENT_LENGTH);
        let early_end = if whole { EarlyEnd::Broken } else { EarlyEnd::Clean };
        let commented = events && are_open(&parts.headers) && parts.status == StatusCode::OK;
        let body = match call.upstream().settings.http.keep_alive.filter(|_| commented) {
            Some(interval) => Stream::new(Events::new(body, interval), lease, early_end).boxed_unsync(),
            None => Stream::new(body, lease, early_end).boxed_unsync(),
        };
        parts.extensions.clear();
        parts.version = http::Version::HTTP_11;
        Ok(Response::from_parts(parts, body))
    }
}

/// Opens a stream of events whose upstream has not answered yet.
fn open_early(call: &Call<'_>, pending: Sending, lease: Lease) -> Response<Body> {
    let settings = &call.upstream().settings;
    let early = Early::new(pending, settings.id.clone(), call.id.clone());
    let body = match settings.http.keep_alive {
        Some(interval) => Stream::new(Events::new(early, interval), lease, EarlyEnd::Clean).boxed_unsync(),
        None => Stream::new(early, lease, EarlyEnd::Clean).boxed_unsync(),
    };
    let mut response = early::head(body);
    response.headers_mut().insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}
