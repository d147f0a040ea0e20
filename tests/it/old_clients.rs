//! Clients of the specification of 2025-03-26, which know the origin of the server and nothing else: no resource metadata, no
//! `resource`, no `scope`, no `iss`.

use std::time::Duration;

use serde_json::json;

use crate::support::browser::{Browser, Form, location, parameter};
use crate::support::gate::{Answer, REDIRECT_URI, TestGate, VERIFIER, WORKS, as_alice, challenge, tokens, upstream};

/// The authorization request of such a client.
fn authorize(client_id: &str) -> String {
    let challenge = challenge(VERIFIER);
    let fields = [
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", REDIRECT_URI),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("state", "s"),
    ];
    format!("/authorize?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish())
}

async fn register(gate: &TestGate) -> String {
    let metadata = json!({
        "client_name": "Old client",
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    let registered = gate.post_json("/register", &metadata).await;
    assert_eq!(registered.status, 201, "{registered:?}");
    registered.json()["client_id"].as_str().unwrap().to_owned()
}

async fn answered(gate: &TestGate, browser: &mut Browser, page: &Answer) -> String {
    let form = Form::on(&page.body).with("decision", "approve").with("identity", "local");
    let sign_in = location(&browser.submit(gate, &form).await);
    let page = browser.get(gate, &sign_in).await;
    location(&browser.submit(gate, &as_alice(&page)).await)
}

#[tokio::test]
async fn a_client_that_invents_the_paths_gets_through_from_registration_to_refresh() {
    let gate = TestGate::new().await;
    assert_eq!(gate.call("").await.status, 401, "all that it learns is that it must authorize");
    let client = register(&gate).await;
    let mut browser = Browser::default();
    let page = browser.get(&gate, &authorize(&client)).await;
    let place = answered(&gate, &mut browser, &page).await;
    assert!(place.starts_with(REDIRECT_URI) && parameter(&place, "state").as_deref() == Some("s"), "{place}");
    let code = parameter(&place, "code").unwrap();
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("client_id", client.as_str()),
        ("code_verifier", VERIFIER),
    ];
    let given = tokens(&gate.post_form("/token", &fields).await);
    assert_eq!(gate.call(&given.access).await.status, WORKS);
    gate.clock.advance(Duration::from_hours(1));
    assert_eq!(gate.call(&given.access).await.status, 401);
    let fields = [("grant_type", "refresh_token"), ("refresh_token", &given.refresh), ("client_id", &client)];
    let renewed = tokens(&gate.post_form("/token", &fields).await);
    assert_eq!(gate.call(&renewed.access).await.status, WORKS);
}

#[tokio::test]
async fn metadata_at_the_origin_names_the_paths_that_old_clients_invent() {
    let gate = TestGate::new().await;
    for version in ["2025-03-26", "2024-11-05", "nonsense"] {
        let request = gate
            .request("GET", "/.well-known/oauth-authorization-server")
            .header("mcp-protocol-version", version)
            .header("origin", "https://inspector.example");
        let answer = gate.send(request, "").await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, "*"), "{version}");
        let metadata = answer.json();
        assert_eq!(metadata["issuer"], gate.origin(), "{version}");
        for (name, path) in [
            ("authorization_endpoint", "/authorize"),
            ("token_endpoint", "/token"),
            ("registration_endpoint", "/register"),
        ] {
            assert_eq!(metadata[name], format!("{}{path}", gate.origin()), "{version}");
        }
    }
}

#[tokio::test]
async fn a_page_of_any_origin_may_send_the_version_header_to_metadata_registration_and_token() {
    let gate = TestGate::new().await;
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server/mcp",
        "/register",
        "/token",
    ] {
        let request = gate
            .request("OPTIONS", path)
            .header("origin", "https://inspector.example")
            .header("access-control-request-method", if path.starts_with("/.well-known") { "GET" } else { "POST" })
            .header("access-control-request-headers", "mcp-protocol-version, content-type");
        let answer = gate.send(request, "").await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, "*"), "{path}");
        let allowed = answer.header("access-control-allow-headers").to_lowercase();
        assert!(allowed.contains("mcp-protocol-version"), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn authorize_may_be_fetched_any_number_of_times_and_every_page_works() {
    let gate = TestGate::new().await;
    let client = register(&gate).await;
    let path = authorize(&client);
    let head = gate.send(gate.request("HEAD", &path), "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""), "a check before the browser is opened");
    let prefetch = gate.request("GET", &path).header("sec-purpose", "prefetch");
    assert_eq!(gate.send(prefetch, "").await.status, 200);
    let mut browser = Browser::default();
    let (first, second) = (browser.get(&gate, &path).await, browser.get(&gate, &path).await);
    for page in [&first, &second] {
        let place = answered(&gate, &mut browser, page).await;
        assert!(parameter(&place, "code").is_some(), "{place}");
    }
}

#[tokio::test]
async fn among_several_servers_a_client_that_names_none_gets_the_default_or_an_error_that_says_why() {
    for default in [false, true] {
        let gate = TestGate::with(|config| {
            let mut other = upstream(&config.public_url, "other", "http://127.0.0.1:9/");
            other.settings.default = default;
            config.upstreams.push(other);
        })
        .await;
        let client = register(&gate).await;
        let answer = gate.get(&authorize(&client)).await;
        if default {
            assert!(answer.status == 200 && answer.body.contains("Server other"), "{answer:?}");
        } else {
            let place = location(&answer);
            assert_eq!(parameter(&place, "error").as_deref(), Some("invalid_target"), "{place}");
            assert!(parameter(&place, "error_description").unwrap().contains("resource is missing"), "{place}");
        }
    }
}
