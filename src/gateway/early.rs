//! An event stream that we open before the upstream does.
//!
//! Some servers answer a listening GET with their first event only, and some clients do nothing else until they have the
//! head of its answer: both wait for ever. So after a moment we answer ourselves, and join the upstream's events when they
//! come. The upstream's status cannot reach the client any more then: when it is not a stream of events, the client reads why
//! in a comment, and the stream ends after a pause. A client that opens it again meets the same answer, or, when the server
//! was only slow once, its real status; the pause bounds how often, and `retry` asks for the same of those that read it.
//!
//! That moment includes the time to connect. While a server restarts, refused connections are repeated for as long as
//! `reconnect` says, and one that does not come about is given up after seconds: a client that waits for the head cannot be
//! left waiting for that. So a server that is down gets its 502 only when that is known within the moment, as it is with
//! `reconnect = "off"`. Otherwise the stream opens, and joins the events when the server is back in time, or says in its
//! comment that the server cannot be reached.
//!
//! A POST is never answered early: its status tells a client what became of its message (202, 401, 404 of an ended session),
//! and its head carries the session.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Sleep, sleep};

use super::events::{COMMENT, are_events, is_coded};
use crate::telemetry::RequestId;
use crate::upstream::{Answer, Outgoing, Sending, UpstreamError, status_words};
use crate::wire::accept;

/// How long the upstream has for its own head, connection included.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// How long a stream stays open that will bring nothing.
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

/// The body of such an answer.
pub(super) struct Early {
    state: State,
    /// A first comment carries the head through every proxy.
    opened: bool,
    upstream: String,
    request_id: RequestId,
}

enum State {
    Waiting(Sending),
    Joined(Answer),
    Pausing(Pin<Box<Sleep>>),
}

impl Early {
    pub(super) const fn new(pending: Sending, upstream: String, request_id: RequestId) -> Self {
        Self { state: State::Waiting(pending), opened: false, upstream, request_id }
    }

    /// The upstream has answered: its events follow, or the words that say why none do.
    fn join(&mut self, answer: Result<Response<Answer>, UpstreamError>) -> Option<Bytes> {
        let (comment, cause) = match answer {
            Ok(answer) if answer.status() == StatusCode::OK && are_events(answer.headers()) => {
                if !is_coded(answer.headers()) {
                    self.state = State::Joined(answer.into_body());
                    return None;
                }
                (
                    "answered with a coded stream".to_owned(),
                    "answered with a content coding that was not asked for".to_owned(),
                )
            }
            Ok(answer) => (format!("answered {}", answer.status().as_u16()), status_words(answer.status())),
            Err(error @ (UpstreamError::Unreachable(_) | UpstreamError::NotConnected(_))) => {
                ("cannot be reached".to_owned(), error.to_string())
            }
            Err(error) => ("gave no proper answer".to_owned(), error.to_string()),
        };
        let Self { upstream, request_id, .. } = self;
        tracing::warn!(%request_id, upstream, cause, "an event stream that was opened before the upstream answered ends");
        self.state = State::Pausing(Box::pin(sleep(PAUSE)));
        Some(Bytes::from(format!(": the MCP server behind the gateway {comment}\nretry: 5000\n\n")))
    }
}

impl HttpBody for Early {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
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
