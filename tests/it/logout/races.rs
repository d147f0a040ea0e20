//! Logouts that meet other requests, other processes, and crashes.

use std::time::Duration;

use futures_util::future::{join, join_all};
use http::header::CONTENT_TYPE;
use portcullis::model::ids::{IdentityId, Subject};
use portcullis::model::provider_logout::ProviderLogout;
use portcullis::secret::Sha256;
use serde_json::json;

use super::{Bench, PATH, assert_accepted, assert_ended, report, session_bound, sign_in, token_with};
use crate::support::browser::{location, parameter};
use crate::support::gate::{TestGate, WORKS, tokens};
use crate::support::log::watch;

/// Brings the provider's answer back while the provider holds back its token, and reports a logout before it comes.
async fn logout_during_the_callback(bench: &mut Bench, token: &str) -> crate::support::gate::Answer {
    let url = bench.approve().await;
    let back = bench.provider.visit(&url);
    let hold = bench.provider.hold_token();
    let Bench { gate, browser, .. } = bench;
    let path = back.strip_prefix(gate.origin()).unwrap().to_owned();
    let reporting = async {
        hold.reached().await;
        assert_accepted(&report(gate, token).await);
        drop(hold);
    };
    join(browser.get(gate, &path), reporting).await.0
}

#[tokio::test]
async fn a_sign_in_whose_session_ends_during_the_callback_gives_no_grant() {
    for changes in [json!({}), json!({"sub": null}), json!({"sid": null})] {
        let mut bench = Bench::with(session_bound).await;
        bench.provider.begin_session("laptop");
        let token = token_with(&bench, &changes);
        let answer = logout_during_the_callback(&mut bench, &token).await;
        assert_eq!(answer.status, 400, "{changes}: {answer:?}");
        assert!(answer.body.contains("This sign-in is over"), "{answer:?}");
        bench.gate.clock.advance(Duration::from_secs(1));
        sign_in(&mut bench, "another").await;
    }
}

#[tokio::test]
async fn an_offline_sign_in_whose_session_ends_during_the_callback_is_asked_about() {
    for ends in [true, false] {
        let mut bench = Bench::new().await;
        bench.provider.begin_session("laptop");
        let token = token_with(&bench, &json!({}));
        let answer = logout_during_the_callback(&mut bench, &token).await;
        let code = parameter(&location(&answer), "code").unwrap();
        let given = tokens(&bench.gate.redeem(&bench.client, &code).await);
        if ends {
            bench.provider.end_offline("laptop");
        }
        let asked = bench.provider.calls("/token");
        bench.gate.app.issuer().check_standing().await;
        assert_eq!(bench.provider.calls("/token"), asked + 1);
        let status = bench.gate.call(&given.access).await.status;
        assert_eq!(status, if ends { 401 } else { WORKS });
    }
}

#[tokio::test]
async fn a_code_of_the_session_that_was_not_redeemed_is_taken_back() {
    let mut bench = Bench::with(session_bound).await;
    bench.provider.begin_session("laptop");
    let code = parameter(&bench.sign_in().await, "code").unwrap();
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({}))).await);
    assert_eq!(bench.gate.redeem(&bench.client, &code).await.error(), "invalid_grant");
}

#[tokio::test]
async fn a_logout_during_a_refresh_ends_the_grant_and_the_refresh_gives_nothing() {
    let mut bench = Bench::with(session_bound).await;
    let given = sign_in(&mut bench, "laptop").await;
    let token = token_with(&bench, &json!({}));
    let hold = bench.provider.hold_token();
    let reporting = async {
        hold.reached().await;
        assert_accepted(&report(&bench.gate, &token).await);
        drop(hold);
    };
    let refreshed = join(bench.gate.refresh(&bench.client, &given.refresh), reporting).await.0;
    assert_eq!(refreshed.error(), "invalid_grant", "{refreshed:?}");
    assert_ended(&bench.gate, &bench.client, &given).await;
}

