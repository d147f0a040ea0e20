//! `grant_type=client_credentials`.

use std::time::Duration;

use portcullis::config::{Config, ConfiguredClient};
use portcullis::model::grant::EndReason;
use portcullis::oauth::client_keys::ClientKeys;
use portcullis::oauth::client_metadata::AuthMethod;
use portcullis::storage::GrantFilter;
use serde_json::json;

use super::{SECRET, add_upstream, ask, bounds, confidential, live_grants, machine};
use crate::support::gate::{Answer, TestGate, WORKS, claims};
use crate::support::provider::{TestAlgorithm, TestKey};
use crate::support::statements;

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

async fn gate() -> TestGate {
    gate_with(|_| {}).await
}

async fn gate_with(change: impl FnOnce(&mut Config)) -> TestGate {
    TestGate::with(|config| {
        config.clients.push(machine("ci", &["mcp"]));
        change(config);
    })
    .await
}

fn access(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_machine_gets_a_token_for_itself_and_no_refresh_token() {
    let gate = gate().await;
    let answer = ask(&gate, "ci", &[GRANT]).await;
    let token = access(&answer);
    assert!(answer.json().get("refresh_token").is_none(), "{answer:?}");
    assert_eq!(
        (answer.json()["scope"].as_str(), answer.json()["expires_in"].as_u64()),
        (Some("mcp:access"), Some(3600))
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    let claims = claims(&token);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("client|ci"), &json!("ci")));
    assert_eq!(claims["aud"], gate.config.upstreams[0].audience());
    assert_eq!(gate.call(&token).await.status, WORKS);
    let seen = gate.behind.last();
    assert_eq!(seen.header("x-forwarded-user"), Some("client|ci"));
    assert_eq!(
        (seen.header("x-portcullis-identity"), seen.header("x-portcullis-client")),
        (Some("client"), Some("ci"))
    );
    assert!(seen.header("x-forwarded-email").is_none() && seen.header("authorization").is_none());
}

#[tokio::test]
async fn only_a_machine_of_the_configuration_may_ask() {
    let gate = gate_with(|config| config.clients.push(confidential("chat"))).await;
    let refused = ask(&gate, "chat", &[GRANT]).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "unauthorized_client"), "{refused:?}");
    let public = gate.register().await;
    let refused = gate.post_form("/token", &[GRANT, ("client_id", &public.id)]).await;
    assert_eq!(refused.error(), "unauthorized_client", "{refused:?}");
    let metadata = json!({"redirect_uris": ["http://127.0.0.1:1/cb"], "token_endpoint_auth_method": "client_secret_post",
        "grant_types": ["client_credentials"]});
    let registered = gate.post_json("/register", &metadata).await.json();
    let field = |name: &str| registered[name].as_str().unwrap();
    let credentials = [GRANT, ("client_id", field("client_id")), ("client_secret", field("client_secret"))];
    assert_eq!(gate.post_form("/token", &credentials).await.error(), "unauthorized_client");
    for wrong in ["", "another-secret-of-32-characters!!"] {
        let answer = gate.post_form("/token", &[GRANT, ("client_id", "ci"), ("client_secret", wrong)]).await;
        assert_eq!((answer.status, answer.error().as_str()), (401, "invalid_client"), "{wrong}");
    }
    assert_eq!(live_grants(&gate).await, 0);
}

#[tokio::test]
async fn without_a_machine_in_the_configuration_the_grant_type_does_not_exist() {
    let gate = TestGate::with(|config| config.clients.push(confidential("chat"))).await;
    assert_eq!(ask(&gate, "chat", &[GRANT]).await.error(), "unsupported_grant_type");
    let offered = |metadata: Answer| metadata.json()["grant_types_supported"].to_string();
    let path = "/.well-known/oauth-authorization-server";
    assert!(!offered(gate.get(path).await).contains("client_credentials"));
    let gate = gate_with(|_| {}).await;
    assert!(offered(gate.get(path).await).contains("client_credentials"));
}

