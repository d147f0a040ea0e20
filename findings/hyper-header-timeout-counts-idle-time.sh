#!/usr/bin/env bash
# hyper 1.12.0, server, HTTP/1.1: for a second request, `header_read_timeout` starts at the end of the first response, not at the first
# byte of the second head. It therefore also acts as the keep-alive time-out, and a client that starts its next request late has only
# the remaining time for the head. A short value against slowloris closes idle connections that proxies keep in their pools.
#
# Seen on 2026-11-30 (header_read_timeout 10 s, tokio's paused clock; the second head is sent in two parts):
#   idle 1 s, head within 8 s: answered after 9 s
#   idle 8 s, head within 4 s: closed after 10 s
#   idle 12 s: closed after 10 s
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
hyper = { version = "=1.12.0", features = ["http1", "server"] }
hyper-util = { version = "=0.1.21", features = ["tokio"] }
tokio = { version = "=1.54.1", features = ["io-util", "macros", "rt", "test-util", "time"] }
TOML
cat >"$folder/src/main.rs" <<'RUST'
use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep},
};

async fn second_request(label: &str, idle: u64, pause: u64) {
    let (mut client, server) = tokio::io::duplex(65536);
    let service = service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
    tokio::spawn(builder.serve_connection(TokioIo::new(server), service));
    let mut buffer = [0; 4096];
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let read = client.read(&mut buffer).await.unwrap();
    assert!(buffer[..read].starts_with(b"HTTP/1.1 200 OK") && buffer[..read].ends_with(b"\r\n\r\n"));

    let answered = Instant::now();
    let (mut from_server, mut to_server) = tokio::io::split(client);
    let reading = async {
        let read = from_server.read(&mut buffer).await.unwrap();
        (if read == 0 { "closed" } else { "answered" }, answered.elapsed().as_secs())
    };
    let writing = async {
        sleep(Duration::from_secs(idle)).await;
        to_server.write_all(b"GET / HTTP/1.1\r\n").await.ok();
        sleep(Duration::from_secs(pause)).await;
        to_server.write_all(b"Host: a\r\n\r\n").await.ok();
    };
    let ((end, seconds), ()) = tokio::join!(reading, writing);
    println!("{label}: {end} after {seconds} s");
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    second_request("idle 1 s, head within 8 s", 1, 8).await;
    second_request("idle 8 s, head within 4 s", 8, 4).await;
    second_request("idle 12 s", 12, 0).await;
}
RUST
seen=$(cargo run --quiet --manifest-path "$folder/Cargo.toml" --target-dir "$folder/target")
echo "hyper 1.12.0"
echo "$seen"
[ "$seen" = 'idle 1 s, head within 8 s: answered after 9 s
idle 8 s, head within 4 s: closed after 10 s
idle 12 s: closed after 10 s' ]
