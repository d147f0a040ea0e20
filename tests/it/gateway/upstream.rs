//! Upstreams that fail, stall or misbehave, and which requests are retried.

use std::io::{Read, Write};
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt;

use super::{gate_at, gate_before, token, with};
use crate::support::gate::{Answer, NOT_LISTENING, TestGate, reach, upstream};
use crate::support::log::watch;
use crate::support::raw::{OK, RawUpstream, Wire};
use crate::support::upstream::{Upstream, answer};

#[tokio::test]
async fn an_upstream_that_is_down_is_502_with_the_calls_own_id() {
    let gate = gate_before(NOT_LISTENING).await;
    let good = token(&gate).await;
    let answer = gate.call_with("/mcp", &good, r#"{"jsonrpc":"2.0","id":"a\u0041","method":"x"}"#).await;
    assert_eq!(answer.status, 502);
    assert!(answer.body.contains(r#""id":"a\u0041""#), "{answer:?}");
    assert!(answer.body.contains(answer.header("x-request-id")));
    assert!(!answer.body.contains("127.0.0.1:9"), "the client does not learn the upstream's address");
}

#[tokio::test]
async fn upstream_401_403_and_421_become_502_with_a_hint() {
    let behind = Upstream::start(|_| answer(401, &[("www-authenticate", "Bearer realm=\"theirs\"")], "no")).await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    let answered = gate.call(&good).await;
    assert_eq!(answered.status, 502);
    assert!(answered.header("www-authenticate").is_empty());
    let mut error = answered.json();
    error["error"]["data"]["request_id"] = json!("[id]");
    insta::assert_json_snapshot!(error, @r#"
    {
      "error": {
        "code": -32603,
        "data": {
          "request_id": "[id]"
        },
        "message": "the MCP server behind the gateway (Server mcp) refused its call (401): its own authentication must be switched off"
      },
      "id": 7,
      "jsonrpc": "2.0"
    }
    "#);

    for (status, hint) in [(401, "its own authentication"), (403, "`host`"), (421, "`host`")] {
        let behind =
            Upstream::start(move |_| answer(status, &[("www-authenticate", "Bearer scope=\"x\"")], "no")).await;
        let gate = gate_at(&behind).await;
        let good = token(&gate).await;
        for method in ["POST", "GET", "DELETE"] {
            let (lines, _guard) = watch();
            let answered = with(&gate, &good, method, &[]).await;
            assert_eq!(answered.status, 502, "{method} {status}");
            assert!(answered.header("www-authenticate").is_empty());
            let words = format!("({status})");
            assert!(answered.json()["error"]["message"].as_str().unwrap().contains(&words), "{answered:?}");
            let text = lines.text();
            assert!(text.contains(&format!("upstream mcp answered {status}")) && text.contains(hint), "{text}");
        }
    }
}

#[tokio::test]
async fn an_upstream_is_called_under_its_configured_host() {
    let behind = Upstream::polite().await;
    let url = behind.url();
    let gate = TestGate::with(|config| {
        let mut upstream = upstream(&config.public_url, "mcp", &url);
        reach(&mut upstream).host = Some(http::HeaderValue::from_static("localhost:8080"));
        config.upstreams = vec![upstream];
    })
    .await;
    let good = token(&gate).await;
    for method in ["POST", "GET", "DELETE"] {
        assert_eq!(with(&gate, &good, method, &[]).await.status, 200);
        assert_eq!(behind.last().headers.get_all("host").iter().collect::<Vec<_>>(), ["localhost:8080"]);
    }
}

#[tokio::test]
async fn first_byte_limits_how_long_an_upstream_may_wait_to_answer() {
    let behind = RawUpstream::start().await;
    let url = behind.url();
    let gate = TestGate::with(|config| {
        let mut upstream = upstream(&config.public_url, "mcp", &url);
        reach(&mut upstream).first_byte = Duration::from_secs(90);
        config.upstreams = vec![upstream];
    })
    .await;
    let good = token(&gate).await;
    let (answer, (began, _wire)) = tokio::join!(gate.call(&good), async {
        let wire = behind.asked().await;
        tokio::time::pause();
        (tokio::time::Instant::now(), wire)
    });
    assert_eq!((answer.status, began.elapsed().as_secs().div_ceil(10)), (504, 9), "{answer:?}");
}

async fn get(gate: &TestGate, token: &str) -> Answer {
    gate.send(gate.request("GET", "/mcp").header("authorization", format!("Bearer {token}")), "").await
}

#[tokio::test]
async fn an_upstream_that_never_answers_a_call_is_504_after_five_minutes() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let (answer, (began, _wire)) = tokio::join!(gate.call(&good), async {
        let wire = behind.asked().await;
        // from here on time passes whenever all tasks are idle
        tokio::time::pause();
        (tokio::time::Instant::now(), wire)
    });
    assert_eq!(answer.status, 504, "{answer:?}");
    assert_eq!(began.elapsed().as_secs().div_ceil(60), 5);
    assert_eq!(answer.json()["id"], 7);
}

#[tokio::test]
async fn a_get_has_no_first_byte_limit() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let (answer, _wire) = tokio::join!(get(&gate, &good), async {
        let mut wire = behind.asked().await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_hours(1)).await;
        tokio::time::resume();
        wire.send(OK).await;
        wire
    });
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
}

#[tokio::test]
async fn a_tls_handshake_that_stalls_is_504_within_five_seconds() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.tls_url()).await;
    let good = token(&gate).await;
    let (answer, (began, _wire)) = tokio::join!(gate.call(&good), async {
        let mut wire = behind.accept().await;
        wire.some(1).await;
        tokio::time::pause();
        (tokio::time::Instant::now(), wire)
    });
    // timers count in whole milliseconds
    assert!(began.elapsed() <= Duration::from_millis(5_010), "{:?}", began.elapsed());
    assert_eq!(answer.status, 504, "{answer:?}");
    assert_eq!(answer.json()["id"], 7);
}

