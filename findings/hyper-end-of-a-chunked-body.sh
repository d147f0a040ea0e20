#!/usr/bin/env bash
# hyper 1.12.0, client: `is_end_stream` of a received body (`Incoming`) reports the end of a body with Content-Length, but never that
# of a chunked one: it is false after the last frame, and still false after `frame()` returned None. A wrapper that calls it on drop,
# to learn whether the body was read completely, takes every chunked response for a truncated one; it has to remember the None itself.
#
# Seen on 2026-11-30 (is_end_stream before the first frame, after "hello", after None):
#   content-length: [false, true, true]
#   chunked: [false, false, false]
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
http-body-util = "=0.1.5"
hyper = { version = "=1.12.0", features = ["client", "http1"] }
hyper-util = { version = "=0.1.21", features = ["tokio"] }
tokio = { version = "=1.54.1", features = ["io-util", "macros", "rt"] }
TOML
cat >"$folder/src/main.rs" <<'RUST'
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Body, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn read(label: &str, answer: &[u8]) {
    let (client, mut server) = tokio::io::duplex(65536);
    let (mut sender, connection) = http1::handshake(TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    let answering = async {
        server.read(&mut [0; 1024]).await.unwrap();
        server.write_all(answer).await.unwrap();
    };
    let (response, ()) = tokio::join!(sender.send_request(Request::new(Empty::<Bytes>::new())), answering);
    let mut body = response.unwrap().into_body();
    let mut ended = vec![body.is_end_stream()];
    while let Some(frame) = body.frame().await {
        assert_eq!(frame.unwrap().into_data().unwrap(), "hello");
        ended.push(body.is_end_stream());
    }
    ended.push(body.is_end_stream());
    println!("{label}: {ended:?}");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    read("content-length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
    read("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
}
RUST
seen=$(cargo run --quiet --manifest-path "$folder/Cargo.toml" --target-dir "$folder/target")
echo "hyper 1.12.0"
echo "$seen"
[ "$seen" = 'content-length: [false, true, true]
chunked: [false, false, false]' ]
