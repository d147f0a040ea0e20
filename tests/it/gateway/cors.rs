//! Which web pages may call (CSRF, CORS).

use super::{gate_at, token, with};
use crate::support::gate::{TestGate, upstream};
use crate::support::upstream::Upstream;

#[tokio::test]
async fn csrf_only_our_own_origin_may_call() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    let evil = with(&gate, &good, "POST", &[("origin", "https://evil.example")]).await;
    assert_eq!(evil.status, 403);
    assert!(evil.header("www-authenticate").is_empty() && evil.header("access-control-allow-origin").is_empty());
    for origin in ["null", "http://127.0.0.1:6749.evil.example", "http://127.0.0.1"] {
        assert_eq!(with(&gate, &good, "POST", &[("origin", origin)]).await.status, 403, "{origin}");
    }
    assert_eq!(behind.count(), 0);
    let ours = with(&gate, &good, "POST", &[("origin", "http://127.0.0.1:6749")]).await;
    assert_eq!((ours.status, ours.header("access-control-allow-origin")), (200, "http://127.0.0.1:6749"));
    assert!(behind.last().header("origin").is_none());
}

#[tokio::test]
async fn cors_preflights_are_answered_without_a_token() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let preflight = |origin: &str| {
        gate.request("OPTIONS", "/mcp")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization, Mcp-Param-Region, x-evil")
    };
    let answer = gate.send(preflight("http://127.0.0.1:6749"), "").await;
    assert_eq!(answer.status, 204);
    let allowed = answer.header("access-control-allow-headers");
    assert!(allowed.contains("authorization") && allowed.contains("Mcp-Param-Region") && !allowed.contains("x-evil"));
    assert_eq!(gate.send(preflight("https://evil.example"), "").await.status, 403);
    assert_eq!(behind.count(), 0);
    let denied = gate.send(gate.request("POST", "/mcp").header("origin", "http://127.0.0.1:6749"), "").await;
    assert_eq!(denied.status, 401);
    assert!(denied.header("access-control-expose-headers").contains("www-authenticate"));
}

#[tokio::test]
async fn origins_in_allowed_origins_may_call() {
    let behind = Upstream::polite().await;
    for (origins, loopback, origin, allowed) in [
        (vec!["https://app.example.com"], false, "https://app.example.com", true),
        (vec!["https://app.example.com"], false, "https://app.example.com:8443", false),
        (vec!["*"], false, "https://anything.example", true),
        (vec![], true, "http://localhost:6274", true),
        (vec![], true, "http://localhost.evil.example:6274", false),
        (vec![], false, "http://localhost:6274", false),
    ] {
        let url = behind.url();
        let gate = TestGate::with(|config| {
            config.upstreams = vec![upstream(&config.public_url, "mcp", &url)];
            config.server.allowed_origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
            config.server.loopback_origins = loopback;
        })
        .await;
        let answer = gate.send(gate.request("POST", "/mcp").header("origin", origin), "").await;
        assert_eq!(answer.status, if allowed { 401 } else { 403 }, "{origin} with {origins:?}");
        let read = answer.header("access-control-allow-origin");
        assert_eq!(read, if allowed { origin } else { "" });
    }
}
