//! What only an inside view can test: the texts themselves, and a failing engine. The contract is in `tests/it/storage.rs`.

#[path = "../../tests/it/support/cluster.rs"]
mod cluster;
mod postgres;
mod sqlite;

use std::collections::BTreeSet;
use std::time::Duration;

use tempfile::TempDir;

use self::cluster::{Database, cluster};
use super::exclusive::Exclusive;
use super::value::values;
use super::{
    GrantFilter, Priority, Retention, Store, StoreError, account, api_keys, authorizations, cancelled_sign_ins,
    client_documents, clients, codes, device_codes, disabled_clients, end_feed, grant_ends, grants, identities,
    inspection, listed_clients, listed_documents, listed_grants, machine_grants, migrations, provider_logouts,
    refresh_tokens, remembered_consents, sealed, shared_tokens, signing_keys, single_use, standing_checks,
};
use crate::clock::Timestamp;
use crate::config;
use crate::model::ids::KeyId;
use crate::model::signing_key::StoredSigningKey;
use crate::telemetry::metrics::Metrics;

/// The texts that both engines read.
const STATEMENTS: [(&str, &[(&str, &str)]); 27] = [
    ("account.rs", account::STATEMENTS),
    ("api_keys.rs", api_keys::STATEMENTS),
    ("authorizations.rs", authorizations::STATEMENTS),
    ("cancelled_sign_ins.rs", cancelled_sign_ins::STATEMENTS),
    ("client_documents.rs", client_documents::STATEMENTS),
    ("clients.rs", clients::STATEMENTS),
    ("codes.rs", codes::STATEMENTS),
    ("device_codes.rs", device_codes::STATEMENTS),
    ("disabled_clients.rs", disabled_clients::STATEMENTS),
    ("end_feed.rs", end_feed::STATEMENTS),
    ("grant_ends.rs", grant_ends::STATEMENTS),
    ("grants.rs", grants::STATEMENTS),
    ("identities.rs", identities::STATEMENTS),
    ("inspection.rs", inspection::STATEMENTS),
    ("listed_clients.rs", listed_clients::STATEMENTS),
    ("listed_documents.rs", listed_documents::STATEMENTS),
    ("listed_grants.rs", listed_grants::STATEMENTS),
    ("machine_grants.rs", machine_grants::STATEMENTS),
    ("migrations.rs", migrations::STATEMENTS),
    ("provider_logouts.rs", provider_logouts::STATEMENTS),
    ("refresh_tokens.rs", refresh_tokens::STATEMENTS),
    ("remembered_consents.rs", remembered_consents::STATEMENTS),
    ("sealed.rs", sealed::STATEMENTS),
    ("shared_tokens.rs", shared_tokens::STATEMENTS),
    ("signing_keys.rs", signing_keys::STATEMENTS),
    ("single_use.rs", single_use::STATEMENTS),
    ("standing_checks.rs", standing_checks::STATEMENTS),
];

/// The files whose texts one engine reads: its own tests prepare them.
const OF_ONE_ENGINE: [&str; 5] = ["copy.rs", "pooler.rs", "postgres.rs", "postgres_schema.rs", "sqlite.rs"];

/// Whole tables (or a whole index) that may be read, because they are small or because counting is the point.
const SCANS: [(&str, &str); 19] = [
    ("migrations.rs", "OLDEST_PROGRAM"),
    ("migrations.rs", "APPLIED"),
    // a handful of rows: the keys that sign, follow and precede, and those withdrawn in the last month
    ("signing_keys.rs", "INSERT_NEXT"),
    ("signing_keys.rs", "WITHDRAW_OTHERS"),
    ("signing_keys.rs", "DELETE_OTHERS"),
    ("signing_keys.rs", "DELETE_RETIRED"),
    ("signing_keys.rs", "ALL"),
    ("signing_keys.rs", "WITHDRAWN"),
    ("signing_keys.rs", "FORGET_WITHDRAWN"),
    // once, at the start: an index of the live grants, and the sign-ins of the last minutes when a provider is replaced
    ("identities.rs", "KNOWN"),
    ("identities.rs", "CLIENTS_WITHOUT_REGISTRATION"),
    ("identities.rs", "REFUSE_OPEN"),
    // once, at a start with another issuer than before
    ("identities.rs", "CORRECT"),
    // the never-used clients, whose number is limited, once per registration
    ("clients.rs", "COUNT_UNUSED"),
    ("clients.rs", "EVICT_ONE"),
    // the kept documents, whose number is limited, when one is kept for the first time
    ("client_documents.rs", "COUNT"),
    ("client_documents.rs", "EVICT_ONE"),
    // the disabled clients: as many as an operator made them
    ("grant_ends.rs", "OF_DISABLED"),
    // the sessions of the last hour, when an operator or a user ends all access
    ("account.rs", "END_THOSE"),
];

