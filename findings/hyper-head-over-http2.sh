#!/usr/bin/env bash
# hyper 1.12.0, server: over HTTP/1.1 it omits the body that a service returns for HEAD; over HTTP/2 it sends that body in a DATA
# frame. RFC 9110 9.3.2 forbids content in a response to HEAD, and a client built on h2, the crate below hyper, resets the stream with
# PROTOCOL_ERROR. A service, and especially a gateway, has to drop the body itself.
#
# Seen on 2026-11-30 (h2 0.4.20; the service returns "hello" for every request):
#   HTTP/1.1: "" after the head
#   HTTP/2: HEADERS, DATA "hello" with END_STREAM
#   h2 as the client: stream error detected: unspecific protocol error detected
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "seen"
version = "0.0.0"
edition = "2024"

[dependencies]
bytes = "=1.12.1"
h2 = "=0.4.20"
http-body-util = "=0.1.5"
hyper = { version = "=1.12.0", features = ["http1", "http2", "server"] }
hyper-util = { version = "=0.1.21", features = ["tokio"] }
tokio = { version = "=1.54.1", features = ["io-util", "macros", "rt"] }
TOML
cat >"$folder/src/main.rs" <<'RUST'
use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"hello"))))
}

fn http2_server() -> DuplexStream {
    let (client, server) = tokio::io::duplex(65536);
    tokio::spawn(conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(server), service_fn(hello)));
    client
}

async fn http1() {
    let (mut client, server) = tokio::io::duplex(65536);
    tokio::spawn(conn::http1::Builder::new().serve_connection(TokioIo::new(server), service_fn(hello)));
    client.write_all(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    println!("HTTP/1.1: {:?} after the head", answer.split_once("\r\n\r\n").unwrap().1);
}

async fn frame(client: &mut DuplexStream) -> (u8, u8, u32, Vec<u8>) {
    let mut head = [0; 9];
    client.read_exact(&mut head).await.unwrap();
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    client.read_exact(&mut payload).await.unwrap();
    (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload)
}

async fn http2() {
    let mut client = http2_server();
    // the preface, an empty SETTINGS, and HEADERS of HEAD / with END_STREAM and END_HEADERS
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    client.write_all(b"\0\0\x0b\x01\x05\0\0\0\x01\x02\x04HEAD\x86\x84\x01\x01a").await.unwrap();
    let mut seen = Vec::new();
    loop {
        let (kind, flags, stream, payload) = frame(&mut client).await;
        if stream == 1 {
            let name = ["DATA", "HEADERS"].get(usize::from(kind)).copied().unwrap_or("another frame");
            let data = if kind == 0 { format!(" {:?}", String::from_utf8(payload).unwrap()) } else { String::new() };
            let end = if flags & 1 == 1 { " with END_STREAM" } else { "" };
            seen.push(format!("{name}{data}{end}"));
            if flags & 1 == 1 {
                return println!("HTTP/2: {}", seen.join(", "));
            }
        }
    }
}

async fn h2_client() {
    let (client, connection) = h2::client::handshake(http2_server()).await.unwrap();
    tokio::spawn(connection);
    let request = Request::head("http://a/").body(()).unwrap();
    let response = client.ready().await.unwrap().send_request(request, true).unwrap().0.await.unwrap();
    match response.into_body().data().await {
        None => println!("h2 as the client: no body"),
        Some(Ok(data)) => println!("h2 as the client: {data:?}"),
        Some(Err(error)) => println!("h2 as the client: {error}"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    http1().await;
    http2().await;
    h2_client().await;
}
RUST
seen=$(cargo run --quiet --manifest-path "$folder/Cargo.toml" --target-dir "$folder/target")
echo "hyper 1.12.0"
echo "$seen"
[ "$seen" = 'HTTP/1.1: "" after the head
HTTP/2: HEADERS, DATA "hello" with END_STREAM
h2 as the client: stream error detected: unspecific protocol error detected' ]
