//! A host of metadata documents on loopback, over https, under an authority that only its `ca_file` vouches for.
//!
//! ```ignore
//! let host = DocumentHost::start().await;
//! let id = host.publish("/client.json", json!({"client_name": "Client", "redirect_uris": [REDIRECT_URI]}));
//! host.answer("/client.json", Reply::status(404));
//! assert_eq!(host.calls("/client.json"), 1);
//! ```

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use portcullis::config::{CaFile, Config};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::gate::{TestClient, TestGate};
use super::provider::private_authority;

/// How many bytes of a body without a length are sent at once.
const PIECE: usize = 16;

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// What the host answers at a path.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Between two pieces of a body without a length.
    pub(crate) drip: Option<Duration>,
}

impl Reply {
    pub(crate) fn json(document: &Value) -> Self {
        Self::of("application/json", document.to_string())
    }

    pub(crate) fn of(kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: vec![("content-type", kind.to_owned())], body: body.into(), drip: None }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::of("text/plain", "") }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

#[derive(Default)]
struct State {
    replies: HashMap<String, Reply>,
    calls: Vec<(String, HeaderMap)>,
    held: Option<watch::Receiver<()>>,
}

/// The host. Stops when it is dropped.
pub(crate) struct DocumentHost {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    /// Where the certificate of its authority lies.
    pub(crate) ca_path: PathBuf,
    _directory: tempfile::TempDir,
    server: Mutex<Option<JoinHandle<()>>>,
}

impl DocumentHost {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (acceptor, ca_pem) = private_authority();
        let ca_path = directory.path().join("ca.pem");
        std::fs::write(&ca_path, ca_pem).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::default());
        let host = Self { state, address, acceptor, ca_path, _directory: directory, server: Mutex::default() };
        host.serve(listener);
        host
    }

    fn serve(&self, listener: TcpListener) {
        let (state, acceptor) = (Arc::clone(&self.state), self.acceptor.clone());
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve_connection(stream, acceptor.clone(), Arc::clone(&state)));
            }
        });
        *self.server.lock().unwrap() = Some(server);
    }

    /// Refuses connections from now on.
    pub(crate) async fn stop(&self) {
        let server = self.server.lock().unwrap().take();
        if let Some(server) = server {
            server.abort();
            let _aborted = server.await;
        }
    }

    /// Listens again, at the same address.
    pub(crate) async fn restart(&self) {
        self.serve(TcpListener::bind(self.address).await.unwrap());
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn ca_file(&self) -> CaFile {
        CaFile::read(&self.ca_path).unwrap()
    }

    /// Lets a gate trust this host.
    pub(crate) fn trusted(&self, config: &mut Config) {
        config.outbound.ca_file = Some(self.ca_file());
    }

    /// A gate that trusts this host.
    pub(crate) async fn gate(&self) -> TestGate {
        TestGate::with(|config| self.trusted(config)).await
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        self.url_at("127.0.0.1", path)
    }

    /// The same under another name of this machine.
    pub(crate) fn url_at(&self, name: &str, path: &str) -> String {
        format!("https://{name}:{}{path}", self.port())
    }

    /// Publishes a document for its own URL; a client that uses its first redirect URI.
    pub(crate) fn publish(&self, path: &str, document: Value) -> TestClient {
        self.publish_at("127.0.0.1", path, document)
    }

    /// The same under another name of this machine.
    pub(crate) fn publish_at(&self, name: &str, path: &str, mut document: Value) -> TestClient {
        let id = self.url_at(name, path);
        document["client_id"] = id.clone().into();
        self.answer(path, Reply::json(&document));
        TestClient { id, redirect_uri: document["redirect_uris"][0].as_str().unwrap_or_default().to_owned() }
    }

    pub(crate) fn answer(&self, path: &str, reply: Reply) {
        self.state.lock().unwrap().replies.insert(path.to_owned(), reply);
    }

    /// What it answers at a path by now.
    pub(crate) fn reply(&self, path: &str) -> Reply {
        self.state.lock().unwrap().replies[path].clone()
    }

    /// How many requests came for a path.
    pub(crate) fn calls(&self, path: &str) -> usize {
        self.state.lock().unwrap().calls.iter().filter(|(called, _)| called == path).count()
    }

    /// How many requests came at all.
    pub(crate) fn all_calls(&self) -> usize {
        self.state.lock().unwrap().calls.len()
    }

    /// The header of the last request.
    pub(crate) fn last_call(&self) -> HeaderMap {
        self.state.lock().unwrap().calls.last().expect("a call").1.clone()
    }

    /// Holds all answers back until what this answers is dropped.
    pub(crate) fn hold(&self) -> watch::Sender<()> {
        let (release, held) = watch::channel(());
        self.state.lock().unwrap().held = Some(held);
        release
    }
}

impl Drop for DocumentHost {
    fn drop(&mut self) {
        if let Some(server) = self.server.lock().unwrap().take() {
            server.abort();
        }
    }
}

async fn serve_connection(stream: TcpStream, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(|request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(respond(&request, &state).await) }
    });
    let _ended = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(request: &Request<Incoming>, state: &Mutex<State>) -> Response<Body> {
    let path = request.uri().path_and_query().map_or("", |path| path.as_str()).to_owned();
    let (reply, held) = {
        let mut state = state.lock().unwrap();
        state.calls.push((path.clone(), request.headers().clone()));
        (state.replies.get(&path).cloned().unwrap_or_else(|| Reply::status(404)), state.held.clone())
    };
    if let Some(mut held) = held {
        // it ends when its sender is dropped
        while held.changed().await.is_ok() {}
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    response.body(body(reply)).unwrap()
}

fn body(reply: Reply) -> Body {
    let Some(drip) = reply.drip else { return Full::new(Bytes::from(reply.body)).boxed_unsync() };
    let pieces = stream::unfold(Bytes::from(reply.body), move |mut rest| async move {
        if drip.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(drip).await;
        }
        let piece = rest.split_to(rest.len().min(PIECE));
        (!piece.is_empty()).then_some((Ok(Frame::data(piece)), rest))
    });
    StreamBody::new(pieces).boxed_unsync()
}
