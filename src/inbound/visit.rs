//! One request, from its head to the last byte of its response.

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Request, Response};
use http_body::Body as _;
use tracing::Span;

use super::access::{Access, LoggedBody, Metered};
use super::counters::Counted;
use super::leftover::{self, Leftover, Lent};
use crate::gateway::Known;
use crate::wire::{Arrival, Body, BoxError, full};

/// A request that is being answered.
pub(super) struct Visit<B: http_body::Body> {
    pub(super) arrival: Arrival,
    access: Access,
    leftover: Option<Leftover<B>>,
}

impl<B> Visit<Metered<B>>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    /// Begins the request's line in the log. Its body is counted as it is read, and comes back when it is not.
    pub(super) fn begin(request: Request<B>, arrival: Arrival, metrics: Counted) -> (Request<Lent<Metered<B>>>, Self) {
        let mut access = Access::begin(&request, &arrival, metrics);
        let (request, leftover) = leftover::lend(request.map(|body| access.metered(body)));
        (request, Self { arrival, access, leftover })
    }
}

impl<B: http_body::Body> Visit<B> {
    /// What the gateway learns of the request, and notes about it.
    pub(super) const fn known(&mut self) -> Known<'_> {
        Known { arrival: &self.arrival, record: &mut self.access.call }
    }

    /// The span in which the request is answered.
    pub(super) const fn span(&self) -> &Span {
        &self.access.span
    }

    /// Whether an unread body must be dealt with before the answer leaves.
    pub(super) const fn has_leftover(&self) -> bool {
        self.leftover.is_some()
    }

    /// The answer as it leaves: with the request's id, and a line in the access log at its end.
    pub(super) fn answered(self, mut response: Response<Body>) -> Response<LoggedBody> {
        self.arrival.id.name(&mut response);
        if self.access.asks_for_the_head_alone() {
            response = without_body(response);
        }
        self.access.answered(response)
    }
}

impl<B> Visit<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Deals with what was not read of the request.
    pub(super) async fn settle(&mut self, response: &mut Response<Body>) {
        if let Some(leftover) = self.leftover.take() {
            leftover.settle(response).await;
        }
    }

    /// The same, and then the answer as it leaves.
    pub(super) async fn settled(mut self, mut response: Response<Body>) -> Response<LoggedBody> {
        self.settle(&mut response).await;
        self.answered(response)
    }
}

/// The answer to HEAD: the head that GET would get, and no body. HTTP/1.1 would leave a body out by itself; in HTTP/2 it is
/// sent, and clients take it for a protocol error (RFC 9110 9.3.2, RFC 9113 8.1.1).
pub(super) fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    // an empty body says nothing of the length that GET would see
    if let Some(length) = body.size_hint().exact().filter(|_| !body.is_end_stream()) {
        parts.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    Response::from_parts(parts, full(Bytes::new()))
}
