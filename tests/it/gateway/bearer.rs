//! Bearer tokens: which are accepted, and how the rest is refused.

use std::time::Duration;

use http::Request;
use portcullis::oauth::scope::ScopeSet;

use super::{end_grant, gate_at, token};
use crate::support::browser::{Browser, parameter};
use crate::support::gate::{TestGate, tokens, upstream};
use crate::support::upstream::{Upstream, answer};

#[tokio::test]
async fn the_challenge_without_a_token_names_the_metadata_and_no_error() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    for method in ["GET", "POST", "DELETE"] {
        let answer = gate.send(gate.request(method, "/mcp"), "").await;
        assert_eq!(answer.status, 401);
        insta::allow_duplicates! {
            insta::assert_snapshot!(answer.header("www-authenticate"), @r#"Bearer scope="mcp:access", resource_metadata="http://127.0.0.1:6749/.well-known/oauth-protected-resource/mcp""#);
        }
    }
    let slashed = gate.send(gate.request("POST", "/mcp/"), "").await;
    assert!(slashed.header("www-authenticate").contains("oauth-protected-resource/mcp/\""), "{slashed:?}");
    assert_eq!(behind.count(), 0);
}

#[tokio::test]
async fn an_invalid_token_is_refused_and_never_reaches_the_upstream() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    let (head, rest) = good.split_once('.').unwrap();
    let none = data_encoding::BASE64URL_NOPAD.encode(br#"{"alg":"none","typ":"at+jwt"}"#);
    let other_alg = data_encoding::BASE64URL_NOPAD.encode(br#"{"alg":"HS256","typ":"at+jwt","kid":"k"}"#);
    let unsigned = rest.split('.').next().unwrap();
    for bad in [
        "nonsense".to_owned(),
        format!("{none}.{unsigned}."),
        format!("{other_alg}.{rest}"),
        format!("{head}.{rest}x"),
        good.to_uppercase(),
        "pcr_notanaccesstoken".to_owned(),
        "a.b.c".to_owned(),
        "x".repeat(20_000),
    ] {
        let answer = gate.call(&bad).await;
        assert_eq!(answer.status, 401, "{bad}");
        assert!(
            answer
                .header("www-authenticate")
                .starts_with("Bearer error=\"invalid_token\", scope=\"mcp:access\", resource_metadata=")
        );
    }
    assert_eq!(gate.call_at("/sibling", &good).await.status, 401, "a token is for one resource");
    assert_eq!(gate.call(&good).await.status, 200);
    gate.clock.advance(Duration::from_hours(1));
    assert_eq!(gate.call(&good).await.status, 401, "expired at its last second");
    assert_eq!(behind.count(), 1);
}

#[tokio::test]
async fn insufficient_scope_is_403_with_all_scopes_needed() {
    let behind = Upstream::polite().await;
    let url = behind.url();
    let gate = TestGate::with(|config| {
        let mut only = upstream(&config.public_url, "mcp", &url);
        only.settings.scopes.required = ScopeSet::parse("mcp:access mcp:write").unwrap();
        config.upstreams = vec![only];
    })
    .await;
    let client = gate.register().await;
    let place = gate.sign_in(&mut Browser::default(), &client, &[("scope", "mcp:access")]).await;
    let narrow = tokens(&gate.redeem(&client, &parameter(&place, "code").unwrap()).await);
    let answer = gate.call(&narrow.access).await;
    assert_eq!(answer.status, 403);
    insta::assert_snapshot!(answer.header("www-authenticate"), @r#"Bearer error="insufficient_scope", scope="mcp:access mcp:write", resource_metadata="http://127.0.0.1:6749/.well-known/oauth-protected-resource/mcp", error_description="the access token lacks a required scope""#);
    assert_eq!(behind.count(), 0);
}

/// Each request has one fault less than the one before it.
#[tokio::test]
async fn checks_run_in_order_and_only_the_first_failure_is_reported() {
    let behind = Upstream::start(|_| answer(200, &[("mcp-session-id", "up")], "{}")).await;
    let url = behind.url();
    let gate = TestGate::with(|config| {
        let mut door = upstream(&config.public_url, "mcp", &url);
        door.settings.scopes.required = ScopeSet::parse("mcp:access mcp:write").unwrap();
        config.upstreams = vec![door, upstream(&config.public_url, "sibling", &url)];
    })
    .await;
    let client = gate.register().await;
    let mut given = Vec::new();
    for asked in [("resource", "http://127.0.0.1:6749/sibling"), ("scope", "mcp:access"), ("scope", "")] {
        let place = gate.sign_in(&mut Browser::default(), &client, &[asked]).await;
        given.push(tokens(&gate.redeem(&client, &parameter(&place, "code").unwrap()).await).access);
    }
    let [sibling, narrow, good] = given.try_into().unwrap();
    let elsewhere = gate.call_at("/sibling", &sibling).await.header("mcp-session-id").to_owned();
    assert!(elsewhere.starts_with("up."));
    let (ours, theirs) = ("127.0.0.1:6749", "evil.example");
    for (host, origin, token, session, status, challenge) in [
        (theirs, Some("https://evil.example"), "", Some(&elsewhere), 421, ""),
        (ours, Some("https://evil.example"), "", Some(&elsewhere), 403, ""),
        (ours, None, "", Some(&elsewhere), 401, "Bearer scope="),
        (ours, None, &sibling, Some(&elsewhere), 401, "Bearer error=\"invalid_token\""),
        (ours, None, &narrow, Some(&elsewhere), 404, ""),
        (ours, None, &narrow, None, 403, "Bearer error=\"insufficient_scope\""),
        (ours, None, &good, None, 200, ""),
    ] {
        let mut request = Request::post("/mcp").header("host", host);
        let bearer = Some(format!("Bearer {token}")).filter(|_| !token.is_empty());
        for (name, value) in
            [("origin", origin.map(str::to_owned)), ("authorization", bearer), ("mcp-session-id", session.cloned())]
        {
            request = if let Some(value) = value { request.header(name, value) } else { request };
        }
        let answer = gate.send(request, "").await;
        assert_eq!(answer.status, status, "{answer:?}");
        let told = answer.header("www-authenticate");
        assert!(told.starts_with(challenge) && told.is_empty() == challenge.is_empty(), "{status}: {told}");
    }
    assert_eq!(behind.count(), 2);
}

#[tokio::test]
async fn a_token_in_the_query_or_two_tokens_are_refused() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let token = token(&gate).await;
    let request = gate.request("POST", "/mcp?access_token=x").header("authorization", format!("Bearer {token}"));
    assert_eq!(gate.send(request, "").await.status, 400);
    let request = gate
        .request("POST", "/mcp")
        .header("authorization", format!("Bearer {token}"))
        .header("authorization", "Bearer other");
    assert_eq!(gate.send(request, "").await.status, 400);
    assert_eq!(behind.count(), 0);
}

#[tokio::test]
async fn a_stale_revocation_feed_is_503_only_with_revocation_staleness() {
    let behind = Upstream::polite().await;
    for (limit, status) in [(None, 200), (Some(Duration::from_secs(30)), 503)] {
        let url = behind.url();
        let gate = TestGate::with(|config| {
            config.upstreams = vec![upstream(&config.public_url, "mcp", &url)];
            config.server.revocation_staleness = limit;
        })
        .await;
        let good = token(&gate).await;
        assert_eq!(gate.call(&good).await.status, 200);
        gate.app.revocation().read_feed(gate.app.store()).await.unwrap();
        gate.app.store().close().await;
        gate.clock.advance(Duration::from_secs(31));
        assert!(gate.app.revocation().read_feed(gate.app.store()).await.is_err());
        assert_eq!(gate.call(&good).await.status, status, "{limit:?}");
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_checked_is_503_and_not_401() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let client = gate.register().await;
    let (known, unknown) = (gate.tokens(&client).await.access, gate.tokens(&client).await.access);
    assert_eq!(gate.call(&known).await.status, 200);
    gate.app.store().close().await;
    assert_eq!(gate.call(&known).await.status, 200, "a known token needs no database");
    let answer = gate.call(&unknown).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(!answer.header("retry-after").is_empty() && answer.header("www-authenticate").is_empty());
}

/// The answer shows whether the store was read: with a closed store, a read makes it 503.
#[tokio::test]
async fn a_token_of_an_ended_grant_costs_one_read_and_no_more() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let (ended, never_seen) = (token(&gate).await, token(&gate).await);
    end_grant(&gate, &ended).await;
    end_grant(&gate, &never_seen).await;
    let late = gate.twin().await;
    assert_eq!(late.call(&ended).await.status, 401);
    late.app.store().close().await;
    for _ in 0..3 {
        let answer = late.call(&ended).await;
        assert_eq!(answer.status, 401, "{answer:?}");
        assert!(answer.header("www-authenticate").contains("invalid_token"));
    }
    assert_eq!(late.call(&never_seen).await.status, 503, "this one would have to be read");
    let forged = format!("{}x", &ended[..ended.len() - 1]);
    assert_eq!(late.call(&forged).await.status, 401);
    assert_eq!(behind.count(), 0);
}

/// The feed as it runs beside the gate.
async fn read_feed(gate: &TestGate) {
    gate.app.revocation().read_feed(gate.app.store()).await.unwrap();
}

#[tokio::test]
async fn a_revoked_token_stays_revoked_after_its_lifetime_was_shortened() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    let gate = gate.restart_with(|config| config.lifetimes.access_token = Duration::from_secs(5)).await;
    assert_eq!(gate.call(&good).await.status, 200);
    end_grant(&gate, &good).await;
    assert_eq!(gate.call(&good).await.status, 401);
    for _ in 0..12 {
        gate.clock.advance(Duration::from_secs(9));
        read_feed(&gate).await;
        gate.app.issuer().expire().await;
        assert_eq!(gate.call(&good).await.status, 401);
    }
    // the clock goes back, so the shorter lifetime no longer refuses it: the end of the grant does
    gate.clock.step(-108);
    assert_eq!(gate.call(&good).await.status, 401);
    assert_eq!(behind.count(), 1);
}

