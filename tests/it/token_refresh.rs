//! Refresh tokens: rotation, lost responses, replay, and the end of a grant.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use portcullis::keys::{Sealer, open_with};
use portcullis::oauth::scope::ScopeSet;
use portcullis::secret::{Refresh, Token};

use crate::engines::also_on_postgres;
use crate::support::bench::Bench;
use crate::support::browser::{Browser, parameter};
use crate::support::database;
use crate::support::gate::{TestGate, WORKS, claims, tokens, upstream};
use crate::support::log::watch;

also_on_postgres! {
    a_refresh_rotates_the_tokens_and_the_old_access_token_stays_valid,
    a_retried_refresh_gets_the_same_response,
    a_refresh_token_replayed_after_the_window_ends_the_grant,
    a_refresh_token_replayed_after_its_successor_was_used_ends_the_grant,
    a_replay_ends_only_the_grant_of_its_device,
    parallel_refreshes_of_one_token_get_the_same_response,
    parallel_refreshes_in_two_processes_get_the_same_response,
    parallel_refreshes_in_two_processes_ask_the_provider_once,
    a_client_that_disconnects_does_not_stop_its_refresh,
    an_unused_refresh_token_expires_after_thirty_days_and_a_grant_after_ninety,
    the_kept_response_and_the_end_of_a_grant_survive_a_restart,
    the_database_and_the_root_key_together_cannot_open_a_kept_answer,
    a_users_twenty_first_grant_with_a_client_ends_the_least_recently_used,
}

fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text).unwrap()
}

#[tokio::test]
async fn a_refresh_rotates_the_tokens_and_the_old_access_token_stays_valid() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let first = gate.tokens(&client).await;
    let answer = gate.refresh(&client, &first.refresh).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let second = tokens(&answer);
    assert_ne!(first.refresh, second.refresh);
    assert_ne!(first.access, second.access);
    assert_eq!(gate.call(&first.access).await.status, WORKS);
    assert_eq!(gate.call(&second.access).await.status, WORKS);
}

#[tokio::test]
async fn a_retried_refresh_gets_the_same_response() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let first = gate.tokens(&client).await;
    let answer = gate.refresh(&client, &first.refresh).await;
    gate.clock.advance(Duration::from_secs(29));
    assert_eq!(gate.refresh(&client, &first.refresh).await.body, answer.body);
    assert_eq!(gate.refresh(&client, &tokens(&answer).refresh).await.status, 200);
}

#[tokio::test]
async fn a_refresh_token_replayed_after_the_window_ends_the_grant() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let first = gate.tokens(&client).await;
    let second = tokens(&gate.refresh(&client, &first.refresh).await);
    gate.clock.advance(Duration::from_secs(30));
    assert_eq!(gate.refresh(&client, &first.refresh).await.error(), "invalid_grant");
    assert_eq!(gate.refresh(&client, &second.refresh).await.error(), "invalid_grant");
    assert_eq!(gate.call(&first.access).await.status, 401);
    assert_eq!(gate.call(&second.access).await.status, 401);
}

#[tokio::test]
async fn a_refresh_token_replayed_after_its_successor_was_used_ends_the_grant() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let first = gate.tokens(&client).await;
    let second = tokens(&gate.refresh(&client, &first.refresh).await);
    let third = tokens(&gate.refresh(&client, &second.refresh).await);
    assert_eq!(gate.refresh(&client, &first.refresh).await.error(), "invalid_grant");
    assert_eq!(gate.call(&third.access).await.status, 401);
    assert_eq!(gate.refresh(&client, &third.refresh).await.error(), "invalid_grant");
}

#[tokio::test]
async fn a_replay_by_another_client_ends_the_grant_and_one_with_other_parameters_does_not() {
    let gate = TestGate::new().await;
    let (client, other) = (gate.register().await, gate.register_named("other").await);
    let first = gate.tokens(&client).await;
    let second = tokens(&gate.refresh(&client, &first.refresh).await);
    let words = [
        ("grant_type", "refresh_token"),
        ("client_id", client.id.as_str()),
        ("refresh_token", first.refresh.as_str()),
        ("scope", "mcp:access"),
    ];
    assert_eq!(gate.post_form("/token", &words).await.error(), "invalid_grant");
    assert_eq!(gate.call(&second.access).await.status, WORKS);
    assert_eq!(gate.refresh(&other, &first.refresh).await.error(), "invalid_grant");
    assert_eq!(gate.call(&second.access).await.status, 401);
}

