//! What only PostgreSQL has: a server.

use std::time::Duration;

use portcullis::config;
use portcullis::storage::Store;
use portcullis::telemetry::metrics::Metrics;
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::Instant;

use super::{Fresh, PostgresPlace, WAITING_WRITES, at_once, client};
use crate::support::database;

/// Why a database is refused.
async fn refused(url: String) -> String {
    let settings = config::Postgres::at(url.parse().unwrap()).into();
    match Store::open(&settings, WAITING_WRITES, Metrics::default().store).await {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

fn url(place: &PostgresPlace) -> String {
    match place.settings().database {
        config::Database::Postgres(settings) => database::url(&settings.server),
        config::Database::Sqlite(_) => unreachable!(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_open_a_new_database_at_once() {
    let place = PostgresPlace::empty().with(1);
    let stores = at_once(8, |_| {
        let settings = place.settings();
        async move { Store::open(&settings, WAITING_WRITES, Metrics::default().store).await.unwrap() }
    })
    .await;
    for (n, store) in stores.iter().enumerate() {
        let client = client(&format!("c_{n}"), place.clock.now());
        store.insert_client(&client, "A", 100, place.clock.now()).await.unwrap();
        assert_eq!(stores[0].client(&client.id).await.unwrap(), Some(client));
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_a_wrong_password_and_a_missing_database_are_named() {
    let place = PostgresPlace::new();
    let right = url(&place);
    let nowhere = refused("postgres://portcullis:pw-1@127.0.0.1:9/db".to_owned()).await;
    assert!(nowhere.contains("the PostgreSQL database db at 127.0.0.1:9 cannot be reached: "), "{nowhere}");
    assert!(nowhere.ends_with("check the server and its address"), "{nowhere}");
    let stranger = refused(right.replace("only-for-tests", "pw-2")).await;
    assert!(
        stranger.ends_with("refuses this user or this password: check storage.url and storage.password"),
        "{stranger}"
    );
    let (head, database) = right.split_once("/test_").unwrap();
    let missing = refused(format!("{head}/missing")).await;
    assert!(missing.ends_with("does not exist: make it (CREATE DATABASE), or name another"), "{missing}");
    assert!(!database.is_empty());
    for error in [nowhere, stranger, missing] {
        assert!(!error.contains("pw-") && !error.contains("only-for-tests"), "{error}");
    }
}

#[tokio::test]
async fn the_settings_print_no_password() {
    let printed = format!("{:?}", PostgresPlace::new().settings());
    assert!(!printed.contains("only-for-tests"), "{printed}");
}

#[tokio::test]
async fn a_schema_that_needs_a_newer_program_and_one_of_another_build_are_refused() {
    let place = PostgresPlace::new();
    database::by_hand(&place.settings(), "UPDATE compatibility SET oldest_program = 9999").await;
    let error = refused(url(&place)).await;
    assert!(error.contains("has a newer schema than this program: it needs one that knows migration 9999"), "{error}");
    let undo =
        "UPDATE compatibility SET oldest_program = 1; UPDATE _sqlx_migrations SET checksum = '' WHERE version = 1";
    database::by_hand(&place.settings(), undo).await;
    let error = refused(url(&place)).await;
    assert!(error.contains("was made by another build: its migration 1 is not this program's"), "{error}");
}

#[tokio::test]
async fn a_server_that_goes_away_is_told_as_out_of_reach_and_the_store_heals() {
    let place = PostgresPlace::new();
    let fresh = Fresh::new(place.open().await);
    let registered = fresh.register("c_1", "A").await;
    let database = url(&place).rsplit_once('/').unwrap().1.split('?').next().unwrap().to_owned();
    let other = PostgresPlace::empty();
    let elsewhere = other.settings();
    let cut = format!(
        "ALTER DATABASE {database} ALLOW_CONNECTIONS FALSE; \
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    );
    for statement in cut.split("; ") {
        database::by_hand(&elsewhere, statement).await;
    }
    let error = fresh.store.client(&registered.id).await.unwrap_err().to_string();
    assert!(error.contains(&format!("the PostgreSQL database {database} at ")), "{error}");
    assert!(fresh.store.is_degraded());
    database::by_hand(&elsewhere, &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS TRUE")).await;
    assert_eq!(fresh.store.client(&registered.id).await.unwrap(), Some(registered));
    assert!(!fresh.store.is_degraded());
}

#[tokio::test]
async fn a_lock_that_another_program_holds_is_told_before_our_own_limit() {
    let place = PostgresPlace::new();
    let fresh = Fresh::new(place.open().await);
    let mut lock = PgConnection::connect(&url(&place)).await.unwrap();
    lock.execute("BEGIN; LOCK TABLE clients").await.unwrap();
    let began = Instant::now();
    let error =
        fresh.store.insert_client(&client("c_1", fresh.now()), "A", 8, fresh.now()).await.unwrap_err().to_string();
    assert!(
        error.contains("did not answer within 5s: the server is overloaded, or another transaction holds"),
        "{error}"
    );
    assert!(began.elapsed() < Duration::from_millis(4900), "the server gave up, and keeps no lock of ours");
    lock.execute("ROLLBACK").await.unwrap();
    fresh.register("c_1", "A").await;
}
