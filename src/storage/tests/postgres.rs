//! PostgreSQL's side: the types and the plans of the texts, and the limits of a transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor, PgConnection, SqlSafeStr, Statement, TypeInfo};

use super::{SCANS, STATEMENTS, on_postgres};
use crate::storage::engine::Engine;
use crate::storage::postgres::{self, ServerPool};
use crate::storage::{CALL_LIMIT, Store, copy, pooler, postgres_schema};

fn pool(store: &Store) -> &ServerPool {
    match &store.0.engine {
        Engine::Postgres(pool) => pool,
        Engine::Sqlite(_) => panic!("this is SQLite"),
    }
}

/// Every column of ours, with its type.
pub(super) async fn schema(store: &Store) -> BTreeSet<String> {
    let columns: Vec<(String,)> = sqlx::query_as(
        "SELECT table_name || '.' || column_name || ' ' || data_type || CASE is_nullable WHEN 'NO' THEN ' not null' ELSE '' END
         FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%'",
    )
    .fetch_all(&pool(store).connections)
    .await
    .unwrap();
    columns.into_iter().map(|(column,)| column).collect()
}

/// The types of a text's parameters, as the server infers them.
async fn parameters(connection: &mut PgConnection, sql: &'static str) -> Vec<String> {
    let statement = connection.prepare(sql.into_sql_str()).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    let types = statement.parameters().and_then(sqlx::Either::left).unwrap_or_default();
    types.iter().map(|kind| kind.name().to_owned()).collect()
}

#[tokio::test]
async fn every_statement_is_one_that_postgres_understands_with_the_types_that_we_bind() {
    let (_database, store) = on_postgres().await;
    let mut connection = pool(&store).connections.acquire().await.unwrap();
    for (file, statements) in STATEMENTS {
        for (name, sql) in statements {
            for kind in parameters(&mut connection, sql).await {
                let is_cast = kind == "INT4" && sql.contains(" AS INTEGER)");
                let is_bound = ["TEXT", "INT8", "BOOL", "BYTEA"].contains(&kind.as_str());
                assert!(is_bound || is_cast, "{file} {name} wants {kind}");
            }
        }
    }
    let ours = [copy::STATEMENTS, pooler::STATEMENTS, postgres::STATEMENTS, postgres_schema::STATEMENTS].concat();
    // those of several statements cannot be prepared, and run whenever a transaction begins
    for (_, sql) in ours.iter().filter(|(name, _)| !name.starts_with("BEGIN") && *name != "NO_LIMITS") {
        parameters(&mut connection, sql).await;
    }
}

/// The nodes of a plan for any values that read a whole table or a whole index.
async fn scans(connection: &mut PgConnection, sql: &'static str) -> (Vec<String>, String) {
    let types = parameters(connection, sql).await;
    let (list, nulls) = (types.join(", "), vec!["NULL"; types.len()].join(", "));
    let (list, nulls) = if types.is_empty() { (list, nulls) } else { (format!("({list})"), format!("({nulls})")) };
    connection.execute(AssertSqlSafe(format!("PREPARE explained {list} AS {sql}"))).await.unwrap();
    let explain = format!("EXPLAIN (COSTS OFF) EXECUTE explained {nulls}");
    let plan: Vec<(String,)> =
        sqlx::query_as(AssertSqlSafe(explain)).persistent(false).fetch_all(&mut *connection).await.unwrap();
    connection.execute("DEALLOCATE explained").await.unwrap();
    let lines: Vec<&str> = plan.iter().map(|(line,)| line.trim()).collect();
    let whole = lines.iter().enumerate().filter(|(n, line)| {
        let by_index = line.contains("Index Scan") || line.contains("Index Only Scan");
        let of_condition =
            lines[n + 1..].iter().take_while(|line| !line.contains("->")).any(|line| line.starts_with("Index Cond"));
        line.contains("Seq Scan") || (by_index && !of_condition)
    });
    (whole.map(|(_, line)| (*line).to_owned()).collect(), lines.join("\n"))
}

