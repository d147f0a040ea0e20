//! Comments on silent event streams (WHATWG HTML 9.2.6).
//!
//! Proxies cut a stream that is silent for 15 to 60 seconds, and behind some of them only a write reveals that the
//! client has left: without one, its call would stay open and its cancellation unnoticed. A comment is written between
//! events only: inside one it could become part of a line, or end the event early.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::wire::is_media_type;

/// A comment, which every client skips, and the blank line that ends it.
pub(super) const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// Whether an answer is a stream of events.
pub(super) fn are_events(headers: &HeaderMap) -> bool {
    is_media_type(headers, "text/event-stream")
}

/// Whether comments may be written into an answer: it has no declared length, and its bytes are not coded.
pub(super) fn are_open(headers: &HeaderMap) -> bool {
    !headers.contains_key(CONTENT_LENGTH) && !is_coded(headers)
}

/// Whether an answer has a content coding.
pub(super) fn is_coded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|coding| coding != "identity")
}

/// The position of the next byte in a stream of events. Lines end with CR, LF or both.
#[derive(Debug, Default)]
struct Position {
    /// Inside a line, rather than at its beginning.
    in_line: bool,
    /// Something other than comments came since the last blank line.
    in_event: bool,
    /// The last byte was a CR: an LF would belong to it.
    after_cr: bool,
}

impl Position {
    fn pass(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let [first, after @ ..] = rest {
            match first {
                b'\n' if self.after_cr => self.after_cr = false,
                b'\n' | b'\r' => {
                    // a blank line ends the event
                    self.in_event &= self.in_line;
                    self.in_line = false;
                    self.after_cr = *first == b'\r';
                }
                first => {
                    if !self.in_line {
                        self.in_line = true;
                        self.in_event |= *first != b':';
                    }
                    self.after_cr = false;
                    let end = after.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(after.len());
                    rest = after.get(end..).unwrap_or_default();
                    continue;
                }
            }
            rest = after;
        }
    }

    const fn is_between_events(&self) -> bool {
        !self.in_line && !self.in_event
    }
}

/// A stream of events with a comment wherever it was silent for `interval` between two events.
pub(super) struct Events<B> {
    upstream: B,
    interval: Duration,
    position: Position,
    silent_since: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> Events<B> {
    pub(super) fn new(upstream: B, interval: Duration) -> Self {
        Self { upstream, interval, position: Position::default(), silent_since: Instant::now(), timer: None }
    }

    /// Completes when a comment is due.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.silent_since + self.interval;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            let due = self.silent_since + self.interval;
            if due <= now && self.position.is_between_events() {
                self.silent_since = now;
                timer.as_mut().reset(now + self.interval);
                return Poll::Ready(());
            }
            // bytes came since the timer was set, or half an event: its rest will come, or the stream will end
            timer.as_mut().reset(if due > now { due } else { now + self.interval });
        }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Events<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.upstream).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.position.pass(data);
                    this.silent_since = Instant::now();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => {
                ready!(this.poll_due(cx));
                Poll::Ready(Some(Ok(Frame::data(COMMENT))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.upstream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use http::HeaderMap;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::{COMMENT, Events, Position, are_open};

    const INTERVAL: Duration = Duration::from_secs(25);

    fn between(text: &str) -> bool {
        let mut position = Position::default();
        position.pass(text.as_bytes());
        position.is_between_events()
    }

    #[test]
    fn a_position_between_events_is_found_for_every_line_ending() {
        for end in ["\n", "\r", "\r\n"] {
            for text in ["", "|", "data: x||", ": comment|", ": a|: b|", "id: 1|data: x|||", ": a|data: x||: b|"] {
                assert!(between(&text.replace('|', end)), "{text} {end:?}");
            }
            for text in ["data", "data: x", "data: x|", ":", ": comm", "data: x|:comment|", "data: x||d", "|event: e|"]
            {
                assert!(!between(&text.replace('|', end)), "{text} {end:?}");
            }
        }
    }

    /// A stream as a client parses it: the fields of each event without comments.
    fn events(bytes: &[u8]) -> Vec<Vec<String>> {
        let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
        let (mut all, mut event) = (Vec::new(), Vec::new());
        for line in text.split('\n') {
            if line.is_empty() && !event.is_empty() {
                all.push(std::mem::take(&mut event));
            } else if !line.is_empty() && !line.starts_with(':') {
                event.push(line.to_owned());
            }
        }
        all
    }

    proptest! {
        #[test]
        fn a_comment_between_events_changes_no_event(text in "[:\r\nab]{0,40}", at in 0usize..40) {
            let at = at.min(text.len());
            let (before, after) = text.split_at(at);
            let mut position = Position::default();
            for piece in before.as_bytes().chunks(3) {
                position.pass(piece);
            }
            prop_assume!(position.is_between_events());
            let with = [before.as_bytes(), &COMMENT, after.as_bytes()].concat();
            prop_assert_eq!(events(&with), events(text.as_bytes()));
        }
    }

    fn pieces(
        pieces: &'static [(u64, &'static str)],
    ) -> Events<impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin> {
        let pieces = stream::iter(pieces).then(|(after, text)| async move {
            tokio::time::sleep(Duration::from_secs(*after)).await;
            Ok(Frame::data(Bytes::from_static(text.as_bytes())))
        });
        Events::new(StreamBody::new(Box::pin(pieces)), INTERVAL)
    }

    async fn seen(
        mut events: Events<impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin>,
    ) -> Vec<(u64, String)> {
        let began = Instant::now();
        let mut seen = Vec::new();
        while let Some(frame) = events.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            seen.push((began.elapsed().as_secs(), String::from_utf8_lossy(&data).into_owned()));
        }
        seen
    }

    fn at(seconds: u64, text: &str) -> (u64, String) {
        (seconds, text.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_comment_breaks_silence_between_events_but_never_inside_one() {
        let all = seen(pieces(&[(20, "data: a\n\n"), (60, "data: b"), (100, "\n\n"), (30, "data: c\n\n")])).await;
        assert_eq!(
            all,
            [
                at(20, "data: a\n\n"),
                at(45, ":\n\n"),
                at(70, ":\n\n"),
                at(80, "data: b"),
                at(180, "\n\n"),
                at(205, ":\n\n"),
                at(210, "data: c\n\n"),
            ]
        );
    }

    #[test]
    fn an_answer_with_a_length_or_a_coding_gets_no_comments() {
        let with = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, http::HeaderValue::from_static(value));
            are_open(&headers)
        };
        assert!(with("content-type", "text/event-stream") && with("content-encoding", "identity"));
        assert!(!with("content-length", "5") && !with("content-encoding", "gzip"));
    }
}
