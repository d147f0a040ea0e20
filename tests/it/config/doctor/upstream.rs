//! MCP servers.

use std::time::Duration;

use portcullis::clock::Clock;

use super::{MCP, file, findings_of, free, greeted, ids, keycloak, operator};
use crate::support::provider::FakeProvider;
use crate::support::upstream::{Answer, Seen, Upstream, answer};

/// The findings about an MCP server, and the key of each.
async fn found(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> (Vec<(String, String)>, Upstream) {
    let behind = Upstream::start(script).await;
    let provider = FakeProvider::start(&Clock::system()).await;
    let text = file("http://127.0.0.1:1", &keycloak(&provider.issuer(), ""), &format!("url = \"{}\"", behind.url()));
    let findings = findings_of(&operator(), &text);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (findings.iter().map(|finding| (text(&finding["id"]), text(&finding["key"]))).collect(), behind)
}

const ERROR: &str = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}"#;
const HTML: &[(&str, &str)] = &[("content-type", "text/html")];
const EVENTS: &[(&str, &str)] = &[("content-type", "text/event-stream")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_wrong_answer_of_an_mcp_server_is_found() {
    for (status, headers, body, id, key) in [
        (401, MCP, "", "upstream.credentials", "headers"),
        (404, MCP, "not found", "upstream.path", "url"),
        (421, MCP, "", "upstream.host", "host"),
        (403, MCP, "Invalid Host header", "upstream.host", "host"),
        (200, HTML, "<html>", "upstream.web_page", "url"),
        (500, MCP, "", "upstream.fails", "url"),
        (405, MCP, "", "upstream.not_mcp", "url"),
        (200, MCP, "{}", "upstream.not_mcp", "url"),
        (200, MCP, ERROR, "upstream.not_mcp", "url"),
        (307, &[("location", "https://mcp.example.com/mcp/")], "", "upstream.redirects", "url"),
    ] {
        let (found, _behind) = found(move |_| answer(status, headers, body)).await;
        assert_eq!(found, [(id.to_owned(), key.to_owned())], "{status} {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_the_former_transport_is_told_from_a_wrong_path() {
    let (found, _behind) = found(|seen| match seen.method.as_str() {
        "GET" => answer(200, EVENTS, "event: endpoint\ndata: /messages/\n\n"),
        _ => answer(405, MCP, ""),
    })
    .await;
    assert_eq!(found, [("upstream.old_transport".to_owned(), "url".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_of_each_call_is_a_warning() {
    let (found, _behind) = found(|seen| match seen.uri.as_str() {
        "/backend" => answer(307, &[("location", "/backend/")], ""),
        _ => greeted(),
    })
    .await;
    assert_eq!(found, [("upstream.redirects_each_call".to_owned(), "url".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slow_server_is_a_warning() {
    let (found, _behind) = found(|seen| {
        if seen.method == "POST" {
            // the provider runs here, too, and must not wait
            tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(5200)));
        }
        greeted()
    })
    .await;
    assert_eq!(found, [("upstream.slow".to_owned(), "url".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_both_wires_are_well_and_an_opened_session_is_closed() {
    let (found_in, behind) = found(|seen| match seen.method.as_str() {
        "POST" => answer(
            200,
            &[("content-type", "text/event-stream"), ("mcp-session-id", "s-1")],
            "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n",
        ),
        _ => answer(405, MCP, ""),
    })
    .await;
    assert_eq!(found_in, []);
    let seen = behind.seen.lock().unwrap().clone();
    let closed = seen.iter().find(|seen| seen.method == "DELETE").expect("the session is closed");
    assert_eq!(closed.header("mcp-session-id"), Some("s-1"));

    // a server of 2026-07-28 knows no `initialize`
    let (found_in, behind) = found(|seen| match seen.header("mcp-method") {
        Some("server/discover") => greeted(),
        _ => answer(404, MCP, ERROR),
    })
    .await;
    assert_eq!(found_in, []);
    assert!(behind.seen.lock().unwrap().iter().all(|seen| seen.method != "DELETE"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_found() {
    let provider = FakeProvider::start(&Clock::system()).await;
    let text =
        file("http://127.0.0.1:1", &keycloak(&provider.issuer(), ""), &format!("url = \"http://{}/mcp\"", free()));
    assert_eq!(ids(&findings_of(&operator(), &text)), ["upstream.unreachable"]);
}
