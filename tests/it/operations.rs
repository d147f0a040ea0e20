//! The operations listener: `ready` is about this process, `degraded` about what it depends on.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::bench::Bench;
use crate::support::gate::{NOT_LISTENING, upstream};

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Status and document of `/ready`.
async fn ready(operations: SocketAddr) -> (String, Value) {
    let mut connection = TcpStream::connect(operations).await.unwrap();
    connection.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn failing_dependencies_are_reported_as_degraded_and_not_as_unready() {
    let operations = free();
    let mut bench = Bench::with(|config| {
        config.server.listen = "127.0.0.1:0".parse().unwrap();
        config.server.operations = Some(operations);
        config.upstreams = vec![upstream(&config.public_url, "mcp", NOT_LISTENING)];
    })
    .await;
    let given = bench.tokens().await;
    let listeners = bench.gate.app.listen().unwrap();
    let app = bench.gate.app.clone();
    let running = tokio::spawn(async move { app.run(listeners).await });
    let says = async |what: &str| {
        let said = async {
            loop {
                let (status, document) = ready(operations).await;
                assert_eq!((status.as_str(), &document["ready"]), ("200", &json!(true)), "{document}");
                let degraded = document["degraded"].as_array().unwrap();
                if degraded.iter().any(|words| words.as_str().unwrap().starts_with(what)) {
                    return degraded.len();
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(5), said).await.unwrap_or_else(|_| panic!("/ready never said {what}"))
    };
    assert_eq!(ready(operations).await, ("200".to_owned(), json!({"ready": true, "degraded": []})));
    assert_eq!(bench.gate.call(&given.access).await.status, 502);
    assert_eq!(says("upstream mcp: ").await, 1);
    bench.provider.stop().await;
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.status, 503);
    assert_eq!(says("identity keycloak: ").await, 2);
    bench.gate.app.store().close().await;
    bench.gate.clock.advance(Duration::from_secs(5));
    says("storage: ").await;
    says("revocation: ").await;

    bench.gate.app.drain().at_once();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn request_smuggling_is_refused_on_the_operations_listener() {
    let operations = free();
    let bench = Bench::with(|config| {
        config.server.listen = "127.0.0.1:0".parse().unwrap();
        config.server.operations = Some(operations);
    })
    .await;
    let listeners = bench.gate.app.listen().unwrap();
    let app = bench.gate.app.clone();
    let running = tokio::spawn(async move { app.run(listeners).await });
    for coding in ["gzip, chunked", "chunked, chunked", "chunked\r\nTransfer-Encoding: chunked"] {
        let mut connection = TcpStream::connect(operations).await.unwrap();
        let live = "GET /live HTTP/1.1\r\nHost: localhost\r\n";
        let requests = format!("{live}Transfer-Encoding: {coding}\r\n\r\n0\r\n\r\n{live}\r\n");
        connection.write_all(requests.as_bytes()).await.unwrap();
        let mut answers = String::new();
        let read = connection.read_to_string(&mut answers);
        tokio::time::timeout(Duration::from_secs(5), read).await.expect("the connection ends").unwrap();
        assert!(answers.starts_with("HTTP/1.1 400 "), "{coding}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{coding}: {answers}");
    }
    bench.gate.app.drain().at_once();
    running.await.unwrap().unwrap();
}