#[tokio::test]
async fn a_machine_gets_no_scope_and_no_server_beyond_its_bounds() {
    let gate = TestGate::with(|config| {
        add_upstream(config, "other");
        add_upstream(config, "third");
        config.upstreams[1].settings.scopes.required =
            portcullis::oauth::scope::ScopeSet::parse("other:read other:write").unwrap();
        let mut reader = machine("reader", &["other"]);
        reader.machine = Some(bounds(&["other"], Some("other:read")));
        config.clients.extend([reader, machine("two", &["mcp", "other"])]);
    })
    .await;
    let scope_of = |answer: &Answer| claims(&access(answer))["scope"].as_str().unwrap().to_owned();
    // the only server that it may use is meant, though there are several
    for scope in ["", "other:read", "admin offline_access openid"] {
        let answer = ask(&gate, "reader", &[GRANT, ("scope", scope)]).await;
        assert_eq!(scope_of(&answer), "other:read", "{scope}");
        let named = answer.json()["scope"].as_str().unwrap_or_default().to_owned();
        assert!(scope.is_empty() || named.split(' ').all(|one| one.is_empty() || scope.contains(one)), "{answer:?}");
    }
    for scope in ["other:read other:write", "other:write", "other:write admin"] {
        let refused = ask(&gate, "reader", &[GRANT, ("scope", scope)]).await;
        assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_scope"), "{scope}");
        assert!(refused.body.contains("other:write"), "{refused:?}");
    }
    let audience = |index: usize| gate.config.upstreams[index].audience().to_owned();
    for resource in [audience(0), audience(2), "https://elsewhere.example/mcp".to_owned()] {
        let refused = ask(&gate, "reader", &[GRANT, ("resource", &resource)]).await;
        assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_target"), "{resource}");
    }
    assert_eq!(ask(&gate, "two", &[GRANT]).await.error(), "invalid_target", "it may use two servers, and named none");
    let both = [GRANT, ("resource", &audience(0)), ("resource", &audience(1))];
    assert_eq!(ask(&gate, "two", &both).await.error(), "invalid_target");
    let second = access(&ask(&gate, "two", &[GRANT, ("resource", &audience(1))]).await);
    assert_eq!((gate.call_at("/other", &second).await.status, gate.call(&second).await.status), (WORKS, 401));
}

#[tokio::test]
async fn a_machine_that_asks_every_minute_keeps_one_grant_and_every_token_lives_its_lifetime() {
    let gate = gate().await;
    let mut tokens = Vec::new();
    for _ in 0..150 {
        let token = access(&ask(&gate, "ci", &[GRANT]).await);
        let claims = claims(&token);
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
        assert_eq!(gate.call(&token).await.status, WORKS);
        tokens.push(token);
        gate.clock.advance(Duration::from_mins(1));
        gate.app.issuer().expire().await;
    }
    assert_eq!(live_grants(&gate).await, 1);
    assert_eq!(gate.call(&tokens[91]).await.status, WORKS, "59 minutes old");
    assert_eq!(gate.call(&tokens[90]).await.status, 401, "an hour old");
    // most requests write nothing
    let (_, ran) = statements::of(ask(&gate, "ci", &[GRANT])).await;
    assert_eq!(statements::reads(&ran).count(), ran.len(), "{ran:#?}");
    gate.clock.advance(Duration::from_hours(3));
    gate.app.issuer().expire().await;
    assert_eq!(live_grants(&gate).await, 0);
}

#[tokio::test]
async fn many_requests_at_once_in_two_processes_share_one_grant() {
    let gate = gate().await;
    let twin = gate.twin().await;
    let asked: Vec<_> = (0..64_usize).map(|n| ask(if n % 2 == 0 { &gate } else { &twin }, "ci", &[GRANT])).collect();
    let tokens: Vec<_> = futures_util::future::join_all(asked).await.iter().map(access).collect();
    assert_eq!(live_grants(&gate).await, 1);
    for token in &tokens {
        assert_eq!((gate.call(token).await.status, twin.call(token).await.status), (WORKS, WORKS));
    }
}

