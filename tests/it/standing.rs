//! The standing of a grant with its identity provider: renewal at each refresh, rate limits, and revocation at the end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use portcullis::config::Standing;
use serde_json::json;

use crate::support::bench::{Bench, provider_settings};
use crate::support::browser::{Browser, location, parameter};
use crate::support::gate::{Answer, WORKS, claims, tokens};
use crate::support::log::watch;
use crate::support::provider::Reply;

#[tokio::test]
async fn while_the_provider_is_down_tokens_work_and_a_refresh_can_be_repeated() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    bench.provider.stop().await;
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);

    let refused = bench.gate.refresh(&bench.client, &given.refresh).await;
    assert_eq!((refused.status, refused.error().as_str()), (503, "temporarily_unavailable"));
    assert!(!refused.header("retry-after").is_empty());

    bench.provider.restart().await;
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.status, 200, "nothing was lost");
}

#[tokio::test]
async fn only_a_plain_refusal_of_the_token_ends_a_grant() {
    for reply in [
        Reply::html(500),
        Reply::html(429),
        Reply::error(401, "unauthorized_client", "rotated"),
        Reply::error(401, "invalid_client", "disabled"),
        Reply::error(400, "invalid_request", "?"),
        Reply::json(200, &json!({"nonsense": true})),
    ] {
        let mut bench = Bench::new().await;
        let given = bench.tokens().await;
        bench.provider.answer_token(reply);
        let refused = bench.gate.refresh(&bench.client, &given.refresh).await;
        assert_eq!((refused.status, refused.error().as_str()), (503, "temporarily_unavailable"), "{refused:?}");
        assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
        assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.status, 200);
    }
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    bench.provider.end_sessions();
    let refused = bench.gate.refresh(&bench.client, &given.refresh).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"));
    assert_eq!(bench.gate.call(&given.access).await.status, 401);
    assert!(bench.provider.revoked().is_empty());
}

#[tokio::test]
async fn a_second_client_of_one_person_does_not_end_the_first_where_the_provider_keeps_one_token() {
    let mut bench = Bench::new().await;
    bench.provider.keep_one_token_per_user();
    let mut first = bench.tokens().await;
    let mut second = bench.tokens().await;
    for _ in 0..3 {
        for given in [&mut first, &mut second] {
            *given = tokens(&bench.gate.refresh(&bench.client, &given.refresh).await);
        }
    }
    let refreshes = [&first, &second].map(|given| bench.gate.refresh(&bench.client, &given.refresh));
    let [one, other]: [Answer; 2] = join_all(refreshes).await.try_into().unwrap();
    assert_eq!((one.status, other.status), (200, 200), "one after the other");
    bench.gate.revoke(&bench.client, &tokens(&one).refresh).await;
    bench.gate.settle().await;
    assert!(bench.provider.revoked().is_empty(), "the other one lives by it");
    assert_eq!(bench.gate.refresh(&bench.client, &tokens(&other).refresh).await.status, 200);
}

#[tokio::test]
async fn a_refresh_that_meets_a_sign_in_of_the_same_person_goes_on_with_the_new_token() {
    let mut bench = Bench::new().await;
    bench.provider.keep_one_token_per_user();
    let given = bench.tokens().await;
    let url = bench.approve().await;
    let back = bench.provider.visit(&url);
    // the provider has given the new token, and we have not read its answer yet
    let hold = bench.provider.hold_token();
    let Bench { gate, provider, client, browser } = &mut bench;
    let path = back.strip_prefix(gate.origin()).unwrap().to_owned();
    let signing_in = browser.get(gate, &path);
    let refreshing = async {
        hold.reached().await;
        let refreshing = gate.refresh(client, &given.refresh);
        let release = async {
            while provider.calls("/token") < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            drop(hold);
        };
        join(refreshing, release).await.0
    };
    let (answer, refreshed) = join(signing_in, refreshing).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    let code = parameter(&location(&answer), "code").unwrap();
    let second = tokens(&gate.redeem(client, &code).await);
    assert_eq!(gate.refresh(client, &second.refresh).await.status, 200);
}

