//! Offline access after a logout: it ends when the provider refuses its token, and not before.

use std::time::Duration;

use serde_json::json;

use super::{Bench, assert_accepted, assert_ended, report, sign_in, token_with};
use crate::support::gate::{TestGate, WORKS, tokens};
use crate::support::log::watch;
use crate::support::provider::Reply;

const SECOND: Duration = Duration::from_secs(1);

/// Lets time pass, and does what is due then.
async fn after(gate: &TestGate, time: Duration) {
    gate.clock.advance(time);
    gate.app.issuer().check_standing().await;
}

#[tokio::test]
async fn offline_access_outlives_a_sign_out_in_the_browser() {
    let mut bench = Bench::new().await;
    let (first, second) = (sign_in(&mut bench, "laptop").await, sign_in(&mut bench, "laptop").await);
    let asked = bench.provider.calls("/token");
    bench.provider.end_session("laptop");
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({}))).await);
    bench.gate.app.issuer().check_standing().await;
    assert_eq!(bench.provider.calls("/token"), asked, "it is not asked while it may still wait for our answer");
    for (pause, times) in [(SECOND, 1), (8 * SECOND, 1), (SECOND, 2), (60 * SECOND, 3), (600 * SECOND, 3)] {
        after(&bench.gate, pause).await;
        assert_eq!(bench.provider.calls("/token"), asked + times, "one question for all grants that share the token");
    }
    for given in [&first, &second] {
        assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
        assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.status, 200, "the renewed token was kept");
    }
}

#[tokio::test]
async fn offline_access_that_the_provider_ended_ends_here_for_every_client() {
    let mut bench = Bench::new().await;
    let (first, second) = (sign_in(&mut bench, "desktop").await, sign_in(&mut bench, "laptop").await);
    // the words are those of a sign-out in the browser
    bench.provider.end_offline("laptop");
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({}))).await);
    assert_eq!(bench.gate.call(&first.access).await.status, WORKS);
    let (lines, guard) = watch();
    after(&bench.gate, SECOND).await;
    drop(guard);
    for given in [&first, &second] {
        assert_ended(&bench.gate, &bench.client, given).await;
    }
    bench.gate.settle().await;
    assert!(bench.provider.revoked().is_empty(), "the provider has ended it");
    let text = lines.text();
    let ended =
        text.lines().filter(|line| line.contains("grant ended") && line.contains("back_channel_logout")).count();
    assert_eq!(ended, 2, "{text}");
    let asked = bench.provider.calls("/token");
    after(&bench.gate, 600 * SECOND).await;
    assert_eq!(bench.provider.calls("/token"), asked, "that was the last question");
}

#[tokio::test]
async fn a_provider_that_is_not_done_with_the_logout_is_asked_again() {
    let mut bench = Bench::new().await;
    let given = sign_in(&mut bench, "laptop").await;
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({}))).await);
    after(&bench.gate, SECOND).await;
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    // it told others, each of which took its time
    bench.provider.end_offline("laptop");
    after(&bench.gate, 9 * SECOND).await;
    assert_ended(&bench.gate, &bench.client, &given).await;
}

#[tokio::test]
async fn a_logout_of_another_session_finds_offline_access_that_ended_with_it() {
    // an administrator signs the user out: Keycloak names the session in the browser alone, and its offline tokens are stale
    let mut bench = Bench::new().await;
    let given = sign_in(&mut bench, "offline").await;
    bench.provider.end_offline("offline");
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({"sid": "browser"}))).await);
    after(&bench.gate, SECOND).await;
    assert_ended(&bench.gate, &bench.client, &given).await;
}

#[tokio::test]
async fn while_the_provider_is_down_nothing_ends_and_nothing_is_forgotten() {
    let mut bench = Bench::new().await;
    let given = sign_in(&mut bench, "laptop").await;
    bench.provider.end_offline("laptop");
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({}))).await);
    bench.provider.stop().await;
    let (lines, guard) = watch();
    after(&bench.gate, SECOND).await;
    drop(guard);
    assert!(lines.text().contains("cannot be asked what still stands"), "{}", lines.text());
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.status, 503);
    // another process finds it, however much later
    bench.gate = bench.gate.restart().await;
    for _ in 0..3 {
        after(&bench.gate, 3600 * SECOND).await;
    }
    bench.provider.restart().await;
    after(&bench.gate, 10 * SECOND).await;
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.error(), "invalid_grant");
}

#[tokio::test]
async fn an_unclear_answer_ends_nothing_and_the_question_is_repeated() {
    let mut bench = Bench::new().await;
    let given = sign_in(&mut bench, "laptop").await;
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({}))).await);
    for reply in [Reply::html(500), Reply::error(401, "invalid_client", "?"), Reply::html(429)] {
        bench.provider.answer_token(reply);
        after(&bench.gate, 10 * SECOND).await;
        assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    }
    bench.provider.end_offline("laptop");
    after(&bench.gate, 10 * SECOND).await;
    assert_ended(&bench.gate, &bench.client, &given).await;
}

#[tokio::test]
async fn of_two_users_each_is_asked_about_by_their_own_token() {
    let mut bench = Bench::new().await;
    let alice = sign_in(&mut bench, "laptop").await;
    bench.provider.sign_in_as(json!({"sub": "bob-id"}));
    let bob = sign_in(&mut bench, "bob's").await;
    for (user, sid) in [("alice-id", "laptop"), ("bob-id", "bob's")] {
        assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({"sub": user, "sid": sid}))).await);
    }
    bench.provider.end_offline("laptop");
    let asked = bench.provider.calls("/token");
    after(&bench.gate, SECOND).await;
    assert_eq!(bench.provider.calls("/token"), asked + 2);
    assert_ended(&bench.gate, &bench.client, &alice).await;
    assert_eq!(bench.gate.refresh(&bench.client, &bob.refresh).await.status, 200);
}

#[tokio::test]
async fn a_provider_that_keeps_one_token_per_user_is_asked_by_the_newest() {
    let mut bench = Bench::new().await;
    bench.provider.keep_one_token_per_user();
    let (first, second) = (sign_in(&mut bench, "laptop").await, sign_in(&mut bench, "desktop").await);
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({"sid": "laptop"}))).await);
    after(&bench.gate, SECOND).await;
    for given in [&first, &second] {
        assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.status, 200);
    }
}

#[tokio::test]
async fn keycloaks_wish_that_offline_access_ends_is_followed_and_its_token_revoked() {
    let mut bench = Bench::new().await;
    let given = sign_in(&mut bench, "laptop").await;
    let token = bench.provider.logout_token(|_, claims| claims["events"]["revoke_offline_access"] = json!(true));
    assert_accepted(&report(&bench.gate, &token).await);
    assert_ended(&bench.gate, &bench.client, &given).await;
    bench.gate.settle().await;
    assert_eq!(bench.provider.revoked().len(), 1, "Keycloak leaves that to its clients");
}

#[tokio::test]
async fn a_user_whose_account_is_gone_at_the_check_loses_every_grant() {
    let mut bench = Bench::new().await;
    let given = sign_in(&mut bench, "laptop").await;
    let renewed = tokens(&bench.gate.refresh(&bench.client, &given.refresh).await);
    bench.provider.end_sessions();
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({"sid": null}))).await);
    after(&bench.gate, SECOND).await;
    assert_ended(&bench.gate, &bench.client, &renewed).await;
}
