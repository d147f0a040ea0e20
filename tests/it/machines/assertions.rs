//! Identity assertions (ID-JAG) at the token endpoint.

use std::time::Duration;

use portcullis::config::{Allow, AllowRule, AssertionIssuer, BoundTokens, Config};
use portcullis::model::grant::EndReason;
use portcullis::oauth::grant_type::JWT_BEARER;
use portcullis::oauth::scope::ScopeSet;
use portcullis::storage::GrantFilter;
use serde_json::{Value, json};

use super::{SECRET, add_upstream, ask, bounds, confidential, live_grants};
use crate::engines::also_on_postgres;
use crate::support::bench::provider_settings;
use crate::support::dpop::{self, Holder};
use crate::support::gate::{Answer, START, TestGate, WORKS, claims};
use crate::support::log::watch;
use crate::support::provider::{FakeProvider, TestAlgorithm, TestKey};
use crate::support::statements;

also_on_postgres! {
    of_one_assertion_in_two_processes_at_once_one_is_accepted_and_none_later,
}

const GRANT: (&str, &str) = ("grant_type", JWT_BEARER);

/// A gate that trusts the provider's assertions for the client `agent` at its first two upstreams, and the key that signs them.
struct Bench {
    gate: TestGate,
    provider: FakeProvider,
    key: TestKey,
}

impl Bench {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let (gate, provider) = TestGate::with_provider(|config| {
            add_upstream(config, "other");
            add_upstream(config, "third");
            config.clients.extend([confidential("agent"), confidential("chat")]);
            let issuer = provider_settings(config).issuer.clone();
            config.assertion_issuers.push(AssertionIssuer {
                id: "keycloak".to_owned(),
                jwks_uri: format!("{issuer}/certs").parse().unwrap(),
                issuer,
                clients: vec!["agent".to_owned()],
                bounds: bounds(&["mcp", "other"], None),
                ca_file: None,
            });
            change(config);
        })
        .await;
        let key = TestKey::new(TestAlgorithm::Es256, "assertions");
        provider.rotate(key.clone(), false);
        Self { gate, provider, key }
    }

    fn header(&self) -> Value {
        json!({"alg": "ES256", "kid": self.key.kid(), "typ": "oauth-id-jag+jwt"})
    }

    /// The claims of an assertion with this id: the shape that Okta documents.
    fn claims(&self, jti: &str) -> Value {
        let now = self.gate.clock.now().0;
        json!({
            "iss": self.provider.issuer(), "aud": self.gate.origin(), "sub": "alice", "client_id": "agent", "jti": jti,
            "iat": now, "exp": now + 300, "resource": self.gate.config.upstreams[0].audience(), "scope": "mcp:access",
            "email": "alice@example.com", "email_verified": true, "auth_time": now, "amr": ["mfa"],
        })
    }

    fn assertion(&self, jti: &str) -> String {
        self.key.jws(&self.header(), &self.claims(jti))
    }

    /// An assertion with one claim changed.
    fn with_claim(&self, jti: &str, name: &str, value: Value) -> String {
        let mut claims = self.claims(jti);
        claims[name] = value;
        self.key.jws(&self.header(), &claims)
    }

    async fn exchange(&self, assertion: &str) -> Answer {
        ask(&self.gate, "agent", &[GRANT, ("assertion", assertion)]).await
    }
}

