//! One connection: which protocol it speaks, and its limits.
//!
//! Defends against slowloris (heads, answers and idle connections have time limits), and against memory exhaustion by
//! HTTP/2 streams and windows.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::Instant;

use super::drain::Drain;
use super::exchange::{Busy, Held, Waiting};
use super::streams::{Pieces, Streams};
use super::timed::{HEAD, IDLE, Timed};
use crate::limits::Holder;
use crate::signal::Signal;
use crate::wire::BoxError;

/// How every HTTP/2 connection begins (RFC 9113 3.4). HTTP/1 requests may begin alike (`PROPFIND`, `PROPPATCH`, even a
/// method `PRI`), so only the version in this line tells the two apart.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// The largest head, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// The most requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// The interval of HTTP/2 pings, which find dead peers.
const PING: Duration = Duration::from_secs(20);

/// The flow-control windows: how much a peer may send ahead of our reading, on one HTTP/2 stream and on all streams of
/// a connection together.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// The send buffer of one stream whose peer does not read.
const UNSENT: usize = 64 * 1024;

/// How long a proxy's connection may be idle. This is longer than proxies keep theirs (Envoy an hour, others less): if
/// we closed first, a request that is already on its way would be lost (RFC 9112 9.3.1).
const KEPT: Duration = Duration::from_mins(65);
/// During shutdown: how long a proxy's idle connection stays open for a request that is already on its way.
const LINGER: Duration = Duration::from_secs(5);

/// How long a connection may be idle.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionTimeouts {
    /// Before the first byte. Proxies also open connections in advance, which they use later.
    first: Duration,
    /// Between two requests.
    idle: Duration,
    /// While we shut down.
    linger: Duration,
}

impl ConnectionTimeouts {
    /// For unauthenticated callers: their idle connections must not use up the descriptors.
    pub(super) const PUBLIC: Self = Self { first: HEAD, idle: IDLE, linger: Duration::ZERO };
    /// For trusted proxies.
    pub(super) const PROXY: Self = Self { first: KEPT, idle: KEPT, linger: LINGER };
    /// For peers on this machine that are not named as proxies. Such a peer may still be a proxy, or a TCP forwarder
    /// that carries unauthenticated callers' connections.
    pub(super) const LOCAL: Self = Self { first: HEAD, idle: KEPT, linger: LINGER };
    /// For health checkers.
    pub(super) const CHECKER: Self = Self { first: HEAD, idle: Duration::from_secs(15), linger: Duration::ZERO };
}

/// Who a peer's connections count for, if they are counted, and how long they are kept.
pub(super) struct PeerPolicy {
    pub(super) holder: Option<Holder>,
    pub(super) timeouts: ConnectionTimeouts,
}

/// The terms under which a connection is served.
pub(super) struct Terms {
    /// Whether, and how far, we are shutting down.
    pub(super) drain: Drain,
    /// How long it is kept when nothing happens.
    pub(super) timeouts: ConnectionTimeouts,
    /// Set when the connection must close, at the next moment without an open request, to make room for another.
    pub(super) leave: Signal,
}

/// The body of a request, as it arrives. On HTTP/1.1 it is a part of the connection's one exchange.
pub(super) type Received = Held<Incoming, Option<Arc<Busy>>>;

/// Why a connection ended, other than by the peer closing it. For the debug log.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    /// No first bytes in time.
    #[error("it sent nothing")]
    Silent,
    /// The peer does not read its answers.
    #[error("the peer takes no answer")]
    Stalled,
    /// The socket broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The protocol was violated, or a limit reached.
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// Serves a connection until it ends, or until shutdown has let its open requests finish. `answer` is called with each
/// request.
pub(super) async fn serve<T, A, F, B>(mut stream: T, terms: Terms, answer: A) -> Result<(), ConnectionError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: Fn(Request<Received>) -> F + Send + Sync,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
{
    let (first, began) = tokio::select! {
        read = first_bytes(&mut stream, terms.timeouts) => match read? {
            Some(read) => read,
            None => return Ok(()),
        },
        () = async { terms.drain.no_more().wait().await; tokio::time::sleep(LINGER).await } => return Ok(()),
        () = terms.leave.wait() => return Ok(()),
    };
    let waiting = Waiting::default();
    let is_http2 = first == PREFACE;
    let io = TokioIo::new(Timed::new(stream, first, waiting.clone(), began));
    if is_http2 { http2(io, waiting, terms, answer).await } else { http1(io, waiting, terms, answer).await }
}

