//! Token exchange at the provider, and its own access token.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use portcullis::config::{Allow, AllowRule, Config, CredentialSource, ProviderCredential, ProviderGrant};
use portcullis::oauth::scope::ScopeSet;
use serde_json::json;

use super::give;
use crate::support::bench::Bench;
use crate::support::gate::{TestGate, WORKS, reach};
use crate::support::log::watch;
use crate::support::provider::{EXCHANGE_AUDIENCE, Reply};
use crate::support::upstream::{Upstream, answer};

pub(super) fn exchange() -> CredentialSource {
    let by = ProviderGrant::TokenExchange {
        audience: EXCHANGE_AUDIENCE.to_owned(),
        scopes: ScopeSet::parse("expenses").unwrap(),
    };
    CredentialSource::Provider(ProviderCredential { identity: "keycloak".to_owned(), by })
}

pub(super) async fn bench() -> Bench {
    Bench::with(|config| give(config, exchange())).await
}

fn exchanges(bench: &Bench) -> (usize, usize) {
    (bench.provider.grants("token-exchange"), bench.provider.grants("refresh_token"))
}

fn carried(bench: &Bench) -> String {
    bench.gate.behind.last().header("authorization").unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_server_gets_a_token_that_the_provider_issued_for_it() {
    let mut bench = bench().await;
    let given = bench.tokens().await;
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    assert!(carried(&bench).starts_with("Bearer exchanged-for-alice-id-"), "{}", carried(&bench));
    let form = bench.provider.last_call("/token").form;
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:token-exchange");
    assert_eq!(form["subject_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    assert_eq!((form["audience"].as_str(), form["scope"].as_str()), (EXCHANGE_AUDIENCE, "expenses"));
    assert!(form["subject_token"].starts_with("the-access-token-of-the-provider-"));
    // the refresh of the exchange has kept the provider's new refresh token
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.status, 200);
}

#[tokio::test]
async fn an_exchange_is_kept_until_shortly_before_its_end() {
    let mut bench = bench().await;
    let given = bench.tokens().await;
    for _ in 0..3 {
        bench.gate.call(&given.access).await;
    }
    assert_eq!(exchanges(&bench), (1, 1));
    bench.gate.clock.advance(Duration::from_secs(269));
    bench.gate.call(&given.access).await;
    assert_eq!(exchanges(&bench), (1, 1));
    bench.gate.clock.advance(Duration::from_secs(1));
    bench.gate.call(&given.access).await;
    assert_eq!(exchanges(&bench), (2, 2));
}

#[tokio::test]
async fn many_first_calls_at_once_exchange_once() {
    let mut bench = bench().await;
    let given = bench.tokens().await;
    let answers = join_all((0..64).map(|_| bench.gate.call(&given.access))).await;
    assert!(answers.iter().all(|answer| answer.status == WORKS));
    assert_eq!(exchanges(&bench), (1, 1));
}

#[tokio::test]
async fn each_grant_has_its_own_exchange() {
    let mut bench = bench().await;
    let alice = bench.tokens().await;
    bench.provider.sign_in_as(json!({"sub": "bob-id", "preferred_username": "bob"}));
    let bob = bench.tokens().await;
    for (token, sub) in [(&alice, "alice-id"), (&bob, "bob-id"), (&alice, "alice-id"), (&bob, "bob-id")] {
        assert_eq!(bench.gate.call(&token.access).await.status, WORKS);
        assert!(carried(&bench).contains(sub), "{sub}: {}", carried(&bench));
    }
    assert_eq!(exchanges(&bench).0, 2);
    // two grants of one user are two, too: one may end while the other lives
    bench.provider.sign_in_as(json!({"sub": "alice-id"}));
    let second = bench.tokens().await;
    bench.gate.call(&second.access).await;
    assert_eq!(exchanges(&bench).0, 3);
    bench.gate.revoke(&bench.client, &alice.refresh).await;
    assert_eq!(bench.gate.call(&alice.access).await.status, 401);
    assert_eq!(bench.gate.call(&second.access).await.status, WORKS);
}

#[tokio::test]
async fn an_ended_grant_exchanges_nothing() {
    let mut bench = bench().await;
    let given = bench.tokens().await;
    bench.gate.call(&given.access).await;
    let before = (exchanges(&bench), bench.gate.behind.count());
    bench.gate.revoke(&bench.client, &given.refresh).await;
    bench.gate.clock.advance(Duration::from_secs(280));
    assert_eq!(bench.gate.call(&given.access).await.status, 401);
    assert_eq!((exchanges(&bench), bench.gate.behind.count()), before);
}

#[tokio::test]
async fn a_user_who_is_disabled_at_the_provider_is_out_at_the_next_exchange() {
    let mut bench = bench().await;
    let given = bench.tokens().await;
    bench.provider.end_sessions();
    let refused = bench.gate.call(&given.access).await;
    assert_eq!((refused.status, bench.gate.behind.count()), (401, 0), "{refused:?}");
    assert!(refused.header("www-authenticate").contains("invalid_token"));
    let refused = bench.gate.refresh(&bench.client, &given.refresh).await;
    assert_eq!(refused.error(), "invalid_grant", "the grant has ended");
}

#[tokio::test]
async fn a_user_who_is_not_admitted_any_more_is_out_at_the_next_exchange() {
    let rule = AllowRule { groups: vec!["staff".to_owned()], ..AllowRule::default() };
    let mut bench = Bench::with(|config| {
        config.upstreams[0].settings.admission.allow = Allow(vec![rule]);
        give(config, exchange());
    })
    .await;
    bench.provider.sign_in_as(json!({"sub": "alice-id", "groups": ["staff"]}));
    let given = bench.tokens().await;
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    bench.provider.sign_in_as(json!({"sub": "alice-id", "groups": []}));
    bench.gate.clock.advance(Duration::from_secs(280));
    let refused = bench.gate.call(&given.access).await;
    assert_eq!((refused.status, bench.gate.behind.count()), (401, 1), "{refused:?}");
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.error(), "invalid_grant", "the grant has ended");
}

#[tokio::test]
async fn a_provider_that_is_down_is_a_503_with_words_and_nothing_is_lost() {
    let mut bench = bench().await;
    let given = bench.tokens().await;
    bench.provider.stop().await;
    let (lines, _guard) = watch();
    let refused = bench.gate.call(&given.access).await;
    assert_eq!((refused.status, bench.gate.behind.count()), (503, 0), "{refused:?}");
    assert!(!refused.header("retry-after").is_empty());
    let error = &refused.json()["error"];
    assert!(error["message"].as_str().unwrap().contains("can be retried"), "{error}");
    assert!(!error["data"]["request_id"].as_str().unwrap().is_empty());
    assert_eq!(refused.json()["id"], 7);
    assert!(lines.text().contains("no credential for upstream mcp"), "{}", lines.text());
    bench.provider.restart().await;
    bench.gate.clock.advance(Duration::from_secs(2));
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
}

#[tokio::test]
async fn a_failure_counts_for_a_moment_so_that_calls_do_not_flood_the_provider() {
    let mut bench = bench().await;
    let given = bench.tokens().await;
    bench.provider.answer_token(Reply::html(500));
    for _ in 0..5 {
        assert_eq!(bench.gate.call(&given.access).await.status, 503);
    }
    assert_eq!(exchanges(&bench), (0, 1));
    bench.gate.clock.advance(Duration::from_secs(2));
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
}

#[tokio::test]
async fn the_provider_access_token_is_sent_only_where_the_configuration_asks_for_it() {
    let by = ProviderGrant::AccessToken;
    let source = CredentialSource::Provider(ProviderCredential { identity: "keycloak".to_owned(), by });
    let mut bench = Bench::with(|config| give(config, source)).await;
    let given = bench.tokens().await;
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    assert!(carried(&bench).starts_with("Bearer the-access-token-of-the-provider-"), "{}", carried(&bench));
    assert_eq!(exchanges(&bench), (0, 1));
    let mut plain = Bench::new().await;
    let given = plain.tokens().await;
    plain.gate.call(&given.access).await;
    assert_eq!(plain.gate.behind.last().header("authorization"), None);
    assert_eq!(exchanges(&plain), (0, 0));
}

#[tokio::test]
async fn users_of_another_identity_are_refused_in_words() {
    let mut bench = bench().await;
    let local = TestGate::with(|_| {}).await.config.identities[0].clone();
    bench.gate = bench.gate.restart_with(|config| config.identities.push(local)).await;
    bench.client = bench.gate.register().await;
    let given = bench.gate.tokens(&bench.client).await;
    let refused = bench.gate.call(&given.access).await;
    assert_eq!((refused.status, bench.gate.behind.count()), (502, 0), "{refused:?}");
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("signed in with its identity provider"));
    assert_eq!(exchanges(&bench), (0, 0));
    assert_eq!(bench.gate.call(&given.access).await.status, 502, "and their grant stays");
}

