//! The gateway alone: every upstream accepts the tokens of other issuers, and there is no authorization server here.

use portcullis::config::UpstreamScopes;
use portcullis::oauth::scope::ScopeSet;
use serde_json::json;

use super::{Bench, alone};
use crate::support::gate::WORKS;

async fn bench() -> Bench {
    Bench::with(|issuer, config| {
        issuer.scope_prefix = Some("api://mcp/".to_owned());
        alone(config);
    })
    .await
}

#[tokio::test]
async fn the_metadata_name_the_issuer_and_the_scopes_to_ask_it_for() {
    let bench = bench().await;
    for path in [
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-protected-resource",
        "/mcp/.well-known/oauth-protected-resource",
    ] {
        let answer = bench.gate.get(path).await;
        let expected = json!({
            "resource": "http://127.0.0.1:6749/mcp",
            "authorization_servers": [bench.provider.issuer()],
            "scopes_supported": ["api://mcp/mcp:access"],
            "bearer_methods_supported": ["header"],
            "resource_name": "Server mcp",
        });
        assert_eq!((answer.status, answer.json()), (200, expected), "{path}");
    }
    let challenge = bench.gate.send(bench.gate.request("POST", "/mcp"), "").await;
    assert_eq!(
        challenge.header("www-authenticate"),
        r#"Bearer scope="api://mcp/mcp:access", resource_metadata="http://127.0.0.1:6749/.well-known/oauth-protected-resource/mcp""#
    );
}

#[tokio::test]
async fn nothing_of_an_authorization_server_is_served_or_advertised() {
    let bench = bench().await;
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/.well-known/jwks.json",
        "/authorize?response_type=code",
        "/callback/keycloak",
        "/account",
        "/device",
        "/mcp/.well-known/oauth-authorization-server",
    ] {
        assert_eq!(bench.gate.get(path).await.status, 404, "{path}");
    }
    for path in ["/token", "/register", "/revoke", "/introspect", "/device_authorization", "/consent"] {
        assert_eq!(bench.gate.post_form(path, &[("grant_type", "refresh_token")]).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn calls_work_without_a_database_an_identity_provider_or_a_root_key() {
    let bench = bench().await;
    assert!(bench.gate.app.authority().is_none());
    let portcullis::config::Database::Sqlite(file) = &bench.gate.config.storage.database else { panic!("SQLite") };
    assert!(file.exists(), "the gate before it made one");
    std::fs::remove_file(file).unwrap();
    let gate = bench.gate.restart().await;
    let bench = Bench { gate, ..bench };
    let token = bench.token_with(&json!({"scope": "api://mcp/mcp:access"}));
    assert_eq!(bench.call(&token).await.status, WORKS);
    let portcullis::config::Database::Sqlite(file) = &bench.gate.config.storage.database else { panic!("SQLite") };
    assert!(!file.exists(), "nothing is stored");
    let metrics = bench.gate.app.metrics().await;
    assert!(metrics.contains("portcullis_cached_tokens 1"), "{metrics}");
}

#[tokio::test]
async fn an_upstream_may_need_no_scope_where_its_issuer_has_none_for_it() {
    let bench = Bench::with(|_, config| {
        config.upstreams[0].settings.scopes = UpstreamScopes::requiring(ScopeSet::empty());
        alone(config);
    })
    .await;
    let metadata = bench.gate.get("/.well-known/oauth-protected-resource/mcp").await.json();
    assert_eq!(metadata.get("scopes_supported"), None);
    let challenge = bench.gate.send(bench.gate.request("POST", "/mcp"), "").await;
    assert!(challenge.header("www-authenticate").starts_with("Bearer resource_metadata="), "{challenge:?}");
    for scope in [json!("openid"), json!(null)] {
        assert_eq!(bench.call(&bench.token_with(&json!({"scope": scope}))).await.status, WORKS);
    }
}

#[tokio::test]
async fn a_token_of_ours_opens_nothing() {
    let (before, _provider) = crate::support::gate::TestGate::with_provider(|config| {
        config.identities = vec![portcullis::config::Identity {
            id: "local".to_owned(),
            name: "Local".to_owned(),
            kind: portcullis::config::IdentityKind::Local(vec![crate::support::gate::local_user(
                "alice",
                "wonderland",
            )]),
            admission: portcullis::config::Admission::default(),
        }];
    })
    .await;
    let own = before.tokens(&before.register().await).await.access;
    assert_eq!(before.call(&own).await.status, WORKS);
    let bench = bench().await;
    super::assert_unfit(&bench.call(&own).await, "this server does not accept access tokens of that issuer", "own");
}
