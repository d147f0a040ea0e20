//! Request ids: every log line of a request carries the id that its answer shows.

use std::time::Duration;

use http_body_util::{BodyExt, Full};

use crate::support::bench::Bench;
use crate::support::browser::Browser;
use crate::support::gate::{Answer, TestGate, reach, tokens, upstream};
use crate::support::log::{Lines, watch};
use crate::support::raw::RawUpstream;

/// Every line names this request and no other, once; some line is another than that of the access log.
fn assert_all_name(lines: &Lines, id: &str) {
    let text = lines.text();
    assert!(id.starts_with("q_"), "{id}");
    for line in text.lines() {
        assert_eq!((line.matches(id).count(), line.matches("q_").count()), (1, 1), "{id}: {line}");
        assert_eq!(line.matches("address=127.0.0.1").count(), 1, "{line}");
    }
    assert!(text.lines().any(|line| !line.contains(" access: ")), "{text}");
    assert_eq!(text.matches(" access: ").count(), 1, "{text}");
}

fn id(answer: &Answer) -> &str {
    answer.header("x-request-id")
}

#[tokio::test]
async fn every_line_of_a_failing_token_request_names_it() {
    let mut bench = Bench::new().await;
    let first = bench.tokens().await;
    tokens(&bench.gate.refresh(&bench.client, &first.refresh).await);
    bench.gate.clock.advance(Duration::from_secs(30));
    let (lines, _guard) = watch();
    let replayed = bench.gate.refresh(&bench.client, &first.refresh).await;
    assert_eq!(replayed.error(), "invalid_grant");
    bench.gate.settle().await;
    assert!(lines.text().contains("grant ended"), "{}", lines.text());
    assert_all_name(&lines, id(&replayed));
}

#[tokio::test]
async fn every_line_of_a_revocation_that_a_request_began_names_the_request() {
    let mut bench = Bench::new().await;
    let first = bench.tokens().await;
    tokens(&bench.gate.refresh(&bench.client, &first.refresh).await);
    bench.gate.clock.advance(Duration::from_secs(30));
    bench.provider.stop().await;
    let (lines, _guard) = watch();
    let replayed = bench.gate.refresh(&bench.client, &first.refresh).await;
    bench.gate.settle().await;
    let text = lines.text();
    let failed = text.lines().find(|line| line.contains("could not be revoked"));
    assert!(failed.unwrap_or_else(|| panic!("{text}")).contains(id(&replayed)), "{text}");
}

#[tokio::test]
async fn every_line_of_a_callback_with_the_providers_error_names_it() {
    let mut bench = Bench::new().await;
    let url = bench.approve().await;
    let error = bench.error(&url, "server_error");
    let (lines, _guard) = watch();
    let answer = bench.back(&error).await;
    assert!(lines.text().contains("the identity provider answered with an error"), "{}", lines.text());
    assert_all_name(&lines, id(&answer));
}

#[tokio::test]
async fn a_line_that_is_written_while_an_answer_streams_names_its_request() {
    let behind = RawUpstream::start().await;
    let url = behind.url();
    let gate = TestGate::with(|config| config.upstreams = vec![upstream(&config.public_url, "mcp", &url)]).await;
    let good = gate.tokens(&gate.register().await).await.access;
    let (lines, _guard) = watch();
    let request = gate.request("GET", "/mcp").header("authorization", format!("Bearer {good}"));
    let request = request.header("accept", "text/event-stream").body(Full::new(bytes::Bytes::new())).unwrap();
    let (answer, mut wire) = tokio::join!(gate.app.handle(request, "127.0.0.1:5000".parse().unwrap()), behind.asked());
    assert_eq!(lines.text(), "", "nothing was logged before the body");
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    wire.send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n").await;
    let mut body = answer.into_body();
    for _ in 0..2 {
        body.frame().await.unwrap().unwrap();
    }
    drop(body);
    assert!(lines.text().contains("an event stream that was opened before"), "{}", lines.text());
    assert_all_name(&lines, &id);
}

#[tokio::test]
async fn every_line_of_a_call_whose_upstream_is_down_names_it() {
    let gate = TestGate::with(|config| {
        let mut upstream = upstream(&config.public_url, "mcp", "http://127.0.0.1:9/mcp");
        reach(&mut upstream).reconnect = None;
        config.upstreams = vec![upstream];
    })
    .await;
    let good = gate.tokens(&gate.register().await).await.access;
    let (lines, _guard) = watch();
    let answer = gate.call(&good).await;
    assert_eq!(answer.status, 502);
    let text = lines.text();
    assert!(!text.is_empty() && text.lines().all(|line| line.matches(id(&answer)).count() == 1), "{text}");
}
#[tokio::test]
async fn every_line_of_a_wrong_password_names_the_request() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let (lines, _guard) = watch();
    gate.send_password(("alice", "wrong"), &mut Browser::default(), &client, &[]).await;
    let text = lines.text();
    let failed = text.lines().find(|line| line.contains("sign-in failed")).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(failed.matches("request_id=q_").count(), 1, "{failed}");
    assert_eq!(failed.matches("address=127.0.0.1").count(), 1, "{failed}");
}
