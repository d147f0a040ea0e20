//! What only shows from inside: the texts themselves, and an engine in trouble. The contract is in `tests/it/storage.rs`.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, SqlSafeStr, SqliteConnection};
use tempfile::TempDir;

use super::{
    CALL_LIMIT, Store, Turn, authorizations, clients, codes, end_feed, grant_ends, grants, identities, listing,
    refresh_tokens, sealed, signing_keys, sqlite,
};
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::model::ids::KeyId;
use crate::model::signing_key::StoredSigningKey;
use crate::telemetry::metrics::Metrics;

const STATEMENTS: [(&str, &[(&str, &str)]); 12] = [
    ("authorizations.rs", authorizations::STATEMENTS),
    ("clients.rs", clients::STATEMENTS),
    ("codes.rs", codes::STATEMENTS),
    ("end_feed.rs", end_feed::STATEMENTS),
    ("grant_ends.rs", grant_ends::STATEMENTS),
    ("grants.rs", grants::STATEMENTS),
    ("identities.rs", identities::STATEMENTS),
    ("listing.rs", listing::STATEMENTS),
    ("refresh_tokens.rs", refresh_tokens::STATEMENTS),
    ("sealed.rs", sealed::STATEMENTS),
    ("signing_keys.rs", signing_keys::STATEMENTS),
    ("sqlite.rs", sqlite::STATEMENTS),
];

/// Whole tables (or a whole index) that may be read, because they are small or because counting is the point.
const SCANS: [(&str, &str); 8] = [
    ("sqlite.rs", "OLDEST_PROGRAM"),
    ("signing_keys.rs", "ALL"),
    // once, at the start: an index of the live grants, and the sign-ins of the last minutes when a provider is replaced
    ("identities.rs", "KNOWN"),
    ("identities.rs", "CLIENTS_WITHOUT_REGISTRATION"),
    ("identities.rs", "REFUSE_OPEN"),
    // once, at a start with another issuer than before
    ("identities.rs", "CORRECT"),
    // the never-used clients, whose number is limited, once per registration
    ("clients.rs", "COUNT_UNUSED"),
    ("clients.rs", "EVICT_ONE"),
];

/// How many writes of a kind may wait here.
const WAITING_WRITES: usize = 8;

async fn open() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let settings = config::Storage::Sqlite(directory.path().join("test.db"));
    let store = Store::open(&settings, WAITING_WRITES, &Clock::manual(Timestamp(1_000_000)), Metrics::default().store)
        .await
        .unwrap();
    (directory, store)
}

fn key(name: &str, sealed: Vec<u8>) -> StoredSigningKey {
    let id = KeyId::from(name);
    StoredSigningKey { id, algorithm: name.to_owned(), sealed_private_key: sealed, created_at: Timestamp(1) }
}

/// Works on the writer as a saboteur would.
async fn on_writer(store: &Store, sql: &'static str) {
    store.0.pools.writer.execute(sql).await.unwrap();
}

#[tokio::test]
async fn every_statement_is_one_that_the_engine_understands() {
    let (_directory, store) = open().await;
    let mut connection = store.0.pools.writer.acquire().await.unwrap();
    for (file, statements) in STATEMENTS {
        for (name, sql) in statements {
            connection.prepare(sql.into_sql_str()).await.unwrap_or_else(|error| panic!("{file} {name}: {error}"));
        }
    }
}

#[tokio::test]
async fn no_statement_scans_a_table_that_grows() {
    let (_directory, store) = open().await;
    for (file, statements) in STATEMENTS {
        for (name, sql) in statements {
            let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
                .fetch_all(&store.0.pools.writer)
                .await
                .unwrap();
            let scans = plan.iter().any(|(.., step)| step.starts_with("SCAN ") && step != "SCAN CONSTANT ROW");
            assert_eq!(scans, SCANS.contains(&(file, *name)), "{file} {name}: {plan:#?}");
        }
    }
}

#[test]
fn every_sql_text_is_declared_where_the_tests_find_it() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/storage");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "tests.rs" || name == "sql.rs" {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let listed = STATEMENTS.iter().any(|(file, _)| *file == name);
        assert_eq!(text.contains("\nsql! {"), listed, "{name} and the list of statements differ");
        for forbidden in ["query(\"", "query_as(\"", "query_scalar(\"", ": &str = \"", "AssertSqlSafe", "raw_sql("] {
            assert!(!text.contains(forbidden), "{name} has {forbidden}: declare the text with sql!");
        }
    }
}

#[test]
fn every_migration_file_is_built_in() {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite")).unwrap().count();
    assert_eq!(sqlx::migrate!("migrations/sqlite").iter().count(), files);
}

