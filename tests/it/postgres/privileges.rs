//! Who may change the schema, and a user who may not.

use portcullis::config::{Config, Postgres, Storage};
use portcullis::storage::{GrantFilter, Store};

use super::{open_with, refused, settings};
use crate::storage::{Fresh, PostgresPlace, START, SqlitePlace};
use crate::support::cluster::cluster;
use crate::support::database::by_hand;
use crate::support::gate::TestGate;

/// The schema as the release before left it, before the ids that count once.
const BEFORE: &str = "DROP TABLE single_use; DELETE FROM _sqlx_migrations WHERE version = 5";

fn unmigrated(storage: Storage) -> Storage {
    Storage { migrate: false, ..storage }
}

async fn why_not(storage: Storage) -> String {
    match open_with(storage).await {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

/// What a process that may not change the schema says of an empty and of an old database, and that it works on a current one.
async fn leaves_the_schema_alone(empty: Storage, nothing: &str) {
    let error = why_not(unmigrated(empty.clone())).await;
    assert!(error.contains(nothing) && error.contains("run `portcullis migrate`"), "{error}");
    assert!(Store::migrate(&unmigrated(empty.clone())).await.unwrap().contains(&"0005_single_use"));
    assert_eq!(Store::migrate(&empty).await.unwrap(), Vec::<&str>::new(), "nothing is missing");
    open_with(unmigrated(empty.clone())).await.unwrap().close().await;
    by_hand(&empty, BEFORE).await;
    let error = why_not(unmigrated(empty.clone())).await;
    let words =
        "lacks a migration of this program (0005_single_use), and storage.migrate is off: run `portcullis migrate`";
    assert!(error.contains(words), "{error}");
    open_with(empty.clone()).await.unwrap().close().await;
    open_with(unmigrated(empty)).await.unwrap().close().await;
}

#[tokio::test]
async fn a_schema_on_postgres_is_left_alone_when_another_may_change_it() {
    let place = PostgresPlace::empty();
    leaves_the_schema_alone(place.settings(), "lacks migrations of this program (0001_initial, ").await;
}

#[tokio::test]
async fn a_schema_on_sqlite_is_left_alone_when_another_may_change_it() {
    let place = SqlitePlace::new();
    leaves_the_schema_alone(place.settings(), "does not exist").await;
}

#[tokio::test]
async fn a_user_who_may_only_read_and_write_rows_is_enough_once_the_schema_is_current() {
    let database = cluster().create(None);
    let owner: Storage = settings(&database.url()).into();
    let user = format!("app_{}", database.name());
    by_hand(&owner, &format!("CREATE ROLE {user} LOGIN PASSWORD 'only-for-tests'")).await;
    let app: Postgres = settings(&database.url().replace("portcullis:", &format!("{user}:")));
    let error = refused(app.clone()).await;
    assert!(error.contains("refuses what this user must be able to do: "), "{error}");
    Store::migrate(&owner).await.unwrap();
    by_hand(&owner, &format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {user}")).await;
    let storage: Storage = app.into();
    let store = open_with(storage.clone()).await.unwrap();
    let clock = portcullis::clock::Clock::manual(START);
    let fresh = Fresh::new((store, clock, storage.clone()));
    fresh.register("c_1", "A").await;
    // and the whole program: keys, a sign-in, tokens, an end, which draws a number from the feed's sequence
    let gate = TestGate::with(|config: &mut Config| config.storage = storage).await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    assert_eq!(gate.refresh(&client, &given.refresh).await.status, 200);
    let grants = gate.app.store().list_grants(&GrantFilter::default(), None, START, 10).await.unwrap();
    let reason = portcullis::model::grant::EndReason::IdentityProvider;
    assert!(gate.app.store().end_grant(&grants[0].id, reason, START).await.unwrap().is_some());
    gate.app.close().await;
    fresh.store.close().await;
    by_hand(&owner, &format!("DROP OWNED BY {user}; DROP ROLE {user}")).await;
}
