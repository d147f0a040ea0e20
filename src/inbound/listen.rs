//! The accept loop.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::connection::{self, Patience, Received, Terms};
use super::places::Places;
use super::{App, Drain, socket};
use crate::gateway::BoxError;

/// How long we wait when the system has no more file descriptors.
const OUT_OF_FILES: Duration = Duration::from_millis(100);
/// How long connections may take to finish after streams were told to end.
const LAST: Duration = Duration::from_secs(5);

/// Accepts and serves until drained.
pub(crate) async fn serve(app: App, listener: TcpListener, drain: Drain) {
    let door = app.clone();
    let counts = move |peer| door.counts(peer);
    let answer = move |request, peer| {
        let app = app.clone();
        async move { app.handle(request, peer).await }
    };
    accept(listener, Places::new(), &drain, counts, answer).await;
}

/// Gives every request of every connection to `answer`; `counts` says whether a peer's connections are limited: what is not
/// counted is kept longer, too.
pub(super) async fn accept<C, A, F, B>(listener: TcpListener, places: Places, drain: &Drain, counts: C, answer: A)
where
    C: Fn(IpAddr) -> bool + Send + Sync,
    A: Fn(Request<Received>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
{
    let connections = TaskTracker::new();
    loop {
        let (one, accepted) = tokio::select! {
            () = drain.no_more().cancelled() => break,
            next = async { (places.one().await, listener.accept().await) } => next,
        };
        let Some(one) = one else { return };
        match accepted {
            Ok((stream, peer)) => {
                let counts = counts(peer.ip());
                let Some(place) = places.give(one, peer.ip(), counts) else { continue };
                let patience = if counts { Patience::STRANGER } else { Patience::PROXY };
                let (answer, terms) = (answer.clone(), Terms { drain: drain.clone(), patience });
                // a task of its own: a panic ends this connection and no other
                connections.spawn(async move {
                    socket::prepare(&stream);
                    if let Err(error) = connection::serve(stream, terms, |request| answer(request, peer)).await {
                        tracing::debug!(%peer, %error, "a connection ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(OUT_OF_FILES).await;
            }
        }
    }
    drop(listener);
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = async { drain.streams_end().cancelled().await; tokio::time::sleep(LAST).await } => {
            tracing::warn!(open = connections.len(), "connections were still open at the end");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::SocketAddr;
    use std::sync::Arc;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Empty;
    use hyper::client::conn::{http1, http2};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Notify;
    use tokio::time::timeout;

    use super::{LAST, accept};
    use crate::gateway::{Body, full};
    use crate::inbound::Drain;
    use crate::inbound::places::Places;

    async fn listening() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let answer = |request: Request<_>, _peer| async move {
                assert_ne!(request.uri().path(), "/panic");
                Response::new(full("well"))
            };
            accept(listener, Places::new(), &Drain::default(), |_| true, answer).await;
        });
        address
    }

    async fn over_http1(address: SocketAddr) -> http1::SendRequest<Empty<Bytes>> {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    fn get(path: &str) -> Request<Empty<Bytes>> {
        Request::get(format!("http://gate{path}")).header("host", "gate").body(Empty::new()).unwrap()
    }

    #[tokio::test]
    async fn a_panic_in_a_request_costs_its_connection_and_no_other() {
        let address = listening().await;
        let mut bystander = over_http1(address).await;
        assert_eq!(bystander.send_request(get("/")).await.unwrap().status(), 200);
        let mut unlucky = over_http1(address).await;
        assert!(unlucky.send_request(get("/panic")).await.is_err());
        assert!(unlucky.send_request(get("/")).await.is_err(), "its connection is gone");
        assert_eq!(bystander.send_request(get("/")).await.unwrap().status(), 200);
        assert_eq!(over_http1(address).await.send_request(get("/")).await.unwrap().status(), 200);
    }

    #[tokio::test]
    async fn a_panic_in_a_stream_of_http_2_costs_the_stream() {
        let io = TokioIo::new(TcpStream::connect(listening().await).await.unwrap());
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        assert!(sender.send_request(get("/panic")).await.is_err());
        assert_eq!(sender.send_request(get("/")).await.unwrap().status(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn going_down_waits_for_no_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (drain, asked) = (Drain::default(), Arc::new(Notify::new()));
        let (down, heard) = (drain.clone(), Arc::clone(&asked));
        let served = tokio::spawn(async move {
            let answer = move |_request: Request<_>, _peer| {
                heard.notify_one();
                pending::<Response<Body>>()
            };
            accept(listener, Places::with(1), &down, |_| false, answer).await;
        });
        let mut stuck = over_http1(address).await;
        let unanswered = tokio::spawn(async move { stuck.send_request(get("/")).await.is_err() });
        asked.notified().await;
        drain.at_once();
        timeout(LAST * 2, served).await.expect("the one place is taken, and nobody waits for it").unwrap();
        unanswered.abort();
    }
}