fn access(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

fn is_invalid_scope(answer: &Answer, of: &str) {
    assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_scope"), "{of}: {answer:?}");
}

fn is_invalid_grant(answer: &Answer, of: &str) {
    assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_grant"), "{of}: {answer:?}");
}

#[tokio::test]
async fn an_assertion_becomes_an_access_token_of_the_user_and_no_refresh_token() {
    let bench = Bench::new().await;
    let answer = bench.exchange(&bench.assertion("1")).await;
    let token = access(&answer);
    assert!(answer.json().get("refresh_token").is_none(), "{answer:?}");
    let read = claims(&token);
    assert_eq!((&read["sub"], &read["client_id"]), (&json!("keycloak|alice"), &json!("agent")));
    assert_eq!(read["aud"], bench.gate.config.upstreams[0].audience());
    assert_eq!(bench.gate.call(&token).await.status, WORKS);
    let seen = bench.gate.behind.last();
    assert_eq!(seen.header("x-forwarded-user"), Some("keycloak|alice"));
    assert_eq!(seen.header("x-forwarded-email"), Some("alice@example.com"));
    // the next one extends the grant
    access(&bench.exchange(&bench.assertion("2")).await);
    assert_eq!(live_grants(&bench.gate).await, 1);
    bench.gate.clock.advance(Duration::from_hours(1));
    assert_eq!(bench.gate.call(&token).await.status, 401);
}

#[tokio::test]
async fn of_one_assertion_in_two_processes_at_once_one_is_accepted_and_none_later() {
    let bench = Bench::new().await;
    let twin = bench.gate.twin().await;
    let assertion = bench.assertion("1");
    let fields = [GRANT, ("assertion", assertion.as_str())];
    let asked: Vec<_> =
        (0..32_usize).map(|n| ask(if n % 2 == 0 { &bench.gate } else { &twin }, "agent", &fields)).collect();
    let answers = futures_util::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    answers.iter().filter(|answer| answer.status != 200).for_each(|answer| is_invalid_grant(answer, "replay"));
    for _ in 0..6 {
        bench.gate.clock.advance(Duration::from_mins(1));
        bench.gate.app.issuer().expire().await;
        is_invalid_grant(&ask(&twin, "agent", &fields).await, "later");
    }
}

#[tokio::test]
async fn an_assertion_for_another_audience_client_or_resource_is_refused_and_not_used_up() {
    let bench = Bench::new().await;
    let third = bench.gate.config.upstreams[2].audience().to_owned();
    for (name, value) in [
        ("aud", json!(format!("{}/", bench.gate.origin()))),
        ("aud", json!(format!("{}/token", bench.gate.origin()))),
        ("aud", json!([bench.gate.origin(), "https://other.example"])),
        ("iss", json!("https://elsewhere.example")),
        ("client_id", json!("chat")),
        ("resource", json!("https://elsewhere.example/mcp")),
        ("resource", json!(third)),
        ("resource", Value::Null),
        ("exp", json!(START.0 - 61)),
        ("iat", json!(START.0 + 120)),
        ("cnf", json!({"jkt": "x"})),
        ("jti", json!("")),
        ("sub", json!("")),
    ] {
        is_invalid_grant(
            &bench.exchange(&bench.with_claim("1", name, value.clone())).await,
            &format!("{name} {value}"),
        );
    }
    let stolen = ask(&bench.gate, "chat", &[GRANT, ("assertion", &bench.assertion("1"))]).await;
    is_invalid_grant(&stolen, "another client");
    let not_listed =
        ask(&bench.gate, "chat", &[GRANT, ("assertion", &bench.with_claim("1", "client_id", json!("chat")))]).await;
    is_invalid_grant(&not_listed, "a client that is not listed");
    let other = bench.gate.config.upstreams[1].audience().to_owned();
    let both = [GRANT, ("assertion", &bench.assertion("1")), ("resource", &other)];
    assert_eq!(ask(&bench.gate, "agent", &both).await.error(), "invalid_target");
    assert_eq!(live_grants(&bench.gate).await, 0);
    access(&bench.exchange(&bench.assertion("1")).await);
}

#[tokio::test]
async fn an_unsigned_foreign_or_wrongly_typed_token_is_no_assertion() {
    let bench = Bench::new().await;
    let claims = bench.claims("1");
    let signed = |header: Value| bench.key.jws(&header, &claims);
    let kid = bench.key.kid();
    let impostor = TestKey::new(TestAlgorithm::Es256, kid);
    let genuine = bench.assertion("1");
    let (message, _) = genuine.rsplit_once('.').unwrap();
    for (what, assertion) in [
        ("none", signed(json!({"alg": "none", "kid": kid, "typ": "oauth-id-jag+jwt"}))),
        ("HS256 by the public key", signed(json!({"alg": "HS256", "kid": kid, "typ": "oauth-id-jag+jwt"}))),
        ("an ID token", signed(json!({"alg": "ES256", "kid": kid, "typ": "JWT"}))),
        ("no type", signed(json!({"alg": "ES256", "kid": kid}))),
        ("an access token", signed(json!({"alg": "ES256", "kid": kid, "typ": "at+jwt"}))),
        ("another key", impostor.jws(&bench.header(), &claims)),
        ("no signature", format!("{message}.")),
        ("no JWT", "x".to_owned()),
        ("two parts", "a.b".to_owned()),
    ] {
        is_invalid_grant(&bench.exchange(&assertion).await, what);
    }
    let missing = ask(&bench.gate, "agent", &[GRANT]).await;
    assert_eq!(missing.error(), "invalid_request");
    let twice = [GRANT, ("assertion", genuine.as_str()), ("assertion", genuine.as_str())];
    assert_eq!(ask(&bench.gate, "agent", &twice).await.error(), "invalid_request");
}

#[tokio::test]
async fn a_client_must_authenticate_itself() {
    let bench = Bench::new().await;
    let public = bench.gate.register().await;
    let assertion = bench.with_claim("1", "client_id", json!(public.id));
    let refused = bench.gate.post_form("/token", &[GRANT, ("client_id", &public.id), ("assertion", &assertion)]).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "unauthorized_client"), "{refused:?}");
    let assertion = bench.assertion("1");
    let refused = bench.gate.post_form("/token", &[GRANT, ("client_id", "agent"), ("assertion", &assertion)]).await;
    assert_eq!((refused.status, refused.error().as_str()), (401, "invalid_client"), "{refused:?}");
}

