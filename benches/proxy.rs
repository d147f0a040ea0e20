//! Calls per second through the gate and directly to the same upstream, in turn, in one run: `cargo bench --bench proxy`.
//!
//! Everything shares this machine's cores, so the ratio is what counts. Each round takes two seconds.
//!
//! `cargo bench --bench proxy -- --calls N` sends N calls through the gate, one after another, and nothing else: two runs under
//! a profiler that counts instructions tell what one call costs, whatever else the machine does.

#![expect(dead_code, unreachable_pub, reason = "only a part of what the tests share is used here")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark that goes wrong ends, and says what it measured"
)]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use support::gate::{TestGate, upstream};
use support::upstream::Upstream;

const CONNECTIONS: usize = 32;
const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;
const CALL: &[u8] =
    br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello"}}}"#;

/// Calls on one connection for as long as `goes_on` says; the latency of each.
async fn caller(
    address: SocketAddr,
    path: &'static str,
    token: String,
    goes_on: impl Fn(usize) -> bool,
) -> Vec<Duration> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut latencies = Vec::new();
    while goes_on(latencies.len()) {
        let began = Instant::now();
        let request = Request::post(path)
            .header("host", "127.0.0.1:6749")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .body(Full::new(Bytes::from_static(CALL)))
            .unwrap();
        sender.ready().await.unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
        latencies.push(Instant::now() - began);
    }
    latencies
}

/// Calls per second, and the latency that half and 99 of 100 calls do not exceed.
async fn round(address: SocketAddr, path: &'static str, token: &str) -> (f64, Duration, Duration) {
    let end = Instant::now() + ROUND;
    let caller = || caller(address, path, token.to_owned(), move |_| Instant::now() < end);
    let calls = join_all((0..CONNECTIONS).map(|_| tokio::spawn(caller()))).await;
    let mut latencies: Vec<Duration> = calls.into_iter().flat_map(Result::unwrap).collect();
    latencies.sort_unstable();
    let at = |percent: usize| latencies[latencies.len() * percent / 100];
    #[expect(clippy::cast_precision_loss, reason = "a count of calls")]
    let per_second = latencies.len() as f64 / ROUND.as_secs_f64();
    (per_second, at(50), at(99))
}

/// N, when `--calls N` was given.
fn calls_alone() -> Option<usize> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--calls");
    arguments.nth(1).map(|number| number.parse().unwrap())
}

#[tokio::main]
async fn main() {
    let behind = Upstream::polite().await;
    let url = behind.url();
    let gate = TestGate::with(|config| config.upstreams = vec![upstream(&config.public_url, "mcp", &url)]).await;
    let client = gate.register().await;
    let token = gate.tokens(&client).await.access;
    let address = gate.listen().await;
    if let Some(calls) = calls_alone() {
        caller(address, "/mcp", token, |done| done < calls).await;
        return;
    }
    let mut ratios = Vec::new();
    println!("{CONNECTIONS} connections, {} bytes a call", CALL.len());
    for number in 1..=ROUNDS {
        let direct = round(behind.address, "/backend", &token).await;
        behind.seen.lock().unwrap().clear();
        let through = round(address, "/mcp", &token).await;
        behind.seen.lock().unwrap().clear();
        let ratio = through.0 / direct.0;
        println!(
            "round {number}: direct {:.0}/s (p50 {:?}, p99 {:?}), through {:.0}/s (p50 {:?}, p99 {:?}), ratio {ratio:.2}",
            direct.0, direct.1, direct.2, through.0, through.1, through.2
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2}", ratios[ROUNDS / 2]);
}
