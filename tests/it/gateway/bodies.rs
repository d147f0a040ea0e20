//! Request bodies in every framing (slowloris, inspection).

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{gate_at, token};
use crate::support::gate::{TestGate, WORKS, upstream};
use crate::support::upstream::Upstream;

/// The answer to these bytes, which ask to close the connection.
async fn raw(gate: &TestGate, request: &str) -> String {
    let mut stream = TcpStream::connect(gate.listen().await).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    stream.read_to_end(&mut seen).await.unwrap();
    String::from_utf8_lossy(&seen).into_owned()
}

fn head(method: &str, gate: &TestGate, token: &str) -> String {
    let host = gate.config.public_url.authority();
    format!("{method} /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n")
}

#[tokio::test]
async fn an_empty_chunked_body_counts_as_no_body_and_one_byte_as_a_body() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    for method in ["GET", "DELETE"] {
        let head = head(method, &gate, &good);
        let before = behind.count();
        let answer = raw(&gate, &format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{method}: {answer}");
        let seen = behind.last();
        assert_eq!((seen.method.as_str(), seen.body.len(), seen.header("transfer-encoding")), (method, 0, None));
        let answer = raw(&gate, &format!("{head}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{method}: {answer}");
        let answer = raw(&gate, &format!("{head}Content-Length: 0\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{method}: {answer}");
        assert_eq!(behind.count(), before + 2);
    }
}

/// Sends a request over HTTP/2 whose body is these frames: its status.
async fn over_http_2(gate: &TestGate, token: &str, method: &str, frames: &'static [&'static str]) -> u16 {
    let stream = TcpStream::connect(gate.listen().await).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let frames = frames.iter().map(|text| Ok::<_, Infallible>(Frame::data(Bytes::from_static(text.as_bytes()))));
    let request = Request::builder()
        .method(method)
        .uri(format!("{}/mcp", gate.origin()))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(StreamBody::new(stream::iter(frames)))
        .unwrap();
    sender.send_request(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn an_http_2_stream_that_ends_with_an_empty_frame_has_no_body() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    for method in ["GET", "DELETE"] {
        for frames in [&[][..], &[""], &["", ""]] {
            assert_eq!(over_http_2(&gate, &good, method, frames).await, 200, "{method} {frames:?}");
        }
        assert_eq!(over_http_2(&gate, &good, method, &["", "x"]).await, 400, "{method}");
    }
}

#[tokio::test]
async fn json_without_a_declared_length_is_collected_and_forwarded_with_its_length() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    let head = format!("{}Content-Type: application/json\r\n", head("POST", &gate, &good));
    let answer =
        raw(&gate, &format!("{head}Transfer-Encoding: chunked\r\n\r\n4\r\n{{\"id\r\n4\r\n\":7}}\r\n0\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let seen = behind.last();
    assert_eq!((seen.header("content-length"), seen.header("transfer-encoding")), (Some("8"), None));
    assert_eq!(seen.body, r#"{"id":7}"#);
    assert_eq!(over_http_2(&gate, &good, "POST", &["{\"id", "", "\":8}"]).await, 200);
    assert_eq!((behind.last().header("content-length"), &*behind.last().body), (Some("8"), &br#"{"id":8}"#[..]));
}

#[tokio::test]
async fn our_error_carries_the_id_of_json_without_a_declared_length() {
    let gate = TestGate::new().await;
    let good = token(&gate).await;
    let head = format!("{}Content-Type: application/json\r\n", head("POST", &gate, &good));
    let answer = raw(&gate, &format!("{head}Transfer-Encoding: chunked\r\n\r\n8\r\n{{\"id\":7}}\r\n0\r\n\r\n")).await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {WORKS} ")) && answer.contains(r#""id":7,"#), "{answer}");
}

async fn stream_of(gate: &TestGate, token: &str, pieces: Vec<Bytes>, trailers: bool) -> (u16, Value) {
    let trailers =
        trailers.then(|| Ok(Frame::trailers(HeaderMap::from_iter([("x-a".parse().unwrap(), "b".parse().unwrap())]))));
    let frames = pieces.into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece))).chain(trailers);
    let request = gate.request("POST", "/mcp").header("authorization", format!("Bearer {token}"));
    let body = StreamBody::new(stream::iter(frames));
    let request = request.header("content-type", "application/json").body(body).unwrap();
    let answer = gate.app.handle(request, "127.0.0.1:5000".parse().unwrap()).await;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn json_beyond_inspect_limit_is_streamed_without_loss() {
    let behind = Upstream::polite().await;
    let url = behind.url();
    let gate = TestGate::with(|config| {
        config.upstreams = vec![upstream(&config.public_url, "mcp", &url)];
        config.server.inspect_limit = 1024;
    })
    .await;
    let good = token(&gate).await;
    for (lengths, whole) in [
        (vec![1024], true),
        (vec![512, 512], true),
        (vec![1025], false),
        (vec![1000, 0, 24, 1], false),
        (vec![700; 9], false),
    ] {
        let pieces: Vec<Bytes> = (b'a'..).zip(&lengths).map(|(letter, length)| vec![letter; *length].into()).collect();
        let all = pieces.concat();
        for trailers in [false, true] {
            assert_eq!(stream_of(&gate, &good, pieces.clone(), trailers).await.0, 200);
            let seen = behind.last();
            assert!(seen.body == all, "{lengths:?}");
            let length = all.len().to_string();
            assert_eq!(seen.header("content-length"), whole.then_some(length.as_str()), "{lengths:?}");
            assert_eq!(seen.header("transfer-encoding"), (!whole).then_some("chunked"), "{lengths:?}");
            assert!(seen.trailers.is_none());
        }
    }
}

#[tokio::test]
async fn slowloris_a_stalled_streamed_body_is_408_and_not_the_upstreams_fault() {
    let operations = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let behind = Upstream::polite().await;
    let url = behind.url();
    let gate = TestGate::with(|config| {
        config.upstreams = vec![upstream(&config.public_url, "mcp", &url)];
        config.server.inspect_limit = 1024;
        config.server.listen = "127.0.0.1:0".parse().unwrap();
        config.server.operations = Some(operations);
    })
    .await;
    let good = token(&gate).await;
    assert_eq!(gate.call(&good).await.status, 200);
    tokio::time::pause();
    let stalls = |kind: &str, declared: Option<u64>, pieces: Vec<(u64, &'static str)>| {
        let mut request = gate.request("POST", "/mcp").header("authorization", format!("Bearer {good}"));
        request = request.header("content-type", kind);
        if let Some(length) = declared {
            request = request.header("content-length", length);
        }
        let pieces = stream::iter(pieces).then(|(seconds, piece)| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(piece.as_bytes())))
        });
        request.body(StreamBody::new(Box::pin(pieces.chain(stream::pending())))).unwrap()
    };
    for (kind, declared, pieces, after) in [
        ("text/plain", None, vec![(0, "x")], 15),
        ("text/plain", Some(9), vec![(1, "x"), (14, "x"), (14, "x")], 44),
        ("application/json", Some(9999), vec![(0, "{")], 15),
        // empty frames are no progress
        ("text/plain", None, vec![(0, "x"), (10, ""), (10, ""), (10, "")], 15),
        // one byte at a time, until the upstream's time-out
        ("text/plain", None, vec![(10, "x"); 100], 300),
    ] {
        let request = stalls(kind, declared, pieces);
        let began = tokio::time::Instant::now();
        let answer = gate.app.handle(request, "127.0.0.1:5000".parse().unwrap()).await;
        assert_eq!((answer.status().as_u16(), &answer.headers()["connection"]), (408, &"close".parse().unwrap()));
        assert!((after..after + 7).contains(&began.elapsed().as_secs()), "{after}: {:?}", began.elapsed());
    }
    tokio::time::resume();
    let (listeners, app) = (gate.app.listen().unwrap(), gate.app.clone());
    let running = tokio::spawn(async move { app.run(listeners).await });
    let mut connection = TcpStream::connect(operations).await.unwrap();
    connection.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    running.abort();
    assert!(answer.ends_with(r#"{"ready":true,"degraded":[]}"#), "{answer}");
}

#[tokio::test]
async fn slowloris_a_body_that_never_comes_or_never_ends_is_given_up_for_every_method() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    assert_eq!(gate.call(&good).await.status, 200);
    tokio::time::pause();
    for method in ["GET", "DELETE", "POST"] {
        let request = gate.request(method, "/mcp").header("authorization", format!("Bearer {good}"));
        let never = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let request = request.header("content-type", "application/json").body(never).unwrap();
        let began = tokio::time::Instant::now();
        let answer = gate.app.handle(request, "127.0.0.1:5000".parse().unwrap()).await;
        assert_eq!(answer.status(), 408, "{method}");
        // a small rest of the body is awaited for a second more, to keep the connection
        assert!((15..17).contains(&began.elapsed().as_secs()), "{method}: {:?}", began.elapsed());
    }
    let endless = stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::new())));
    let request = gate.request("GET", "/mcp").header("authorization", format!("Bearer {good}"));
    let request = request.version(http::Version::HTTP_2).body(StreamBody::new(endless)).unwrap();
    let answer = gate.app.handle(request, "127.0.0.1:5000".parse().unwrap()).await;
    assert_eq!(answer.status(), 400, "empty frames without end");
    assert_eq!(behind.count(), 1);
}