#[tokio::test]
async fn a_refresh_token_replayed_weeks_later_ends_the_grant() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let first = gate.tokens(&client).await;
    let second = tokens(&gate.refresh(&client, &first.refresh).await);
    gate.clock.advance(Duration::from_hours(20 * 24));
    gate.app.issuer().expire().await;
    assert_eq!(gate.refresh(&client, &first.refresh).await.error(), "invalid_grant");
    assert_eq!(gate.refresh(&client, &second.refresh).await.error(), "invalid_grant");
}

#[tokio::test]
async fn a_replay_ends_only_the_grant_of_its_device() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let (phone, laptop) = (gate.tokens(&client).await, gate.tokens(&client).await);
    let rotated = tokens(&gate.refresh(&client, &phone.refresh).await);
    gate.clock.advance(Duration::from_secs(31));
    gate.refresh(&client, &phone.refresh).await;
    assert_eq!(gate.call(&rotated.access).await.status, 401);
    assert_eq!(gate.call(&laptop.access).await.status, WORKS);
    assert_eq!(gate.refresh(&client, &laptop.refresh).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_refreshes_of_one_token_get_the_same_response() {
    let gate = Arc::new(TestGate::new().await);
    let client = gate.register().await;
    let first = gate.tokens(&client).await;
    let attempts = (0..16).map(|_| {
        let (gate, client, token) = (Arc::clone(&gate), client.clone(), first.refresh.clone());
        tokio::spawn(async move { gate.refresh(&client, &token).await })
    });
    let answers: Vec<_> = join_all(attempts).await.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body), "{answers:?}");
    assert_eq!(gate.refresh(&client, &tokens(&answers[0]).refresh).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_refreshes_in_two_processes_get_the_same_response() {
    let one = Arc::new(TestGate::new().await);
    let other = Arc::new(one.twin().await);
    let client = one.register().await;
    let first = one.tokens(&client).await;
    let attempts = (0..16).map(|number| {
        let gate = Arc::clone(if number % 2 == 0 { &one } else { &other });
        let (client, token) = (client.clone(), first.refresh.clone());
        tokio::spawn(async move { gate.refresh(&client, &token).await })
    });
    let answers: Vec<_> = join_all(attempts).await.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body), "{answers:?}");
    assert_eq!(other.refresh(&client, &tokens(&answers[0]).refresh).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_refreshes_in_two_processes_ask_the_provider_once() {
    let mut bench = Bench::new().await;
    for _ in 0..5 {
        let first = bench.tokens().await;
        let (gate, client, asked) = (&bench.gate, &bench.client, bench.provider.calls("/token"));
        let twin = gate.twin().await;
        let attempts = (0..8).map(|number| if number % 2 == 0 { gate } else { &twin });
        let answers = join_all(attempts.map(|gate| gate.refresh(client, &first.refresh))).await;
        assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body), "{answers:?}");
        // a second question would spend a token that the first one has replaced
        assert_eq!(bench.provider.calls("/token"), asked + 1);
    }
}

#[tokio::test]
async fn a_refresh_that_waits_for_another_process_is_503_before_clients_give_up() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let first = gate.tokens(&client).await;
    let (token, now) = (Token::<Refresh>::parse(&first.refresh).unwrap().sha256(), gate.clock.now());
    let lease = Duration::from_secs(30);
    let leased = gate.app.store().take_refresh_lease(&token, "l_another", now + lease, now).await.unwrap();
    assert!(leased.is_some());
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let refreshing = gate.refresh(&client, &first.refresh);
    let time_passes = async {
        loop {
            // the store works on threads of its own, which know nothing of paused time
            std::thread::sleep(Duration::from_millis(2));
            tokio::time::advance(Duration::from_millis(20)).await;
        }
    };
    let refused = tokio::select! {
        answer = refreshing => answer,
        () = time_passes => unreachable!(),
    };
    assert_eq!((refused.status, refused.error().as_str()), (503, "temporarily_unavailable"));
    assert!(!refused.header("retry-after").is_empty());
    let waited = began.elapsed().as_secs();
    assert!((7..10).contains(&waited), "{waited} s");
    tokio::time::resume();
    gate.clock.advance(lease);
    assert_eq!(gate.refresh(&client, &first.refresh).await.status, 200, "the lease of a dead process runs out");
}

