//! The accept loop.
//!
//! Defends against connection floods and slowloris: connections are limited in number, counted per address, and idle
//! ones make room.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::connection::{self, PeerPolicy, Received, Terms};
use super::door::Door;
use super::drain::Drain;
use super::exchange::Held;
use super::idle_connections::{IdleConnections, IdleEntry};
use super::socket;
use crate::limits::{Holder, Pool, Share, Shortage};
use crate::wire::BoxError;

/// How long the loop pauses when the system has no more file descriptors.
const OUT_OF_FILES: Duration = Duration::from_millis(100);
/// How long connections may take to finish after streams were ended.
const LAST: Duration = Duration::from_secs(5);

/// How long a connection that must close may take to flush; and how soon the next idle connection is closed.
const PARTING: Duration = Duration::from_millis(250);
const ASKED_AGAIN: Duration = Duration::from_millis(20);

/// Accepts and serves until drained.
pub(crate) async fn serve(door: Door, listener: TcpListener, drain: Drain) {
    let host = door.clone();
    let connections = door.connections().clone();
    let peer_policy = move |peer| host.peer_policy(peer);
    let answer = move |request, peer| door.handle(request, peer);
    accept(listener, connections, &drain, peer_policy, answer).await;
}

/// Calls `answer` with every request of every connection. While `pool` is exhausted, new connections wait in the
/// kernel's queue, and the connections that have been idle longest are closed.
pub(super) async fn accept<C, A, F, B>(listener: TcpListener, pool: Pool, drain: &Drain, peer_policy: C, answer: A)
where
    C: Fn(IpAddr) -> PeerPolicy + Send + Sync,
    A: Fn(Request<Received>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
{
    let connections = TaskTracker::new();
    let idle = IdleConnections::default();
    loop {
        let (one, accepted) = tokio::select! {
            () = drain.no_more().wait() => break,
            next = async { (next_slot(&pool, &idle).await, listener.accept().await) } => next,
        };
        let Ok(one) = one else { return };
        match accepted {
            Ok((stream, peer)) => {
                let PeerPolicy { holder, timeouts } = peer_policy(peer.ip());
                let (pool, idle, drain) = (pool.clone(), idle.clone(), drain.clone());
                let answer = answer.clone();
                // a task of its own: a panic ends this connection and no other
                connections.spawn(async move {
                    let Ok(slot) = assign_slot(&pool, one, holder.as_ref(), &idle).await else { return };
                    socket::prepare(&stream);
                    let entry = idle.enter(holder.as_ref());
                    let terms = Terms { drain, timeouts, leave: entry.leave().clone() };
                    let served = connection::serve(stream, terms, |request| {
                        let (open, answered) = (entry.open(), answer(request, peer));
                        async move { answered.await.map(|body| Held::new(body, open)) }
                    });
                    let ended = tokio::select! {
                        biased;
                        ended = served => ended,
                        () = parted(&entry) => Ok(()),
                    };
                    if let Err(error) = ended {
                        tracing::debug!(%peer, %error, "a connection ended");
                    }
                    drop(slot);
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
        () = async { drain.streams_end().wait().await; tokio::time::sleep(LAST).await } => {
            tracing::warn!(open = connections.len(), "connections were still open at the shutdown deadline");
        }
    }
}

/// Waits for a free descriptor. While there is none, idle connections are closed, the longest idle first.
async fn next_slot(pool: &Pool, idle: &IdleConnections) -> Result<Share, Shortage> {
    let mut slot = pin!(pool.next());
    let mut wait = Duration::ZERO;
    loop {
        if let Ok(slot) = tokio::time::timeout(wait, slot.as_mut()).await {
            return slot;
        }
        idle.close_longest();
        wait = ASKED_AGAIN;
    }
}

/// Books a connection for its holder. Clients behind a trusted proxy must not keep its other clients out with idle
/// connections: the longest idle one of those that share the holder makes room.
async fn assign_slot(
    pool: &Pool,
    mut slot: Share,
    holder: Option<&Holder>,
    idle: &IdleConnections,
) -> Result<Share, Shortage> {
    let Some(holder) = holder else { return Ok(slot) };
    while let Err(shortage) = pool.assign(&mut slot, holder.clone()) {
        if *holder != Holder::Trusted || !idle.close_longest_trusted() {
            pool.count_refusal(shortage);
            return Err(shortage);
        }
        tokio::time::sleep(ASKED_AGAIN).await;
    }
    Ok(slot)
}

/// Completes when a connection was told to close and had time to flush.
async fn parted(entry: &IdleEntry) {
    entry.leave().wait().await;
    tokio::time::sleep(PARTING).await;
    while !entry.rests() {
        tokio::time::sleep(PARTING).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::{IpAddr, SocketAddr};
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Empty;
    use hyper::client::conn::{http1, http2};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Notify;
    use tokio::time::timeout;

    use super::{LAST, PeerPolicy, accept};
    use crate::inbound::Drain;
    use crate::inbound::connection::ConnectionTimeouts;
    use crate::limits::{Holder, Pool};
    use crate::wire::{Body, full};

    fn proxy(_peer: IpAddr) -> PeerPolicy {
        PeerPolicy { holder: Some(Holder::Trusted), timeouts: ConnectionTimeouts::PROXY }
    }

    fn uncounted(_peer: IpAddr) -> PeerPolicy {
        PeerPolicy { holder: None, timeouts: ConnectionTimeouts::CHECKER }
    }

    async fn listening() -> SocketAddr {
        listening_to(proxy).await
    }

    async fn listening_to(peer_policy: fn(IpAddr) -> PeerPolicy) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let answer = |request: Request<_>, _peer| async move {
                assert_ne!(request.uri().path(), "/panic");
                Response::new(full("well"))
            };
            accept(listener, Pool::of(64, 64), &Drain::default(), peer_policy, answer).await;
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

    #[tokio::test]
    async fn idle_connections_and_unfinished_heads_do_not_block_new_requests() {
        for peer_policy in [proxy, uncounted] {
            let address = listening_to(peer_policy).await;
            let mut kept = over_http1(address).await;
            assert_eq!(kept.send_request(get("/")).await.unwrap().status(), 200);
            let mut held = Vec::new();
            for number in 0..200 {
                let mut stream = TcpStream::connect(address).await.unwrap();
                if number % 2 == 1 {
                    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
                }
                held.push(stream);
            }
            let answered = async { over_http1(address).await.send_request(get("/")).await.unwrap().status() };
            assert_eq!(timeout(Duration::from_secs(5), answered).await.expect("there is a slot"), 200);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_does_not_wait_for_a_free_connection_slot() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (drain, asked) = (Drain::default(), Arc::new(Notify::new()));
        let (down, heard) = (drain.clone(), Arc::clone(&asked));
        let served = tokio::spawn(async move {
            let answer = move |_request: Request<_>, _peer| {
                heard.notify_one();
                pending::<Response<Body>>()
            };
            accept(listener, Pool::of(1, 1), &down, uncounted, answer).await;
        });
        let mut stuck = over_http1(address).await;
        let unanswered = tokio::spawn(async move { stuck.send_request(get("/")).await.is_err() });
        asked.notified().await;
        drain.at_once();
        timeout(LAST * 2, served).await.expect("shutdown does not wait for the one taken slot").unwrap();
        unanswered.abort();
    }
}