/// Rows enough that the planner has something to choose between.
const FILL: &str = "
    INSERT INTO clients (id, redirect_uris, auth_method, refresh_token, scope, created_at, address, registered_at, last_grant_at)
    SELECT 'c_' || n, '[]', 'none', TRUE, '', n, 'a' || n, n, CASE n % 2 WHEN 0 THEN n END FROM generate_series(1, 3000) n;
    INSERT INTO authorizations (id, client_id, request, identity, binding_hash, round, offline, retried, stage, created_at,
        expires_at, code_hash, redeemed_at, subject)
    SELECT 'r_' || n, 'c_' || n, '{}', 'keycloak', '', 0, TRUE, FALSE,
        CASE n % 2 WHEN 0 THEN 'code_issued' ELSE 'pending' END, n, n, sha256(n::TEXT::BYTEA),
        CASE n % 2 WHEN 0 THEN n END, 's' || n FROM generate_series(1, 3000) n;
    INSERT INTO grants (id, subject, identity, client_id, resource, scope, user_claims, provider_offline, provider_renewable,
        created_at, expires_at, last_used_at, ended_at)
    SELECT 'g_' || n, 's' || n, 'i' || n, 'c_' || n, '', '', '{}', TRUE, TRUE, n, n, n, CASE n % 2 WHEN 0 THEN n END
    FROM generate_series(1, 3000) n;
    UPDATE grants SET basis = 'api_key' WHERE expires_at % 3 = 0;
    INSERT INTO api_keys SELECT 'g_' || n, sha256(n::TEXT::BYTEA), '', NULL FROM generate_series(1, 3000) n;
    INSERT INTO refresh_tokens (hash, grant_id, expires_at, used_at, sealed_response)
    SELECT sha256(n::TEXT::BYTEA), 'g_' || n, n, CASE n % 2 WHEN 0 THEN n END, CASE n % 4 WHEN 0 THEN 'x'::BYTEA END
    FROM generate_series(1, 3000) n;
    INSERT INTO grant_ends (grant_id, ended_at) SELECT 'g_' || n, n FROM generate_series(1, 3000) n;
    INSERT INTO signing_keys SELECT 'k_' || n, 'a' || n, 1, '', n FROM generate_series(1, 3000) n;
    INSERT INTO identities SELECT 'i_' || n, '', '' FROM generate_series(1, 3000) n;
    INSERT INTO barred_sign_ins SELECT 'r_' || n, 's' || n FROM generate_series(1, 3000) n;
    INSERT INTO account_sessions SELECT sha256(n::TEXT::BYTEA), 's' || n, 'i', '', '', n, n FROM generate_series(1, 3000) n;
    INSERT INTO device_codes SELECT sha256(n::TEXT::BYTEA), sha256(n::TEXT::BYTEA), '{}', '', '', 5, n, n, 'r_' || n
    FROM generate_series(1, 3000) n;
    INSERT INTO client_documents SELECT 'c_' || n, '', '{}', n, n FROM generate_series(1, 3000) n;
    INSERT INTO disabled_clients SELECT 'c_' || n, n FROM generate_series(1, 3000) n;
    INSERT INTO remembered_consents SELECT 'm_' || n, 's' || n, 'i', '', sha256(n::TEXT::BYTEA), 'c_' || n, ''::BYTEA, '', 'r', '', FALSE,
        n, n FROM generate_series(1, 3000) n;
    UPDATE grants SET provider_session = sha256(expires_at::TEXT::BYTEA);
    UPDATE authorizations SET provider_session = sha256(expires_at::TEXT::BYTEA);
    UPDATE account_sessions SET provider_session = hash;
    INSERT INTO provider_logouts SELECT sha256(n::TEXT::BYTEA), 'i', 's' || n, sha256(n::TEXT::BYTEA), FALSE, n, n, n, n % 2 = 0
    FROM generate_series(1, 3000) n;
    INSERT INTO standing_checks SELECT 's' || n, n, 0, 1 FROM generate_series(1, 3000) n;
    INSERT INTO single_use SELECT sha256(n::TEXT::BYTEA), n FROM generate_series(1, 3000) n;
    ANALYZE";

#[tokio::test]
async fn an_index_serves_wherever_one_does_on_sqlite() {
    let (_database, store) = on_postgres().await;
    let mut connection = pool(&store).connections.acquire().await.unwrap();
    connection.execute(FILL).await.unwrap();
    // what is left when the planner cannot read whole tables: an index, or it reads a whole one
    let settings = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
        SET plan_cache_mode = force_generic_plan";
    connection.execute(settings).await.unwrap();
    let mut wrong = Vec::new();
    for (file, statements) in STATEMENTS {
        for (name, sql) in statements {
            let (scans, plan) = scans(&mut connection, sql).await;
            let may_scan = SCANS.contains(&(file, *name));
            if !scans.is_empty() && !may_scan {
                wrong.push(format!("{file} {name}: {scans:?}\n{plan}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[tokio::test]
async fn the_servers_limits_are_below_ours_and_end_with_the_transaction() {
    let (_database, store) = on_postgres().await;
    let mut tx = pool(&store).begin().await.unwrap();
    let limits = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
    for limit in limits {
        let limit: String =
            sqlx::query_scalar(AssertSqlSafe(format!("SELECT setting FROM pg_settings WHERE name = '{limit}'")))
                .persistent(false)
                .fetch_one(&mut *tx)
                .await
                .unwrap();
        let limit = Duration::from_millis(limit.parse().unwrap());
        assert!(limit > CALL_LIMIT / 2 && limit < CALL_LIMIT, "{limit:?}");
    }
    tx.commit().await.unwrap();
    for limit in limits {
        let show = AssertSqlSafe(format!("SHOW {limit}"));
        let limit: String = sqlx::query_scalar(show).fetch_one(&pool(&store).connections).await.unwrap();
        assert_eq!(limit, "0", "a pooler would hand it to another client");
    }
}

#[tokio::test]
async fn a_read_cannot_write() {
    let (_database, store) = on_postgres().await;
    let error = store.find::<i64>("DELETE FROM compatibility RETURNING 1", &[]).await.unwrap_err().to_string();
    assert!(error.contains("cannot be written: this server is a standby or read-only"), "{error}");
}
