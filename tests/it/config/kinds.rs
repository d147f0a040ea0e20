//! `portcullis grants list`, for grants of every kind.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis::config::{AssertionIssuer, Bounds, Config, ConfiguredClient, Device};
use portcullis::oauth::client_metadata::AuthMethod;
use portcullis::oauth::grant_type::{CLIENT_CREDENTIALS, DEVICE_CODE, JWT_BEARER};
use serde_json::{Value, json};

use super::records::Running;
use crate::support::bench::provider_settings;
use crate::support::browser::{Form, location};
use crate::support::gate::tokens;
use crate::support::provider::{TestAlgorithm, TestKey};

const SECRET: (&str, &str) = ("client_secret", "a-secret-of-thirty-two-characters");

fn every_kind(config: &mut Config) {
    let bounds = || Bounds { upstreams: vec!["mcp".to_owned()], scopes: None };
    config.upstreams[0].settings.api_keys.bearer = true;
    config.device = Device { enabled: true, registered_clients: true };
    config.clients.push(ConfiguredClient {
        client_id: "agent".to_owned(),
        name: Some("Agent".to_owned()),
        redirect_uris: Vec::new(),
        client_secret: Some(SECRET.1.to_owned().into()),
        keys: None,
        auth_method: AuthMethod::ClientSecretPost,
        device: true,
        machine: Some(bounds()),
        dpop_bound: false,
        introspects: Vec::new(),
    });
    let issuer = provider_settings(config).issuer.clone();
    config.assertion_issuers.push(AssertionIssuer {
        id: "keycloak".to_owned(),
        jwks_uri: format!("{issuer}/certs").parse().unwrap(),
        issuer,
        clients: vec!["agent".to_owned()],
        bounds: bounds(),
        ca_file: None,
    });
}

/// A token request of the client, which is granted.
async fn granted(running: &Running, fields: &[(&str, &str)]) {
    let fields: Vec<_> = [("client_id", "agent"), SECRET].iter().chain(fields).copied().collect();
    let answer = running.bench.gate.post_form("/token", &fields).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn connect_a_device(running: &mut Running) {
    let bench = &mut running.bench;
    let asked = bench.gate.post_form("/device_authorization", &[("client_id", "agent"), SECRET]).await.json();
    let text = |name: &str| asked[name].as_str().unwrap().to_owned();
    let page = bench.browser.get(&bench.gate, "/device").await;
    let entered = Form::on(&page.body).with("user_code", &text("user_code"));
    let question = bench.browser.submit(&bench.gate, &entered).await;
    let yes = Form::on(&question.body).with("decision", "approve").with("identity", "keycloak");
    let url = location(&bench.browser.submit(&bench.gate, &yes).await);
    let back = bench.provider.visit(&url);
    assert_eq!(bench.back(&back).await.status, 200);
    let poll = [("grant_type", DEVICE_CODE), ("device_code", &text("device_code"))];
    let fields: Vec<_> = [("client_id", "agent"), SECRET].iter().chain(&poll).copied().collect();
    tokens(&bench.gate.post_form("/token", &fields).await);
}

async fn assert_identity(running: &Running) {
    let key = TestKey::new(TestAlgorithm::Es256, "assertions");
    let bench = &running.bench;
    bench.provider.rotate(key.clone(), false);
    bench.gate.clock.advance(Duration::from_secs(11));
    let now = bench.gate.clock.now().0;
    let claims = json!({
        "iss": bench.provider.issuer(), "aud": bench.gate.origin(), "sub": "carol", "client_id": "agent", "jti": "1",
        "iat": now, "exp": now + 300, "resource": bench.gate.config.upstreams[0].audience(), "scope": "mcp:access",
    });
    let header = json!({"alg": "ES256", "kid": key.kid(), "typ": "oauth-id-jag+jwt"});
    granted(running, &[("grant_type", JWT_BEARER), ("assertion", &key.jws(&header, &claims))]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_of_every_kind_are_listed_with_their_kind_and_whom_they_serve() {
    let mut running = Running::with("api_keys = [\"bearer\"]\n", every_kind).await;
    running.tokens("ann").await;
    running.bench.provider.sign_in_as(json!({"sub": "bob"}));
    connect_a_device(&mut running).await;
    granted(&running, &[("grant_type", CLIENT_CREDENTIALS)]).await;
    assert_identity(&running).await;
    let key = ["api-keys", "create", "--upstream", "mcp", "--name", "report", "--owner", "ops", "--never-expires"];
    let created = running.run(&key);
    assert!(created.out.starts_with("pck_"), "{}", created.err);

    let rows: Vec<Value> = serde_json::from_str(&running.run(&["grants", "list", "--json"]).out).unwrap();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let listed: BTreeMap<_, _> = rows.iter().map(|row| (text(row, "kind"), text(row, "subject"))).collect();
    for (kind, subject) in [
        ("user", "keycloak|ann"),
        ("device", "keycloak|bob"),
        ("machine", "client|agent"),
        ("assertion", "keycloak|carol"),
    ] {
        assert_eq!(listed.get(kind).map(String::as_str), Some(subject), "{listed:?}");
    }
    assert!(listed["api_key"].starts_with("key|k_"), "{listed:?}");
    assert_eq!(rows.len(), 5);
    let shown = running.run(&["grants", "list"]).out;
    for kind in listed.keys() {
        assert!(shown.contains(&format!("    kind      {kind}\n")), "{shown}");
    }
}