#[tokio::test]
async fn ending_the_grant_ends_its_tokens_and_the_next_request_begins_a_new_one() {
    let gate = gate().await;
    let token = access(&ask(&gate, "ci", &[GRANT]).await);
    assert_eq!(gate.call(&token).await.status, WORKS);
    let filter = GrantFilter { subject: Some("client|ci".to_owned()), ..GrantFilter::default() };
    let listed = gate.app.store().list_grants(&filter, None, gate.clock.now(), 10).await.unwrap();
    let ids: Vec<_> = listed.into_iter().map(|grant| grant.id).collect();
    gate.app.store().end_grants(&ids, EndReason::Operator, gate.clock.now()).await.unwrap();
    gate.app.revocation().read_feed(gate.app.store()).await.unwrap();
    assert_eq!(gate.call(&token).await.status, 401);
    assert_eq!(gate.call(&access(&ask(&gate, "ci", &[GRANT]).await)).await.status, WORKS);
}

#[tokio::test]
async fn a_machine_that_leaves_the_configuration_or_may_do_less_loses_its_tokens_at_the_next_start() {
    let gate = gate_with(|config| {
        add_upstream(config, "other");
        config.clients.push(machine("wide", &["mcp", "other"]));
    })
    .await;
    let audience = |index: usize| gate.config.upstreams[index].audience().to_owned();
    let (mcp, other) = (audience(0), audience(1));
    let gone = access(&ask(&gate, "ci", &[GRANT, ("resource", &mcp)]).await);
    let kept = access(&ask(&gate, "wide", &[GRANT, ("resource", &mcp)]).await);
    let narrowed = access(&ask(&gate, "wide", &[GRANT, ("resource", &other)]).await);
    let gate = gate.restart_with(|config| config.clients = vec![machine("wide", &["mcp"])]).await;
    assert_eq!((gate.call(&gone).await.status, gate.call(&kept).await.status), (401, WORKS));
    assert_eq!(gate.call_at("/other", &narrowed).await.status, 401);
    let gate = gate.restart_with(|config| config.clients = vec![confidential("wide")]).await;
    assert_eq!(gate.call(&kept).await.status, 401);
}

#[tokio::test]
async fn a_machine_without_redirect_uris_gets_no_code() {
    let gate = gate().await;
    let query =
        format!("/authorize?response_type=code&client_id=ci&redirect_uri=https%3A%2F%2Fevil.example&state={SECRET}");
    let answer = gate.get(&query).await;
    assert!(answer.status >= 400 && answer.header("location").is_empty(), "{answer:?}");
}

#[tokio::test]
async fn a_machine_may_prove_itself_by_a_key_and_a_registered_client_with_a_key_may_not_ask() {
    let key = TestKey::new(TestAlgorithm::Es256, "k1");
    let jwks = json!({"keys": [key.jwk()]}).to_string();
    let gate = TestGate::with(|config| {
        config.clients.push(ConfiguredClient {
            client_secret: None,
            keys: ClientKeys::read(Some(&jwks), None).unwrap(),
            auth_method: AuthMethod::PrivateKeyJwt,
            ..machine("signer", &["mcp"])
        });
    })
    .await;
    let ask = async |client: &str, jti: &str| {
        let now = gate.clock.now().0;
        let claims =
            json!({"iss": client, "sub": client, "aud": gate.origin(), "jti": jti, "iat": now, "exp": now + 60});
        let assertion = key.jws(&json!({"alg": "ES256", "kid": key.kid()}), &claims);
        let kind = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        gate.post_form("/token", &[GRANT, kind, ("client_assertion", &assertion)]).await
    };
    let token = access(&ask("signer", "1").await);
    assert_eq!((gate.call(&token).await.status, &claims(&token)["sub"]), (WORKS, &json!("client|signer")));
    let metadata = json!({"redirect_uris": ["http://127.0.0.1:1/cb"], "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [key.jwk()]}});
    let registered = gate.post_json("/register", &metadata).await.json();
    let refused = ask(registered["client_id"].as_str().unwrap(), "2").await;
    assert_eq!(refused.error(), "unauthorized_client", "{refused:?}");
}

#[tokio::test]
async fn a_machine_revokes_its_own_token() {
    let gate = gate().await;
    let token = access(&ask(&gate, "ci", &[GRANT]).await);
    assert_eq!(gate.call(&token).await.status, WORKS);
    let own = [("client_id", "ci"), ("client_secret", SECRET), ("token", token.as_str())];
    assert_eq!(gate.post_form("/revoke", &own).await.status, 200);
    assert_eq!(gate.call(&token).await.status, 401);
}
