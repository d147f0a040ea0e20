//! Assertions about the user that we sign.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use portcullis::config::{AssertionClaim, AssertionSettings, Config, CredentialSource, ForwardedGroups};
use serde_json::{Value, json};

use super::{give, give_in};
use crate::support::browser::Browser;
use crate::support::gate::{TestGate, WORKS, claims};

const AUDIENCE: &str = "urn:example:expenses";

fn assertion(claims: &[AssertionClaim]) -> CredentialSource {
    CredentialSource::Assertion(AssertionSettings {
        audience: AUDIENCE.to_owned(),
        lifetime: Duration::from_mins(2),
        claims: claims.to_vec(),
    })
}

async fn gate(claims: &[AssertionClaim], change: impl FnOnce(&mut Config)) -> TestGate {
    TestGate::with(|config| {
        give(config, assertion(claims));
        change(config);
    })
    .await
}

/// The assertion that the last call carried.
fn carried(gate: &TestGate) -> String {
    let seen = gate.behind.last();
    seen.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).expect("an assertion").to_owned()
}

fn header(token: &str) -> Value {
    let header = token.split('.').next().unwrap();
    serde_json::from_slice(&data_encoding::BASE64URL_NOPAD.decode(header.as_bytes()).unwrap()).unwrap()
}

#[tokio::test]
async fn the_server_gets_an_assertion_with_the_configured_claims_and_no_others() {
    let all = [
        AssertionClaim::Client,
        AssertionClaim::Scope,
        AssertionClaim::Groups,
        AssertionClaim::Email,
        AssertionClaim::PreferredUsername,
        AssertionClaim::Identity,
    ];
    for (claims_of, expected) in [
        (&all[..0], json!({})),
        (&all[..2], json!({"client_id": "CLIENT", "scope": "mcp:access"})),
        (
            &all[..],
            json!({"client_id": "CLIENT", "scope": "mcp:access", "groups": ["engineering"], "email": "alice@example.com",
                "preferred_username": "alice", "identity": "local"}),
        ),
    ] {
        let gate = gate(claims_of, |_| {}).await;
        let client = gate.register().await;
        let given = gate.tokens(&client).await;
        assert_eq!(gate.call(&given.access).await.status, WORKS);
        let token = carried(&gate);
        let now = gate.clock.now().0;
        let mut whole = json!({"iss": gate.origin(), "sub": "local|alice", "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 120});
        for (name, value) in expected.as_object().unwrap() {
            whole[name] = if value == "CLIENT" { json!(client.id) } else { value.clone() };
        }
        assert_eq!(claims(&token), whole);
        assert_eq!(header(&token)["typ"], "user-assertion+jwt");
        let keys = gate.get("/.well-known/jwks.json").await.json();
        assert_eq!(keys["keys"][0]["kid"], header(&token)["kid"], "the server finds the key in our key set");
    }
}

#[tokio::test]
async fn an_assertion_is_signed_once_for_each_token_and_again_before_it_expires() {
    let gate = gate(&[AssertionClaim::Client], |_| {}).await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    join_all((0..64).map(|_| gate.call(&given.access))).await;
    let sent = |gate: &TestGate| -> HashSet<String> {
        let seen = gate.behind.seen.lock().unwrap();
        seen.iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect()
    };
    assert_eq!((gate.behind.count(), sent(&gate).len()), (64, 1));
    gate.clock.advance(Duration::from_secs(89));
    gate.call(&given.access).await;
    assert_eq!(sent(&gate).len(), 1);
    gate.clock.advance(Duration::from_secs(1));
    gate.call(&given.access).await;
    assert_eq!(sent(&gate).len(), 2, "30 s before its end");
    let another = gate.tokens(&client).await;
    gate.call(&another.access).await;
    assert_eq!(claims(&carried(&gate))["sub"], "local|alice");
}

#[tokio::test]
async fn two_users_never_share_an_assertion() {
    let bob = crate::support::gate::local_user("bob", "builder");
    let gate = gate(&[AssertionClaim::Email], |config| {
        let portcullis::config::IdentityKind::Local(users) = &mut config.identities[0].kind else { unreachable!() };
        users.push(bob);
    })
    .await;
    let client = gate.register().await;
    let alice = gate.tokens(&client).await;
    let url = gate.sign_in_as(("bob", "builder"), &mut Browser::default(), &client, &[]).await;
    let code = crate::support::browser::parameter(&url, "code").unwrap();
    let bob = crate::support::gate::tokens(&gate.redeem(&client, &code).await);
    for (token, sub) in [(&alice, "local|alice"), (&bob, "local|bob"), (&alice, "local|alice")] {
        assert_eq!(gate.call(&token.access).await.status, WORKS);
        assert_eq!(claims(&carried(&gate))["sub"], sub);
    }
}

#[tokio::test]
async fn an_assertion_opens_nothing_of_ours() {
    let gate = gate(&[AssertionClaim::Client, AssertionClaim::Scope], |_| {}).await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    gate.call(&given.access).await;
    let token = carried(&gate);
    let before = gate.behind.count();
    let refused = gate.call(&token).await;
    assert_eq!((refused.status, gate.behind.count()), (401, before), "{refused:?}");
    assert!(refused.header("www-authenticate").contains("invalid_token"));
    // nor with the claims of an access token, as long as the type is that of an assertion: see also the verifier's own tests
    assert_eq!(gate.revoke(&client, &token).await.status, 200);
    assert_eq!(gate.call(&given.access).await.status, WORKS, "it revokes nothing");
}

#[tokio::test]
async fn a_client_cannot_send_an_assertion_of_its_own_in_the_configured_header() {
    let gate = TestGate::with(|config| give_in(config, "x-user-assertion-of-gateway", assertion(&[]))).await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    let body = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;
    for spelling in ["X-User-Assertion-Of-Gateway", "x_user_assertion_of_gateway"] {
        let request = gate.request("POST", "/mcp").header("authorization", format!("Bearer {}", given.access));
        let request = request.header("content-type", "application/json").header("content-length", body.len());
        assert_eq!(gate.send(request.header(spelling, "forged"), body).await.status, WORKS);
        let seen = gate.behind.last();
        assert!(seen.headers.values().all(|value| value != "forged"), "{:?}", seen.headers);
        assert_eq!(claims(seen.header("x-user-assertion-of-gateway").unwrap())["sub"], "local|alice");
        assert_eq!(seen.header("authorization"), None, "the client's own token stays here");
    }
}

#[tokio::test]
async fn groups_that_are_too_many_are_left_out_and_counted() {
    let gate = gate(&[AssertionClaim::Groups], |config| {
        let portcullis::config::IdentityKind::Local(users) = &mut config.identities[0].kind else { unreachable!() };
        users[0].groups = (0..100).map(|number| format!("group-{number}")).collect();
        config.upstreams[0].settings.request_headers.groups =
            ForwardedGroups { names: vec!["*".to_owned()], max_bytes: 64 };
    })
    .await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    gate.call(&given.access).await;
    let said = claims(&carried(&gate));
    assert_eq!((said.get("groups"), &said["groups_omitted"]), (None, &json!(100)));
}
