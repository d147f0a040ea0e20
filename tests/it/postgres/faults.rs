//! A server that crashes, restarts, or does not answer.

use std::sync::Arc;
use std::time::Duration;

use portcullis::config::Storage;
use portcullis::telemetry::metrics::Task;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::{Instant, sleep};

use super::settings;
use crate::support::cluster::Cluster;
use crate::support::database::by_hand;
use crate::support::gate::{Answer, Given, TestClient, TestGate, WORKS, tokens};

/// A server of its own, and a gate on it.
async fn alone() -> (Arc<Cluster>, Arc<TestGate>) {
    let server = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
    let storage: Storage = settings(&server.url("postgres")).into();
    let gate = TestGate::with(|config| config.storage = storage).await;
    (Arc::new(server), Arc::new(gate))
}

/// Does something that takes a while.
async fn on(server: &Arc<Cluster>, work: fn(&Cluster)) {
    let server = Arc::clone(server);
    tokio::task::spawn_blocking(move || work(&server)).await.unwrap();
}

fn assert_unavailable(answer: &Answer) {
    assert_eq!((answer.status, answer.error().as_str()), (503, "temporarily_unavailable"), "{answer:?}");
    assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{answer:?}");
}

/// Refreshes as a client does that tries again with the same token after a failure, until this many have succeeded.
async fn refresh_on_and_on(gate: &TestGate, client: &TestClient, mut given: Given, times: usize) -> (Given, usize) {
    let (mut done, mut refused, deadline) = (0, 0, Instant::now() + Duration::from_mins(1));
    while done < times {
        assert!(Instant::now() < deadline, "{done} refreshes, {refused} refused");
        let answer = gate.refresh(client, &given.refresh).await;
        if answer.status == 200 {
            given = tokens(&answer);
            done += 1;
        } else {
            assert_unavailable(&answer);
            refused += 1;
        }
        sleep(Duration::from_millis(20)).await;
    }
    (given, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_refresh_token_is_lost_when_the_server_crashes_and_everything_recovers_by_itself() {
    let (server, gate) = alone().await;
    let mut clients = Vec::new();
    for n in 0..8 {
        let client = gate.register_named(&format!("Client {n}")).await;
        let given = gate.tokens(&client).await;
        let gate = Arc::clone(&gate);
        clients.push(tokio::spawn(async move { refresh_on_and_on(&gate, &client, given, 40).await }));
    }
    for _ in 0..2 {
        sleep(Duration::from_millis(400)).await;
        on(&server, Cluster::stop).await;
        // longer than a call waits: callers are refused
        sleep(Duration::from_millis(5500)).await;
        on(&server, Cluster::restart).await;
    }
    let mut refused = 0;
    for client in clients {
        let (given, times) = client.await.unwrap();
        assert_eq!(gate.call(&given.access).await.status, WORKS);
        refused += times;
    }
    assert!(refused > 0, "the crashes were noticed");
    assert!(!gate.app.store().is_degraded());
}

/// Makes the commit of a rotation take its time, so that it can be hit.
const SLOW_COMMIT: &str = "
    CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(2); RETURN NULL; END$$;
    CREATE CONSTRAINT TRIGGER linger AFTER UPDATE ON refresh_tokens DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION linger()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_whose_commit_is_killed_succeeds_when_it_is_tried_again() {
    let (server, gate) = alone().await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    by_hand(&gate.config.storage, SLOW_COMMIT).await;
    let refreshing = tokio::spawn({
        let (gate, client, given) = (Arc::clone(&gate), client.clone(), given.clone());
        async move { gate.refresh(&client, &given.refresh).await }
    });
    let mut observer = PgConnection::connect(&server.url("postgres")).await.unwrap();
    let committing = "SELECT pid FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'PgSleep'";
    let pid: i32 = loop {
        if let Some(pid) = sqlx::query_scalar(committing).fetch_optional(&mut observer).await.unwrap() {
            break pid;
        }
        sleep(Duration::from_millis(10)).await;
    };
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let answer = refreshing.await.unwrap();
    if answer.status != 200 {
        assert_unavailable(&answer);
    }
    let again = gate.refresh(&client, &given.refresh).await;
    let fresh = tokens(&again);
    if answer.status == 200 {
        assert_eq!(tokens(&answer).refresh, fresh.refresh, "what was handed out is what is stored");
    }
    assert_eq!(gate.call(&fresh.access).await.status, WORKS);
    assert_eq!(gate.refresh(&client, &fresh.refresh).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redemption_whose_commit_is_killed_gave_no_tokens_that_are_stored_nowhere() {
    let (server, gate) = alone().await;
    let client = gate.register().await;
    let code = gate.code(&client).await;
    by_hand(&gate.config.storage, &SLOW_COMMIT.replace("UPDATE ON refresh_tokens", "INSERT ON grants")).await;
    let redeeming = tokio::spawn({
        let (gate, client, code) = (Arc::clone(&gate), client.clone(), code.clone());
        async move { gate.redeem(&client, &code).await }
    });
    sleep(Duration::from_secs(1)).await;
    on(&server, Cluster::stop).await;
    assert_unavailable(&redeeming.await.unwrap());
    on(&server, Cluster::restart).await;
    let given = tokens(&gate.redeem(&client, &code).await);
    assert_eq!(gate.call(&given.access).await.status, WORKS, "the code was not spent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_told_within_two_seconds_and_ends_by_itself() {
    let (server, gate) = alone().await;
    let runs = portcullis::telemetry::metrics::Metrics::default().background.task(Task::RevocationFeed, &gate.clock);
    let feed = tokio::spawn(gate.app.revocation().clone().run(gate.app.store().clone(), runs));
    let degraded = async |expected: bool, within: Duration| {
        let began = Instant::now();
        while gate.app.store().is_degraded() != expected {
            assert!(began.elapsed() < within, "degraded: {}", !expected);
            sleep(Duration::from_millis(20)).await;
        }
    };
    degraded(false, Duration::from_secs(1)).await;
    on(&server, Cluster::stop).await;
    degraded(true, Duration::from_secs(2)).await;
    let metrics = gate.app.metrics().await;
    assert!(metrics.contains("portcullis_degraded 1") || metrics.contains("portcullis_degraded 2"), "{metrics}");
    on(&server, Cluster::restart).await;
    degraded(false, Duration::from_secs(6)).await;
    feed.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_takes_too_long_is_503_and_the_token_stays_good() {
    let (server, gate) = alone().await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    let mut lock = PgConnection::connect(&server.url("postgres")).await.unwrap();
    lock.execute("BEGIN; LOCK TABLE refresh_tokens").await.unwrap();
    let began = Instant::now();
    assert_unavailable(&gate.refresh(&client, &given.refresh).await);
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    lock.execute("ROLLBACK").await.unwrap();
    assert_eq!(gate.refresh(&client, &given.refresh).await.status, 200);
}