/// Reads just enough to tell the protocol: the first line of HTTP/2's preface, or bytes that differ from it. Also
/// returns when the head began, for its time limit. `None`: the peer closed the connection.
async fn first_bytes<T: AsyncRead + Unpin>(
    stream: &mut T,
    timeouts: ConnectionTimeouts,
) -> Result<Option<(Bytes, Instant)>, ConnectionError> {
    let mut first = BytesMut::with_capacity(PREFACE.len());
    let (mut began, mut limit) = (Instant::now(), timeouts.first);
    while first.len() < PREFACE.len() && PREFACE.starts_with(&first) {
        let left = PREFACE.len() - first.len();
        let mut room = (&mut first).limit(left);
        let read = tokio::time::timeout_at(began + limit, stream.read_buf(&mut room)).await;
        if read.or(Err(ConnectionError::Silent))?? == 0 {
            return Ok(None);
        }
        if limit > HEAD {
            // a proxy's connection may be idle long before its first byte, so the head's time begins with that byte
            (began, limit) = (Instant::now(), HEAD);
        }
    }
    Ok(Some((first.freeze(), began)))
}

async fn http1<T, A, F, B>(
    io: TokioIo<Timed<T>>,
    waiting: Waiting,
    Terms { drain, timeouts, leave }: Terms,
    answer: A,
) -> Result<(), ConnectionError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: Fn(Request<Received>) -> F + Send + Sync,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let busy = waiting.arrived();
        let answered = answer(request.map(|body| Held::new(body, Some(Arc::clone(&busy)))));
        let no_more = drain.no_more();
        async move {
            let mut response = answered.await.map(|body| Held::new(body, Some(busy)));
            if no_more.is_set() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(timeouts.idle)
            .max_buf_size(MAX_HEAD)
            .serve_connection(io, service)
    );
    // hyper's own graceful shutdown closes an idle connection at once, which would lose a request on its way
    let lingers = async {
        drain.no_more().wait().await;
        if !timeouts.linger.is_zero() {
            tokio::select! {
                () = waiting.idle(timeouts.linger) => {}
                () = drain.streams_end().wait() => {}
            }
        }
    };
    tokio::select! {
        biased;
        ended = connection.as_mut() => return Ok(ended?),
        () = lingers => connection.as_mut().graceful_shutdown(),
        // hyper would still wait for the first request
        () = leave.wait() => match waiting.head() {
            Some(0) => return Ok(()),
            _ => connection.as_mut().graceful_shutdown(),
        },
    }
    Ok(connection.await?)
}

async fn http2<T, A, F, B>(
    io: TokioIo<Timed<T>>,
    waiting: Waiting,
    Terms { drain, timeouts, leave }: Terms,
    answer: A,
) -> Result<(), ConnectionError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: Fn(Request<Received>) -> F + Send + Sync,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
{
    let streams = Streams::default();
    let service = service_fn(|request: Request<Incoming>| {
        // after the first request, pings find dead peers and hyper bounds heads by frames
        waiting.never_again();
        let waiter = streams.arrived();
        let answered = answer(request.map(|body| Held::new(body, None)));
        async move { Ok::<_, Infallible>(answered.await.map(|body| Pieces::new(body, waiter))) }
    });
    let mut connection = pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(UNSENT)
            .keep_alive_interval(PING)
            .keep_alive_timeout(HEAD)
            .serve_connection(io, service)
    );
    tokio::select! {
        biased;
        ended = connection.as_mut() => return Ok(ended?),
        () = drain.no_more().wait() => connection.as_mut().graceful_shutdown(),
        () = streams.idle(timeouts.idle) => connection.as_mut().graceful_shutdown(),
        // hyper would still wait for the first request
        () = leave.wait() => match waiting.head() {
            Some(0) => return Ok(()),
            _ => connection.as_mut().graceful_shutdown(),
        },
    }
    // requests sent before the peer saw GOAWAY are still answered, but not for a peer that does not read
    tokio::select! {
        ended = connection => Ok(ended?),
        () = streams.idle(HEAD) => Err(ConnectionError::Stalled),
    }
}

#[cfg(test)]
mod tests;
