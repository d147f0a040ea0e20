//! Upstreams that redirect a call instead of answering it (SSRF).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::{gate_at, token, with};
use crate::support::gate::{Answer, TestGate};
use crate::support::log::watch;
use crate::support::upstream::{Answer as Answered, Seen, Upstream, answer};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A server whose `/backend` redirects, and which answers at `/there`.
async fn elsewhere(redirect: impl Fn(&Seen) -> Answered + Send + Sync + 'static) -> Upstream {
    Upstream::start(
        move |seen| if seen.uri.starts_with("/there") { answer(200, &[JSON], "{}") } else { redirect(seen) },
    )
    .await
}

fn here(seen: &Seen, path: &str) -> String {
    format!("http://{}{path}", seen.header("host").unwrap())
}

async fn upload(gate: &TestGate, token: &str, kind: &str) -> Answer {
    let request = gate.request("POST", "/mcp").header("authorization", format!("Bearer {token}"));
    gate.send(request.header("content-type", kind), Bytes::from_static(b"{}")).await
}

#[tokio::test]
async fn an_upstream_redirect_on_its_own_origin_is_followed_with_method_and_body() {
    for status in [307, 308] {
        let behind = elsewhere(move |seen| {
            let location = here(seen, "/there?a=1");
            answer(status, &[("location", &location)], "")
        })
        .await;
        let gate = gate_at(&behind).await;
        let good = token(&gate).await;
        let (lines, _guard) = watch();
        for _ in 0..3 {
            assert_eq!(gate.call(&good).await.status, 200);
            let seen = behind.last();
            assert_eq!((seen.method.as_str(), seen.uri.as_str()), ("POST", "/there?a=1"));
            assert_eq!(
                (seen.header("content-length"), seen.header("x-forwarded-user")),
                (Some("46"), Some("local|alice"))
            );
            assert_eq!(&*seen.body, br#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#);
        }
        let text = lines.text();
        let told = text.lines().filter(|line| line.contains("redirects each call")).count();
        assert!(told == 1 && text.contains("from=\"/backend\" to=\"/there\""), "{text}");
        for method in ["GET", "DELETE"] {
            assert_eq!(with(&gate, &good, method, &[("accept", "text/event-stream")]).await.status, 200);
            assert_eq!((behind.last().method.as_str(), behind.last().uri.as_str()), (method, "/there?a=1"));
        }
    }
}

#[tokio::test]
async fn the_first_redirect_costs_one_call_and_later_ones_are_followed() {
    let moved = Arc::new(AtomicBool::new(false));
    let has_moved = Arc::clone(&moved);
    let behind = elsewhere(move |seen| {
        let location = here(seen, "/there");
        if has_moved.load(Ordering::SeqCst) {
            answer(307, &[("location", &location)], "")
        } else {
            answer(200, &[JSON], "{}")
        }
    })
    .await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    assert_eq!(gate.call(&good).await.status, 200);
    moved.store(true, Ordering::SeqCst);
    let (lines, _guard) = watch();
    assert_eq!(gate.call(&good).await.status, 502);
    assert!(lines.text().contains("later calls follow the redirect"), "{}", lines.text());
    for _ in 0..2 {
        assert_eq!(gate.call(&good).await.status, 200);
        assert_eq!(behind.last().uri, "/there");
    }
}

/// uvicorn writes the scheme of our `X-Forwarded-Proto` into its redirects.
#[tokio::test]
async fn a_redirect_with_our_forwarded_scheme_counts_as_the_same_origin() {
    let behind = elsewhere(|seen| {
        let location = here(seen, "/there").replace("http://", "https://");
        answer(307, &[("location", &location)], "")
    })
    .await;
    let gate = gate_at(&behind).await;
    assert_eq!(gate.call(&token(&gate).await).await.status, 200);
}

#[tokio::test]
async fn other_upstream_redirects_are_502_and_logged_with_a_hint() {
    for (status, location, hint) in [
        (
            307,
            "http://evil.example/mcp?code=secret",
            "to http://evil.example/mcp: redirects to another origin are not followed",
        ),
        (308, "https://user:secret@127.0.0.1/", "another origin"),
        (302, "/there", "only 307 and 308 keep the method"),
        (301, "/there", "only 307 and 308 keep the method"),
        (303, "/there", "only 307 and 308 keep the method"),
        (300, "/there", "only 307 and 308 keep the method"),
        (307, "/backend", "more than 2 redirects"),
    ] {
        let behind = elsewhere(move |_| answer(status, &[("location", location)], "moved")).await;
        let gate = gate_at(&behind).await;
        let good = token(&gate).await;
        let (lines, _guard) = watch();
        let answered = gate.call(&good).await;
        assert_eq!((answered.status, answered.header("location")), (502, ""), "{location}");
        assert_eq!(answered.json()["id"], 7);
        let text = lines.text();
        assert!(text.contains(hint) && text.contains("set `url`") && !text.contains("secret"), "{text}");
        assert!(!answered.body.contains("127.0.0.1") && !answered.body.contains("evil"), "{answered:?}");
    }
}

#[tokio::test]
async fn a_redirect_without_location_is_502_with_a_hint_and_304_passes() {
    for status in [300, 301, 302, 303, 305, 306, 307, 308, 399, 304] {
        let behind = elsewhere(move |_| answer(status, &[], "")).await;
        let gate = gate_at(&behind).await;
        let good = token(&gate).await;
        let (lines, _guard) = watch();
        let answered = gate.call(&good).await;
        assert_eq!(answered.status, if status == 304 { 304 } else { 502 }, "{answered:?}");
        let text = lines.text();
        assert_eq!(text.contains("to no address") && text.contains("no address: set `url`"), status != 304, "{text}");
    }
}

#[tokio::test]
async fn a_streamed_body_cannot_follow_a_redirect_and_the_log_says_so() {
    let behind = elsewhere(|_| answer(307, &[("location", "/there")], "")).await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    assert_eq!(upload(&gate, &good, "application/json").await.status, 200);
    let (lines, _guard) = watch();
    assert_eq!(upload(&gate, &good, "text/plain").await.status, 502);
    let text = lines.text();
    assert!(text.contains("the body of this call was not kept for resending"), "{text}");
}

#[tokio::test]
async fn location_headers_never_reveal_an_inner_address() {
    for status in [200, 201, 202, 404, 304] {
        let behind = Upstream::start(move |seen| {
            let place = here(seen, "/things/1");
            answer(status, &[("location", &place), ("content-location", &place), ("x-own", "stays")], "")
        });
        let behind = behind.await;
        let gate = gate_at(&behind).await;
        let answered = gate.call(&token(&gate).await).await;
        let expected = if status == 304 { 502 } else { status };
        assert_eq!(answered.status, expected);
        assert_eq!((answered.header("location"), answered.header("content-location")), ("", ""), "{status}");
    }
}
