//! Memory that the metadata documents of clients take: `cargo bench --bench documents`.
//!
//! The host of the documents is a process of its own, so that it is not counted. 10,000 clients of usual size, then 10,000 of the
//! largest size, ask for an authorization. It fails when either take more than 64 MB; what is cached is bounded at 32 MiB by
//! our own estimate, so that the largest documents replace each other.

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

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use portcullis::config::CaFile;
use serde_json::json;

use support::documents::DocumentHost;
use support::gate::{REDIRECT_URI, TestClient, TestGate};

const DOCUMENTS: usize = 10_000;
/// How many unknown documents one host may be asked for in an hour.
const PER_HOUR: usize = 600;
const MOST_KIB: i64 = 64 * 1024;

/// The process that publishes the documents.
struct Host {
    process: Child,
    port: u16,
    ca_file: PathBuf,
}

impl Host {
    fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (port, ca_file) = line.trim().split_once(' ').unwrap();
        Self { process, port: port.parse().unwrap(), ca_file: ca_file.into() }
    }

    fn client(&self, kind: &str, number: usize) -> TestClient {
        let id = format!("https://127.0.0.1:{}/{kind}/{number}", self.port);
        TestClient { id, redirect_uri: REDIRECT_URI.to_owned() }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[tokio::main]
async fn serve() {
    let host = DocumentHost::start().await;
    for number in 0..DOCUMENTS {
        let usual = json!({
            "client_name": format!("Client {number}"), "client_uri": "https://client.example/about",
            "logo_uri": "https://client.example/logo.png", "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"], "token_endpoint_auth_method": "none",
            "redirect_uris": ["http://127.0.0.1/callback", "http://localhost/callback", "https://client.example/callback"],
        });
        host.publish(&format!("/usual/{number}"), usual);
        let mut uris: Vec<_> = (0..9).map(|n| format!("https://client.example/{}/{n}", "a".repeat(460))).collect();
        uris.insert(0, REDIRECT_URI.to_owned());
        let largest = json!({"client_name": "x".repeat(100), "redirect_uris": uris});
        host.publish(&format!("/largest/{number}"), largest);
    }
    println!("{} {}", host.port(), host.ca_path.display());
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// Resident memory in KiB.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

async fn authorize(gate: &TestGate, client: &TestClient, number: usize) {
    let [_, _, c, d] = u32::try_from(number / 50).unwrap().to_be_bytes();
    let address = IpAddr::V4(Ipv4Addr::new(198, 18, c, d));
    let answer = gate.send_from(address, gate.request("GET", &gate.authorize_path(client, &[])), "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Whether the documents of a kind stay within their memory.
async fn round(host: &Host, kind: &str) -> bool {
    let gate = TestGate::with(|config| config.outbound.ca_file = Some(CaFile::read(&host.ca_file).unwrap())).await;
    // what the first requests allocate once is not a document's
    for number in 0..100 {
        authorize(&gate, &host.client(kind, 0), number).await;
    }
    let before = resident();
    for number in 1..DOCUMENTS {
        if number % PER_HOUR == 0 {
            gate.clock.advance(Duration::from_hours(1));
        }
        authorize(&gate, &host.client(kind, number), number).await;
    }
    let grown = resident() - before;
    println!(
        "{DOCUMENTS} {kind} documents: +{} KiB, {} bytes each",
        grown,
        grown * 1024 / i64::try_from(DOCUMENTS).unwrap()
    );
    grown <= MOST_KIB
}

#[tokio::main]
async fn measure() -> ExitCode {
    let host = Host::start();
    let (usual, largest) = (round(&host, "usual").await, round(&host, "largest").await);
    if usual && largest {
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