#[tokio::test]
async fn a_shortened_lifetime_applies_to_tokens_issued_before() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    gate.clock.advance(Duration::from_secs(10));
    let gate = gate.restart_with(|config| config.lifetimes.access_token = Duration::from_secs(20)).await;
    assert_eq!(gate.call(&good).await.status, 200);
    gate.clock.advance(Duration::from_secs(10));
    assert_eq!(gate.call(&good).await.status, 401, "the cached token, too");
    let gate = gate.restart_with(|config| config.lifetimes.access_token = Duration::from_hours(1)).await;
    assert_eq!(gate.call(&good).await.status, 200);
}

#[tokio::test]
async fn a_revoked_token_stays_revoked_when_the_wall_clock_steps_forward_and_back() {
    let behind = Upstream::polite().await;
    for step in [4000, -4000, 100_000] {
        let gate = gate_at(&behind).await;
        let (before, during) = (token(&gate).await, token(&gate).await);
        for good in [&before, &during] {
            assert_eq!(gate.call(good).await.status, 200);
        }
        end_grant(&gate, &before).await;
        gate.clock.step(step);
        read_feed(&gate).await;
        end_grant(&gate, &during).await;
        gate.clock.advance(Duration::from_secs(3));
        gate.app.issuer().expire().await;
        read_feed(&gate).await;
        gate.clock.step(-step);
        for seconds in [0, 60, 600] {
            gate.clock.advance(Duration::from_secs(seconds));
            read_feed(&gate).await;
            for ended in [&before, &during] {
                assert_eq!(gate.call(ended).await.status, 401, "{step}");
                assert_eq!(gate.twin().await.call(ended).await.status, 401, "in a new process, too");
            }
        }
    }
}

