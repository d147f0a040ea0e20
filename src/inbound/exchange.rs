//! The state of an HTTP/1.1 connection: it serves one exchange, or waits for the head of the next request.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// Whether the connection waits for a head. The connection and the service that answers its requests share this
/// counter: it is even while a head is awaited, odd while a request is served, and so numbers the heads.
#[derive(Clone, Default)]
pub(super) struct Waiting(Arc<AtomicU64>);

impl Waiting {
    /// A head was read. Once the returned guard is dropped by all who hold it, the next bytes belong to a new head.
    pub(super) fn arrived(&self) -> Arc<Busy> {
        self.0.fetch_or(1, Ordering::AcqRel);
        Arc::new(Busy(self.clone()))
    }

    /// A head was read, and no later one is bounded here.
    pub(super) fn never_again(&self) {
        self.0.fetch_or(1, Ordering::AcqRel);
    }

    /// Completes once the connection has waited for a head for `limit`, counted from now.
    pub(super) async fn idle(&self, limit: Duration) {
        let (mut since, mut before) = (Instant::now(), self.head());
        while before.is_none() || since.elapsed() < limit {
            tokio::time::sleep(limit / 8).await;
            let head = self.head();
            if head != before {
                (since, before) = (Instant::now(), head);
            }
        }
    }

    /// The number of the awaited head, if one is awaited.
    pub(super) fn head(&self) -> Option<u64> {
        let number = self.0.load(Ordering::Acquire);
        number.is_multiple_of(2).then_some(number)
    }
}

/// An open exchange: its request may still arrive, and its answer may still be leaving.
pub(super) struct Busy(Waiting);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// A body with a guard, which is dropped with it.
pub(super) struct Held<B, G> {
    body: B,
    _guard: G,
}

impl<B, G> Held<B, G> {
    pub(super) const fn new(body: B, guard: G) -> Self {
        Self { body, _guard: guard }
    }
}

impl<B: Body + Unpin, G: Unpin> Body for Held<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
