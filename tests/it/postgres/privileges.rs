//! Who may change the schema, and a user who may not.

use portcullis::config::{Config, Postgres, Storage};
use portcullis::storage::{GrantFilter, SchemaState, Store};

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

async fn why_not_by_inspection(storage: &Storage) -> String {
    Store::inspect(storage).await.unwrap_err().to_string()
}

/// An inspection says what a start would do, and does nothing.
async fn is_inspected_without_a_change(empty: Storage) {
    assert_eq!(Store::inspect(&empty).await.unwrap().schema, SchemaState::Absent);
    assert_eq!(Store::inspect(&empty).await.unwrap().schema, SchemaState::Absent, "nothing was made");
    let error = why_not_by_inspection(&unmigrated(empty.clone())).await;
    assert!(error.contains("run `portcullis migrate`"), "{error}");
    Store::migrate(&empty).await.unwrap();
    let found = Store::inspect(&unmigrated(empty.clone())).await.unwrap();
    assert_eq!((found.schema, found.pooled), (SchemaState::Current, false));
    by_hand(&empty, BEFORE).await;
    assert_eq!(Store::inspect(&empty).await.unwrap().schema, SchemaState::Older(vec!["0005_single_use"]));
    assert_eq!(Store::inspect(&empty).await.unwrap().schema, SchemaState::Older(vec!["0005_single_use"]));
    let error = why_not_by_inspection(&unmigrated(empty.clone())).await;
    assert!(error.contains("lacks a migration of this program (0005_single_use)"), "{error}");
    by_hand(&empty, "UPDATE compatibility SET oldest_program = 9998").await;
    let error = why_not_by_inspection(&empty).await;
    assert!(error.contains("has a newer schema than this program"), "{error}");
}

#[tokio::test]
async fn postgres_is_inspected_without_a_change() {
    is_inspected_without_a_change(PostgresPlace::empty().settings()).await;
}

#[tokio::test]
async fn sqlite_is_inspected_without_a_change() {
    let place = SqlitePlace::new();
    is_inspected_without_a_change(place.settings()).await;
    std::fs::write(place.file(), "Dear Sir or Madam, ".repeat(100)).unwrap();
    let error = why_not_by_inspection(&place.settings()).await;
    assert!(error.contains("is damaged or no SQLite database"), "{error}");
}

#[tokio::test]
async fn a_standby_and_an_unreachable_server_are_told_by_an_inspection() {
    let database = cluster().create(None);
    let storage: Storage = settings(&database.url()).into();
    Store::migrate(&storage).await.unwrap();
    by_hand(&storage, &format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name())).await;
    let error = why_not_by_inspection(&storage).await;
    assert!(error.contains("cannot be written: this server is a standby or read-only"), "{error}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = why_not_by_inspection(&settings(&format!("postgres://u@{free}/d")).into()).await;
    assert!(error.contains(&format!("the PostgreSQL database d at {free}")), "{error}");
}

#[tokio::test]
async fn a_schema_on_postgres_is_left_alone_when_another_may_change_it() {
    let place = PostgresPlace::empty();
    leaves_the_schema_alone(place.settings(), "is empty, and storage.migrate is off").await;
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
    let error = why_not_by_inspection(&app.clone().into()).await;
    assert!(error.contains("lacks tables that this user may not make: run `portcullis migrate`"), "{error}");
    Store::migrate(&owner).await.unwrap();
    let error = why_not_by_inspection(&app.clone().into()).await;
    assert!(error.contains("refuses what this user must be able to do: "), "it may not read yet: {error}");
    by_hand(&owner, &format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}")).await;
    let error = why_not_by_inspection(&app.clone().into()).await;
    assert!(error.contains("refuses what this user must be able to do: "), "it may not write yet: {error}");
    by_hand(&owner, &format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {user}")).await;
    let storage: Storage = app.into();
    assert_eq!(Store::inspect(&storage).await.unwrap().schema, SchemaState::Current);
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
