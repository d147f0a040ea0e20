//! The access log: what the line of a request says, and that it is written when the response has ended.

use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};

use crate::support::gate::{TestGate, claims, upstream};
use crate::support::log::{Lines, watch};
use crate::support::raw::{OK, RawUpstream, SSE};
use crate::support::upstream::Upstream;

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"pay\nnow","arguments":{"card":"4711-secret"}}}"#;

async fn gate_before(url: &str) -> TestGate {
    TestGate::with(|config| config.upstreams = vec![upstream(&config.public_url, "mcp", url)]).await
}

async fn token(gate: &TestGate) -> String {
    let client = gate.register().await;
    gate.tokens(&client).await.access
}

/// The access lines so far.
fn requests(lines: &Lines) -> Vec<String> {
    lines.text().lines().filter(|line| line.contains(" access: ")).map(str::to_owned).collect()
}

fn assert_says(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

/// The fields that name the caller.
fn caller(token: &str) -> String {
    let claims = claims(token);
    format!("upstream=\"mcp\" subject={} client={}", claims["sub"], claims["client_id"])
}

fn call(gate: &TestGate, token: &str, message: &'static str) -> Request<Full<bytes::Bytes>> {
    let request = gate.request("POST", "/mcp").header("authorization", format!("Bearer {token}"));
    let request = request.header("content-type", "application/json").header("content-length", message.len());
    request.body(Full::new(message.into())).unwrap()
}

#[tokio::test]
async fn access_line_of_a_call_names_caller_tool_and_outcome_but_no_argument() {
    let behind = Upstream::polite().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let (lines, _guard) = watch();
    let answer = gate.call_with("/mcp", &good, CALL).await;
    let [line] = &requests(&lines)[..] else { panic!("{}", lines.text()) };
    let sizes = format!("request_bytes={} response_bytes={}", CALL.len(), answer.body.len());
    let named = r#"rpc="tools/call" tool="pay�now" decision="permitted""#;
    assert_says(line, &[&caller(&good), named, &sizes, "status=200", " milliseconds=", " head_milliseconds="]);
    for secret in ["4711-secret", "incomplete", &good] {
        assert!(!lines.text().contains(secret), "{secret}: {}", lines.text());
    }
}

#[tokio::test]
async fn access_line_says_that_a_message_was_forwarded_unread() {
    let behind = Upstream::polite().await;
    let url = behind.url();
    let gate = TestGate::with(|config| {
        config.upstreams = vec![upstream(&config.public_url, "mcp", &url)];
        config.server.inspect_limit = 1024;
    })
    .await;
    let good = token(&gate).await;
    let padded = format!("{CALL}{}", " ".repeat(1024));
    for (kind, message) in [
        ("application/json", &*padded),
        ("text/plain; application/json", CALL),
        ("application/json-patch+json", CALL),
        ("", CALL),
    ] {
        for declared in [true, false] {
            let (lines, _guard) = watch();
            let mut request = gate.request("POST", "/mcp").header("authorization", format!("Bearer {good}"));
            request = request.header("content-type", kind);
            if declared {
                request = request.header("content-length", message.len());
            }
            let frame = Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(message.to_owned())));
            let request = request.body(StreamBody::new(stream::iter([frame]))).unwrap();
            let response = gate.app.handle(request, "127.0.0.1:5000".parse().unwrap()).await;
            assert_eq!(response.status(), 200);
            response.into_body().collect().await.unwrap();
            assert_eq!(behind.last().body, message);
            let [line] = &requests(&lines)[..] else { panic!("{}", lines.text()) };
            assert_says(line, &[&caller(&good), "rpc=\"(not read)\" decision=\"permitted\""]);
        }
    }
    let (lines, _guard) = watch();
    gate.send(gate.request("DELETE", "/mcp").header("authorization", format!("Bearer {good}")), "").await;
    assert!(!lines.text().contains("rpc="), "{}", lines.text());
}

#[tokio::test]
async fn access_line_of_a_refused_call_names_the_refusal() {
    let gate = gate_before("http://127.0.0.1:9/mcp").await;
    let good = token(&gate).await;
    let (lines, _guard) = watch();
    gate.call("not.a.token").await;
    gate.send(gate.request("GET", "/mcp"), "").await;
    gate.send(gate.request("GET", "/mcp").header("origin", "https://evil.example"), "").await;
    let session = gate.request("GET", "/mcp").header("authorization", format!("Bearer {good}"));
    gate.send(session.header("mcp-session-id", "x.y"), "").await;
    gate.call(&good).await;
    let lines = requests(&lines);
    let decisions = ["invalid_token", "no_token", "origin", "unknown_session", "permitted"];
    let statuses = [401, 401, 403, 404, 502];
    assert_eq!(lines.len(), decisions.len(), "{lines:#?}");
    for ((line, decision), status) in lines.iter().zip(decisions).zip(statuses) {
        assert_says(line, &[&format!("decision=\"{decision}\""), &format!("status={status}"), "upstream=\"mcp\""]);
    }
    assert_says(&lines[3], &[&caller(&good)]);
    assert!(!lines[0].contains("subject="), "{}", lines[0]);
}

