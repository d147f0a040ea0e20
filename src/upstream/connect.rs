//! A new connection to an upstream: DNS, TCP and TLS, each with a time limit, and retried while a server restarts.

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
use crate::config::{CaFile, ReachHttp};
use crate::outbound::failure::{cause, no_connection};
use crate::outbound::tls_config;
use crate::wire::keep_alive;

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
    pub(super) fn new(reach: &ReachHttp, global_ca_file: Option<&CaFile>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        // divided among the addresses of a name: the first may be dead
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_keepalive(Some(keep_alive::IDLE));
        tcp.set_keepalive_interval(Some(keep_alive::INTERVAL));
        tcp.set_keepalive_retries(Some(keep_alive::PROBES));
        let mut tls = tls_config(global_ca_file.into_iter().chain(&reach.ca_file));
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { https: (tcp, tls).into(), url: reach.url.clone(), reconnect: reach.reconnect }
    }

    /// Makes a connection. A failure before TLS is retried: nothing was sent, and a restarting server is back soon.
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

/// The retries of one call.
struct Tries {
    within: Option<Duration>,
    until: Option<Instant>,
    pause: Duration,
}

impl Tries {
    /// Pauses before the next try; `false` at once when the time is over.
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