/// How many writes of a kind may wait here.
const WAITING_WRITES: usize = 8;

/// A sign-in in progress, inserted directly.
const SIGN_IN: &str = "
    INSERT INTO authorizations (id, client_id, request, identity, binding_hash, round, offline, retried, stage,
        created_at, expires_at)
    VALUES ('r_1', 'c_1', '{}', 'keycloak', '', 0, FALSE, FALSE, 'pending', 1, 2)";

async fn on_sqlite() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let settings = config::Database::Sqlite(directory.path().join("test.db")).into();
    let store = Store::open(&settings, WAITING_WRITES, Metrics::default().store).await.unwrap();
    (directory, store)
}

async fn on_postgres() -> (Database, Store) {
    let database = cluster().create(None);
    let server = config::Postgres::at(database.url().parse().unwrap());
    let settings = config::Postgres { connections: 4, ..server }.into();
    let store = Store::open(&settings, WAITING_WRITES, Metrics::default().store).await.unwrap();
    (database, store)
}

fn key(name: &str, sealed: Vec<u8>) -> StoredSigningKey {
    let id = KeyId::from(name);
    StoredSigningKey {
        id,
        algorithm: name.to_owned(),
        sealed_private_key: sealed,
        created_at: Timestamp(1),
        active_from: Timestamp(1),
    }
}

/// Changes the database directly.
async fn by_hand(store: &Store, sql: &'static str) {
    store.execute(Priority::Upkeep, Exclusive::Nothing, sql, values![]).await.unwrap();
}

async fn count_barred(store: &Store) -> i64 {
    store.find("SELECT count(*) FROM barred_sign_ins", values![]).await.unwrap().unwrap()
}

#[test]
fn every_sql_text_is_declared_where_the_tests_find_it() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/storage");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() || name == "tests.rs" || name == "sql.rs" {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let listed = STATEMENTS.iter().any(|(file, _)| *file == name) || OF_ONE_ENGINE.contains(&name.as_str());
        assert_eq!(text.contains("\nsql! {"), listed, "{name} and the list of statements differ");
        // the copy puts texts together from the names of tables and columns
        let made_up: &[&str] = if name == "copy.rs" { &[] } else { &["AssertSqlSafe", "raw_sql("] };
        for forbidden in ["query(\"", "query_as(\"", "query_scalar(\"", ": &str = \""].iter().chain(made_up) {
            assert!(!text.contains(forbidden), "{name} has {forbidden}: declare the text with sql!");
        }
    }
}

#[tokio::test]
async fn both_engines_have_the_same_tables_columns_and_types() {
    let ((_directory, sqlite), (_database, postgres)) = (on_sqlite().await, on_postgres().await);
    let here: BTreeSet<String> = sqlite::schema(&sqlite).await;
    let there: BTreeSet<String> = postgres::schema(&postgres).await;
    assert!(here.contains("grants.id text not null") && here.len() > 50, "{here:?}");
    assert_eq!(here, there);
}