#[tokio::test]
async fn a_token_issued_while_the_clock_was_ahead_is_refused_after_the_correction() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    gate.clock.step(4000);
    let good = token(&gate).await;
    assert_eq!(gate.call(&good).await.status, 200);
    gate.clock.step(-4000);
    assert_eq!(gate.call(&good).await.status, 401);
    assert_eq!(gate.twin().await.call(&good).await.status, 401);
}

#[tokio::test]
async fn processes_with_different_lifetimes_agree_that_a_grant_has_ended() {
    let behind = Upstream::polite().await;
    let long = gate_at(&behind).await;
    let short = long.twin_with(|config| config.lifetimes.access_token = Duration::from_secs(5)).await;
    let (first, second) = (token(&long).await, token(&long).await);
    for gate in [&long, &short] {
        for good in [&first, &second] {
            assert_eq!(gate.call(good).await.status, 200);
        }
    }
    read_feed(&long).await;
    end_grant(&short, &first).await;
    assert_eq!(long.call(&first).await.status, 200, "not known there yet");
    read_feed(&long).await;
    assert_eq!(long.call(&first).await.status, 401);
    assert_eq!(short.call(&second).await.status, 200);
    // the process with short lifetimes deletes early, while the other still has tokens of an hour
    for _ in 0..5 {
        long.clock.advance(Duration::from_mins(10));
        short.app.issuer().expire().await;
        read_feed(&long).await;
        assert_eq!(long.call(&first).await.status, 401);
        assert_eq!(short.call(&second).await.status, 401, "too old by its rule");
        assert_eq!(long.call(&second).await.status, 200);
    }
}

#[tokio::test]
async fn a_token_with_an_invented_key_id_is_401_and_503_without_the_store() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    let (_, rest) = good.split_once('.').unwrap();
    for kid in ["k_1", "k_2"] {
        let head = format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{kid}"}}"#);
        let forged = format!("{}.{rest}", data_encoding::BASE64URL_NOPAD.encode(head.as_bytes()));
        let answer = gate.call(&forged).await;
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    gate.app.store().close().await;
    let head = r#"{"alg":"ES256","typ":"at+jwt","kid":"k_3"}"#;
    let forged = format!("{}.{rest}", data_encoding::BASE64URL_NOPAD.encode(head.as_bytes()));
    assert_eq!(gate.call(&forged).await.status, 503, "now it cannot be known");
}
