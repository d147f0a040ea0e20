//! The exchanges of an HTTP/2 connection: whether we have work to do, or every stream waits for the peer.
//!
//! Defends against slowloris by flow control (a peer that never opens its window).
//!
//! HTTP/2 has a flow-control window per stream: a peer that opens none keeps an answer in memory for ever, and still
//! answers pings. We notice because hyper does not ask the body for its next piece. A stream with a silent upstream is
//! different: its next piece was asked for, so it waits for us.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// The largest piece of a body, in bytes: what a peer must read within the limit to stay connected. HTTP/2's default
/// frame size.
const PIECE: usize = 16 * 1024;

/// The streams of one connection.
#[derive(Clone)]
pub(super) struct Streams(Arc<Mutex<Activity>>);

struct Activity {
    /// How many streams wait for us.
    ours: usize,
    /// When a stream last ended, or the peer last read something.
    moved: Instant,
}

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Activity { ours: 0, moved: Instant::now() })))
    }
}

impl Streams {
    /// A request arrived: its stream waits for us.
    pub(super) fn arrived(&self) -> Waiter {
        self.activity().ours += 1;
        Waiter { streams: self.clone(), ours: true }
    }

    /// Completes once every stream has waited for the peer for `limit`, counted from now.
    pub(super) async fn idle(&self, limit: Duration) {
        let began = Instant::now();
        loop {
            let left = {
                let activity = self.activity();
                if activity.ours == 0 { limit.saturating_sub(activity.moved.max(began).elapsed()) } else { limit }
            };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether one stream waits for us or for the peer.
pub(super) struct Waiter {
    streams: Streams,
    ours: bool,
}

impl Waiter {
    fn hand_to_peer(&mut self) {
        let mut activity = self.streams.activity();
        activity.ours -= usize::from(self.ours);
        activity.moved = Instant::now();
        self.ours = false;
    }

    fn take_back(&mut self) {
        if !self.ours {
            self.streams.activity().ours += 1;
            self.ours = true;
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.hand_to_peer();
    }
}

/// The body of an answer, in pieces. The stream waits for us while a piece was asked for and is not there.
pub(super) struct Pieces<B> {
    body: B,
    rest: Bytes,
    waiter: Waiter,
}

impl<B> Pieces<B> {
    pub(super) const fn new(body: B, waiter: Waiter) -> Self {
        Self { body, rest: Bytes::new(), waiter }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Pieces<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Self { body, rest, waiter } = &mut *self;
        if rest.is_empty() {
            waiter.take_back();
            match ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => *rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        waiter.hand_to_peer();
        let piece = rest.split_to(rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http_body::Body;
    use http_body_util::{BodyExt, Full};
    use tokio::time::timeout;

    use super::{PIECE, Pieces, Streams};

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_once_no_stream_has_waited_for_us_for_the_whole_limit() {
        let streams = Streams::default();
        let limit = Duration::from_secs(75);
        let waiter = streams.arrived();
        assert!(timeout(Duration::from_secs(200), streams.idle(limit)).await.is_err());
        drop(waiter);
        assert!(timeout(Duration::from_secs(74), streams.idle(limit)).await.is_err());
        assert!(timeout(Duration::from_secs(76), streams.idle(limit)).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_the_same_body() {
        let whole = Bytes::from((0..100_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
        let mut pieces = Pieces::new(Full::new(whole.clone()), Streams::default().arrived());
        let mut seen = Vec::new();
        while !pieces.is_end_stream() {
            assert_eq!(pieces.size_hint().exact(), Some((whole.len() - seen.len()) as u64));
            let piece = pieces.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE);
            seen.extend_from_slice(&piece);
        }
        assert_eq!(seen, whole);
        assert_eq!(pieces.size_hint().exact(), Some(0));
    }
}
