//! Peers that read slowly or never, on in-memory connections with a paused clock.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::{ConnectionError, ConnectionTimeouts, HEAD, IDLE, KEPT, LINGER, Received, Terms, serve};
use crate::inbound::Drain;
use crate::wire::{Body, full};

const HOUR: Duration = Duration::from_hours(1);
const LARGE: usize = 1024 * 1024;

/// An upstream's stream: what is sent comes, and nothing in between.
struct Events(mpsc::UnboundedReceiver<Bytes>);

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}

fn events() -> (mpsc::UnboundedSender<Bytes>, Body) {
    let (send, receive) = mpsc::unbounded_channel();
    (send, Events(receive).map_err(|never| match never {}).boxed_unsync())
}

/// Serves one connection: `/large` answers with a large body, `/events` with what is sent to it, `/echo` with the
/// request's body. At most `buffer` bytes are in flight.
fn connect(buffer: usize) -> (DuplexStream, mpsc::UnboundedSender<Bytes>, JoinHandle<Result<(), ConnectionError>>) {
    connect_as(buffer, ConnectionTimeouts::PUBLIC, &Drain::default())
}

fn connect_as(
    buffer: usize,
    timeouts: ConnectionTimeouts,
    drain: &Drain,
) -> (DuplexStream, mpsc::UnboundedSender<Bytes>, JoinHandle<Result<(), ConnectionError>>) {
    let terms = Terms { drain: drain.clone(), timeouts, leave: crate::signal::Signal::default() };
    let (client, server) = duplex(buffer);
    let (send, body) = events();
    let body = std::sync::Mutex::new(Some(body));
    let connection = tokio::spawn(async move {
        let answer = |request: Request<Received>| {
            let body = match request.uri().path() {
                "/events" => body.lock().unwrap().take().unwrap(),
                "/echo" => request.into_body().map_err(Into::into).boxed_unsync(),
                "/small" => full("well"),
                _ => full(vec![b'x'; LARGE]),
            };
            async move { Response::new(body) }
        };
        serve(server, terms, answer).await
    });
    (client, send, connection)
}

