//! The body of a call, read as far as needed before the call is forwarded.
//!
//! Defends against: slowloris bodies, request smuggling by a body where none belongs, and memory exhaustion (a body
//! that is held counts in its user's share).

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::refusal::Refusal;
use crate::limits::{self, BODY_ARRIVAL, CollectError, Collected, Room, Shortage};
use crate::mcp::Message;
use crate::policy::Content;
use crate::upstream::{Payload, RequestBodyError, Streamed};
use crate::wire::{BoxError, is_media_type};

/// How many empty frames an absent body may have.
const EMPTY_FRAMES: usize = 16;

const NO_BODY: Refusal = Refusal::Malformed("only POST may have a body");

/// Refuses a request that declares a body although its method has none: a server that does not read such a body takes
/// it for the next request (request smuggling, RFC 9110 9.3.1).
///
/// # Errors
/// When it does.
pub(super) fn check(parts: &Parts, body: &impl HttpBody) -> Result<(), Refusal> {
    if parts.method != Method::POST && body.size_hint().lower() > 0 { Err(NO_BODY) } else { Ok(()) }
}

/// Collects a JSON body in `room`, so that its message can be read, and so that a request whose connection died before
/// a byte left can be sent again. Any other body streams. Where the method has no body, waits until it is certain that
/// none comes.
///
/// # Errors
/// When it comes too slowly, ends early, is not allowed, or when there is no memory for it.
pub(super) async fn receive<B>(parts: &Parts, mut body: B, limit: usize, room: Room) -> Result<Payload, Refusal>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    if parts.method != Method::POST {
        if !body.is_end_stream() {
            timeout(BODY_ARRIVAL, await_absence(body)).await.map_err(|_elapsed| Refusal::SlowBody)??;
        }
        return Ok(Payload::none());
    }
    if !is_small_json(parts, limit) {
        return Ok(passing(None, body));
    }
    Ok(match limits::collect(&mut body, limit, room).await? {
        Collected::Whole(bytes) => Payload::Whole(bytes),
        Collected::Beginning(read) => passing(Some(read), body),
    })
}

/// The content of a call: only a POST has a message, and only a message that was collected whole can be read.
pub(super) fn content<'a>(method: &Method, payload: &'a Payload) -> Content<'a> {
    if *method != Method::POST {
        return Content::Nothing;
    }
    payload.whole().map_or(Content::Unread, |body| Content::Read(Message::read(body)))
}

impl From<CollectError> for Refusal {
    fn from(error: CollectError) -> Self {
        match error {
            CollectError::TooLarge | CollectError::Broken => Self::BrokenBody,
            CollectError::TooSlow => Self::SlowBody,
            CollectError::NoRoom(Shortage::Share) => {
                Self::Busy("this user's share of the memory for bodies (limits.body_memory_per_user) is in use")
            }
            CollectError::NoRoom(Shortage::Pool) => Self::Busy("the memory for bodies (limits.body_memory) is in use"),
        }
    }
}

/// Whether a body may be collected: JSON that declares no length, or one within the limit.
fn is_small_json(parts: &Parts, limit: usize) -> bool {
    let small = match parts.headers.get(CONTENT_LENGTH) {
        None => true,
        Some(length) => {
            length.to_str().ok().and_then(|text| text.parse().ok()).is_some_and(|length: usize| length <= limit)
        }
    };
    small && is_media_type(&parts.headers, "application/json")
}

/// Waits for the end of a body that must be absent. Zero bytes are no body, whatever the framing: an empty chunked
/// body, or an empty DATA frame that ends an HTTP/2 stream.
async fn await_absence<B>(mut body: B) -> Result<(), Refusal>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    for _ in 0..EMPTY_FRAMES {
        match body.frame().await {
            None => return Ok(()),
            Some(Err(_)) => return Err(Refusal::BrokenBody),
            Some(Ok(frame)) if frame.data_ref().is_some_and(|data| !data.is_empty()) => return Err(NO_BODY),
            Some(Ok(_)) => {}
        }
    }
    Err(NO_BODY)
}

/// A streamed request body: what was already read of it, then the rest. Its trailers are dropped: MCP has none, and an
/// upstream could mistake them for our headers.
///
/// Defends against slowloris: an upstream would hold a connection for each body that trickles.
struct Passing<B> {
    read: Option<Bytes>,
    rest: B,
    /// The deadline of the next byte, while one is waited for.
    arrival_timer: Option<Pin<Box<Sleep>>>,
    waits: bool,
}

fn passing<B>(read: Option<Bytes>, rest: B) -> Payload
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let body = Passing { read, rest, arrival_timer: None, waits: false };
    Payload::Streamed(Streamed::new(body.map_err(BoxError::from).boxed_unsync()))
}

impl<B> Passing<B> {
    /// Ready when the next byte is overdue. One timer serves the whole body.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let arrival_timer = self.arrival_timer.get_or_insert_with(|| Box::pin(sleep(BODY_ARRIVAL)));
        if !std::mem::replace(&mut self.waits, true) {
            arrival_timer.as_mut().reset(Instant::now() + BODY_ARRIVAL);
        }
        arrival_timer.as_mut().poll(cx)
    }
}

impl<B> HttpBody for Passing<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = &mut *self;
        if let Some(read) = this.read.take() {
            return Poll::Ready(Some(Ok(Frame::data(read))));
        }
        let Poll::Ready(polled) = Pin::new(&mut this.rest).poll_frame(cx) else {
            return this.poll_patience(cx).map(|()| Some(Err(RequestBodyError::Slow)));
        };
        match polled {
            Some(Ok(frame)) if frame.is_trailers() => Poll::Ready(None),
            Some(Ok(frame)) => {
                // an empty HTTP/2 frame is no progress
                if frame.data_ref().is_some_and(|data| !data.is_empty()) {
                    this.waits = false;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(RequestBodyError::Failed(error.into())))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.read.is_some() { SizeHint::default() } else { self.rest.size_hint() }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Method;
    use http_body_util::{Empty, Full};

    use super::{content, passing};
    use crate::mcp::Message;
    use crate::policy::Content;
    use crate::upstream::Payload;

    #[test]
    fn a_message_that_streams_is_told_from_a_call_without_one() {
        let whole = Payload::Whole(Bytes::from_static(br#"{"id":1,"method":"ping"}"#));
        assert!(matches!(content(&Method::POST, &whole), Content::Read(Message::Single(_))));
        assert!(matches!(content(&Method::POST, &Payload::none()), Content::Read(Message::Unreadable)));
        assert!(matches!(content(&Method::POST, &passing(None, Empty::new())), Content::Unread));
        let begun = passing(Some(Bytes::from_static(b"{")), Full::new(Bytes::from_static(b"}")));
        assert!(matches!(content(&Method::POST, &begun), Content::Unread));
        for method in [Method::GET, Method::DELETE] {
            assert!(matches!(content(&method, &Payload::none()), Content::Nothing), "{method}");
        }
    }
}
