//! SQLite's side: its plans, and a file in trouble.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, SqlSafeStr, SqliteConnection};

use super::{SCANS, STATEMENTS, key, on_sqlite};
use crate::storage::engine::Engine;
use crate::storage::exclusive::Exclusive;
use crate::storage::sqlite::{self, Pools};
use crate::storage::value::values;
use crate::storage::{CALL_LIMIT, Priority, Store};

fn pools(store: &Store) -> &Pools {
    match &store.0.engine {
        Engine::Sqlite(pools) => pools,
        Engine::Postgres(_) => panic!("this is PostgreSQL"),
    }
}

/// Works on the writer as a saboteur would.
async fn on_writer(store: &Store, sql: &'static str) {
    pools(store).writer.execute(sql).await.unwrap();
}

/// Every column of ours, with the type that both engines have a name for.
pub(super) async fn schema(store: &Store) -> BTreeSet<String> {
    let columns: Vec<(String, String, String, bool)> = sqlx::query_as(
        "SELECT t.name, c.name, c.type, c.\"notnull\" FROM sqlite_master t JOIN pragma_table_info(t.name) c
         WHERE t.type = 'table' AND t.name NOT LIKE '\\_sqlx%' ESCAPE '\\'",
    )
    .fetch_all(&pools(store).readers)
    .await
    .unwrap();
    let columns = columns.into_iter().map(|(table, column, kind, not_null)| {
        let kind = match kind.as_str() {
            "BLOB" => "bytea".to_owned(),
            "INTEGER" => "bigint".to_owned(),
            other => other.to_lowercase(),
        };
        format!("{table}.{column} {kind}{}", if not_null { " not null" } else { "" })
    });
    columns.collect()
}

#[tokio::test]
async fn every_statement_is_one_that_sqlite_understands() {
    let (_directory, store) = on_sqlite().await;
    let mut connection = pools(&store).writer.acquire().await.unwrap();
    for (file, statements) in STATEMENTS {
        for (name, sql) in statements {
            connection.prepare(sql.into_sql_str()).await.unwrap_or_else(|error| panic!("{file} {name}: {error}"));
        }
    }
    for (_, sql) in sqlite::STATEMENTS {
        connection.prepare(sql.into_sql_str()).await.unwrap();
    }
}

#[tokio::test]
async fn no_statement_scans_a_table_that_grows() {
    let (_directory, store) = on_sqlite().await;
    for (file, statements) in STATEMENTS {
        for (name, sql) in statements {
            let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
                .fetch_all(&pools(&store).writer)
                .await
                .unwrap();
            let scans = plan.iter().any(|(.., step)| step.starts_with("SCAN ") && step != "SCAN CONSTANT ROW");
            assert_eq!(scans, SCANS.contains(&(file, *name)), "{file} {name}: {plan:#?}");
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_the_writer_works_again_when_there_is_room() {
    let (_directory, store) = on_sqlite().await;
    on_writer(&store, "PRAGMA max_page_count = 1").await;
    // one that SQLite cannot undo alone: it ends the transaction, and the library is not told
    let big = "INSERT INTO signing_keys (id, algorithm, generation, sealed_private_key, created_at)
        VALUES ('k', 'ES256', 1, zeroblob(1000000), 1)";
    let error = store.execute(Priority::Upkeep, Exclusive::Nothing, big, values![]).await.unwrap_err();
    assert!(error.to_string().ends_with("test.db cannot grow: the disk is full; free some space"), "{error}");
    assert!(store.is_degraded());
    on_writer(&store, "PRAGMA max_page_count = 1000000").await;
    store.insert_first_signing_key(&key("small", vec![7; 10])).await.unwrap();
    assert!(!store.is_degraded());
    assert_eq!(store.signing_keys().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_stays_degraded_although_it_is_read() {
    let (_directory, store) = on_sqlite().await;
    on_writer(&store, "PRAGMA query_only = ON").await;
    let error = store.insert_first_signing_key(&key("k", vec![7])).await.unwrap_err();
    assert!(error.to_string().contains("test.db cannot be written: make the file"), "{error}");
    store.signing_keys().await.unwrap();
    assert!(store.is_degraded());
}

#[tokio::test]
async fn a_lock_that_another_program_holds_is_named() {
    let (directory, store) = on_sqlite().await;
    on_writer(&store, "PRAGMA busy_timeout = 0").await;
    let file = directory.path().join("test.db");
    let mut other = SqliteConnection::connect(file.to_str().unwrap()).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let error = store.insert_first_signing_key(&key("k", vec![7])).await.unwrap_err();
    assert!(error.to_string().contains("test.db is locked: another program is writing to it"), "{error}");
    other.execute("ROLLBACK").await.unwrap();
    store.insert_first_signing_key(&key("k", vec![7])).await.unwrap();
    assert!(!store.is_degraded());
}

#[tokio::test]
async fn a_write_that_takes_too_long_is_rolled_back_and_the_next_one_works() {
    let (directory, mut store) = on_sqlite().await;
    let file = directory.path().join("test.db");
    let mut other = SqliteConnection::connect(file.to_str().unwrap()).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    Arc::get_mut(&mut store.0).unwrap().limit = Duration::from_millis(50);
    let error = store.insert_first_signing_key(&key("late", vec![7])).await.unwrap_err();
    assert!(error.to_string().contains("test.db did not answer within 50ms"), "{error}");
    assert!(store.is_degraded());
    Arc::get_mut(&mut store.0).unwrap().limit = CALL_LIMIT;
    other.execute("ROLLBACK").await.unwrap();
    store.insert_first_signing_key(&key("next", vec![7])).await.unwrap();
    let algorithms: Vec<_> = store.signing_keys().await.unwrap().into_iter().map(|key| key.algorithm).collect();
    assert_eq!(algorithms, ["next"]);
    assert!(!store.is_degraded());
}
