//! A call as it leaves.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use ::http::header::HOST;
use ::http::{HeaderMap, HeaderValue, Method, Request, Uri};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;

use crate::wire::BoxError;

/// The largest body that is kept for a redirect until the answer begins, in bytes: a slow tool must not hold more
/// memory.
const KEPT: usize = 64 * 1024;

/// A streamed body.
pub(crate) struct Streamed {
    body: UnsyncBoxBody<Bytes, BoxError>,
    waits: WaitsForClient,
}

/// Whether the upstream waits for more of a client's body: a time-out is then the client's fault, not the upstream's.
#[derive(Clone, Default)]
pub(super) struct WaitsForClient(Arc<AtomicBool>);

impl WaitsForClient {
    pub(super) fn now(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Streamed {
    pub(crate) fn new(body: UnsyncBoxBody<Bytes, BoxError>) -> Self {
        Self { body, waits: WaitsForClient::default() }
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.waits.0.store(polled.is_pending(), Ordering::Relaxed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a request carries.
pub(crate) enum Payload {
    /// Every byte of it, or none: it can be sent again.
    Whole(Bytes),
    /// A stream, which can be sent only once.
    Streamed(Streamed),
}

impl Payload {
    /// No body.
    pub(crate) const fn none() -> Self {
        Self::Whole(Bytes::new())
    }

    /// The bytes, when they are all here.
    pub(crate) const fn whole(&self) -> Option<&Bytes> {
        match self {
            Self::Whole(bytes) => Some(bytes),
            Self::Streamed(_) => None,
        }
    }

    /// Whether it is known to hold nothing.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    /// What tells whose fault it is when sending takes too long; a body that is here as a whole waits for nothing.
    pub(super) fn waits_for_client(&self) -> Option<WaitsForClient> {
        match self {
            Self::Whole(_) => None,
            Self::Streamed(body) => Some(body.waits.clone()),
        }
    }
}

/// A request to an upstream.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    /// A path with a query, as `HttpUpstream::target` makes it.
    pub(crate) target: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
}

impl Outgoing {
    /// The same again, unless its body passes through only once, or is large.
    pub(crate) fn copy(&self) -> Option<Self> {
        let payload = Payload::Whole(self.payload.whole().filter(|body| body.len() <= KEPT)?.clone());
        let (method, target, headers) = (self.method.clone(), self.target.clone(), self.headers.clone());
        Some(Self { method, target, headers, payload })
    }

    /// Whether it may use a connection that others used before and after it: only what a server reads to its end by any
    /// reading of HTTP, a POST whose body is all here and has a length.
    pub(super) fn may_share(&self) -> bool {
        self.method == Method::POST && self.payload.whole().is_some_and(|bytes| !bytes.is_empty())
    }

    pub(super) fn into_request(self, host: &HeaderValue) -> Request<Sent> {
        let Self { method, target, mut headers, payload } = self;
        headers.insert(HOST, host.clone());
        let body = match payload {
            Payload::Whole(bytes) => Sent::Whole(Full::new(bytes)),
            Payload::Streamed(body) => Sent::Streamed(body),
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = target;
        *request.headers_mut() = headers;
        request
    }
}

/// A body as it is written to an upstream.
pub(crate) enum Sent {
    Whole(Full<Bytes>),
    Streamed(Streamed),
}

impl Body for Sent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Streamed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Streamed(body) => body.size_hint(),
        }
    }
}
