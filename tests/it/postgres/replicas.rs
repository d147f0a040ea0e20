//! Two processes on one database: SQLite, and PostgreSQL with a pool of connections each.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use portcullis::model::grant::EndReason;
use portcullis::storage::GrantFilter;
use portcullis::telemetry::metrics::Task;

use crate::engines::also_on_postgres;
use crate::storage::{DAY, at_once};
use crate::support::bench::Bench;
use crate::support::browser::Browser;
use crate::support::database::number;
use crate::support::gate::{Answer, TestGate, WORKS, tokens};

also_on_postgres! {
    of_64_redemptions_in_two_processes_one_succeeds_and_its_tokens_work,
    of_64_refreshes_in_two_processes_one_rotates_and_its_tokens_work,
    an_end_in_one_process_is_known_to_the_other_within_a_second,
    processes_that_start_at_once_make_one_signing_key,
    what_expires_is_ended_once_by_two_processes,
    a_client_that_registers_at_one_process_is_known_to_the_other,
}

/// The number of callers.
const CALLERS: usize = 64;

/// Two processes.
async fn two() -> [Arc<TestGate>; 2] {
    let gate = TestGate::new().await;
    let twin = gate.twin().await;
    [Arc::new(gate), Arc::new(twin)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_redemptions_in_two_processes_one_succeeds_and_its_tokens_work() {
    let processes = two().await;
    let client = processes[0].register().await;
    let code = processes[1].code(&client).await;
    let answers: Vec<Answer> = at_once(CALLERS, |n| {
        let (process, client, code) = (Arc::clone(&processes[n % 2]), client.clone(), code.clone());
        async move { process.redeem(&client, &code).await }
    })
    .await;
    let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(good.len(), 1);
    assert!(bad.iter().all(|answer| answer.error() == "invalid_grant"), "{bad:?}");
    let given = tokens(good[0]);
    for process in &processes {
        assert_eq!(process.call(&given.access).await.status, WORKS);
    }
    assert_eq!(processes[1].refresh(&client, &given.refresh).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_refreshes_in_two_processes_one_rotates_and_its_tokens_work() {
    let processes = two().await;
    let client = processes[0].register().await;
    let given = processes[0].tokens(&client).await;
    let answers: Vec<Answer> = at_once(CALLERS, |n| {
        let (process, client, token) = (Arc::clone(&processes[n % 2]), client.clone(), given.refresh.clone());
        async move { process.refresh(&client, &token).await }
    })
    .await;
    let first = tokens(&answers[0]);
    for answer in &answers {
        assert_eq!(tokens(answer).refresh, first.refresh, "the same response");
    }
    let storage = &processes[0].config.storage;
    assert_eq!(number(storage, "SELECT count(*) FROM refresh_tokens").await, 2);
    assert_eq!(processes[1].call(&first.access).await.status, WORKS);
    assert_eq!(processes[1].refresh(&client, &first.refresh).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_in_one_process_is_known_to_the_other_within_a_second() {
    let processes = two().await;
    let client = processes[0].register().await;
    let given = processes[0].tokens(&client).await;
    let other = &processes[1];
    let runs = portcullis::telemetry::metrics::Metrics::default().background.task(Task::RevocationFeed, &other.clock);
    let feed = tokio::spawn(other.app.revocation().clone().run(other.app.store().clone(), runs));
    assert_eq!(other.call(&given.access).await.status, WORKS, "it is in the other's memory");
    let store = processes[0].app.store();
    let now = processes[0].clock.now();
    let grants = store.list_grants(&GrantFilter::default(), None, now, 10).await.unwrap();
    store.end_grant(&grants[0].id, EndReason::IdentityProvider, now).await.unwrap().unwrap();
    let watch = other.app.revocation().watch(&grants[0].id);
    tokio::time::timeout(Duration::from_secs(1), watch.ended()).await.expect("it is known within a second");
    assert_eq!(other.call(&given.access).await.status, 401);
    feed.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_at_once_make_one_signing_key() {
    let processes = TestGate::many_at_once(8).await;
    let storage = &processes[0].config.storage;
    assert_eq!(number(storage, "SELECT count(*) FROM signing_keys").await, 1);
    let sets = join_all(processes.iter().map(|process| process.get("/.well-known/jwks.json"))).await;
    assert!(sets.iter().all(|set| set.status == 200 && set.body == sets[0].body), "{sets:?}");
    assert_eq!(sets[0].json()["keys"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expires_is_ended_once_by_two_processes() {
    let mut bench = Bench::new().await;
    for n in 0..12 {
        bench.provider.sign_in_as(serde_json::json!({"sub": format!("user {n}")}));
        bench.browser = Browser::default();
        bench.tokens().await;
    }
    let twin = bench.gate.twin().await;
    bench.gate.clock.advance(91 * DAY);
    tokio::join!(bench.gate.app.issuer().expire(), twin.app.issuer().expire());
    bench.gate.settle().await;
    twin.settle().await;
    let mut revoked = bench.provider.revoked();
    assert_eq!(revoked.len(), 12, "the provider's tokens, each once");
    revoked.sort();
    revoked.dedup();
    assert_eq!(revoked.len(), 12);
    let storage = &bench.gate.config.storage;
    assert_eq!(number(storage, "SELECT count(*) FROM grant_ends WHERE grant_id <> ''").await, 12);
    assert_eq!(number(storage, "SELECT count(*) FROM grants WHERE ended_at IS NULL").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_registers_at_one_process_is_known_to_the_other() {
    let processes = two().await;
    let client = processes[0].register().await;
    let code = processes[1].code(&client).await;
    let given = tokens(&processes[0].redeem(&client, &code).await);
    assert_eq!(processes[1].refresh(&client, &given.refresh).await.status, 200);
}
