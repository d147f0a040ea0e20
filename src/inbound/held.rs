//! Bodies that keep something alive until they are gone, and what is kept: the count of a connection's open streams.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// A body, and what lives as long.
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

/// The streams that are open on one HTTP/2 connection.
#[derive(Clone)]
pub(super) struct Streams(Arc<Mutex<Open>>);

struct Open {
    count: usize,
    since: Instant,
}

/// An open stream.
pub(super) struct OpenStream(Streams);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Open { count: 0, since: Instant::now() })))
    }
}

impl Streams {
    /// One more is open, until what this answers is dropped.
    pub(super) fn one_more(&self) -> OpenStream {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count += 1;
        OpenStream(self.clone())
    }

    /// Completes when none has been open for so long.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let left = {
                let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if open.count == 0 { limit.saturating_sub(open.since.elapsed()) } else { limit }
            };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.count = open.count.saturating_sub(1);
        open.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Streams;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_no_stream_was_open_for_the_whole_time() {
        let streams = Streams::default();
        let limit = Duration::from_secs(75);
        let open = streams.one_more();
        assert!(tokio::time::timeout(Duration::from_secs(200), streams.idle(limit)).await.is_err());
        drop(open);
        assert!(tokio::time::timeout(Duration::from_secs(74), streams.idle(limit)).await.is_err());
        assert!(tokio::time::timeout(Duration::from_secs(2), streams.idle(limit)).await.is_ok());
    }
}
