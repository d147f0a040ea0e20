//! What is no logout token, comes twice, or comes too often.

use std::net::IpAddr;
use std::time::Duration;

use http::header::{CONTENT_TYPE, ORIGIN};
use serde_json::{Value, json};

use super::{Bench, PATH, assert_accepted, assert_ended, assert_refused, report, session_bound, sign_in, token_with};
use crate::support::gate::WORKS;
use crate::support::log::watch;
use crate::support::provider::{TestAlgorithm, TestKey};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

#[tokio::test]
async fn what_breaks_a_rule_of_the_specification_ends_nothing() {
    let mut bench = Bench::with(session_bound).await;
    let given = sign_in(&mut bench, "laptop").await;
    let now = bench.gate.clock.now().0;
    let refresh = json!({"typ": "Refresh"});
    for changes in [
        json!({"aud": "another-client"}),
        json!({"aud": ["portcullis", "another-client"]}),
        json!({"iss": "https://sso.example.com/realms/other"}),
        json!({"nonce": "n"}),
        json!({"events": EVENT}),
        json!({"events": {}}),
        json!({"events": []}),
        json!({"events": [EVENT]}),
        json!({"events": {EVENT: true}}),
        json!({"events": null}),
        json!({"iat": now - 300, "exp": now - 180}),
        json!({"iat": now + 300, "exp": now + 420}),
        json!({"iat": null}),
        json!({"jti": null}),
        json!({"sub": null, "sid": null}),
        refresh,
    ] {
        assert_refused(&report(&bench.gate, &token_with(&bench, &changes)).await);
    }
    let headers: [fn(&mut Value); 5] = [
        |header| header["typ"] = json!("at+jwt"),
        |header| header["alg"] = json!("none"),
        |header| header["alg"] = json!("HS256"),
        |header| header["crit"] = json!(["exp"]),
        |header| header["kid"] = json!("unknown"),
    ];
    for change in headers {
        assert_refused(&report(&bench.gate, &bench.provider.logout_token(|header, _| change(header))).await);
    }
    bench.provider.sign_with(Some(TestKey::new(TestAlgorithm::Es256, "first")));
    assert_refused(&report(&bench.gate, &token_with(&bench, &json!({}))).await);
    bench.provider.sign_with(None);
    for nonsense in ["", "a", "a.b.c", &".".repeat(100), &"x".repeat(50_000)] {
        assert_refused(&report(&bench.gate, nonsense).await);
    }
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({}))).await);
    assert_ended(&bench.gate, &bench.client, &given).await;
}

#[tokio::test]
async fn an_id_token_and_an_access_token_of_the_provider_sign_no_one_out() {
    let mut bench = Bench::with(session_bound).await;
    let given = sign_in(&mut bench, "laptop").await;
    for (typ, kind) in [("JWT", "ID"), ("JWT", "Bearer"), ("at+jwt", "Bearer")] {
        let token = bench.provider.logout_token(|header, claims| {
            header["typ"] = json!(typ);
            claims["typ"] = json!(kind);
            claims.as_object_mut().unwrap().remove("events");
        });
        assert_refused(&report(&bench.gate, &token).await);
    }
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
}

#[tokio::test]
async fn a_replayed_token_ends_nothing_that_came_later() {
    let mut bench = Bench::with(session_bound).await;
    let token = bench.provider.logout_token(|_, claims| drop(claims.as_object_mut().unwrap().remove("sid")));
    assert_accepted(&report(&bench.gate, &token).await);
    bench.gate.clock.advance(Duration::from_secs(2));
    let given = sign_in(&mut bench, "laptop").await;
    assert_refused(&report(&bench.gate, &token).await);
    let twin = bench.gate.twin().await;
    assert_refused(&report(&twin, &token).await);
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    bench.gate.clock.advance(Duration::from_hours(2));
    bench.gate.app.issuer().expire().await;
    assert_refused(&report(&bench.gate, &token).await);
}

#[tokio::test]
async fn only_a_form_with_one_token_is_read() {
    let bench = Bench::with(session_bound).await;
    let token = token_with(&bench, &json!({}));
    let gate = &bench.gate;
    assert_refused(&gate.post_form(PATH, &[]).await);
    assert_refused(&gate.post_form(PATH, &[("logout_token", "")]).await);
    assert_refused(&gate.post_form(PATH, &[("logout_token", &token), ("logout_token", &token)]).await);
    assert_refused(&gate.post_json(PATH, &json!({"logout_token": token})).await);
    assert_refused(&gate.post_form(&format!("{PATH}?logout_token={token}"), &[]).await);
    let form = gate.request("POST", PATH).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let of_a_page = form.header(ORIGIN, "https://evil.example");
    assert_refused(&gate.send(of_a_page, format!("logout_token={token}")).await);
    let form = gate.request("POST", PATH).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let large = gate.send(form, format!("logout_token={}", "x".repeat(1024 * 1024))).await;
    assert_eq!((large.status, large.error().as_str()), (413, "invalid_request"));
    assert_eq!(gate.get(PATH).await.status, 405);
    assert_accepted(&report(gate, &token).await);
}

