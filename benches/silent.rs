//! Memory that unauthenticated callers take by requests whose bodies never come: `cargo bench --bench silent`.
//!
//! The gate is a process of its own, so that what its peers need is not counted. Each round opens 150 connections with 128
//! streams of HTTP/2 on each: first all from one address, then every connection from another one. It fails when either
//! takes more than 100 MB.

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

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use support::gate::TestGate;

const CONNECTIONS: usize = 150;
const STREAMS: usize = 128;
/// Silent bodies are given up after 15 seconds: the measurement lies before that.
const SETTLED: Duration = Duration::from_secs(6);

/// How much a round may take.
const MOST_KIB: i64 = 100 * 1024;

/// A body that never comes.
struct Silent;

impl Body for Silent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

/// The process that is measured.
struct Gate {
    process: Child,
    address: SocketAddr,
}

impl Gate {
    fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, address: line.trim().parse().unwrap() }
    }

    /// Resident memory in KiB.
    fn resident(&self) -> i64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Opens a connection and all its streams; counts what is answered.
async fn flood(address: SocketAddr, client: String, answered: Arc<AtomicUsize>) -> http2::SendRequest<Silent> {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..STREAMS {
        let request = Request::post("http://127.0.0.1:6749/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-forwarded-for", &client)
            .body(Silent)
            .unwrap();
        sender.ready().await.unwrap();
        let (answer, answered) = (sender.send_request(request), Arc::clone(&answered));
        tokio::spawn(async move {
            if answer.await.is_ok() {
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    sender
}

/// Whether the gate stays within its memory.
async fn round(name: &str, client: impl Fn(usize) -> String) -> bool {
    let gate = Gate::start();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = gate.resident();
    let answered = Arc::new(AtomicUsize::new(0));
    let mut held = Vec::new();
    for number in 0..CONNECTIONS {
        held.push(flood(gate.address, client(number), Arc::clone(&answered)).await);
    }
    tokio::time::sleep(SETTLED).await;
    let (answered, grown) = (answered.load(Ordering::Relaxed), gate.resident() - before);
    let silent = CONNECTIONS * STREAMS - answered;
    println!(
        "{name}: +{} MB ({before} KiB before), {silent} streams waited for, {answered} answered early",
        grown / 1024
    );
    grown <= MOST_KIB
}

#[tokio::main]
async fn serve() {
    let gate = TestGate::with(|config| config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    println!("{}", gate.listen().await);
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

#[tokio::main]
async fn measure() -> ExitCode {
    println!("{CONNECTIONS} connections, {STREAMS} silent streams on each");
    let one = round("one address", |_| "203.0.113.7".to_owned()).await;
    let many = round("an address each", |number| format!("198.51.100.{number}")).await;
    if one && many {
        return ExitCode::SUCCESS;
    }
    println!("failed: a round took more than {} MB", MOST_KIB / 1024);
    ExitCode::FAILURE
}

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--serve") {
        serve();
        return ExitCode::SUCCESS;
    }
    measure()
}