async fn over_http2(client: DuplexStream) -> http2::SendRequest<Empty<Bytes>> {
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2.initial_stream_window_size(64 * 1024);
    let (sender, connection) = http2.handshake(TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://gate{path}")).header("host", "gate").body(Empty::new()).unwrap()
}

/// Whether the connection ends within an hour, and how.
async fn ends(served: JoinHandle<Result<(), ConnectionError>>) -> Option<Result<(), ConnectionError>> {
    timeout(HOUR, served).await.ok().map(Result::unwrap)
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_no_answer_is_not_kept() {
    let (mut client, _send, served) = connect(1024);
    client.write_all(b"GET /large HTTP/1.1\r\nHost: gate\r\n\r\n").await.unwrap();
    let began = Instant::now();
    assert!(matches!(ends(served).await, Some(Err(ConnectionError::Http(_)))));
    assert!((IDLE..IDLE * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_opens_no_window_is_not_kept_although_it_answers_pings() {
    let (client, _send, served) = connect(LARGE);
    let mut sender = over_http2(client).await;
    let began = Instant::now();
    let unread = sender.send_request(get("/large")).await.unwrap();
    assert!(matches!(ends(served).await, Some(Err(ConnectionError::Stalled))));
    assert!((IDLE..IDLE * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_gets_the_whole_answer() {
    let (mut client, _send, _served) = connect(1024);
    client.write_all(b"GET /large HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n").await.unwrap();
    let (mut seen, mut buffer) = (0, [0; 1024]);
    loop {
        sleep(IDLE * 9 / 10).await;
        match client.read(&mut buffer).await.unwrap() {
            0 => break,
            count => seen += count,
        }
    }
    assert!(seen > LARGE);

    let (client, _send, _served) = connect(1024);
    let mut sender = over_http2(client).await;
    let mut answer = sender.send_request(get("/large")).await.unwrap().into_body();
    let mut seen = 0;
    while let Some(frame) = answer.frame().await {
        seen += frame.unwrap().into_data().unwrap().len();
        sleep(IDLE / 10).await;
    }
    assert_eq!(seen, LARGE);
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_upstream_is_silent_for_hours_stays() {
    let (client, send, _served) = connect(1024);
    let (mut sender, connection) = http1::handshake(TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    let mut answer = sender.send_request(get("/events")).await.unwrap().into_body();
    for event in ["one", "two", "three"] {
        sleep(HOUR).await;
        send.send(event.into()).unwrap();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), event);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_stays_beside_an_answer_that_is_not_read() {
    let (client, send, served) = connect(LARGE);
    let mut sender = over_http2(client).await;
    let mut answer = sender.send_request(get("/events")).await.unwrap().into_body();
    let unread = sender.send_request(get("/large")).await.unwrap();
    for event in ["one", "two", "three"] {
        sleep(HOUR).await;
        send.send(event.into()).unwrap();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), event);
    }
    drop((answer, send));
    assert!(matches!(ends(served).await, Some(Err(ConnectionError::Stalled))), "nothing keeps the rest");
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_goes_on_after_the_answer_began_is_not_taken_for_a_slow_head() {
    let (mut client, _send, _served) = connect(1024);
    client.write_all(b"POST /echo HTTP/1.1\r\nHost: gate\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    let mut seen = [0; 4096];
    for round in 0..5 {
        client.write_all(b"1\r\nx\r\n").await.unwrap();
        assert!(client.read(&mut seen).await.unwrap() > 0, "round {round}");
        sleep(HEAD * 9 / 10).await;
    }
    client.write_all(b"0\r\n\r\n").await.unwrap();
    let end = client.read(&mut seen).await.unwrap();
    assert!(seen[..end].ends_with(b"0\r\n\r\n"), "the answer is whole");
}

const SMALL: &[u8] = b"GET /small HTTP/1.1\r\nHost: gate\r\n\r\n";

/// Asks on an open connection, and reads the answer's head and its four bytes.
async fn ask(client: &mut DuplexStream) -> String {
    client.write_all(SMALL).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\nwell") {
        assert!(client.read_buf(&mut seen).await.unwrap() > 0, "{}", String::from_utf8_lossy(&seen));
    }
    String::from_utf8(seen).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_of_a_proxy_outlives_the_proxys_own_limit_and_a_strangers_does_not() {
    for (timeouts, kept) in [(ConnectionTimeouts::PUBLIC, IDLE), (ConnectionTimeouts::PROXY, KEPT)] {
        let (mut client, _send, served) = connect_as(LARGE, timeouts, &Drain::default());
        ask(&mut client).await;
        sleep(kept * 99 / 100).await;
        ask(&mut client).await;
        let began = Instant::now();
        drop(timeout(2 * KEPT, served).await.unwrap());
        assert!((kept..kept * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
    let (_client, _send, forwarded) = connect_as(LARGE, ConnectionTimeouts::LOCAL, &Drain::default());
    let began = Instant::now();
    assert!(matches!(ends(forwarded).await, Some(Err(ConnectionError::Silent))), "a TCP forwarder brings strangers");
    assert_eq!(began.elapsed(), HEAD);
    assert!(KEPT > HOUR, "Envoy keeps its connections for an hour");
}

#[tokio::test(start_paused = true)]
async fn a_proxy_may_open_a_connection_long_before_it_is_used_but_its_head_is_limited_like_any_other() {
    let (mut client, _send, _served) = connect_as(LARGE, ConnectionTimeouts::PROXY, &Drain::default());
    sleep(HOUR).await;
    assert!(ask(&mut client).await.starts_with("HTTP/1.1 200"));

    let (mut client, _send, served) = connect_as(LARGE, ConnectionTimeouts::PROXY, &Drain::default());
    sleep(HOUR).await;
    client.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").await.unwrap();
    let began = Instant::now();
    drop(ends(served).await.expect("it ends"));
    assert!((HEAD..HEAD * 2).contains(&began.elapsed()), "{:?}", began.elapsed());

    let (_client, _send, served) = connect_as(LARGE, ConnectionTimeouts::PUBLIC, &Drain::default());
    let began = Instant::now();
    assert!(matches!(ends(served).await, Some(Err(ConnectionError::Silent))));
    assert_eq!(began.elapsed(), HEAD);
}

#[tokio::test(start_paused = true)]
async fn while_we_shut_down_a_proxys_late_request_is_answered_with_close_and_a_strangers_idle_connection_ends() {
    let drain = Drain::default();
    let (mut proxy, _send, proxied) = connect_as(LARGE, ConnectionTimeouts::PROXY, &drain);
    let (mut idle, _send, idling) = connect_as(LARGE, ConnectionTimeouts::PROXY, &drain);
    let (_unused, _send, not_used) = connect_as(LARGE, ConnectionTimeouts::PROXY, &drain);
    let (mut stranger, _send, strange) = connect_as(LARGE, ConnectionTimeouts::PUBLIC, &drain);
    for client in [&mut proxy, &mut idle, &mut stranger] {
        assert!(!ask(client).await.contains("connection: close"));
    }
    let going_down = drain.clone();
    tokio::spawn(async move { going_down.run(Duration::from_secs(25)).await });
    drain.no_more().wait().await;
    let began = Instant::now();
    drop(strange.await.unwrap());
    assert_eq!(began.elapsed(), Duration::ZERO);
    sleep(LINGER * 99 / 100).await;
    assert!(ask(&mut proxy).await.contains("connection: close"), "it was on its way");
    assert!(proxied.await.unwrap().is_ok());
    drop((idling.await.unwrap(), not_used.await.unwrap()));
    assert!(began.elapsed() <= LINGER * 2, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stream_through_a_proxy_ends_with_its_connection_at_the_deadline() {
    let drain = Drain::default();
    let (mut client, send, served) = connect_as(LARGE, ConnectionTimeouts::PROXY, &drain);
    client.write_all(b"GET /events HTTP/1.1\r\nHost: gate\r\n\r\n").await.unwrap();
    send.send("one".into()).unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"one\r\n") {
        client.read_buf(&mut seen).await.unwrap();
    }
    drain.run(Duration::from_secs(25)).await;
    assert!(!served.is_finished(), "the stream goes on until its upstream or its lease ends it");
    drop(send);
    timeout(Duration::from_secs(1), served).await.expect("nothing follows on this connection").unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_preface_of_http_2_may_come_in_pieces_and_has_the_time_of_a_head() {
    for (timeouts, waits) in [(ConnectionTimeouts::PUBLIC, Duration::ZERO), (ConnectionTimeouts::PROXY, KEPT * 9 / 10)]
    {
        let (mut client, _send, served) = connect_as(1024, timeouts, &Drain::default());
        sleep(waits).await;
        let began = Instant::now();
        for byte in b"PRI * HT" {
            client.write_all(&[*byte]).await.unwrap();
            sleep(HEAD / 16).await;
        }
        assert!(matches!(ends(served).await, Some(Err(ConnectionError::Silent))));
        assert!(began.elapsed() <= HEAD + Duration::from_secs(1), "{:?}", began.elapsed());
    }
    let (mut client, _send, _served) = connect(1024);
    for piece in [&b"P"[..], b"RI", b" * HTTP/2.", b"0\r\n\r\nSM\r\n\r\n", b"\0\0\0\x04\0\0\0\0\0"] {
        client.write_all(piece).await.unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    let mut settings = [0; 5];
    client.read_exact(&mut settings).await.unwrap();
    assert_eq!(settings[3..], [4, 0], "a SETTINGS frame");
}
