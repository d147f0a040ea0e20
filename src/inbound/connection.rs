//! One connection: which protocol it speaks, and its limits.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::MAX_FIELDS;
use super::exchange::{Held, Waiting};
use super::streams::{Pieces, Streams};
use super::timed::{HEAD, IDLE, Timed};
use crate::gateway::Body;

/// The largest head, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// The most requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// How often an HTTP/2 peer is asked whether it still lives.
const PING: Duration = Duration::from_secs(20);

/// The body of a request, as it arrives.
pub(super) type Received = Held<Incoming>;

/// Why a connection ended other than by the peer's own wish. For the debug log.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    /// No first bytes in time.
    #[error("silent for 10 seconds")]
    Silent,
    /// Answers wait for the peer, and it takes none of them.
    #[error("the peer takes no answer")]
    Stalled,
    /// The socket broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The protocol was violated, or a limit reached.
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// Serves a connection until its end, or until `no_more` is cancelled and what is open is finished. `answer` gets each of
/// its requests.
pub(super) async fn serve<T, A, F>(mut stream: T, no_more: CancellationToken, answer: A) -> Result<(), ConnectionError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: Fn(Request<Received>) -> F + Send + Sync,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let began = Instant::now();
    // two bytes tell HTTP/2's preface from every method of HTTP/1
    let mut first = [0; 2];
    match tokio::time::timeout(HEAD, stream.read_exact(&mut first)).await {
        Err(_elapsed) => return Err(ConnectionError::Silent),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
        Ok(read) => drop(read?),
    }
    let waiting = Waiting::default();
    let io = TokioIo::new(Timed::new(stream, Bytes::copy_from_slice(&first), waiting.clone(), began));
    if first == *b"PR" { http2(io, waiting, no_more, answer).await } else { http1(io, waiting, no_more, answer).await }
}

async fn http1<T, A, F>(
    io: TokioIo<Timed<T>>,
    waiting: Waiting,
    no_more: CancellationToken,
    answer: A,
) -> Result<(), ConnectionError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: Fn(Request<Received>) -> F + Send + Sync,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let busy = waiting.arrived();
        let answered = answer(request.map(|body| Held::new(body, Some(Arc::clone(&busy)))));
        async move { Ok::<_, Infallible>(answered.await.map(|body| Held::new(body, Some(busy)))) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_headers(MAX_FIELDS)
            .max_buf_size(MAX_HEAD)
            .serve_connection(io, service)
    );
    tokio::select! {
        ended = connection.as_mut() => return Ok(ended?),
        () = no_more.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

async fn http2<T, A, F>(
    io: TokioIo<Timed<T>>,
    waiting: Waiting,
    no_more: CancellationToken,
    answer: A,
) -> Result<(), ConnectionError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: Fn(Request<Received>) -> F + Send + Sync,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let streams = Streams::default();
    let service = service_fn(|request: Request<Incoming>| {
        // from the first request on many share the connection: pings find dead peers, frames bound heads
        waiting.never_again();
        let turn = streams.arrived();
        let answered = answer(request.map(|body| Held::new(body, None)));
        async move { Ok::<_, Infallible>(answered.await.map(|body| Pieces::new(body, turn))) }
    });
    let mut connection = pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            .max_concurrent_streams(MAX_STREAMS)
            .keep_alive_interval(PING)
            .keep_alive_timeout(HEAD)
            .serve_connection(io, service)
    );
    tokio::select! {
        ended = connection.as_mut() => return Ok(ended?),
        () = no_more.cancelled() => connection.as_mut().graceful_shutdown(),
        () = streams.idle(IDLE) => connection.as_mut().graceful_shutdown(),
    }
    // what came before the peer knew is still answered; what it does not take now it never will
    tokio::select! {
        ended = connection => Ok(ended?),
        () = streams.idle(HEAD) => Err(ConnectionError::Stalled),
    }
}

#[cfg(test)]
mod tests;
