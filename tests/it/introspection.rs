//! `/introspect` (RFC 7662): what a resource server learns and no other caller does.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;

use crate::storage::PostgresPlace;
use crate::support::gate::{Answer, NOT_LISTENING, SERVER_SECRET, TestGate, claims, resource_server, tokens, upstream};

const SERVER: (&str, &str) = ("server", SERVER_SECRET);
const INACTIVE: &str = r#"{"active":false}"#;

/// A gate in front of two upstreams, of which `server` may ask about the first.
async fn gate() -> TestGate {
    TestGate::with(|config| {
        config.upstreams.push(upstream(&config.public_url, "other", NOT_LISTENING));
        config.clients.push(resource_server("server", &["mcp"]));
        config.clients.push(resource_server("elsewhere", &["other"]));
        config.clients.push(resource_server("chat", &[]));
    })
    .await
}

async fn ask(gate: &TestGate, token: &str) -> Answer {
    gate.post_as(SERVER, "/introspect", &[("token", token)]).await
}

fn assert_inactive(answer: &Answer) {
    assert_eq!((answer.status, answer.body.as_str()), (200, INACTIVE), "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn an_active_token_is_described_without_the_users_name_or_address() {
    let gate = gate().await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    let answer = ask(&gate, &given.access).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"));
    assert_eq!(answer.header("content-type"), "application/json");
    let (told, claims) = (answer.json(), claims(&given.access));
    for member in ["scope", "client_id", "sub", "aud", "iss", "exp", "iat", "jti", "sid"] {
        assert_eq!(told[member], claims[member], "{member}");
    }
    assert_eq!((&told["active"], &told["token_type"]), (&json!(true), &json!("Bearer")));
    let members: BTreeSet<_> = told.as_object().unwrap().keys().map(String::as_str).collect();
    let known = ["active", "scope", "client_id", "token_type", "exp", "iat", "sub", "aud", "iss", "jti", "sid"].into();
    assert_eq!(members, known, "and nothing else");
    assert!(!answer.body.contains("alice@example.com"));
    assert!(answer.header("access-control-allow-origin").is_empty(), "no page of the web asks");
}

#[tokio::test]
async fn whatever_is_not_active_for_this_server_gets_one_and_the_same_answer() {
    let gate = gate().await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    let elsewhere = gate.post_as(("elsewhere", SERVER_SECRET), "/introspect", &[("token", &given.access)]).await;
    assert_inactive(&elsewhere);
    let changed = format!("{}A", given.access);
    for token in [given.refresh.as_str(), &changed, "x", "a.b.c", "pcr_x", &"x".repeat(20_000)] {
        assert_inactive(&ask(&gate, token).await);
    }
    gate.clock.advance(Duration::from_mins(59));
    assert_eq!(ask(&gate, &given.access).await.json()["active"], true);
    gate.clock.advance(Duration::from_mins(1));
    assert_inactive(&ask(&gate, &given.access).await);
}

#[tokio::test]
async fn a_token_is_told_to_expire_no_later_than_its_grant() {
    let gate = gate().await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    let soon = gate.clock.now().0 + 60;
    let shorten = format!("UPDATE grants SET expires_at = {soon}");
    crate::support::database::by_hand(&gate.config.storage, &shorten).await;
    assert_eq!(ask(&gate, &given.access).await.json()["exp"], soon);
    gate.clock.advance(Duration::from_mins(1));
    assert_inactive(&ask(&gate, &given.access).await);
}

#[tokio::test]
async fn an_ended_grant_is_inactive_at_once_in_every_process() {
    let place = PostgresPlace::new();
    let storage = place.settings();
    let on_postgres = TestGate::with(|config| {
        config.storage = storage;
        config.clients.push(resource_server("server", &["mcp"]));
    });
    for gate in [gate().await, on_postgres.await] {
        let twin = gate.twin().await;
        let client = gate.register().await;
        let given = gate.tokens(&client).await;
        for process in [&gate, &twin] {
            assert_eq!(ask(process, &given.access).await.json()["active"], true);
        }
        assert_eq!(gate.revoke(&client, &given.refresh).await.status, 200);
        for process in [&gate, &twin] {
            assert_inactive(&ask(process, &given.access).await);
        }
    }
}

#[tokio::test]
async fn only_configured_servers_that_authenticate_are_answered() {
    let gate = gate().await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    let token = ("token", given.access.as_str());
    let secret = ("client_secret", SERVER_SECRET);
    let refused = |answer: Answer| {
        assert_eq!((answer.status, answer.error().as_str()), (401, "invalid_client"), "{answer:?}");
        assert!(!answer.body.contains("active"));
    };
    refused(gate.post_form("/introspect", &[token, ("client_id", &client.id)]).await);
    refused(gate.post_form("/introspect", &[token, ("client_id", "server")]).await);
    refused(gate.post_form("/introspect", &[token, ("client_id", "c_unknown"), secret]).await);
    refused(gate.post_as(("server", "wrong"), "/introspect", &[token]).await);
    refused(gate.post_as(("chat", SERVER_SECRET), "/introspect", &[token]).await);
    let bearer = gate.request("POST", "/introspect").header("content-type", "application/x-www-form-urlencoded");
    let bearer = bearer.header("authorization", format!("Bearer {}", given.access));
    refused(gate.send(bearer, format!("token={}", given.access)).await);
    assert_eq!(gate.post_form("/introspect", &[token, ("client_id", "server"), secret]).await.json()["active"], true);
    for fields in [&[][..], &[token, token], &[("token", "")]] {
        let answer = gate.post_as(SERVER, "/introspect", fields).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_request"), "{answer:?}");
    }
}

#[tokio::test]
async fn refused_callers_are_rate_limited_and_a_busy_server_is_not() {
    let gate = gate().await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    let from: IpAddr = "203.0.113.7".parse().unwrap();
    let ask_as = async |client: &str| {
        let request = gate.request("POST", "/introspect").header("content-type", "application/x-www-form-urlencoded");
        gate.send_from(from, request, format!("client_id={client}&token={}", given.access)).await.status
    };
    for _ in 0..600 {
        assert_eq!(ask_as("c_unknown").await, 401);
    }
    assert_eq!((ask_as("c_unknown").await, ask_as(&client.id).await), (429, 429));
    for _ in 0..700 {
        assert_inactive(&ask(&gate, "made.up.token").await);
    }
    assert_eq!(ask_as(&format!("server&client_secret={SERVER_SECRET}")).await, 200, "the server at the same address");
}

#[tokio::test]
async fn a_resource_server_without_redirect_uris_can_do_nothing_else() {
    let gate = gate().await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    let code = gate.code(&client).await;
    let page = gate.get("/authorize?response_type=code&client_id=server&redirect_uri=https%3A%2F%2Fevil.example").await;
    assert!(page.status >= 400 && page.header("location").is_empty(), "{page:?}");
    for grant in [
        &[("grant_type", "authorization_code"), ("code", code.as_str()), ("code_verifier", "x")][..],
        &[("grant_type", "refresh_token"), ("refresh_token", given.refresh.as_str())],
        &[("grant_type", "client_credentials")],
    ] {
        assert_eq!(gate.post_as(SERVER, "/token", grant).await.status, 400);
    }
    tokens(&gate.refresh(&client, &given.refresh).await);
}

#[tokio::test]
async fn metadata_name_the_endpoint_exactly_if_someone_may_ask() {
    let with = gate().await.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(with["introspection_endpoint"], "http://127.0.0.1:6749/introspect");
    let methods = json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]);
    assert_eq!(with["introspection_endpoint_auth_methods_supported"], methods);
    let gate = TestGate::with(|config| config.clients.push(resource_server("chat", &[]))).await;
    let without = gate.get("/.well-known/oauth-authorization-server").await.json();
    assert!(without.get("introspection_endpoint").is_none(), "{without}");
    assert!(without.get("introspection_endpoint_auth_methods_supported").is_none(), "{without}");
    assert_eq!(gate.post_as(("chat", SERVER_SECRET), "/introspect", &[("token", "x")]).await.status, 404);
}