#[tokio::test]
async fn a_check_waits_for_a_refresh_in_progress_and_asks_after_it() {
    let mut bench = Bench::new().await;
    let given = sign_in(&mut bench, "laptop").await;
    let token = token_with(&bench, &json!({}));
    let hold = bench.provider.hold_token();
    let asked = bench.provider.calls("/token");
    let reporting = async {
        hold.reached().await;
        assert_accepted(&report(&bench.gate, &token).await);
        bench.gate.clock.advance(Duration::from_secs(1));
        bench.gate.app.issuer().check_standing().await;
        assert_eq!(bench.provider.calls("/token"), asked + 1, "two uses of one token would be theft");
        drop(hold);
    };
    let refreshed = join(bench.gate.refresh(&bench.client, &given.refresh), reporting).await.0;
    let given = tokens(&refreshed);
    bench.provider.end_offline("laptop");
    bench.gate.clock.advance(Duration::from_secs(1));
    bench.gate.app.issuer().check_standing().await;
    assert_ended(&bench.gate, &bench.client, &given).await;
}

#[tokio::test]
async fn a_logout_that_one_process_receives_ends_the_calls_of_all() {
    let mut bench = Bench::with(session_bound).await;
    let given = sign_in(&mut bench, "laptop").await;
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    let twin = bench.gate.twin().await;
    assert_accepted(&report(&twin, &token_with(&bench, &json!({}))).await);
    bench.gate.app.revocation().read_feed(bench.gate.app.store()).await.unwrap();
    assert_ended(&bench.gate, &bench.client, &given).await;
}

#[tokio::test]
async fn a_check_that_one_process_asked_for_is_made_by_another_and_once() {
    let mut bench = Bench::new().await;
    sign_in(&mut bench, "laptop").await;
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({}))).await);
    let twin = bench.gate.twin().await;
    bench.gate.clock.advance(Duration::from_secs(1));
    let asked = bench.provider.calls("/token");
    let checks = [&bench.gate, &twin, &bench.gate, &twin].map(|gate: &TestGate| gate.app.issuer().check_standing());
    join_all(checks).await;
    assert_eq!(bench.provider.calls("/token"), asked + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_equal_tokens_at_once_in_two_processes_one_counts_and_64_different_ones_all_do() {
    let mut bench = Bench::with(session_bound).await;
    let given = sign_in(&mut bench, "laptop").await;
    let twin = bench.gate.twin().await;
    let gates = [&bench.gate, &twin];
    let token = token_with(&bench, &json!({}));
    let answers = join_all((0..64).map(|number| report(gates[number % 2], &token))).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 400].contains(status)), "{statuses:?}");
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.error(), "invalid_grant");
    let different: Vec<_> = (0..64).map(|_| token_with(&bench, &json!({}))).collect();
    let answers = join_all(different.iter().enumerate().map(|(number, token)| report(gates[number % 2], token))).await;
    answers.iter().for_each(assert_accepted);
}

#[tokio::test]
async fn a_provider_that_hangs_up_does_not_stop_the_logout_and_shutdown_waits_for_it() {
    let mut bench = Bench::with(session_bound).await;
    let given = sign_in(&mut bench, "laptop").await;
    let token = token_with(&bench, &json!({}));
    let request = bench.gate.request("POST", PATH).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let mut sending = Box::pin(bench.gate.send(request, format!("logout_token={token}")));
    assert!(futures_util::poll!(sending.as_mut()).is_pending());
    drop(sending);
    bench.gate.settle().await;
    assert_ended(&bench.gate, &bench.client, &given).await;
}

#[tokio::test]
async fn a_logout_that_a_crash_left_half_done_is_finished_by_any_process() {
    let mut bench = Bench::with(session_bound).await;
    let given = sign_in(&mut bench, "laptop").await;
    let now = bench.gate.clock.now();
    let kept = ProviderLogout {
        id: Sha256::of(b"a token"),
        identity: IdentityId::from("keycloak"),
        subject: Some(Subject::new(&IdentityId::from("keycloak"), "alice-id")),
        session: None,
        ends_offline: false,
        issued_at: now,
        received_at: now,
        remembered_until: now + Duration::from_hours(1),
    };
    assert!(bench.gate.app.store().keep_provider_logout(&kept).await.unwrap());
    let twin = bench.gate.twin().await;
    twin.app.issuer().check_standing().await;
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS, "the process that received it may be at it");
    bench.gate.clock.advance(Duration::from_secs(10));
    let (lines, guard) = watch();
    twin.app.issuer().check_standing().await;
    drop(guard);
    assert_eq!(twin.call(&given.access).await.status, 401);
    assert!(lines.text().contains("back_channel_logout"), "{}", lines.text());
    assert!(bench.gate.app.store().unapplied_logouts(bench.gate.clock.now(), 10).await.unwrap().is_empty());
}