#[tokio::test]
async fn a_dead_token_ends_the_grant_whatever_the_provider_calls_it() {
    let mut bench = Bench::new().await;
    bench.provider.keep_one_token_per_user();
    let given = bench.tokens().await;
    bench.provider.end_sessions();
    let refused = bench.gate.refresh(&bench.client, &given.refresh).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"));
    assert_eq!(bench.gate.call(&given.access).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_refreshes_in_two_processes_ask_the_provider_once() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    let Bench { gate, provider, client, browser: _ } = bench;
    let asked = provider.calls("/token");
    let gates = [Arc::new(gate.twin().await), Arc::new(gate)];
    let attempts = (0..8).map(|number| {
        let (gate, client, token) = (Arc::clone(&gates[number % 2]), client.clone(), given.refresh.clone());
        tokio::spawn(async move { gate.refresh(&client, &token).await })
    });
    let answers: Vec<_> = join_all(attempts).await.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body), "{answers:?}");
    assert_eq!(provider.calls("/token"), asked + 1, "a provider that forbids reuse would have ended the session");
}

#[tokio::test]
async fn standing_session_ends_tokens_no_later_than_the_providers_session() {
    let mut bench = Bench::with(|config| provider_settings(config).standing = Standing::Session).await;
    let url = bench.sign_in().await;
    let answer = bench.gate.redeem(&bench.client, &parameter(&url, "code").unwrap()).await;
    let session = crate::support::provider::SESSION_IDLE;
    assert_eq!(answer.json()["expires_in"], session, "the session is shorter than an hour");
    let given = tokens(&answer);
    bench.gate.clock.advance(Duration::from_secs(session / 2));
    let renewed = bench.gate.refresh(&bench.client, &given.refresh).await;
    assert_eq!(renewed.json()["expires_in"], session, "each refresh moves the end");
    bench.gate.clock.advance(Duration::from_secs(session));
    assert_eq!(bench.gate.refresh(&bench.client, &tokens(&renewed).refresh).await.error(), "invalid_grant");
}

#[tokio::test]
async fn a_replay_revokes_the_offline_token_only_with_the_users_last_grant() {
    let mut bench = Bench::new().await;
    let (first, other) = (bench.tokens().await, bench.tokens().await);
    for (given, revoked) in [(first, 0), (other, 1)] {
        let next = tokens(&bench.gate.refresh(&bench.client, &given.refresh).await);
        tokens(&bench.gate.refresh(&bench.client, &next.refresh).await);
        assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.error(), "invalid_grant");
        bench.gate.settle().await;
        assert_eq!(bench.provider.revoked().len(), revoked);
    }
}

#[tokio::test]
async fn refreshes_of_one_grant_are_rate_limited_without_losing_it() {
    let mut bench = Bench::new().await;
    let mut given = bench.tokens().await;
    let asked = bench.provider.calls("/token");
    for _ in 0..59 {
        given = tokens(&bench.gate.refresh(&bench.client, &given.refresh).await);
    }
    let answer = bench.gate.refresh(&bench.client, &given.refresh).await;
    let last = tokens(&answer);
    for _ in 0..3 {
        let refused = bench.gate.refresh(&bench.client, &last.refresh).await;
        assert_eq!((refused.status, refused.error().as_str()), (429, "temporarily_unavailable"));
        assert_eq!(refused.header("retry-after"), "60");
        let again = bench.gate.refresh(&bench.client, &given.refresh).await;
        assert_eq!(again.body, answer.body, "an answer that is given again does not count");
    }
    assert_eq!(bench.provider.calls("/token"), asked + 60);
    let other = bench.tokens().await;
    assert_eq!(bench.gate.refresh(&bench.client, &other.refresh).await.status, 200, "another grant is not held back");
    bench.gate.clock.advance(Duration::from_mins(1));
    assert_eq!(bench.gate.refresh(&bench.client, &last.refresh).await.status, 200);
}

