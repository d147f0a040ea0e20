//! Bytes in, bytes out: what is allowed goes to the upstream, and its answer comes back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::answer_headers::clean_response;
use super::authenticate::VerifiedToken;
use super::body::{Body, BoxError, full};
use super::headers::is_media_type;
use super::lease::Lease;
use super::refusal::Refusal;
use super::session::Owner;
use super::stream::{EarlyEnd, Stream};
use super::{Call, Gateway};
use crate::policy::Permit;
use crate::upstream::RequestBodyError;

/// How long a body that we collect may take to arrive.
const COLLECT: Duration = Duration::from_secs(15);
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Collects a JSON body once, so that our own errors can carry its id and a request whose connection died before a byte
/// left can be sent again; anything else streams.
///
/// # Errors
/// When it comes too slowly or ends early.
pub(super) async fn collect<B>(parts: &Parts, body: B, limit: usize) -> Result<(Option<Bytes>, Body), Refusal>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    if !is_small_json(parts, limit) {
        let body = body.map_err(|error| BoxError::from(RequestBodyError(error.into())));
        return Ok((None, Untrailed(body).boxed_unsync()));
    }
    match tokio::time::timeout(COLLECT, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => {
            let bytes = collected.to_bytes();
            Ok((Some(bytes.clone()), full(bytes)))
        }
        Ok(Err(_)) => Err(Refusal::BrokenBody),
        Err(_elapsed) => Err(Refusal::SlowBody),
    }
}

/// A body without trailers: MCP has none, and what stands in them could be taken for what is said in headers.
struct Untrailed<B>(B);

impl<B: HttpBody + Unpin> HttpBody for Untrailed<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match ready!(Pin::new(&mut self.0).poll_frame(cx)) {
            Some(Ok(frame)) if frame.is_trailers() => Poll::Ready(None),
            other => Poll::Ready(other),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}

fn is_small_json(parts: &Parts, limit: usize) -> bool {
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let json = is_media_type(&parts.headers, "application/json");
    parts.method == Method::POST && json && length.is_some_and(|length| length <= limit)
}

impl Gateway {
    /// Sends a permitted request on and answers with the upstream's own words.
    ///
    /// # Errors
    /// When the upstream gives no answer that may pass, or none before the call is over.
    pub(super) async fn forward(
        &self,
        permit: &Permit<'_, Call<'_>>,
        mut lease: Lease,
        parts: Parts,
        body: Body,
    ) -> Result<Response<Body>, Refusal> {
        let call = permit.call();
        let client = &call.route.served.client;
        let token = Arc::clone(lease.token());
        let request = self.outgoing(call, &token, parts, body)?;
        let response = lease.hold(client.send(request)).await??;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(Refusal::UpstreamWantsCredentials);
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Refusal::BadGateway("switched to a protocol that nobody asked for".to_owned()));
        }
        let owner = Owner { subject: &token.subject, resource: call.upstream().audience() };
        self.incoming(response, lease, owner)
    }

    fn outgoing(
        &self,
        call: &Call<'_>,
        token: &VerifiedToken,
        mut parts: Parts,
        body: Body,
    ) -> Result<Request<Body>, Refusal> {
        let unfit = |error: http::Error| {
            tracing::debug!(%error, "a query that does not fit the upstream's URL");
            Refusal::Malformed("the query cannot be forwarded")
        };
        parts.uri = call.route.served.client.uri(parts.uri.query()).map_err(unfit)?;
        parts.version = http::Version::HTTP_11;
        call.route.served.rules.clean(&mut parts.headers);
        if let Some(length) = body.size_hint().exact().filter(|_| parts.method == Method::POST) {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        if let Some(client) = call.client {
            self.0.forwarding.write(&mut parts.headers, client);
        }
        if let Ok(id) = HeaderValue::from_str(call.id.as_str()) {
            parts.headers.insert(super::REQUEST_ID, id);
        }
        token.identity.write(&mut parts.headers);
        call.route.served.rules.add(&mut parts.headers);
        parts.extensions.clear();
        Ok(Request::from_parts(parts, body))
    }

    fn incoming(
        &self,
        response: Response<Incoming>,
        lease: Lease,
        owner: Owner<'_>,
    ) -> Result<Response<Body>, Refusal> {
        let (mut parts, body) = response.into_parts();
        clean_response(&mut parts.headers);
        if parts.status == StatusCode::NO_CONTENT {
            // RFC 9110 8.6; clients of HTTP/2 refuse the whole answer
            parts.headers.remove(CONTENT_LENGTH);
        }
        self.0.sessions.bind(&mut parts.headers, owner)?;
        let events = is_media_type(&parts.headers, "text/event-stream");
        if events {
            parts.headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        }
        let whole = !events || parts.headers.contains_key(CONTENT_LENGTH);
        let early_end = if whole { EarlyEnd::Broken } else { EarlyEnd::Clean };
        let body = Stream::new(Untrailed(body), lease, early_end).boxed_unsync();
        parts.extensions.clear();
        parts.version = http::Version::HTTP_11;
        Ok(Response::from_parts(parts, body))
    }
}