/// A transaction in which a statement fails and the code goes on is a fault, on which the engines would not agree.
async fn passes_over_a_failure(store: &Store) -> Result<(), StoreError> {
    store
        .write(Priority::Upkeep, Exclusive::Nothing, async |tx| {
            let first = values!["k_1", "ES256", &[1_u8][..], 1];
            tx.execute(signing_keys::STATEMENTS[0].1, first).await?;
            let twice = "INSERT INTO signing_keys (id, algorithm, generation, sealed_private_key, created_at)
                VALUES ('k_1', 'other', 1, '', 1)";
            assert!(tx.execute(twice, values![]).await.is_err());
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_transaction_in_which_a_statement_failed_is_never_committed() {
    let ((_directory, sqlite), (_database, postgres)) = (on_sqlite().await, on_postgres().await);
    for store in [sqlite, postgres] {
        let error = passes_over_a_failure(&store).await.unwrap_err().to_string();
        assert!(error.ends_with("kept nothing of a transaction, because a statement of it had failed"), "{error}");
        assert!(store.signing_keys().await.unwrap().is_empty());
        store.insert_first_signing_key(&key("k_2", vec![2])).await.unwrap();
        assert_eq!(store.signing_keys().await.unwrap().len(), 1, "and the next one works");
    }
}

#[tokio::test]
async fn a_row_that_we_never_wrote_is_named_by_its_column_and_not_quoted() {
    let ((_directory, sqlite), (_database, postgres)) = (on_sqlite().await, on_postgres().await);
    for store in [sqlite, postgres] {
        by_hand(
            &store,
            "INSERT INTO clients (id, redirect_uris, auth_method, refresh_token, scope, created_at, address, registered_at)
             VALUES ('c_1', 'Mallory', 'none', TRUE, '', 1, '', 1)",
        )
        .await;
        let error = store.client(&"c_1".into()).await.unwrap_err();
        assert_eq!(error.to_string(), "the database is corrupt: clients.redirect_uris");
    }
}

#[tokio::test]
async fn a_bar_is_deleted_together_with_its_sign_in() {
    let ((_directory, sqlite), (_database, postgres)) = (on_sqlite().await, on_postgres().await);
    let keep_nothing = Retention {
        consent: Duration::ZERO,
        replay_window: Duration::ZERO,
        unused_client: Duration::ZERO,
        used_client: Duration::ZERO,
        remembered_consent: Duration::ZERO,
        access_token: Duration::ZERO,
    };
    for store in [sqlite, postgres] {
        by_hand(&store, SIGN_IN).await;
        let filter = GrantFilter { subject: Some("keycloak|ada".to_owned()), ..GrantFilter::default() };
        store.cancel_sign_ins(&filter).await.unwrap();
        assert_eq!(count_barred(&store).await, 1);
        store.delete_expired(&keep_nothing, Timestamp(1_000_000), 10).await.unwrap();
        assert_eq!(count_barred(&store).await, 0);
    }
}

/// Begins, by hand, four times as many sign-ins as one transaction bars: half of them have a code already, or are another
/// client's.
const BEGIN_MANY: &str = "
    WITH RECURSIVE number(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < 4 * 2000)
    INSERT INTO authorizations (id, client_id, request, identity, binding_hash, round, offline, retried, stage,
        created_at, expires_at)
    SELECT 'r_' || ((n * 7919) % 8000), 'c_' || (n % 2), '{}', 'keycloak', '', 0, FALSE, FALSE,
        CASE n % 4 WHEN 0 THEN 'pending' WHEN 2 THEN 'claimed' ELSE 'code_issued' END, 1, 2
    FROM number";

#[tokio::test]
async fn every_sign_in_in_progress_is_cancelled_however_many_there_are() {
    let ((_directory, sqlite), (_database, postgres)) = (on_sqlite().await, on_postgres().await);
    for store in [sqlite, postgres] {
        by_hand(&store, BEGIN_MANY).await;
        let filter = |client: Option<&str>| GrantFilter {
            subject: Some("keycloak|ada".to_owned()),
            client: client.map(str::to_owned),
            ..GrantFilter::default()
        };
        store.cancel_sign_ins(&filter(Some("c_1"))).await.unwrap();
        assert_eq!(count_barred(&store).await, 0, "they all have codes");
        for _ in 0..2 {
            store.cancel_sign_ins(&filter(None)).await.unwrap();
            assert_eq!(count_barred(&store).await, 2 * i64::try_from(cancelled_sign_ins::BATCH).unwrap());
        }
        let everything = GrantFilter::default();
        assert_eq!(store.cancel_sign_ins(&everything).await.unwrap(), 4 * cancelled_sign_ins::BATCH as u64);
        assert_eq!(store.cancel_sign_ins(&everything).await.unwrap(), 0);
    }
}