#[tokio::test]
async fn an_unused_grant_ends_and_its_provider_token_is_revoked() {
    let mut bench = Bench::new().await;
    let (first, second) = (bench.tokens().await, bench.tokens().await);
    bench.gate.clock.advance(Duration::from_hours(29 * 24));
    let kept = tokens(&bench.gate.refresh(&bench.client, &second.refresh).await);
    bench.gate.clock.advance(Duration::from_hours(2 * 24));
    bench.gate.app.issuer().expire().await;
    assert_eq!(bench.gate.refresh(&bench.client, &first.refresh).await.error(), "invalid_grant");
    assert!(bench.provider.revoked().is_empty(), "the user has another grant there");
    assert_eq!(bench.gate.refresh(&bench.client, &kept.refresh).await.status, 200);
    bench.gate.clock.advance(Duration::from_hours(31 * 24));
    bench.gate.app.issuer().expire().await;
    assert_eq!(bench.provider.revoked().len(), 1);
}

#[tokio::test]
async fn a_session_bound_token_is_not_revoked_when_its_grant_ends() {
    let mut bench = Bench::with(|config| provider_settings(config).standing = Standing::Session).await;
    let grant = claims(&bench.tokens().await.access)["sid"].as_str().unwrap().into();
    bench.gate.clock.advance(Duration::from_hours(3));
    bench.gate.app.issuer().expire().await;
    assert_eq!(bench.gate.app.store().grant(&grant).await.unwrap().unwrap().ended_at, Some(bench.gate.clock.now()));
    assert!(bench.provider.revoked().is_empty());
}

#[tokio::test]
async fn the_provider_token_of_an_unredeemed_code_is_revoked() {
    let mut bench = Bench::new().await;
    bench.sign_in().await;
    bench.gate.clock.advance(Duration::from_mins(20));
    bench.gate.app.issuer().expire().await;
    assert!(bench.provider.revoked().is_empty(), "not before it would be deleted");
    bench.gate.clock.advance(Duration::from_mins(1));
    let twin = bench.gate.twin().await;
    for gate in [&bench.gate, &twin, &bench.gate] {
        gate.app.issuer().expire().await;
    }
    assert_eq!(bench.provider.revoked().len(), 1);
}

#[tokio::test]
async fn an_unredeemed_code_costs_the_user_no_other_grant() {
    let mut bench = Bench::new().await;
    let kept = bench.tokens().await;
    bench.sign_in().await;
    bench.gate.clock.advance(Duration::from_mins(22));
    bench.gate.app.issuer().expire().await;
    assert!(bench.provider.revoked().is_empty());
    assert_eq!(bench.gate.refresh(&bench.client, &kept.refresh).await.status, 200);
}

#[tokio::test]
async fn no_offline_access_is_requested_for_a_client_without_refresh_token() {
    let mut bench = Bench::with(|config| config.tokens.refresh = portcullis::config::RefreshTokens::Asked).await;
    let url = bench.approve().await;
    assert!(!parameter(&url, "scope").unwrap().contains("offline_access"), "{url}");
    bench.tokens().await;
    bench.gate.clock.advance(Duration::from_hours(2));
    bench.gate.app.issuer().expire().await;
    assert!(bench.provider.revoked().is_empty(), "a session-bound token ends with the session");
}

#[tokio::test]
async fn failed_revocations_are_logged_once_for_each_provider() {
    let mut bench = Bench::new().await;
    for user in ["ann", "bob"] {
        bench.provider.sign_in_as(json!({"sub": user}));
        bench.browser = Browser::default();
        bench.tokens().await;
    }
    bench.provider.stop().await;
    bench.gate.clock.advance(Duration::from_hours(31 * 24));
    let (lines, guard) = watch();
    bench.gate.app.issuer().expire().await;
    drop(guard);
    let text = lines.text();
    let told: Vec<_> = text.lines().filter(|line| line.contains("could not be revoked")).collect();
    assert_eq!(told.len(), 1, "{text}");
    assert!(told[0].contains("kept=2") && told[0].contains("refuses the connection"), "{told:?}");
}
