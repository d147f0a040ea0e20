//! An MCP server behind HTTP: a pool of connections that are never kept for as long as servers keep them.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::http::uri::Authority;
use ::http::{Method, Request, Response, Uri};
use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{CaptureConnection, HttpConnector, capture_connection};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connect::InTime;
use super::framing::{self, Reuse};
use crate::config::{CaFile, Upstream};
use crate::outbound::failure::{cause, innermost, no_connection};
use crate::outbound::tls_config;

/// Servers close idle connections at 5 seconds and later; a connection that we reuse must not be on its way down.
const IDLE: Duration = Duration::from_secs(4);
/// When a server that says nothing is asked whether its machine still lives, how often then, and how often in vain.
const SILENT: Duration = Duration::from_mins(1);
const AGAIN: Duration = Duration::from_secs(15);
const IN_VAIN: u32 = 4;
/// How long a connection may take, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the answer to anything but a GET may take to begin. Tools that answer in plain JSON may think for minutes. A
/// GET opens a stream, whose head some servers send with the first event only.
const FIRST_BYTE: Duration = Duration::from_mins(5);

/// Why an upstream gave no answer. The words are for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// Nobody listens, or TLS failed: nothing was sent.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// There was no connection in time: nothing was sent.
    #[error("cannot be reached: no connection within {} s", .0.as_secs())]
    NotConnected(Duration),
    /// It took too long.
    #[error("did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The client's own body failed on its way: no fault of the upstream's.
    #[error("was not sent the whole request: {0}")]
    RequestBody(String),
    /// Its answer cannot be read in one way only.
    #[error("gave an answer that cannot be passed on: {0}")]
    Unreadable(&'static str),
    /// The connection broke after the request had begun to leave; it is not sent again.
    #[error("broke off: {0}")]
    BrokeOff(String),
}

impl UpstreamError {
    fn of(error: &legacy::Error, place: &str) -> Self {
        let timed_out = || cause::<io::Error>(error).is_some_and(|io| io.kind() == ErrorKind::TimedOut);
        match () {
            () if error.is_connect() && timed_out() => Self::NotConnected(CONNECT),
            () if error.is_connect() => Self::Unreachable(no_connection(error, place)),
            () if cause::<RequestBodyError>(error).is_some() => Self::RequestBody(innermost(error)),
            () => Self::BrokeOff(innermost(error)),
        }
    }
}

/// One upstream.
pub(crate) struct HttpUpstream<B> {
    client: Client<InTime<HttpsConnector<HttpConnector>>, B>,
    url: Uri,
    failed: AtomicBool,
}

impl<B> HttpUpstream<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Prepares the pool; connects to nobody.
    #[must_use]
    pub(crate) fn new(upstream: &Upstream, global_ca_file: Option<&CaFile>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        // shared out among the addresses of a name: the first may be dead
        tcp.set_connect_timeout(Some(CONNECT));
        // a GET waits as long as its caller likes, and a stream may be silent for hours: a server that is gone must show
        tcp.set_keepalive(Some(SILENT));
        tcp.set_keepalive_interval(Some(AGAIN));
        tcp.set_keepalive_retries(Some(IN_VAIN));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(global_ca_file.into_iter().chain(&upstream.settings.ca_file)))
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp);
        // a request whose bytes never left is sent again on a new connection; any other is not
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .retry_canceled_requests(true)
            .build(InTime::new(connector, CONNECT));
        Self { client, url: upstream.settings.url.clone(), failed: AtomicBool::new(false) }
    }

    /// Where a request goes: the configured URL, which has no query, with the client's.
    ///
    /// # Errors
    /// When the query does not fit.
    pub(crate) fn uri(&self, query: Option<&str>) -> Result<Uri, ::http::Error> {
        let Some(query) = query else { return Ok(self.url.clone()) };
        let mut parts = self.url.clone().into_parts();
        parts.path_and_query = Some(format!("{}?{query}", self.url.path()).try_into()?);
        Ok(Uri::from_parts(parts)?)
    }

    /// Sends a request and waits for the head of its answer: for that of a GET as long as the caller likes. Dropping the
    /// future takes the request with it.
    ///
    /// # Errors
    /// See [`UpstreamError`].
    pub(crate) async fn send(&self, mut request: Request<B>) -> Result<Response<Incoming>, UpstreamError> {
        let opens_a_stream = request.method() == Method::GET;
        let connection = capture_connection(&mut request);
        let answer = self.client.request(request);
        let answer = if opens_a_stream {
            answer.await
        } else {
            match tokio::time::timeout(FIRST_BYTE, answer).await {
                Ok(answer) => answer,
                Err(_elapsed) => return self.note(Err(UpstreamError::TimedOut(FIRST_BYTE))),
            }
        };
        let answer = answer.map_err(|error| UpstreamError::of(&error, self.place()));
        self.note(answer.and_then(|answer| settled(answer, &connection)))
    }

    /// Host and port, as the operator wrote them.
    fn place(&self) -> &str {
        self.url.authority().map_or("", Authority::as_str)
    }

    fn note<T>(&self, answer: Result<T, UpstreamError>) -> Result<T, UpstreamError> {
        if !matches!(answer, Err(UpstreamError::RequestBody(_))) {
            self.failed.store(answer.is_err(), Ordering::Relaxed);
        }
        answer
    }

    /// Whether the last real call failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

/// The answer with one framing; a connection whose answer had two is not used again.
fn settled(
    mut answer: Response<Incoming>,
    connection: &CaptureConnection,
) -> Result<Response<Incoming>, UpstreamError> {
    let reuse = framing::settle(answer.headers_mut());
    if reuse != Ok(Reuse::Sound)
        && let Some(connection) = &*connection.connection_metadata()
    {
        connection.poison();
    }
    reuse.map(|_| answer).map_err(UpstreamError::Unreadable)
}

/// What a request body fails with when it is the client that failed.
#[derive(Debug, thiserror::Error)]
#[error("the client's body failed: {0}")]
pub(crate) struct RequestBodyError(pub(crate) Box<dyn Error + Send + Sync>);