#[tokio::test]
async fn without_a_trusted_issuer_nothing_of_an_assertion_is_read() {
    let bench = Bench::with(|config| config.assertion_issuers.clear()).await;
    let reads = bench.provider.calls("/certs");
    let (answer, ran) = statements::of(bench.exchange(&bench.assertion("1"))).await;
    assert_eq!((answer.status, answer.error().as_str()), (400, "unsupported_grant_type"), "{answer:?}");
    // whether the client is disabled is asked of every client
    assert!(ran.iter().all(|statement| statement.contains("disabled_clients")), "{ran:?}");
    assert_eq!(bench.provider.calls("/certs"), reads);
    let path = "/.well-known/oauth-authorization-server";
    let metadata = bench.gate.get(path).await.json();
    assert!(!metadata.to_string().contains("jwt-bearer") && !metadata.to_string().contains("id-jag"), "{metadata}");
    let metadata = Bench::new().await.gate.get(path).await.json();
    assert_eq!(
        metadata["authorization_grant_profiles_supported"],
        json!(["urn:ietf:params:oauth:grant-profile:id-jag"])
    );
    assert!(metadata["grant_types_supported"].as_array().unwrap().contains(&json!(JWT_BEARER)));
}

#[tokio::test]
async fn the_scope_is_what_all_of_them_allow_and_never_more_than_the_assertion() {
    let bench = Bench::with(|config| {
        let scopes = &mut config.upstreams[0].settings.scopes;
        (scopes.required, scopes.optional) = (ScopeSet::empty(), ScopeSet::parse("a b c").unwrap());
        config.assertion_issuers[0].bounds = bounds(&["mcp"], Some("a b"));
    })
    .await;
    for (n, (in_assertion, asked, given)) in [
        (json!("a b c"), "", Some("a b")),
        (json!("b c"), "", Some("b")),
        (json!("a b"), "b c", Some("b")),
        (json!("a b"), "c", Some("a b")),
        (Value::Null, "a", Some("a")),
        (Value::Null, "", Some("a b")),
        (json!("c"), "", None),
        (json!("c"), "a", None),
        (json!(""), "a", None),
    ]
    .into_iter()
    .enumerate()
    {
        let assertion = bench.with_claim(&n.to_string(), "scope", in_assertion.clone());
        let answer = ask(&bench.gate, "agent", &[GRANT, ("assertion", &assertion), ("scope", asked)]).await;
        match given {
            Some(given) => assert_eq!(claims(&access(&answer))["scope"], given, "{in_assertion} {asked}"),
            None => is_invalid_scope(&answer, &format!("{in_assertion} {asked}")),
        }
    }
}