#[tokio::test]
async fn a_client_that_disconnects_does_not_stop_its_refresh() {
    let mut bench = Bench::new().await;
    let first = bench.tokens().await;
    let (gate, client, asked) = (&bench.gate, &bench.client, bench.provider.calls("/token"));
    let held = bench.provider.hold_token();
    let mut leaving = Box::pin(gate.refresh(client, &first.refresh));
    tokio::select! {
        answer = &mut leaving => panic!("answered while the provider is asked: {answer:?}"),
        () = held.reached() => {}
    }
    drop(leaving);
    drop(held);
    gate.settle().await;
    let answer = gate.refresh(client, &first.refresh).await;
    assert_eq!(bench.provider.calls("/token"), asked + 1, "the answer that the client missed was kept for it");
    assert_eq!(gate.refresh(client, &tokens(&answer).refresh).await.status, 200);
}

#[tokio::test]
async fn a_refresh_token_is_bound_to_its_client_and_resource() {
    let gate = TestGate::with(|config| {
        config.upstreams.push(upstream(&config.public_url, "other", "http://127.0.0.1:9/"));
    })
    .await;
    let (client, other) = (gate.register().await, gate.register_named("other").await);
    let first = gate.tokens(&client).await;
    assert_eq!(gate.refresh(&other, &first.refresh).await.error(), "invalid_grant");
    let elsewhere = [
        ("grant_type", "refresh_token"),
        ("client_id", client.id.as_str()),
        ("refresh_token", first.refresh.as_str()),
        ("resource", "http://127.0.0.1:6749/other"),
    ];
    assert_eq!(gate.post_form("/token", &elsewhere).await.error(), "invalid_target");
    for junk in ["", "pcr_", "nonsense", first.access.as_str(), &first.refresh.to_uppercase()] {
        let error = gate.refresh(&client, junk).await.error();
        assert!(error == "invalid_grant" || (junk.is_empty() && error == "invalid_request"), "{junk} {error}");
    }
    let here = [
        ("grant_type", "refresh_token"),
        ("client_id", client.id.as_str()),
        ("refresh_token", first.refresh.as_str()),
        ("resource", "http://127.0.0.1:6749/mcp/"),
        ("resource", "http://127.0.0.1:6749/mcp"),
        ("scope", "mcp:access unknown"),
    ];
    assert_eq!(gate.post_form("/token", &here).await.status, 200);
}

#[tokio::test]
async fn an_unused_refresh_token_expires_after_thirty_days_and_a_grant_after_ninety() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let idle = gate.tokens(&client).await;
    let mut used = gate.tokens(&client).await;
    for _ in 0..3 {
        gate.clock.advance(Duration::from_hours(29 * 24));
        used = tokens(&gate.refresh(&client, &used.refresh).await);
    }
    assert_eq!(gate.refresh(&client, &idle.refresh).await.error(), "invalid_grant");
    gate.clock.advance(Duration::from_hours(3 * 24));
    assert_eq!(gate.refresh(&client, &used.refresh).await.error(), "invalid_grant");
}

#[tokio::test]
async fn the_kept_response_and_the_end_of_a_grant_survive_a_restart() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let first = gate.tokens(&client).await;
    let gate = gate.restart().await;
    let second = tokens(&gate.refresh(&client, &first.refresh).await);
    let gate = gate.restart().await;
    assert_eq!(tokens(&gate.refresh(&client, &first.refresh).await).refresh, second.refresh, "the same answer again");
    gate.clock.advance(Duration::from_mins(1));
    gate.refresh(&client, &first.refresh).await;
    let gate = gate.restart().await;
    assert_eq!(gate.call(&second.access).await.status, 401, "the end was remembered");
}

#[tokio::test]
async fn the_database_and_the_root_key_together_cannot_open_a_kept_answer() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let first = gate.tokens(&client).await;
    let answer = gate.refresh(&client, &first.refresh).await;
    let hash = Token::<Refresh>::parse(&first.refresh).unwrap().sha256();
    let stored = gate.app.store().refresh_token(&hash).await.unwrap().unwrap();
    let kept = stored.used.unwrap().sealed_response.unwrap();
    assert_eq!(open_with(first.refresh.as_bytes(), &kept).unwrap(), answer.body.as_bytes());
    let root_key = gate.config.secrets.keys[0].expose();
    for secret in [root_key.as_slice(), hash.as_bytes(), client.id.as_bytes()] {
        assert!(open_with(secret, &kept).is_err());
    }
    assert!(Sealer::new(&gate.config.secrets).open("provider token", b"local|alice", &kept).is_err());
}