#[tokio::test]
async fn an_exchange_and_a_refresh_take_turns_with_the_refresh_token_of_the_provider() {
    let mut bench = bench().await;
    let given = bench.tokens().await;
    let (called, refreshed) =
        futures_util::future::join(bench.gate.call(&given.access), bench.gate.refresh(&bench.client, &given.refresh))
            .await;
    assert_eq!((called.status, refreshed.status), (WORKS, 200), "{called:?} {refreshed:?}");
    let given = crate::support::gate::tokens(&refreshed);
    let twin = bench.gate.twin().await;
    let (one, other) = futures_util::future::join(bench.gate.call(&given.access), twin.call(&given.access)).await;
    assert_eq!((one.status, other.status), (WORKS, WORKS), "two processes");
    assert!(exchanges(&bench).0 >= 2);
}

/// A gate whose upstream answers 401 to its first `refusals` calls.
async fn refusing(refusals: usize, change: impl FnOnce(&mut Config)) -> (Bench, Upstream) {
    let count = Arc::new(AtomicUsize::new(0));
    let behind = Upstream::start(move |_| {
        if count.fetch_add(1, Ordering::Relaxed) < refusals {
            answer(401, &[("www-authenticate", "Bearer")], "")
        } else {
            answer(200, &[("content-type", "application/json")], r#"{"jsonrpc":"2.0","id":7,"result":{}}"#)
        }
    })
    .await;
    let bench = Bench::with(|config| {
        give(config, exchange());
        reach(&mut config.upstreams[0]).url = behind.url().parse().unwrap();
        change(config);
    })
    .await;
    (bench, behind)
}

#[tokio::test]
async fn a_refused_token_is_exchanged_again_once_and_the_same_body_is_sent() {
    let (mut bench, behind) = refusing(1, |_| {}).await;
    let given = bench.tokens().await;
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    assert_eq!((exchanges(&bench).0, behind.count()), (2, 2));
    let seen = behind.seen.lock().unwrap().clone();
    assert_eq!(seen[0].body, seen[1].body);
    assert_ne!(seen[0].header("authorization"), seen[1].header("authorization"));
}

#[tokio::test]
async fn an_upstream_that_refuses_everything_makes_no_loop() {
    let (mut bench, behind) = refusing(usize::MAX, |_| {}).await;
    let given = bench.tokens().await;
    for call in 1..=5 {
        let refused = bench.gate.call(&given.access).await;
        assert_eq!(refused.status, 502, "{refused:?}");
        assert_eq!((exchanges(&bench).0, behind.count()), (2, 1 + call), "call {call}");
    }
    bench.gate.clock.advance(Duration::from_mins(1));
    bench.gate.call(&given.access).await;
    assert_eq!(exchanges(&bench).0, 3, "after a minute it is tried once more");
}

#[tokio::test]
async fn a_streamed_body_is_never_sent_twice() {
    let (mut bench, behind) = refusing(1, |config| config.server.inspect_limit = 16).await;
    let given = bench.tokens().await;
    assert_eq!(bench.gate.call(&given.access).await.status, 502);
    assert_eq!((exchanges(&bench).0, behind.count()), (1, 1));
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS, "the refused token was given up");
    assert_eq!((exchanges(&bench).0, behind.count()), (2, 2));
}
