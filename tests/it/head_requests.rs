//! HEAD over real connections: a body in the answer would be a protocol error in HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::gate::TestGate;
use crate::support::log::watch;

type NoBody = Empty<Bytes>;

async fn over_http2(address: std::net::SocketAddr) -> SendRequest<NoBody> {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn length(answer: &Response<Incoming>) -> u64 {
    answer.headers()["content-length"].to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn head_over_http_2_gets_no_body_and_the_connection_survives() {
    let gate = TestGate::new().await;
    let mut sender = over_http2(gate.listen().await).await;
    let good = {
        let client = gate.register().await;
        gate.tokens(&client).await.access
    };
    let at = |uri: &str| Request::head(uri).header("authorization", format!("Bearer {good}"));
    let many = (0..101).fold(at("http://127.0.0.1:6749/mcp"), |request, n| request.header(format!("x-{n}"), "1"));
    for (request, status) in [
        (at("http://127.0.0.1:6749/mcp"), 405),
        (Request::head("http://127.0.0.1:6749/mcp"), 405),
        (at("http://127.0.0.1:6749/mcp").header("origin", "https://evil.example"), 403),
        (at("http://evil.example/mcp"), 421),
        (at("http://evil.example/authorize"), 421),
        (many, 431),
        (at("http://127.0.0.1:6749/nowhere"), 404),
        (at("http://127.0.0.1:6749/.well-known/jwks.json"), 200),
    ] {
        let request = request.body(NoBody::new()).unwrap();
        let uri = request.uri().clone();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), status, "{uri}");
        assert!(length(&answer) > 0, "{uri} {status}: GET would get a body");
        assert!(answer.headers().contains_key("x-request-id"));
        let body = answer.into_body().collect().await.unwrap_or_else(|error| panic!("{uri} {status}: {error:?}"));
        assert!(body.to_bytes().is_empty(), "{uri} {status}");
    }
    let get = Request::get("http://127.0.0.1:6749/mcp").body(NoBody::new()).unwrap();
    let answer = sender.send_request(get).await.unwrap();
    assert_eq!((answer.status().as_u16(), length(&answer) > 0), (401, true));
    assert!(!answer.into_body().collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn head_over_http_2_gets_no_body_from_the_operations_listener() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gate = TestGate::with(|config| {
        config.server.listen = "127.0.0.1:0".parse().unwrap();
        config.server.operations = Some(address);
    })
    .await;
    let listeners = gate.app.listen().unwrap();
    let app = gate.app.clone();
    tokio::spawn(async move { app.run(listeners).await });
    let mut sender = over_http2(address).await;
    for (path, status) in [("/live", 200), ("/ready", 200), ("/metrics", 200), ("/else", 404)] {
        let request = Request::head(format!("http://{address}{path}")).body(NoBody::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!((answer.status().as_u16(), length(&answer) > 0), (status, true), "{path}");
        assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn head_over_http_1_has_the_length_of_the_omitted_body() {
    let gate = TestGate::new().await;
    let mut connection = TcpStream::connect(gate.listen().await).await.unwrap();
    let head = "HEAD /mcp HTTP/1.1\r\nHost: 127.0.0.1:6749\r\n";
    connection.write_all(format!("{head}\r\n{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answers = String::new();
    tokio::time::timeout(Duration::from_secs(10), connection.read_to_string(&mut answers)).await.unwrap().unwrap();
    let heads: Vec<&str> = answers.split_terminator("\r\n\r\n").collect();
    assert_eq!(heads.len(), 2, "{answers}");
    for head in heads {
        assert!(head.starts_with("HTTP/1.1 405") && !head.contains("content-length: 0"), "{answers}");
        assert!(head.contains("content-length: "), "{answers}");
    }
}

#[tokio::test]
async fn the_access_log_counts_no_body_for_head() {
    let gate = TestGate::new().await;
    let (lines, _guard) = watch();
    let answer = gate.send(gate.request("HEAD", "/mcp"), "").await;
    assert_eq!((answer.status, answer.body.as_str()), (405, ""));
    let text = lines.text();
    assert!(text.contains("response_bytes=0") && !text.contains("incomplete"), "{text}");
}