#[tokio::test]
async fn the_database_holds_no_token_in_clear_text() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let first = gate.tokens(&client).await;
    let second = tokens(&gate.refresh(&client, &first.refresh).await);
    let file = database::file(&gate.config.storage).to_owned();
    gate.app.close().await;
    let bytes = std::fs::read(&file).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(&client.id), "this is where it would lie");
    for secret in [&first.refresh, &first.access, &second.refresh, &second.access] {
        assert!(!holds(secret));
    }
}

#[tokio::test]
async fn a_users_twenty_first_grant_with_a_client_ends_the_least_recently_used() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let mut grants = Vec::new();
    for _ in 0..20 {
        grants.push(gate.tokens(&client).await);
        gate.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(gate.call(&grants[0].access).await.status, WORKS);
    let kept = tokens(&gate.refresh(&client, &grants[0].refresh).await);
    gate.clock.advance(Duration::from_secs(1));
    gate.tokens(&client).await;
    assert_eq!(gate.call(&grants[1].access).await.status, 401);
    assert_eq!(gate.call(&kept.access).await.status, WORKS);
}

#[tokio::test]
async fn a_refresh_response_names_no_more_scope_than_was_requested() {
    let gate =
        TestGate::with(|config| config.upstreams[0].settings.scopes.required = scopes("mcp:access mcp:write")).await;
    let client = gate.register().await;
    let mut refresh = gate.tokens(&client).await.refresh;
    for (asked, allowed, named) in [
        ("mcp:access", "mcp:access", Some("mcp:access")),
        ("mcp:access offline_access", "mcp:access", Some("mcp:access offline_access")),
        ("nonsense", "mcp:access mcp:write", None),
        ("", "mcp:access mcp:write", Some("mcp:access mcp:write offline_access")),
    ] {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", client.id.as_str()),
            ("refresh_token", refresh.as_str()),
            ("scope", asked),
        ];
        let answer = gate.post_form("/token", &fields).await;
        let given = tokens(&answer);
        assert_eq!(answer.json().get("scope").and_then(|scope| scope.as_str()), named, "{asked}");
        assert_eq!(claims(&given.access)["scope"], allowed, "{asked}");
        refresh = given.refresh;
    }
}

#[tokio::test]
async fn the_requested_scope_survives_a_restart() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let place = gate.sign_in(&mut Browser::default(), &client, &[("scope", "mcp:access")]).await;
    let given = tokens(&gate.redeem(&client, &parameter(&place, "code").unwrap()).await);
    let gate = gate.restart().await;
    assert_eq!(gate.refresh(&client, &given.refresh).await.json()["scope"], "mcp:access");
}

#[tokio::test]
async fn a_grant_that_lacks_a_newly_required_scope_is_refused_at_refresh() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    let gate =
        gate.restart_with(|config| config.upstreams[0].settings.scopes.required = scopes("mcp:access mcp:write")).await;
    assert_eq!(gate.call(&given.access).await.status, 403);
    assert_eq!(gate.refresh(&client, &given.refresh).await.error(), "invalid_grant");
    let anew = gate.tokens(&client).await;
    assert_eq!(gate.call(&anew.access).await.status, WORKS);
    let anew = tokens(&gate.refresh(&client, &anew.refresh).await);

    let gate = gate.restart_with(|config| config.upstreams[0].settings.scopes.required = scopes("mcp:access")).await;
    assert_eq!(gate.refresh(&client, &given.refresh).await.status, 200, "the operator took it back");
    let gate = gate
        .restart_with(|config| config.upstreams = vec![upstream(&config.public_url, "other", "http://127.0.0.1:9/")])
        .await;
    assert_eq!(gate.refresh(&client, &anew.refresh).await.error(), "invalid_grant", "its server is not here any more");
}

#[tokio::test]
async fn the_log_says_whose_refresh_was_refused_and_the_client_is_not_told_the_grant() {
    let gate = TestGate::new().await;
    let (client, other) = (gate.register().await, gate.register_named("other").await);
    let first = gate.tokens(&client).await;
    let grant = claims(&first.access)["sid"].as_str().unwrap().to_owned();
    let (lines, _guard) = watch();
    let refused = gate.refresh(&other, &first.refresh).await;
    assert_eq!(refused.error(), "invalid_grant");
    assert!(!refused.body.contains(&grant), "{refused:?}");
    let (text, about) = (lines.text(), format!("(client {}, grant {grant})", other.id));
    assert!(text.contains("the refresh token was given to another client") && text.contains(&about), "{text}");
}
