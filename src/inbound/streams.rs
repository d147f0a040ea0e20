//! The many exchanges of an HTTP/2 connection: whether there is anything to do, or all wait for the peer.
//!
//! HTTP/2 has a window for every stream: a peer that gives none keeps an answer for ever, and still answers our pings. That
//! it takes nothing shows in the body: the next piece is not asked for. A stream whose upstream is silent is another thing:
//! there the piece was asked for, and it is our turn.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// The most bytes that are handed out at once: what a peer must take within the limit to stay. As large as a frame of
/// HTTP/2 is by default.
const PIECE: usize = 16 * 1024;

/// The streams of one connection.
#[derive(Clone)]
pub(super) struct Streams(Arc<Mutex<Turns>>);

struct Turns {
    /// On how many streams it is our turn.
    ours: usize,
    /// When a stream last ended, or a peer took something.
    moved: Instant,
}

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Turns { ours: 0, moved: Instant::now() })))
    }
}

impl Streams {
    /// A request arrived: it is our turn.
    pub(super) fn arrived(&self) -> Turn {
        self.turns().ours += 1;
        Turn { streams: self.clone(), ours: true }
    }

    /// Completes when for so long, from now on, it was on no stream our turn, and on none the peer moved.
    pub(super) async fn idle(&self, limit: Duration) {
        let began = Instant::now();
        loop {
            let left = {
                let turns = self.turns();
                if turns.ours == 0 { limit.saturating_sub(turns.moved.max(began).elapsed()) } else { limit }
            };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose turn it is on one stream.
pub(super) struct Turn {
    streams: Streams,
    ours: bool,
}

impl Turn {
    fn give(&mut self) {
        let mut turns = self.streams.turns();
        turns.ours -= usize::from(self.ours);
        turns.moved = Instant::now();
        self.ours = false;
    }

    fn take(&mut self) {
        if !self.ours {
            self.streams.turns().ours += 1;
            self.ours = true;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.give();
    }
}

/// The body of an answer, in pieces: it is our turn while one is asked for and not there.
pub(super) struct Pieces<B> {
    body: B,
    rest: Bytes,
    turn: Turn,
}

impl<B> Pieces<B> {
    pub(super) const fn new(body: B, turn: Turn) -> Self {
        Self { body, rest: Bytes::new(), turn }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Pieces<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Self { body, rest, turn } = &mut *self;
        if rest.is_empty() {
            turn.take();
            match ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => *rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        turn.give();
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
    async fn a_connection_is_idle_when_for_the_whole_time_no_turn_was_ours() {
        let streams = Streams::default();
        let limit = Duration::from_secs(75);
        let turn = streams.arrived();
        assert!(timeout(Duration::from_secs(200), streams.idle(limit)).await.is_err());
        drop(turn);
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
