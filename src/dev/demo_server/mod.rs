//! The built-in MCP server, which `portcullis dev` protects unless an upstream is given.
//!
//! It listens on a loopback port of its own and has no authentication, like real servers behind the gateway: calls take the
//! same path through the proxy. Defends against: DNS rebinding and cross-origin calls from web pages that find the port.

mod caller;
mod notes;
mod schema;
mod tools;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::transport::streamable_http_server::session::local::{LocalSessionManager, SessionConfig};
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::notes::Notes;
use self::tools::DemoTools;

/// The path of the MCP endpoint.
const PATH: &str = "/mcp";
/// The idle time-out of a session: long, because few clients start a new one by themselves.
const SESSION_IDLE: Duration = Duration::from_hours(8);
/// How long open requests may take to finish at [`DemoServer::stop`].
const GRACE: Duration = Duration::from_secs(1);
/// The pause after a failed accept, for instance when no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Mcp = StreamableHttpService<DemoTools, LocalSessionManager>;
type Answer = Response<BoxBody<Bytes, Infallible>>;

/// A running server. It stops when dropped.
#[derive(Debug)]
pub struct DemoServer {
    address: SocketAddr,
    running: DropGuard,
    task: JoinHandle<()>,
}

/// Starts the server on a free loopback port.
///
/// # Errors
/// When no port can be bound.
pub async fn start() -> io::Result<DemoServer> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let task = tokio::spawn(accept(listener, mcp(address, &stop), stop.clone()));
    Ok(DemoServer { address, running: stop.drop_guard(), task })
}

impl DemoServer {
    /// The address on which it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the MCP endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Completes when the server stops by itself, which is a fault.
    pub async fn ended(&mut self) {
        // a panic is treated the same
        let _ = (&mut self.task).await;
    }

    /// Graceful shutdown: ends sessions and streams, lets open requests finish for a second, then closes connections.
    pub async fn stop(self) {
        drop(self.running);
        let _ = self.task.await;
    }
}

fn mcp(address: SocketAddr, stop: &CancellationToken) -> Mcp {
    let mut sessions = LocalSessionManager::default();
    sessions.session_config = SessionConfig::default();
    sessions.session_config.keep_alive = Some(SESSION_IDLE);
    // the gateway sends our own authority and no Origin; anything else is a web page that found the port
    let config = StreamableHttpServerConfig::default()
        .with_allowed_hosts([address.to_string()])
        .enforce_origin_validation()
        .with_cancellation_token(stop.child_token());
    let notes = Arc::new(Notes::default());
    StreamableHttpService::new(move || Ok(DemoTools::new(Arc::clone(&notes))), Arc::new(sessions), config)
}

async fn accept(listener: TcpListener, mcp: Mcp, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, mcp.clone(), stop.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "the built-in MCP server could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    connections.close();
    connections.wait().await;
}

async fn serve(stream: TcpStream, mcp: Mcp, stop: CancellationToken) {
    let service = service_fn(move |request| {
        let mcp = mcp.clone();
        async move { Ok::<_, Infallible>(answer(&mcp, request).await) }
    });
    let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the built-in MCP server broke");
    }
}

async fn answer(mcp: &Mcp, request: Request<Incoming>) -> Answer {
    if request.uri().path() == PATH {
        return mcp.handle(request).await;
    }
    let body = Full::new(Bytes::from_static(b"the MCP server is at /mcp\n")).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
