//! The access log: one line for every request, written when its answer has ended or when the client has gone away.
//!
//! Defends against: log injection (a path is logged as graphic ASCII), and clients that hang up to leave no trace.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;
use tracing::Span;

use super::counters::Counted;
use crate::gateway::CallRecord;
use crate::telemetry::request_span;
use crate::wire::{Arrival, Body, BoxError, Cause, ClientAddress, RequestId};

/// How much of a path is logged, in bytes: a head may have 64 KiB.
const MAX_PATH: usize = 512;

/// What the log line of a request says. Written on drop.
pub(super) struct Access {
    id: RequestId,
    /// What other lines of the request carry.
    pub(super) span: Span,
    method: Method,
    uri: Uri,
    address: ClientAddress,
    began: Instant,
    metrics: Counted,
    /// How many bytes of the request's body were read.
    received: Option<Arc<AtomicU64>>,
    /// Who called what, when it went to an upstream's path.
    pub(super) call: CallRecord,
    reply: Option<Reply>,
}

/// An answer that has begun.
struct Reply {
    status: StatusCode,
    after: Duration,
    cause: Option<String>,
    sent: u64,
    end: End,
}

/// How an answer ended.
enum End {
    /// It has not ended. Dropped in this state, the client went away.
    Open,
    Whole,
    /// It broke off, for this reason.
    Broken(String),
}

impl Access {
    /// A request begins.
    pub(super) fn begin<B>(request: &Request<B>, arrival: &Arrival, metrics: Counted) -> Self {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let (id, address) = (arrival.id.clone(), arrival.address);
        let span = request_span(&id, address.0);
        let (began, call) = (Instant::now(), CallRecord::default());
        Self { id, span, method, uri, address, began, metrics, received: None, call, reply: None }
    }

    /// Whether the request is HEAD.
    pub(super) fn asks_for_the_head_alone(&self) -> bool {
        self.method == Method::HEAD
    }

    /// Counts what is read of the request's body.
    pub(super) fn metered<B: HttpBody>(&mut self, body: B) -> Metered<B> {
        if !body.is_end_stream() {
            self.received = Some(Arc::default());
        }
        Metered { body, read: self.received.clone() }
    }

    /// The answer begins: takes the cause out of it, and watches it leave.
    pub(super) fn answered(mut self, mut response: Response<Body>) -> Response<LoggedBody> {
        let cause = response.extensions_mut().remove::<Cause>().map(|Cause(cause)| cause);
        let (status, after) = (response.status(), self.began.elapsed());
        self.metrics.route.answered(status, after);
        let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let end = if bodiless || response.body().is_end_stream() { End::Whole } else { End::Open };
        self.reply = Some(Reply { status, after, cause, sent: 0, end });
        response.map(|body| LoggedBody { body, access: self })
    }

    fn write(&self) {
        let Self { id, method, uri, address, began, received, call, reply, span: _, metrics: _ } = self;
        let path = shown(uri);
        let milliseconds = whole(began.elapsed());
        let request_bytes = received.as_ref().map_or(0, |received| received.load(Ordering::Relaxed));
        let gone = if std::thread::panicking() { "a panic of ours" } else { "the client went away" };
        let (upstream, subject, client) = (call.upstream(), call.subject(), call.client());
        let (rpc, tool, decision) = (call.rpc(), call.tool(), call.decision());
        let Some(Reply { status, after, cause, sent, end }) = reply else {
            tracing::info!(
                target: "access", parent: None,
                request_id = %id, %method, path = &*path, milliseconds, request_bytes, address = %address.0,
                upstream, subject, client, rpc, tool, decision, cause = gone, "request without an answer"
            );
            return;
        };
        let incomplete = match end {
            End::Whole => None,
            End::Open => Some(gone),
            End::Broken(why) => Some(why.as_str()),
        };
        tracing::info!(
            target: "access", parent: None,
            request_id = %id, %method, path = &*path, status = status.as_u16(), milliseconds,
            head_milliseconds = whole(*after), request_bytes, response_bytes = sent, address = %address.0,
            upstream, subject, client, rpc, tool, decision, cause, incomplete, "request"
        );
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        self.write();
    }
}

fn whole(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The path, or its beginning. What is not graphic ASCII is percent-encoded: unauthenticated callers write paths, and
/// terminals show logs.
fn shown(uri: &Uri) -> Cow<'_, str> {
    let path = uri.path();
    let (beginning, rest) = path.split_at_checked(path.floor_char_boundary(MAX_PATH)).unwrap_or((path, ""));
    if rest.is_empty() && path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Cow::Borrowed(path);
    }
    let mut shown = String::with_capacity(beginning.len() + '…'.len_utf8());
    for byte in beginning.bytes() {
        if byte.is_ascii_graphic() {
            shown.push(byte.into());
        } else {
            // writing to a string cannot fail
            write!(shown, "%{byte:02X}").ok();
        }
    }
    if !rest.is_empty() {
        shown.push('…');
    }
    Cow::Owned(shown)
}

/// The body of a request, counted as it is read.
pub(super) struct Metered<B> {
    body: B,
    read: Option<Arc<AtomicU64>>,
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Metered<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let (Some(Ok(frame)), Some(read)) = (&polled, &self.read) {
            read.fetch_add(length(frame), Ordering::Relaxed);
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer on its way to the client. Its request's log line is written when this is dropped.
pub(crate) struct LoggedBody {
    body: Body,
    access: Access,
}

impl HttpBody for LoggedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { body, access } = &mut *self;
        let Access { span, reply, .. } = access;
        let polled = {
            let _entered = span.enter();
            ready!(Pin::new(&mut *body).poll_frame(cx))
        };
        if let Some(reply) = reply {
            match &polled {
                Some(Ok(frame)) => reply.sent += length(frame),
                Some(Err(error)) => reply.end = End::Broken(error.to_string()),
                None => reply.end = End::Whole,
            }
            if body.is_end_stream() && matches!(reply.end, End::Open) {
                reply.end = End::Whole;
            }
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::{MAX_PATH, shown};

    #[test]
    fn a_path_is_logged_in_graphic_ascii_only() {
        let path = "/mcp/\u{9b}31m\u{202e}\"%0Aü";
        let uri = http::Uri::from_maybe_shared(bytes::Bytes::from(path)).unwrap();
        assert_eq!(shown(&uri), "/mcp/%C2%9B31m%E2%80%AE\"%0A%C3%BC");
    }

    #[test]
    fn only_the_beginning_of_a_long_path_is_logged() {
        assert_eq!(shown(&"/mcp?q".parse().unwrap()), "/mcp");
        let long = format!("/{}", "a".repeat(60_000));
        assert_eq!(shown(&long.parse().unwrap()), format!("{}…", &long[..MAX_PATH]));
    }
}