#[tokio::test]
async fn forged_keys_have_the_key_set_read_at_most_once_in_ten_seconds() {
    let bench = Bench::with(session_bound).await;
    report(&bench.gate, &token_with(&bench, &json!({}))).await;
    bench.gate.clock.advance(Duration::from_secs(11));
    let read = bench.provider.calls("/certs");
    let old = bench.gate.clock.now().0 - 100;
    for number in 0..50 {
        let forged = bench.provider.logout_token(|header, claims| {
            header["kid"] = json!(format!("forged-{number}"));
            // older than the keys that we have read: it cannot be signed by a newer one
            (claims["iat"], claims["exp"]) = (json!(old), json!(old + 200));
        });
        assert_refused(&report(&bench.gate, &forged).await);
    }
    assert_eq!(bench.provider.calls("/certs"), read + 1);
    bench.gate.clock.advance(Duration::from_secs(11));
    let wrong = bench.provider.logout_token(|header, claims| {
        header["kid"] = json!("forged");
        claims["aud"] = json!("another");
    });
    assert_refused(&report(&bench.gate, &wrong).await);
    assert_eq!(bench.provider.calls("/certs"), read + 1, "no key would make it right");
}

#[tokio::test]
async fn a_flood_of_wrong_tokens_is_limited_by_address_and_right_ones_pass() {
    let mut bench = Bench::with(session_bound).await;
    let given = sign_in(&mut bench, "laptop").await;
    let wrong = bench.provider.logout_token(|_, claims| claims["aud"] = json!("another"));
    let (mut refused, mut limited) = (0, 0);
    for _ in 0..650 {
        match report(&bench.gate, &wrong).await.status {
            400 => refused += 1,
            429 => limited += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((refused, limited), (600, 50));
    let form = bench.gate.request("POST", PATH).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let elsewhere: IpAddr = "203.0.113.9".parse().unwrap();
    assert_refused(&bench.gate.send_from(elsewhere, form, format!("logout_token={wrong}")).await);
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({}))).await);
    assert_ended(&bench.gate, &bench.client, &given).await;
}

#[tokio::test]
async fn keys_that_changed_since_the_sign_in_are_read_again() {
    let mut bench = Bench::with(session_bound).await;
    let given = sign_in(&mut bench, "laptop").await;
    bench.gate.clock.advance(Duration::from_secs(11));
    bench.provider.rotate(TestKey::new(TestAlgorithm::Rs256, "second"), true);
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({}))).await);
    assert_ended(&bench.gate, &bench.client, &given).await;
}

/// A provider sends a logout once: it waits for the next reading of the keys, which may be ten seconds away.
#[tokio::test]
async fn a_token_by_a_key_that_is_newer_than_our_last_reading_waits_for_the_next() {
    let mut bench = Bench::with(session_bound).await;
    let given = sign_in(&mut bench, "laptop").await;
    bench.gate.clock.advance(Duration::from_secs(9));
    bench.provider.rotate(TestKey::new(TestAlgorithm::Es256, "second"), true);
    let began = tokio::time::Instant::now();
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({}))).await);
    assert!(began.elapsed() > Duration::from_millis(500), "the last reading was a moment ago");
    assert_ended(&bench.gate, &bench.client, &given).await;
}

#[tokio::test]
async fn a_provider_whose_keys_cannot_be_read_makes_a_logout_fail_and_the_log_says_why() {
    let mut bench = Bench::with(session_bound).await;
    let given = sign_in(&mut bench, "laptop").await;
    let token = token_with(&bench, &json!({}));
    bench.provider.stop().await;
    assert_accepted(&report(&bench.gate, &token).await);
    assert_ended(&bench.gate, &bench.client, &given).await;
    // a new process has read nothing yet
    let gate = bench.gate.restart().await;
    let (lines, guard) = watch();
    let failed = report(&gate, &token).await;
    drop(guard);
    assert_eq!((failed.status, failed.error().as_str()), (400, "temporarily_unavailable"), "{failed:?}");
    assert!(!failed.header("retry-after").is_empty());
    assert!(lines.text().contains("refuses the connection"), "{}", lines.text());
}