#[tokio::test]
async fn an_upstream_that_switches_protocols_or_speaks_no_http_is_502() {
    for words in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "SSH-2.0-OpenSSH_9.9\r\n",
    ] {
        let behind = RawUpstream::start().await;
        let gate = gate_before(&behind.url()).await;
        let good = token(&gate).await;
        let (answer, _wire) = tokio::join!(gate.call(&good), async {
            let mut wire = behind.asked().await;
            wire.send(words).await;
            wire
        });
        assert_eq!(answer.status, 502, "{words}");
    }
}

/// A gate, a token, and the connection of a first call with it, which was answered.
async fn connected(behind: &RawUpstream) -> (TestGate, String, Wire) {
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let (answer, wire) = tokio::join!(gate.call(&good), async {
        let mut wire = behind.asked().await;
        wire.send(OK).await;
        wire
    });
    assert_eq!(answer.status, 200);
    (gate, good, wire)
}

/// Lets time pass while no task waits for I/O.
async fn pass(duration: Duration) {
    // a connection goes back to the pool in a task of its own
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

#[tokio::test]
async fn an_idle_connection_is_closed_before_servers_close_it() {
    let behind = RawUpstream::start().await;
    let (gate, good, mut wire) = connected(&behind).await;
    pass(Duration::from_secs(3)).await;
    let (second, ()) = tokio::join!(gate.call(&good), async {
        wire.request().await;
        wire.send(OK).await;
    });
    // servers close idle connections after five seconds: a call at that moment would be lost
    pass(Duration::from_millis(4_100)).await;
    let (third, _another) = tokio::join!(gate.call(&good), async {
        let mut another = behind.asked().await;
        another.send(OK).await;
        another
    });
    assert_eq!((second.status, third.status), (200, 200));
    wire.closed().await;
}

/// The upstream closes an idle connection at the moment in which a request is handed to it. The test blocks the runtime's
/// only thread until the kernel has both events: a signal to the test, and the end of the connection. The test is polled
/// first and hands the request over; then the connection's task finds the end, with the request unsent.
#[tokio::test]
async fn a_request_whose_bytes_never_left_is_retried() {
    let listen = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (listener, signals) = (listen(), listen());
    let address = listener.local_addr().unwrap();
    let mut signalled = tokio::net::TcpStream::connect(signals.local_addr().unwrap()).await.unwrap();
    let (go, told) = std::sync::mpsc::channel();
    let (done, closed) = std::sync::mpsc::channel();
    let upstream = std::thread::spawn(move || {
        let mut signal = signals.accept().unwrap().0;
        let mut first = listener.accept().unwrap().0;
        answer_one(&mut first);
        told.recv().unwrap();
        signal.write_all(b"!").unwrap();
        drop(first);
        done.send(()).unwrap();
        answer_one(&mut listener.accept().unwrap().0);
    });
    let gate = gate_before(&format!("http://{address}/backend")).await;
    let good = token(&gate).await;
    assert_eq!(gate.call(&good).await.status, 200);
    // the connection goes back to the pool in a task of its own
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    go.send(()).unwrap();
    closed.recv().unwrap();
    signalled.read_u8().await.unwrap();
    let answer = gate.call(&good).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    upstream.join().unwrap();
}

/// Reads a call to its end and answers it.
fn answer_one(stream: &mut std::net::TcpStream) {
    let mut seen = Vec::new();
    while !seen.ends_with(br#""method":"tools/list"}"#) {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "a whole request comes");
        seen.extend(&piece[..count]);
    }
    stream.write_all(OK.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_request_that_was_written_in_part_is_502_and_not_retried() {
    let behind = RawUpstream::start().await;
    let (gate, good, mut wire) = connected(&behind).await;
    let long = json!({"jsonrpc": "2.0", "id": 8, "method": "x", "params": "x".repeat(1_000_000)}).to_string();
    let (answer, ()) = tokio::join!(gate.call_with("/mcp", &good, long), async {
        // the same connection: only a request on a reused connection could be retried
        wire.some(16).await;
        drop(wire);
    });
    assert_eq!(answer.status, 502, "{answer:?}");
    assert_eq!(answer.json()["id"], 8);
    assert!(behind.is_left_alone().await, "no second connection");
}

#[tokio::test]
async fn a_request_that_was_read_but_not_answered_is_502_and_not_retried() {
    let behind = RawUpstream::start().await;
    let (gate, good, mut wire) = connected(&behind).await;
    let (answer, ()) = tokio::join!(gate.call(&good), async {
        wire.request().await;
        drop(wire);
    });
    assert_eq!(answer.status, 502, "{answer:?}");
    assert!(behind.is_left_alone().await, "no second connection");
}

#[tokio::test]
async fn upstream_failures_are_logged_in_detail_and_the_client_learns_no_address() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plain = RawUpstream::start().await;
    let silent = RawUpstream::start().await;
    let speaks = async |behind: &RawUpstream, text: &str| {
        let mut wire = behind.accept().await;
        wire.some(16).await;
        wire.send(text).await;
    };
    for (url, words) in [
        (format!("http://{closed}/"), format!("cannot be reached: {closed} refuses the connection: nothing listens")),
        (plain.tls_url(), "does not speak TLS on this port: is the address http?".to_owned()),
        (silent.url(), "upstream mcp broke off: ".to_owned()),
    ] {
        let gate = gate_before(&url).await;
        let good = token(&gate).await;
        let (lines, _guard) = watch();
        let answer = tokio::select! {
            answer = gate.call(&good) => answer,
            () = async {
                tokio::join!(speaks(&plain, "HTTP/1.1 400 Bad Request\r\n\r\n"), speaks(&silent, ""));
            } => unreachable!("each is asked once"),
        };
        assert_eq!(answer.status, 502, "{answer:?}");
        let text = lines.text();
        assert!(text.contains(&words), "{words} is not in {text}");
        assert!(!answer.body.contains("127.0.0.1"), "{answer:?}");
    }
}

#[tokio::test]
async fn the_upstream_gets_the_length_that_was_read() {
    let behind = Upstream::polite().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    for kind in ["application/json", "text/plain"] {
        let request = gate
            .request("POST", "/mcp")
            .header("authorization", format!("Bearer {good}"))
            .header("content-type", kind)
            .header("content-length", "010");
        assert_eq!(gate.send(request, r#"{"id": 10}"#).await.status, 200);
        assert_eq!((behind.last().header("content-length"), &*behind.last().body), (Some("10"), &br#"{"id": 10}"#[..]));
    }
}

#[tokio::test]
async fn a_204_answer_is_passed_on_without_length_and_body() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let (answer, _wire) = tokio::join!(gate.call(&good), async {
        let mut wire = behind.asked().await;
        wire.send("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nnext").await;
        wire
    });
    assert_eq!((answer.status, answer.header("content-length"), answer.body.as_str()), (204, "", ""));
}
