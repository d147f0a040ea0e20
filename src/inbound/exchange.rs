//! The one exchange at a time of an HTTP/1.1 connection: whether it still goes on, or a request head is waited for.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// Whether the connection waits for a head; shared with the service that takes the requests. Even numbers wait, odd ones
/// serve, and each head has a number of its own.
#[derive(Clone, Default)]
pub(super) struct Waiting(Arc<AtomicU64>);

impl Waiting {
    /// A head arrived whole. When everything that holds the answer is gone, the next bytes are a head's again.
    pub(super) fn arrived(&self) -> Arc<Busy> {
        self.0.fetch_or(1, Ordering::AcqRel);
        Arc::new(Busy(self.clone()))
    }

    /// A head arrived whole, and whatever follows is bounded otherwise.
    pub(super) fn never_again(&self) {
        self.0.fetch_or(1, Ordering::AcqRel);
    }

    /// Completes when, from now on, a head was waited for so long.
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

    /// The number of the head that is being waited for, if one is.
    pub(super) fn head(&self) -> Option<u64> {
        let number = self.0.load(Ordering::Acquire);
        number.is_multiple_of(2).then_some(number)
    }
}

/// An exchange that is going on: its request may still arrive, its answer still leave.
pub(super) struct Busy(Waiting);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// A body of an exchange, which goes on until the body is gone. On HTTP/2 there is nothing to hold.
pub(super) struct Held<B> {
    body: B,
    _busy: Option<Arc<Busy>>,
}

impl<B> Held<B> {
    pub(super) const fn new(body: B, busy: Option<Arc<Busy>>) -> Self {
        Self { body, _busy: busy }
    }
}

impl<B: Body + Unpin> Body for Held<B> {
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
