//! A new connection to an upstream: name, TCP and TLS, each bounded, and tried again while a server restarts.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::Duration;

use ::http::Uri;
use ::http::uri::Authority;
use hyper::client::conn::http1;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::{Instant, sleep, timeout};
use tower_service::Service;

use super::error::UpstreamError;
use super::pool::Connection;
use crate::config::{CaFile, Upstream};
use crate::outbound::failure::{cause, no_connection};
use crate::outbound::tls_config;

/// TCP keep-alive: idle time, interval and number of probes. A stream may be silent for hours; a machine that is gone must
/// show.
const KEEP_ALIVE: Duration = Duration::from_mins(1);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEP_ALIVE_PROBES: u32 = 4;
/// How long a connection may take, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// The pauses between tries double from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Makes connections to one upstream.
pub(super) struct Connector {
    https: HttpsConnector<HttpConnector>,
    url: Uri,
    reconnect: Option<Duration>,
}

impl Connector {
    pub(super) fn new(upstream: &Upstream, global_ca_file: Option<&CaFile>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        // shared out among the addresses of a name: the first may be dead
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_keepalive(Some(KEEP_ALIVE));
        tcp.set_keepalive_interval(Some(KEEP_ALIVE_INTERVAL));
        tcp.set_keepalive_retries(Some(KEEP_ALIVE_PROBES));
        let mut tls = tls_config(global_ca_file.into_iter().chain(&upstream.settings.ca_file));
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let settings = &upstream.settings;
        Self { https: (tcp, tls).into(), url: settings.url.clone(), reconnect: settings.http.reconnect }
    }

    /// Makes a connection. What fails before TLS is tried again: nothing was sent, and a server that restarts is back soon.
    ///
    /// # Errors
    /// When there is no connection in time.
    pub(super) async fn connect(&self) -> Result<Connection, UpstreamError> {
        let mut tries = Tries { within: self.reconnect, until: None, pause: FIRST_PAUSE };
        loop {
            let error = match timeout(CONNECT, self.https.clone().call(self.url.clone())).await {
                Ok(Ok(io)) => return handshake(io).await,
                Ok(Err(error)) => error,
                Err(_elapsed) => return Err(UpstreamError::NotConnected(CONNECT)),
            };
            if cause::<io::Error>(&*error).is_some_and(|io| io.kind() == ErrorKind::TimedOut) {
                return Err(UpstreamError::NotConnected(CONNECT));
            }
            if cause::<rustls::Error>(&*error).is_some() || !tries.another().await {
                return Err(UpstreamError::Unreachable(no_connection(&*error, self.place())));
            }
        }
    }

    /// Host and port, as the operator wrote them.
    fn place(&self) -> &str {
        self.url.authority().map_or("", Authority::as_str)
    }
}

/// Makes a connection ready for requests; a task of its own drives it.
async fn handshake<T>(io: T) -> Result<Connection, UpstreamError>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await.map_err(|error| UpstreamError::exchange(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = &error as &dyn Error, "a connection to an upstream ended");
        }
    });
    Ok(sender)
}

/// The tries that a call still has.
struct Tries {
    within: Option<Duration>,
    until: Option<Instant>,
    pause: Duration,
}

impl Tries {
    /// Pauses before another try; `false` at once when there is no time for one.
    async fn another(&mut self) -> bool {
        let Some(within) = self.within else { return false };
        let now = Instant::now();
        if now + self.pause > *self.until.get_or_insert(now + within) {
            return false;
        }
        sleep(self.pause).await;
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
        true
    }
}
