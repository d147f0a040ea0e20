//! One connection: which protocol it speaks, and its limits.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::head_deadline::{HeadDeadline, Waiting};
use super::held::{Held, Streams};
use super::{App, MAX_FIELDS};

/// How long a request's head may take, from its first byte; for the first one from the connection on.
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection may lie idle between requests.
const IDLE: Duration = Duration::from_secs(75);
/// The largest head, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// The most requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;

/// Why a connection ended other than by the peer's own wish. For the debug log.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    /// No first bytes in time.
    #[error("silent for 10 seconds")]
    Silent,
    /// The socket broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The protocol was violated, or a limit reached.
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// Serves a connection until its end.
pub(super) async fn serve(
    app: App,
    mut stream: TcpStream,
    peer: SocketAddr,
    no_more: CancellationToken,
) -> Result<(), ConnectionError> {
    let began = Instant::now();
    stream.set_nodelay(true)?;
    // two bytes tell HTTP/2's preface from every method of HTTP/1
    let mut first = [0; 2];
    match tokio::time::timeout(HEAD, stream.read_exact(&mut first)).await {
        Err(_elapsed) => return Err(ConnectionError::Silent),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
        Ok(read) => drop(read?),
    }
    let waiting = Waiting::default();
    let io = TokioIo::new(HeadDeadline::new(stream, first.to_vec(), waiting.clone(), HEAD, began));
    if first == *b"PR" {
        http2(app, io, peer, waiting, no_more).await
    } else {
        http1(app, io, peer, waiting, no_more).await
    }
}

type Io = TokioIo<HeadDeadline<TcpStream>>;

async fn http1(
    app: App,
    io: Io,
    peer: SocketAddr,
    waiting: Waiting,
    no_more: CancellationToken,
) -> Result<(), ConnectionError> {
    let service = service_fn(|request: Request<Incoming>| {
        let (app, busy) = (app.clone(), waiting.arrived());
        async move {
            let request = request.map(|body| Held::new(body, Arc::clone(&busy)));
            let response = app.handle(request, peer).await;
            Ok::<_, Infallible>(response.map(|body| Held::new(body, busy)))
        }
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

async fn http2(
    app: App,
    io: Io,
    peer: SocketAddr,
    waiting: Waiting,
    no_more: CancellationToken,
) -> Result<(), ConnectionError> {
    let streams = Streams::default();
    let service = service_fn(|request: Request<Incoming>| {
        // from the first request on many share the connection: pings find dead peers, frames bound heads
        waiting.never_again();
        let (app, busy) = (app.clone(), streams.one_more());
        async move {
            let response = app.handle(request, peer).await;
            Ok::<_, Infallible>(response.map(|body| Held::new(body, busy)))
        }
    });
    let mut connection = pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            .max_concurrent_streams(MAX_STREAMS)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(HEAD)
            .serve_connection(io, service)
    );
    tokio::select! {
        ended = connection.as_mut() => return Ok(ended?),
        () = no_more.cancelled() => connection.as_mut().graceful_shutdown(),
        () = streams.idle(IDLE) => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}
