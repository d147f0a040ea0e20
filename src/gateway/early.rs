//! An event stream that we open before the upstream does.
//!
//! Some servers send the head of a listening GET's answer only with their first event, and some clients wait for that head
//! before they do anything else: a deadlock. So after a moment we send a head ourselves, and join the upstream's events when
//! they come. By then the upstream's status can no longer reach the client: when it answers with something else than events,
//! a comment says why, and the stream ends after a pause. A client that reconnects gets the same, or the real status if the
//! server was slow only once. The pause limits the rate of reconnects, and `retry` asks for the same from clients that read
//! it.
//!
//! That moment includes the time to connect. Refused connections are retried for as long as `reconnect` says, and a
//! client that waits for the head cannot wait for that too. So a server that is down gets its 502 only when that is
//! known within the moment, as with `reconnect = "off"`. Otherwise the stream opens, and joins the events when the
//! server is back in time, or says in its comment that the server cannot be reached.
//!
//! A POST is never answered early: its status tells a client what happened to its message (202, 401, 404 for an ended
//! session), and its head carries the session id.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Sleep, sleep};

use super::events::{COMMENT, are_events, is_coded};
use crate::upstream::{Outgoing, Sending, UpstreamBody, UpstreamError, status_words};
use crate::wire::{BoxError, accept};

/// How long the upstream may take for its own head, connecting included.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// How long a stream without any event stays open.
const PAUSE: Duration = Duration::from_secs(30);

/// Whether a request listens for events.
pub(super) fn listens(outgoing: &Outgoing) -> bool {
    outgoing.method == Method::GET && accept::weight_of("text/event-stream", &outgoing.headers) > 0
}

/// An answer whose body comes later.
pub(super) fn head<B>(body: B) -> Response<B> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The body of such a response.
pub(super) struct Early {
    state: State,
    /// Whether the first comment was sent: it flushes the head through every proxy.
    opened: bool,
    upstream: String,
}

enum State {
    Waiting(Sending),
    Joined(UpstreamBody),
    Pausing(Pin<Box<Sleep>>),
}

impl Early {
    pub(super) const fn new(pending: Sending, upstream: String) -> Self {
        Self { state: State::Waiting(pending), opened: false, upstream }
    }

    /// The upstream has answered. Joins its events, or returns the comment that says why there are none.
    fn join(&mut self, answer: Result<Response<UpstreamBody>, UpstreamError>) -> Option<Bytes> {
        let (comment, cause) = match answer {
            Ok(answer) if answer.status() == StatusCode::OK && are_events(answer.headers()) => {
                if !is_coded(answer.headers()) {
                    self.state = State::Joined(answer.into_body());
                    return None;
                }
                (
                    "answered with a compressed stream".to_owned(),
                    "answered with a content coding that was not asked for".to_owned(),
                )
            }
            Ok(answer) => (format!("answered {}", answer.status().as_u16()), status_words(answer.status())),
            Err(error @ (UpstreamError::Unreachable(_) | UpstreamError::NotConnected(_))) => {
                ("cannot be reached".to_owned(), error.to_string())
            }
            Err(error) => ("sent an invalid response".to_owned(), error.to_string()),
        };
        let upstream = &self.upstream;
        tracing::warn!(upstream, cause, "an event stream that was opened before the upstream answered ends");
        self.state = State::Pausing(Box::pin(sleep(PAUSE)));
        Some(Bytes::from(format!(": the MCP server behind the gateway {comment}\nretry: 5000\n\n")))
    }
}

impl HttpBody for Early {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if !std::mem::replace(&mut this.opened, true) {
            return Poll::Ready(Some(Ok(Frame::data(COMMENT))));
        }
        loop {
            match &mut this.state {
                State::Waiting(pending) => {
                    let answer = ready!(pending.as_mut().poll(cx));
                    if let Some(words) = this.join(answer) {
                        return Poll::Ready(Some(Ok(Frame::data(words))));
                    }
                }
                State::Joined(answer) => return Pin::new(answer).poll_frame(cx),
                State::Pausing(pause) => {
                    ready!(pause.as_mut().poll(cx));
                    return Poll::Ready(None);
                }
            }
        }
    }
}