#[tokio::test]
async fn access_line_of_a_stream_is_written_at_its_end_with_all_bytes_sent() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let (lines, _guard) = watch();
    let peer = "127.0.0.1:5000".parse().unwrap();
    let (response, mut wire) = tokio::join!(gate.app.handle(call(&gate, &good, CALL), peer), async {
        let mut wire = behind.asked().await;
        wire.send(SSE).await;
        wire
    });
    assert!(requests(&lines).is_empty(), "{}", lines.text());
    wire.send("6\r\ndata:\n\r\n6\r\ndata:\n\r\n0\r\n\r\n").await;
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 12);
    let [line] = &requests(&lines)[..] else { panic!("{}", lines.text()) };
    assert_says(line, &[&caller(&good), "rpc=\"tools/call\"", "response_bytes=12", "status=200"]);
    assert!(!line.contains("incomplete"), "{line}");
}

#[tokio::test]
async fn access_line_tells_a_client_that_left_from_an_upstream_that_broke_off() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let (lines, _guard) = watch();
    let peer = "127.0.0.1:5000".parse().unwrap();
    for leaves in [true, false] {
        let (response, mut wire) = tokio::join!(gate.app.handle(call(&gate, &good, CALL), peer), async {
            let mut wire = behind.asked().await;
            wire.send(SSE).await;
            wire
        });
        wire.send("6\r\ndata:\n\r\n").await;
        let mut body = response.into_body();
        assert!(body.frame().await.unwrap().is_ok());
        drop(wire);
        if !leaves {
            assert!(body.frame().await.unwrap().is_err());
        }
    }
    let lines = requests(&lines);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_says(&lines[0], &[&caller(&good), "response_bytes=6", "incomplete=\"the client went away\""]);
    assert_says(&lines[1], &[&caller(&good), "response_bytes=6", "incomplete=\""]);
    assert!(!lines[1].contains("the client went away"), "{}", lines[1]);
}

#[tokio::test]
async fn access_line_of_a_client_that_hung_up_names_its_call() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let (lines, _guard) = watch();
    tokio::select! {
        answer = gate.call_with("/mcp", &good, CALL) => panic!("{answer:?}"),
        mut wire = behind.asked() => wire.send("").await,
    }
    let [line] = &requests(&lines)[..] else { panic!("{}", lines.text()) };
    let size = format!("request_bytes={}", CALL.len());
    assert_says(line, &[&caller(&good), "request without an answer", "tool=\"pay\u{fffd}now\"", &size]);
}

#[tokio::test]
async fn access_line_of_a_request_to_our_own_routes_has_no_fields_of_a_call() {
    let gate = TestGate::new().await;
    let (lines, _guard) = watch();
    gate.get("/.well-known/jwks.json").await;
    let request = gate.request("HEAD", "/.well-known/jwks.json").body(Full::new(bytes::Bytes::new())).unwrap();
    drop(gate.app.handle(request, "127.0.0.1:5000".parse().unwrap()).await);
    let lines = requests(&lines);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    for line in &lines {
        assert_says(line, &["request_id=q_", "path=\"/.well-known/jwks.json\"", "status=200", "address=127.0.0.1"]);
        for part in ["upstream", "subject", "client", "rpc", "tool", "decision", "incomplete"] {
            assert!(!line.contains(&format!(" {part}=")), "{part}: {line}");
        }
    }
}

#[tokio::test]
async fn a_misconfigured_proxy_in_front_is_warned_about_once() {
    let gate = TestGate::with(|config| config.server.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]).await;
    let (lines, _guard) = watch();
    let (proxy, stranger) = ("10.1.2.3".parse().unwrap(), "192.0.2.1".parse().unwrap());
    let ask = async |peer, forwarded: &[&str], version| {
        let request = gate.request("GET", "/.well-known/jwks.json").version(version);
        let request = forwarded.iter().fold(request, |request, value| request.header("x-forwarded-for", *value));
        assert_eq!(gate.send_from(peer, request, "").await.status, 200);
    };
    ask(proxy, &["203.0.113.9"], http::Version::HTTP_11).await;
    ask(stranger, &[], http::Version::HTTP_11).await;
    assert!(!lines.text().contains("hint:"), "{}", lines.text());
    for _ in 0..3 {
        ask(proxy, &[], http::Version::HTTP_11).await;
        ask(stranger, &[], http::Version::HTTP_10).await;
    }
    let text = lines.text();
    assert_eq!(text.matches("a trusted proxy sends no X-Forwarded-For").count(), 1, "{text}");
    assert_eq!(text.matches("a peer speaks HTTP/1.0").count(), 1, "{text}");
}

#[tokio::test]
async fn a_health_check_of_a_load_balancer_is_not_taken_for_a_misconfigured_proxy() {
    let gate = TestGate::with(|config| config.server.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]).await;
    let (lines, _guard) = watch();
    let check = Request::builder().method("OPTIONS").uri("/").version(http::Version::HTTP_10);
    assert_eq!(gate.send_from("10.1.2.3".parse().unwrap(), check, "").await.status, 400);
    assert!(!lines.text().contains("hint:"), "{}", lines.text());
}

#[tokio::test]
async fn a_response_is_complete_when_its_declared_length_was_sent() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let (lines, _guard) = watch();
    let (response, _wire) =
        tokio::join!(gate.app.handle(call(&gate, &good, CALL), "127.0.0.1:5000".parse().unwrap()), async {
            let mut wire = behind.asked().await;
            wire.send(OK).await;
            wire
        });
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "{}");
    // as hyper does, which does not poll again
    drop(body);
    let [line] = &requests(&lines)[..] else { panic!("{}", lines.text()) };
    assert!(line.contains("response_bytes=2") && !line.contains("incomplete"), "{line}");
}
