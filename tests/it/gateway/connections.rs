//! Which connections to an upstream are shared by several users (response smuggling), and what happens without one.

use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{gate_before, token, with};
use crate::support::gate::{TestGate, reach, upstream};
use crate::support::raw::{OK, RawUpstream, Wire};

const MESSAGE: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;

/// Calls with this method and content type, and lets the upstream answer on a new connection.
async fn exchange(
    gate: &TestGate,
    behind: &RawUpstream,
    token: &str,
    (method, kind): (&str, &str),
    says: &str,
) -> Wire {
    let body = if method == "POST" { MESSAGE } else { "" };
    let mut request = gate.request(method, "/mcp").header("authorization", format!("Bearer {token}"));
    if method == "POST" {
        request = request.header("content-type", kind).header("content-length", body.len());
    }
    let (_answer, wire) = tokio::join!(gate.send(request, body), async {
        let mut wire = behind.asked().await;
        wire.send(says).await;
        wire
    });
    // a connection goes back to the pool in a task of its own
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    wire
}

#[tokio::test]
async fn an_upstream_connection_is_reused_only_after_a_complete_exchange() {
    const JSON: &str = "application/json";
    for (method, kind, says, reused) in [
        ("POST", JSON, OK, true),
        ("POST", JSON, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", true),
        ("POST", JSON, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", true),
        ("POST", JSON, "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true),
        // a body may still come, and would be the next user's answer
        ("POST", JSON, "HTTP/1.1 204 No Content\r\n\r\n", false),
        ("POST", JSON, "HTTP/1.1 304 Not Modified\r\n\r\n", false),
        ("POST", JSON, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        // the request may not have been read: the rest of it would be the next request
        ("POST", JSON, "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}", false),
        ("POST", JSON, "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", false),
        ("POST", JSON, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}", false),
        // two framings: another reader may see another end
        (
            "POST",
            JSON,
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            false,
        ),
        ("POST", "text/plain", OK, false),
        ("GET", "", OK, false),
        ("GET", "", "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n", false),
        ("DELETE", "", OK, false),
        ("DELETE", "", "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", false),
        // bytes beyond the answer
        ("POST", JSON, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", false),
    ] {
        let behind = RawUpstream::start().await;
        let gate = gate_before(&behind.url()).await;
        let good = token(&gate).await;
        let mut wire = exchange(&gate, &behind, &good, (method, kind), says).await;
        let next = async {
            if reused {
                wire.request().await;
                wire.send(OK).await;
            } else {
                wire.closed().await;
                let mut another = behind.asked().await;
                another.send(OK).await;
            }
        };
        let (answer, ()) = tokio::join!(gate.call(&good), next);
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}"), "{method} {says}");
    }
}

/// Otherwise an upstream would keep the connections of an ended process until its own time-out.
#[tokio::test]
async fn closing_the_app_ends_idle_connections_at_once_and_busy_ones_after_their_answer() {
    const SOON: Duration = Duration::from_secs(2);
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let idle = exchange(&gate, &behind, &good, ("POST", "application/json"), OK).await;
    let (first, second) = (gate.call(&good), gate.call(&good));
    let (one, other, ()) = tokio::join!(first, second, async {
        let mut reused = idle;
        reused.request().await;
        let mut busy = behind.asked().await;
        reused.send(OK).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        gate.app.close().await;
        timeout(SOON, reused.closed()).await.expect("an idle connection ends before its time");
        busy.send(OK).await;
        timeout(SOON, busy.closed()).await.expect("a connection is not kept after its answer");
    });
    assert_eq!((one.status, other.status), (200, 200));
}

/// Bytes that an upstream writes after an answer without a body belong to no request.
#[tokio::test]
async fn response_smuggling_a_body_after_204_is_not_the_next_users_answer() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let mut wire =
        exchange(&gate, &behind, &good, ("POST", "application/json"), "HTTP/1.1 204 No Content\r\n\r\n").await;
    let (answer, ()) = tokio::join!(gate.call(&good), async {
        let mut another = behind.asked().await;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled").await;
        another.send(OK).await;
    });
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
}

#[tokio::test]
async fn a_connection_whose_request_was_not_written_whole_is_not_waited_for() {
    let behind = RawUpstream::start().await;
    let url = behind.url();
    let gate = TestGate::with(|config| {
        config.upstreams = vec![upstream(&config.public_url, "mcp", &url)];
        config.server.inspect_limit = 64 * 1024 * 1024;
    })
    .await;
    let good = token(&gate).await;
    let long = json!({"id": 1, "params": "x".repeat(32 * 1024 * 1024)}).to_string();
    let (early, mut wire) = tokio::join!(gate.call_with("/mcp", &good, long), async {
        let mut wire = behind.accept().await;
        wire.some(1024).await;
        wire.send(OK).await;
        wire
    });
    assert_eq!(early.status, 200);
    let (answer, _another) = tokio::join!(gate.call(&good), async {
        let mut another = behind.asked().await;
        another.send(OK).await;
        another
    });
    assert_eq!(answer.status, 200);
    wire.some(1024).await;
}

#[tokio::test]
async fn a_client_that_disconnects_closes_its_upstream_connection() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let wire = tokio::select! {
        answer = gate.call(&good) => panic!("{answer:?}"),
        wire = behind.asked() => wire,
    };
    wire.closed().await;
}

/// A gate in front of a port without a listener, and that port.
pub async fn before_a_restart(reconnect: Option<Duration>) -> (TestGate, std::net::SocketAddr) {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gate = TestGate::with(|config| {
        let mut upstream = upstream(&config.public_url, "mcp", &format!("http://{address}/backend"));
        reach(&mut upstream).reconnect = reconnect;
        config.upstreams = vec![upstream];
    })
    .await;
    (gate, address)
}

#[tokio::test]
async fn a_refused_connection_is_retried_until_the_server_is_back() {
    let (gate, address) = before_a_restart(Some(Duration::from_secs(4))).await;
    let good = token(&gate).await;
    let back = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let behind = RawUpstream::at(address).await;
        for _ in 0..3 {
            behind.asked().await.send(OK).await;
        }
    };
    let listen = [("accept", "text/event-stream")];
    let (post, get, delete, ()) =
        tokio::join!(gate.call(&good), with(&gate, &good, "GET", &listen), with(&gate, &good, "DELETE", &[]), back);
    assert_eq!((post.status, get.status, delete.status), (200, 200, 200));
}

#[tokio::test]
async fn a_server_that_stays_down_is_502_after_reconnect_or_at_once_without_it() {
    for (reconnect, least, methods) in [(Some(Duration::from_secs(1)), 500, &["POST"][..]), (None, 0, &["POST", "GET"])]
    {
        let (gate, _address) = before_a_restart(reconnect).await;
        let good = token(&gate).await;
        for method in methods {
            let began = tokio::time::Instant::now();
            let answer = with(&gate, &good, method, &[("accept", "text/event-stream")]).await;
            assert_eq!(answer.status, 502, "{method}: {answer:?}");
            let took = began.elapsed();
            assert!(took >= Duration::from_millis(least) && took < Duration::from_millis(least + 1500), "{took:?}");
        }
    }
}

#[tokio::test]
async fn a_request_that_was_sent_in_part_is_not_retried() {
    let behind = RawUpstream::start().await;
    let url = behind.url();
    let gate = TestGate::with(|config| {
        let mut upstream = upstream(&config.public_url, "mcp", &url);
        reach(&mut upstream).reconnect = Some(Duration::from_secs(4));
        config.upstreams = vec![upstream];
    })
    .await;
    let good = token(&gate).await;
    let (answer, ()) = tokio::join!(gate.call(&good), async {
        let mut wire = behind.accept().await;
        wire.some(16).await;
        drop(wire);
    });
    assert_eq!(answer.status, 502);
    assert!(behind.is_left_alone().await);
}
