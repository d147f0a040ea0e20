//! An MCP server behind the gate that answers as a test says and remembers its requests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

pub type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub uri: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A server. It stops when it is dropped.
pub struct Upstream {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer with a complete body.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(Bytes::copy_from_slice(body.as_bytes())).boxed_unsync()).unwrap()
}

impl Upstream {
    /// Answers every request with what `script` makes of it.
    pub async fn start(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, script) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::new(script));
        let memory = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (memory, script) = (Arc::clone(&memory), Arc::clone(&script));
                tokio::spawn(async move {
                    let service = service_fn(|request: Request<Incoming>| {
                        let (memory, script) = (Arc::clone(&memory), Arc::clone(&script));
                        async move {
                            let (head, body) = request.into_parts();
                            let collected = body.collect().await.map_err(|error| error.to_string())?;
                            let trailers = collected.trailers().cloned();
                            let (method, uri) = (head.method.to_string(), head.uri.to_string());
                            let seen =
                                Seen { method, uri, headers: head.headers, body: collected.to_bytes(), trailers };
                            let response = script(&seen);
                            memory.lock().unwrap().push(seen);
                            Ok::<_, String>(response)
                        }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, seen, task }
    }

    /// Answers every request with an empty JSON-RPC result.
    pub async fn polite() -> Self {
        Self::start(|_| answer(200, &[("content-type", "application/json")], r#"{"jsonrpc":"2.0","id":7,"result":{}}"#))
            .await
    }

    pub fn url(&self) -> String {
        format!("http://{}/backend", self.address)
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().expect("something arrived").clone()
    }
}
