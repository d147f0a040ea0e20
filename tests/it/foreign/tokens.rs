//! Good tokens: what they open, for how long, and what is known of their holder.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use portcullis::config::{AcceptedIssuer, Admission, Allow, AllowRule, BoundTokens, GroupSources};
use portcullis::oauth::scope::ScopeSet;
use serde_json::{Value, json};

use super::{Bench, assert_unfit, issuer_of};
use crate::support::dpop::{Holder, take};
use crate::support::gate::{TestGate, WORKS, upstream};
use crate::support::log::watch;
use crate::support::provider::{FakeProvider, TestAlgorithm, TestKey};
use crate::support::raw::{RawUpstream, SSE};
use crate::support::upstream::{Upstream, answer};

#[tokio::test]
async fn a_token_of_the_issuer_opens_the_upstream_and_names_its_user_and_client() {
    let bench = Bench::new().await;
    let answered = bench.call(&bench.token()).await;
    assert_eq!(answered.status, WORKS, "{answered:?}");
    let seen = bench.gate.behind.last();
    for (name, value) in [
        ("x-forwarded-user", Some("corp|alice-id")),
        ("x-forwarded-email", Some("alice@example.com")),
        ("x-forwarded-preferred-username", Some("alice")),
        ("x-forwarded-groups", Some("/eng/core")),
        ("x-portcullis-identity", Some("corp")),
        ("x-portcullis-client", Some("vscode")),
        ("x-portcullis-scopes", Some("mcp:access")),
        ("authorization", None),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn an_access_token_of_an_older_keycloak_which_repeats_the_nonce_is_none_the_less_one() {
    let bench = Bench::new().await;
    assert_eq!(bench.call(&bench.token_with(&json!({"nonce": "n"}))).await.status, WORKS);
}

#[tokio::test]
async fn claims_are_read_where_the_operator_says() {
    let bench = Bench::with(|issuer, config| {
        issuer.groups = GroupSources::claim("/realm_access/roles");
        issuer.scope_claims = vec!["/https:~1~1example.com~1rights/mcp".to_owned(), "permissions".to_owned()];
        config.upstreams[0].settings.scopes.optional = ScopeSet::parse("mcp:write").unwrap();
    })
    .await;
    let token = bench.token_with(&json!({
        "https://example.com/rights": {"mcp": ["mcp:access", "unknown"]}, "permissions": "mcp:write other",
        "email_verified": false,
    }));
    assert_eq!(bench.call(&token).await.status, WORKS);
    let seen = bench.gate.behind.last();
    assert_eq!(seen.header("x-portcullis-scopes"), Some("mcp:access mcp:write"));
    assert_eq!(seen.header("x-forwarded-groups"), Some("staff"));
    assert_eq!(seen.header("x-forwarded-email"), None, "an address that nobody verified");
}

#[tokio::test]
async fn our_own_tokens_still_open_an_upstream_that_accepts_both() {
    let (gate, provider) = TestGate::with_provider(|_| {}).await;
    drop(gate);
    let gate = TestGate::with(|config| {
        let issuer = issuer_of(&provider);
        let audiences = issuer.audiences.clone();
        config.upstreams[0].settings.accepts.foreign.push(AcceptedIssuer::new(Arc::new(issuer), &audiences));
    })
    .await;
    let own = gate.tokens(&gate.register().await).await.access;
    assert_eq!(gate.call(&own).await.status, WORKS);
    assert_eq!(gate.behind.last().header("x-forwarded-user"), Some("local|alice"));
    assert_eq!(provider.calls("/certs"), 0, "our own tokens ask nobody");
    let metadata = gate.get("/.well-known/oauth-protected-resource/mcp").await.json();
    assert_eq!(metadata["authorization_servers"], json!([gate.origin(), provider.issuer()]));
    assert_eq!(metadata["scopes_supported"], json!(["mcp:access"]));
}

#[tokio::test]
async fn keys_are_read_once_however_many_tokens_come_and_a_token_is_verified_once() {
    let bench = Bench::new().await;
    let tokens: Vec<_> = (0..20).map(|n| bench.token_with(&json!({"jti": n.to_string()}))).collect();
    let calls = tokens.iter().map(|token| bench.call(token));
    assert!(futures_util::future::join_all(calls).await.iter().all(|answer| answer.status == WORKS));
    for _ in 0..5 {
        assert_eq!(bench.call(&tokens[0]).await.status, WORKS);
    }
    assert_eq!((bench.provider.calls("/certs"), bench.provider.calls("/openid-configuration")), (1, 1));
    let metrics = bench.gate.app.metrics().await;
    for line in [
        r#"portcullis_issuer_token_checks_total{issuer="corp",result="cached"} 5"#,
        r#"portcullis_issuer_token_checks_total{issuer="corp",result="verified"} 20"#,
        r#"portcullis_provider_up{identity="corp"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn a_token_ends_with_its_exp_and_a_minute_of_leeway_however_well_it_is_remembered() {
    let bench = Bench::new().await;
    let token = bench.token();
    assert_eq!(bench.call(&token).await.status, WORKS);
    bench.gate.clock.advance(Duration::from_secs(359));
    assert_eq!(bench.call(&token).await.status, WORKS, "clocks differ");
    bench.gate.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.call(&token).await.status, 401);
}

#[tokio::test]
async fn a_new_key_is_read_at_once_and_forged_key_ids_do_not_make_us_read_again() {
    let bench = Bench::new().await;
    assert_eq!(bench.call(&bench.token()).await.status, WORKS);
    bench.gate.clock.advance(Duration::from_secs(20));
    let next = TestKey::new(TestAlgorithm::Rs256, "next");
    bench.provider.rotate(next.clone(), false);
    let header = json!({"alg": "RS256", "kid": "next", "typ": "JWT"});
    assert_eq!(bench.call(&next.jws(&header, &bench.claims())).await.status, WORKS);
    assert_eq!(bench.provider.calls("/certs"), 2);
    let forged = (0..30).map(|n| bench.token_headed(&json!({"kid": format!("forged-{n}")})));
    let older = super::edited(bench.claims(), &json!({"iat": bench.gate.clock.now().0 - 10}));
    for token in forged.chain([bench.key.jws(&json!({"alg": "ES256", "kid": "x", "typ": "JWT"}), &older)]) {
        assert_unfit(&bench.call(&token).await, "the access token is not valid", "forged kid");
    }
    assert_eq!(bench.provider.calls("/certs"), 2, "at most every ten seconds");
    // a token that is newer than the keys may be signed by a newer key: that cannot be known yet
    bench.gate.clock.advance(Duration::from_secs(5));
    let newest = TestKey::new(TestAlgorithm::Es256, "newest");
    bench.provider.rotate(newest.clone(), false);
    let token = newest.jws(&json!({"alg": "ES256", "kid": "newest", "typ": "JWT"}), &bench.claims());
    let answer = bench.call(&token).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"), "{answer:?}");
    bench.gate.clock.advance(Duration::from_secs(5));
    assert_eq!(bench.call(&token).await.status, WORKS);
}

#[tokio::test]
async fn keys_serve_while_the_issuer_is_down_and_before_they_were_read_nothing_is_known() {
    let bench = Bench::new().await;
    bench.provider.stop().await;
    let (log, _guard) = watch();
    let answer = bench.call(&bench.token()).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (503, ""), "never 401: {answer:?}");
    assert!(log.text().contains("issuer corp: the metadata at http://"), "{}", log.text());
    bench.provider.restart().await;
    bench.gate.clock.advance(Duration::from_secs(2));
    assert_eq!(bench.call(&bench.token()).await.status, WORKS);
    bench.provider.stop().await;
    bench.gate.clock.advance(Duration::from_hours(3));
    assert_eq!(bench.call(&bench.token()).await.status, WORKS, "stale keys serve");
    bench.gate.clock.advance(Duration::from_secs(2));
    let unknown = bench.call(&bench.token_headed(&json!({"kid": "unknown"}))).await;
    assert_eq!(unknown.status, 503, "a key that may be new: {unknown:?}");
}

#[tokio::test]
async fn tokens_of_a_key_that_its_issuer_withdrew_end_though_they_were_verified() {
    let bench = Bench::new().await;
    let token = bench.token_with(&json!({"exp": bench.gate.clock.now().0 + 7200}));
    assert_eq!(bench.call(&token).await.status, WORKS);
    let next = TestKey::new(TestAlgorithm::Es256, "next");
    bench.provider.rotate(next.clone(), true);
    bench.gate.clock.advance(Duration::from_mins(5));
    let other = next.jws(&json!({"alg": "ES256", "kid": "next", "typ": "JWT"}), &bench.claims());
    assert_eq!(bench.call(&other).await.status, WORKS);
    assert_eq!(bench.call(&token).await.status, 401);
}

#[tokio::test]
async fn a_call_that_lacks_a_scope_is_403_with_all_scopes_and_is_audited_under_the_issuer() {
    let bench = Bench::with(|issuer, config| {
        issuer.scope_prefix = Some("api://mcp/".to_owned());
        config.upstreams[0].settings.scopes.required = ScopeSet::parse("mcp:access mcp:write").unwrap();
    })
    .await;
    let (log, _guard) = watch();
    let answer = bench.call(&bench.token_with(&json!({"scope": "api://mcp/mcp:access"}))).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    insta::assert_snapshot!(answer.header("www-authenticate"), @r#"Bearer error="insufficient_scope", scope="api://mcp/mcp:access api://mcp/mcp:write", resource_metadata="http://127.0.0.1:6749/.well-known/oauth-protected-resource/mcp", error_description="the access token lacks a required scope""#);
    let log = log.text();
    let audited = log.lines().find(|line| line.contains("call denied")).unwrap_or_else(|| panic!("{log}"));
    assert!(audited.contains(r#"issuer="corp" subject="corp|alice-id" client=vscode"#), "{audited}");
    assert!(!audited.contains("grant="), "{audited}");
}

#[tokio::test]
async fn scopes_imply_others_as_for_tokens_of_our_own() {
    let bench = Bench::with(|_, config| {
        let scopes = &mut config.upstreams[0].settings.scopes;
        scopes.optional = ScopeSet::parse("mcp:admin").unwrap();
        let implies = [("mcp:admin".to_owned(), vec!["mcp:access".to_owned()])].into_iter().collect();
        scopes.hierarchy = portcullis::oauth::scope_hierarchy::ScopeHierarchy::new(&implies).unwrap();
    })
    .await;
    assert_eq!(bench.call(&bench.token_with(&json!({"scope": "mcp:admin"}))).await.status, WORKS);
    assert_eq!(bench.gate.behind.last().header("x-portcullis-scopes"), Some("mcp:access mcp:admin"));
}

#[tokio::test]
async fn a_session_belongs_to_the_user_of_the_issuer() {
    let behind = Upstream::start(|_| answer(200, &[("mcp-session-id", "up")], "{}")).await;
    let url = behind.url();
    let bench = Bench::with(|_, config| {
        config.upstreams = vec![upstream(&config.public_url, "mcp", &url)];
    })
    .await;
    let token = bench.token();
    let session = bench.call(&token).await.header("mcp-session-id").to_owned();
    assert!(session.starts_with("up."), "{session}");
    for (user, status) in [("alice-id", 200), ("bob-id", 404)] {
        let token = bench.token_with(&json!({"sub": user, "jti": "2"}));
        let request = bench.gate.request("GET", "/mcp").header("authorization", format!("Bearer {token}"));
        assert_eq!(bench.gate.send(request.header("mcp-session-id", &session), "").await.status, status, "{user}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let behind = RawUpstream::start().await;
    let url = behind.url();
    let bench = Bench::with(|_, config| config.upstreams = vec![upstream(&config.public_url, "mcp", &url)]).await;
    let token = bench.token();
    let request = bench.gate.request("GET", "/mcp").header("authorization", format!("Bearer {token}"));
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let (answer, wire) = tokio::join!(bench.gate.app.handle(request, "127.0.0.1:5000".parse().unwrap()), async {
        let mut wire = behind.asked().await;
        wire.send(SSE).await;
        wire
    });
    assert_eq!(answer.status(), 200);
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    drop(answer.into_body().collect().await);
    let lasted = began.elapsed().as_secs();
    assert!((355..=361).contains(&lasted), "exp and the leeway: {lasted} s");
    drop(wire);
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_needs_a_proof_of_it() {
    let bench = Bench::with(|_, config| take(config, BoundTokens::Optional)).await;
    let holder = Holder::new();
    let token = bench.token_with(&json!({"cnf": {"jkt": holder.jkt()}, "typ": "DPoP"}));
    // nonces hang on the root key, so a gate without one has others
    assert_eq!(holder.call(&bench.gate, &token).await.status, WORKS);
    assert_eq!(bench.call(&token).await.status, 401, "as a bearer token");
    assert_eq!(Holder::new().call(&bench.gate, &token).await.status, 401, "with another key");
    assert_unfit_bound(&bench, &json!({"cnf": {"x5t#S256": holder.jkt()}})).await;
    let without = Bench::new().await;
    assert_unfit_bound(&without, &json!({"cnf": {"jkt": holder.jkt()}})).await;
}

async fn assert_unfit_bound(bench: &Bench, changes: &Value) {
    let answer = bench.call(&bench.token_with(changes)).await;
    let challenge = answer.headers.get_all("www-authenticate").iter().next().unwrap().to_str().unwrap();
    assert!(answer.status == 401 && challenge.contains("\"the access token is not valid\""), "{changes}: {answer:?}");
}

#[tokio::test]
async fn a_provider_that_moves_its_keys_is_followed() {
    let bench = Bench::new().await;
    assert_eq!(bench.call(&bench.token()).await.status, WORKS);
    let elsewhere = FakeProvider::start(&bench.gate.clock).await;
    let moved = TestKey::new(TestAlgorithm::Es256, "moved");
    elsewhere.rotate(moved.clone(), true);
    let uri = format!("{}/certs", elsewhere.issuer());
    bench.provider.edit_discovery(move |document| document["jwks_uri"] = json!(uri));
    bench.gate.clock.advance(Duration::from_hours(1));
    let token = moved.jws(&json!({"alg": "ES256", "kid": "moved", "typ": "JWT"}), &bench.claims());
    assert_eq!(bench.call(&token).await.status, WORKS);
}

#[tokio::test]
async fn a_user_whom_a_rule_keeps_out_gets_a_403_with_the_reason_and_no_challenge() {
    let rule = |group: &str| {
        Allow(vec![AllowRule {
            groups: vec![group.to_owned()],
            identity: Some("corp".to_owned()),
            ..AllowRule::default()
        }])
    };
    for (of_issuer, of_upstream, denied_by) in [
        ("/eng/core", "/eng/core", None),
        ("/ops", "/eng/core", Some("issuer corp: allow")),
        ("/eng/core", "/ops", Some("upstream mcp: allow")),
    ] {
        let bench = Bench::with(|issuer, config| {
            issuer.admission.allow = rule(of_issuer);
            config.upstreams[0].settings.admission =
                Admission { allow: rule(of_upstream), ask: Some("the platform team".to_owned()) };
        })
        .await;
        let (lines, _guard) = watch();
        let answered = bench.call(&bench.token()).await;
        let Some(rule) = denied_by else {
            assert_eq!(answered.status, WORKS, "{answered:?}");
            continue;
        };
        assert_eq!(answered.status, 403, "{answered:?}");
        assert_eq!(answered.header("www-authenticate"), "");
        assert!(answered.body.contains("this user may not use this server"), "{answered:?}");
        let text = lines.text();
        assert!(text.contains("call denied") && text.contains(rule) && text.contains("not_admitted"), "{text}");
        assert_eq!(bench.call(&bench.token()).await.status, 403, "and again");
    }
}

#[tokio::test]
async fn a_scope_of_the_token_that_its_user_may_not_have_counts_for_nothing() {
    let bench = Bench::with(|_, config| {
        let settings = &mut config.upstreams[0].settings;
        settings.scopes.optional = ScopeSet::parse("mcp:admin").unwrap();
        let rule = AllowRule { groups: vec!["/admins".to_owned()], ..AllowRule::default() };
        settings.scopes.allow = [("mcp:admin".to_owned(), Allow(vec![rule]))].into();
    })
    .await;
    let of = |groups: Value| bench.token_with(&json!({"scope": "mcp:access mcp:admin", "groups": groups}));
    for (groups, seen) in [(json!(["/admins"]), "mcp:access mcp:admin"), (json!(["/eng"]), "mcp:access")] {
        assert_eq!(bench.call(&of(groups.clone())).await.status, WORKS);
        assert_eq!(bench.gate.behind.last().header("x-portcullis-scopes"), Some(seen), "{groups}");
    }
}