#[tokio::test]
async fn an_assertion_without_a_scope_that_its_server_requires_gives_no_token_that_every_call_would_refuse() {
    let bench = Bench::with(|config| {
        let scopes = &mut config.upstreams[0].settings.scopes;
        (scopes.required, scopes.optional) =
            (ScopeSet::parse("enter read").unwrap(), ScopeSet::parse("write").unwrap());
        config.assertion_issuers[0].bounds = bounds(&["mcp"], Some("enter read write"));
    })
    .await;
    for (scope, asked) in
        [("enter write", ""), ("enter", "enter"), ("write", ""), ("admin", ""), ("", ""), ("enter write", "enter read")]
    {
        let assertion = bench.with_claim("1", "scope", json!(scope));
        let answer = ask(&bench.gate, "agent", &[GRANT, ("assertion", &assertion), ("scope", asked)]).await;
        is_invalid_scope(&answer, scope);
        let words = answer.json()["error_description"].as_str().unwrap().to_owned();
        assert!(words.contains("read"), "the scope that lacks: {words}");
    }
    assert_eq!(live_grants(&bench.gate).await, 0);
    let token = access(&bench.exchange(&bench.with_claim("1", "scope", json!("read enter"))).await);
    assert_eq!(bench.gate.call(&token).await.status, WORKS, "it was not used up");
    // a client that asks for less than it may have is told what lacks, and asks again
    let narrow = [GRANT, ("assertion", &bench.with_claim("2", "scope", json!("read enter"))), ("scope", "read")];
    let token = access(&ask(&bench.gate, "agent", &narrow).await);
    assert_eq!(bench.gate.call(&token).await.status, 403);
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_a_503_and_the_assertion_stays_good() {
    let bench = Bench::new().await;
    bench.provider.stop().await;
    let assertion = bench.assertion("1");
    let answer = bench.exchange(&assertion).await;
    assert_eq!((answer.status, answer.error().as_str()), (503, "temporarily_unavailable"), "{answer:?}");
    bench.provider.restart().await;
    bench.gate.clock.advance(Duration::from_secs(2));
    access(&bench.exchange(&assertion).await);
    let next = TestKey::new(TestAlgorithm::Rs256, "next");
    bench.provider.rotate(next.clone(), true);
    bench.gate.clock.advance(Duration::from_secs(11));
    let header = json!({"alg": "RS256", "kid": "next", "typ": "application/oauth-id-jag+jwt"});
    access(&bench.exchange(&next.jws(&header, &bench.claims("2"))).await);
    let reads = bench.provider.calls("/certs");
    for n in 0..20 {
        let unknown = TestKey::new(TestAlgorithm::Es256, &format!("unknown-{n}"));
        let header = json!({"alg": "ES256", "kid": unknown.kid(), "typ": "oauth-id-jag+jwt"});
        let answer = bench.exchange(&unknown.jws(&header, &bench.claims("3"))).await;
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    assert_eq!(bench.provider.calls("/certs"), reads, "the floor between two reads");
}

#[tokio::test]
async fn the_grant_of_an_assertion_is_ended_as_every_grant_and_does_not_outlive_the_configuration() {
    let bench = Bench::new().await;
    let token = access(&bench.exchange(&bench.assertion("1")).await);
    assert_eq!(bench.gate.call(&token).await.status, WORKS);
    let filter = GrantFilter { subject: Some("keycloak|alice".to_owned()), ..GrantFilter::default() };
    let store = bench.gate.app.store();
    let listed = store.list_grants(&filter, None, bench.gate.clock.now(), 10).await.unwrap();
    store.end_grants(&[listed[0].id.clone()], EndReason::Operator, bench.gate.clock.now()).await.unwrap();
    bench.gate.app.revocation().read_feed(store).await.unwrap();
    assert_eq!(bench.gate.call(&token).await.status, 401);
    let token = access(&bench.exchange(&bench.assertion("2")).await);
    let Bench { gate, provider: _provider, .. } = bench;
    let gate = gate.restart().await;
    assert_eq!(gate.call(&token).await.status, WORKS);
    let gate = gate.restart_with(|config| config.assertion_issuers[0].clients = vec!["chat".to_owned()]).await;
    assert_eq!(gate.call(&token).await.status, 401);
}

#[tokio::test]
async fn an_assertion_is_in_no_log() {
    let bench = Bench::new().await;
    let (lines, _guard) = watch();
    let good = bench.assertion("1");
    access(&bench.exchange(&good).await);
    is_invalid_grant(&bench.exchange(&good).await, "replay");
    is_invalid_grant(&bench.exchange(&bench.with_claim("2", "aud", json!("https://other.example"))).await, "audience");
    let said = lines.text();
    let payload = good.split('.').nth(1).unwrap();
    assert!(said.contains("the assertion was used before"), "{said}");
    assert!(!said.contains(payload) && !said.contains("eyJ") && !said.contains("other.example"), "{said}");
}

#[tokio::test]
async fn an_assertion_issuer_keeps_its_id_for_ever() {
    let bench = Bench::with(|config| config.assertion_issuers[0].id = "acme".to_owned()).await;
    let token = access(&bench.exchange(&bench.assertion("1")).await);
    assert_eq!(claims(&token)["sub"], "acme|alice");
    let mut config = Config::clone(&bench.gate.config);
    config.assertion_issuers[0].issuer = "https://elsewhere.example".to_owned();
    let app = portcullis::app::App::build(std::sync::Arc::new(config), bench.gate.clock.clone()).await.unwrap();
    let error = app.adopt().await.unwrap_err().to_string();
    assert!(error.contains("acme"), "{error}");
    assert_eq!(bench.gate.call(&token).await.status, WORKS);
}

#[tokio::test]
async fn an_assertion_with_a_proof_becomes_a_token_that_is_bound_to_its_key() {
    let bench = Bench::with(|config| dpop::take(config, BoundTokens::Required)).await;
    let (gate, holder) = (&bench.gate, Holder::new());
    let assertion = bench.assertion("1");
    let exchange = async |proofs: &[&str]| {
        let fields = [GRANT, ("client_id", "agent"), ("client_secret", SECRET), ("assertion", assertion.as_str())];
        dpop::ask(gate, &fields, proofs).await
    };
    // neither uses the assertion up
    assert_eq!(exchange(&[]).await.error(), "invalid_dpop_proof");
    let without_nonce = holder.edited(gate, ("POST", "/token"), |_, claims| claims["nonce"] = Value::Null);
    assert_eq!(exchange(&[&without_nonce]).await.error(), "use_dpop_nonce");
    let proof = holder.for_tokens(gate);
    let answer = exchange(&[&proof]).await;
    assert_eq!(answer.json()["token_type"], "DPoP", "{answer:?}");
    let token = access(&answer);
    assert_eq!(claims(&token)["cnf"]["jkt"], json!(holder.jkt()));
    assert_eq!(holder.call(gate, &token).await.status, WORKS);
    assert_eq!(gate.call(&token).await.status, 401);
    assert_eq!(Holder::new().call(gate, &token).await.status, 401);
    assert_eq!(exchange(&[&proof]).await.error(), "invalid_dpop_proof", "replayed as a whole");
    assert_eq!(exchange(&[&holder.for_tokens(gate)]).await.error(), "invalid_grant", "with a new proof");
    // the grant of the user is the same for another key; each token has its own
    let other = Holder::new();
    let fields = [GRANT, ("client_id", "agent"), ("client_secret", SECRET), ("assertion", &bench.assertion("2"))];
    let second = access(&dpop::ask(gate, &fields, &[&other.for_tokens(gate)]).await);
    assert_eq!((other.call(gate, &second).await.status, holder.call(gate, &second).await.status), (WORKS, 401));
}

#[tokio::test]
async fn the_rules_for_users_hold_for_assertions_which_name_no_groups() {
    let rule = |groups: &[&str], domains: &[&str]| AllowRule {
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        domains: domains.iter().map(|&domain| domain.to_owned()).collect(),
        ..AllowRule::default()
    };
    for (of_identity, of_upstream, admitted) in [
        (rule(&[], &["example.com"]), rule(&[], &["example.com"]), true),
        (rule(&["staff"], &[]), rule(&[], &["example.com"]), false),
        (rule(&[], &["example.com"]), rule(&["staff"], &[]), false),
        (rule(&[], &["example.org"]), rule(&[], &["example.com"]), false),
    ] {
        let bench = Bench::with(|config| {
            config.identities[0].admission.allow = Allow(vec![of_identity]);
            config.upstreams[0].settings.admission.allow = Allow(vec![of_upstream]);
        })
        .await;
        let answer = bench.exchange(&bench.assertion("1")).await;
        if admitted {
            assert_eq!(bench.gate.call(&access(&answer)).await.status, WORKS);
        } else {
            is_invalid_grant(&answer, "a user who is not admitted");
        }
    }
}
