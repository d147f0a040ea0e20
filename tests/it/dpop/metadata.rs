//! What is announced, which is what is enforced and nothing else.

use portcullis::config::BoundTokens;
use serde_json::{Value, json};

use crate::support::dpop::{Holder, optional, redeem, take};
use crate::support::gate::{TestGate, WORKS, tokens};

async fn announced(gate: &TestGate) -> (Value, Value, Value) {
    let server = gate.get("/.well-known/oauth-authorization-server").await.json();
    let resource = gate.get("/.well-known/oauth-protected-resource/mcp").await.json();
    let member = |document: &Value, name: &str| document.get(name).cloned().unwrap_or_default();
    (
        member(&server, "dpop_signing_alg_values_supported"),
        member(&resource, "dpop_signing_alg_values_supported"),
        member(&resource, "dpop_bound_access_tokens_required"),
    )
}

#[tokio::test]
async fn metadata_announces_proofs_exactly_where_they_are_checked() {
    let algorithms = json!(["ES256", "Ed25519", "EdDSA", "PS256", "RS256"]);
    for (takes, supported, required) in [
        (BoundTokens::Off, Value::Null, Value::Null),
        (BoundTokens::Optional, algorithms.clone(), Value::Null),
        (BoundTokens::Required, algorithms.clone(), json!(true)),
    ] {
        let gate = TestGate::with(|config| take(config, takes)).await;
        assert_eq!(announced(&gate).await, (supported.clone(), supported, required), "{takes:?}");
    }
}

#[tokio::test]
async fn challenges_name_the_schemes_that_the_upstream_takes() {
    for takes in [BoundTokens::Off, BoundTokens::Optional, BoundTokens::Required] {
        let gate = TestGate::with(|config| take(config, takes)).await;
        let answer = gate.send(gate.request("POST", "/mcp"), "").await;
        assert_eq!(answer.status, 401);
        let challenges: Vec<_> =
            answer.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect();
        let rest =
            r#"scope="mcp:access", resource_metadata="http://127.0.0.1:6749/.well-known/oauth-protected-resource/mcp""#;
        let bearer = format!("Bearer {rest}");
        let dpop = format!(r#"DPoP algs="ES256 Ed25519 EdDSA PS256 RS256", {rest}"#);
        let expected = match takes {
            BoundTokens::Off => vec![bearer],
            BoundTokens::Optional => vec![bearer, dpop],
            BoundTokens::Required => vec![dpop],
        };
        assert_eq!(challenges, expected, "{takes:?}");
    }
}

#[tokio::test]
async fn where_dpop_is_off_proofs_are_ignored_and_the_scheme_is_unknown() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let code = gate.code(&client).await;
    let answer = redeem(&gate, &client, &code, &["no proof at all", "nor is this"]).await;
    assert_eq!(answer.json()["token_type"], "Bearer", "{answer:?}");
    assert!(answer.headers.get("dpop-nonce").is_none());
    let given = tokens(&answer);
    assert_eq!(gate.call(&given.access).await.status, WORKS);
    let refused = gate.send(gate.request("GET", "/mcp").header("authorization", format!("DPoP {}", given.access)), "");
    let refused = refused.await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").starts_with("Bearer error=\"invalid_token\""));
    assert!(refused.headers.get("dpop-nonce").is_none());
}

#[tokio::test]
async fn browsers_may_send_proofs_and_read_nonces() {
    let gate = optional().await;
    let client = gate.register().await;
    let holder = Holder::new();
    let given = holder.tokens(&gate, &client).await;
    for path in ["/token", "/mcp"] {
        let preflight = gate
            .request("OPTIONS", path)
            .header("origin", gate.origin())
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization, dpop");
        let preflight = gate.send(preflight, "").await;
        assert!(preflight.header("access-control-allow-headers").contains("dpop"), "{path}: {preflight:?}");
    }
    let request = gate
        .request("GET", "/mcp")
        .header("origin", gate.origin())
        .header("authorization", format!("DPoP {}", given.access))
        .header("dpop", holder.for_call(&gate, "GET", &given.access));
    let answer = gate.send(request, "").await;
    assert_eq!(answer.status, WORKS, "{answer:?}");
    assert!(answer.header("access-control-expose-headers").contains("dpop-nonce"));
    assert!(!answer.header("dpop-nonce").is_empty());
    let request = gate.request("POST", "/token").header("origin", "https://app.example").header("dpop", "x");
    let answer = gate.send(request.header("content-type", "application/x-www-form-urlencoded"), "").await;
    assert!(answer.header("access-control-expose-headers").contains("dpop-nonce"), "{answer:?}");
}
