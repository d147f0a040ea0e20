#!/usr/bin/env bash
# hyper 1.12.0, server, HTTP/1.1: a dropped response body has not necessarily been written. A body that reports `is_end_stream` after
# its last frame is dropped as soon as that frame is in hyper's buffer, whatever its size. Any other body is polled once more when the
# buffer has room, and dropped then; a small one is also dropped before the client has read anything. A permit or a log line that
# depends on the drop of the body ("response sent") is therefore early by as much as hyper buffers; to detect the end of an exchange,
# watch the connection.
#
# Seen on 2026-11-30 (one frame through a pipe of 1 KiB, after which the client does not read for a minute):
#   4096 KiB, says is_end_stream: dropped with 0 bytes read
#   4096 KiB, does not: not dropped with 0 bytes read
#   256 KiB, does not: dropped with 0 bytes read
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
hyper = { version = "=1.12.0", features = ["http1", "server"] }
hyper-util = { version = "=0.1.21", features = ["tokio"] }
tokio = { version = "=1.54.1", features = ["io-util", "macros", "rt", "test-util", "time"] }
TOML
cat >"$folder/src/main.rs" <<'RUST'
use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, atomic::{AtomicBool, Ordering}},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};

struct OneFrame {
    data: Option<Bytes>,
    says_its_end: bool,
    dropped: Arc<AtomicBool>,
}

impl Body for OneFrame {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.data.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.says_its_end && self.data.is_none()
    }
}

impl Drop for OneFrame {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::SeqCst);
    }
}

async fn answer(kib: usize, says_its_end: bool) {
    let dropped = Arc::new(AtomicBool::new(false));
    let told = dropped.clone();
    let service = service_fn(move |_: Request<Incoming>| {
        let data = Some(Bytes::from(vec![b'x'; kib * 1024]));
        let body = OneFrame { data, says_its_end, dropped: told.clone() };
        let response = Response::builder().header("content-length", kib * 1024).body(body).unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    let (mut client, server) = tokio::io::duplex(1024);
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), service));
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    sleep(Duration::from_secs(60)).await;
    let says = if says_its_end { "says is_end_stream" } else { "does not" };
    let state = if dropped.load(Ordering::SeqCst) { "dropped" } else { "not dropped" };
    println!("{kib} KiB, {says}: {state} with 0 bytes read");

    // a client that reads still gets the complete response
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    let head = all.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(all.len() - head, kib * 1024);
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    answer(4096, true).await;
    answer(4096, false).await;
    answer(256, false).await;
}
RUST
seen=$(cargo run --quiet --manifest-path "$folder/Cargo.toml" --target-dir "$folder/target")
echo "hyper 1.12.0"
echo "$seen"
[ "$seen" = '4096 KiB, says is_end_stream: dropped with 0 bytes read
4096 KiB, does not: not dropped with 0 bytes read
256 KiB, does not: dropped with 0 bytes read' ]