#[tokio::test]
async fn a_full_disk_is_named_and_the_writer_works_again_when_there_is_room() {
    let (_directory, store) = open().await;
    on_writer(&store, "PRAGMA max_page_count = 1").await;
    // one that SQLite cannot undo alone: it ends the transaction, and the library is not told
    let big = "INSERT INTO signing_keys VALUES ('k', 'ES256', 1, zeroblob(1000000), 1)";
    let error = store.execute(Turn::Upkeep, sqlx::query(big)).await.unwrap_err();
    assert!(error.to_string().ends_with("test.db cannot grow: the disk is full; free some space"), "{error}");
    assert!(store.is_degraded());
    on_writer(&store, "PRAGMA max_page_count = 1000000").await;
    store.insert_first_signing_key(&key("small", vec![7; 10])).await.unwrap();
    assert!(!store.is_degraded());
    assert_eq!(store.signing_keys().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_stays_degraded_although_it_is_read() {
    let (_directory, store) = open().await;
    on_writer(&store, "PRAGMA query_only = ON").await;
    let error = store.insert_first_signing_key(&key("k", vec![7])).await.unwrap_err();
    assert!(error.to_string().contains("test.db cannot be written: make the file"), "{error}");
    store.signing_keys().await.unwrap();
    assert!(store.is_degraded());
}

#[tokio::test]
async fn a_lock_that_another_program_holds_is_named() {
    let (directory, store) = open().await;
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
    let (directory, mut store) = open().await;
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

#[tokio::test]
async fn a_row_that_we_never_wrote_is_named_by_its_column_and_not_quoted() {
    let (_directory, store) = open().await;
    on_writer(
        &store,
        "INSERT INTO clients (id, redirect_uris, auth_method, refresh_token, scope, created_at, address, registered_at)
         VALUES ('c_1', 'Mallory', 'none', TRUE, '', 1, '', 1)",
    )
    .await;
    let error = store.client(&"c_1".into()).await.unwrap_err();
    assert_eq!(error.to_string(), "the database is corrupt: clients.redirect_uris");
}

#[tokio::test]
async fn every_sign_in_under_way_is_taken_back_however_many_there_are() {
    let (_directory, store) = open().await;
    // twice as many as one transaction bars: half of them have a code already, or are another client's
    let begin = "
        WITH RECURSIVE number(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < 4 * 2000)
        INSERT INTO authorizations (id, client_id, request, identity, binding_hash, round, offline, retried, stage,
            created_at, expires_at)
        SELECT 'r_' || hex(randomblob(8)), 'c_' || (n % 2), '{}', 'keycloak', x'00', 0, FALSE, FALSE,
            CASE n % 4 WHEN 0 THEN 'pending' WHEN 2 THEN 'claimed' ELSE 'code_issued' END, 1, 2
        FROM number";
    on_writer(&store, begin).await;
    let filter = |client: Option<&str>| super::GrantFilter {
        subject: Some("keycloak|ada".to_owned()),
        client: client.map(str::to_owned),
        ..super::GrantFilter::default()
    };
    let barred = async || {
        let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM barred_sign_ins");
        count.fetch_one(store.readers()).await.unwrap()
    };
    store.refuse_under_way(&filter(Some("c_1"))).await.unwrap();
    assert_eq!(barred().await, 0, "they all have codes");
    for _ in 0..2 {
        store.refuse_under_way(&filter(None)).await.unwrap();
        assert_eq!(barred().await, 2 * i64::try_from(listing::AT_ONCE).unwrap());
    }
    let everything = super::GrantFilter::default();
    assert_eq!(store.refuse_under_way(&everything).await.unwrap(), 4 * listing::AT_ONCE as u64);
    assert_eq!(store.refuse_under_way(&everything).await.unwrap(), 0);
}

#[tokio::test]
async fn a_bar_is_deleted_together_with_its_sign_in() {
    let (_directory, store) = open().await;
    on_writer(
        &store,
        "INSERT INTO authorizations (id, client_id, request, identity, binding_hash, round, offline, retried, stage,
             created_at, expires_at)
         VALUES ('r_1', 'c_1', '{}', 'keycloak', x'00', 0, FALSE, FALSE, 'pending', 1, 2)",
    )
    .await;
    let filter = super::GrantFilter { subject: Some("keycloak|ada".to_owned()), ..super::GrantFilter::default() };
    store.refuse_under_way(&filter).await.unwrap();
    let barred = async || {
        let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM barred_sign_ins");
        count.fetch_one(store.readers()).await.unwrap()
    };
    assert_eq!(barred().await, 1);
    let keep_nothing = super::Retention {
        consent: Duration::ZERO,
        replay_window: Duration::ZERO,
        unused_client: Duration::ZERO,
        used_client: Duration::ZERO,
        access_token: Duration::ZERO,
    };
    store.delete_expired(&keep_nothing, Timestamp(1_000_000), 10).await.unwrap();
    assert_eq!(barred().await, 0);
}
