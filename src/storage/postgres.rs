//! PostgreSQL: its connections, its locks, its schema, and its errors in words.
//!
//! Between us and the server there may be a pooler that gives each *transaction* another server connection (PgBouncer). So
//! every statement, a read too, runs in an explicit transaction; none is prepared under a name; settings are `SET LOCAL`, locks
//! are `pg_advisory_xact_lock`; and the start-up packet asks for nothing that a pooler refuses.
//!
//! When a call exceeds our own limit it is dropped, but the server goes on with its statement and keeps its locks. So the server
//! has limits of its own, a little below ours: see [`BEGIN`].

use std::str::FromStr;
use std::time::Duration;

use data_encoding::HEXLOWER;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPoolOptions, Postgres};
use sqlx::query::Query;
use sqlx::{Connection, PgPool};

use super::call_limit::CALL_LIMIT;
use super::error::StoreError;
use super::exclusive::Exclusive;
use super::migrations;
use super::nul::escape;
use super::row::Row;
use super::value::Value;
use crate::config;
use crate::model::ids::GrantId;

/// How long other processes may take to bring the schema up to date.
const MIGRATION_PATIENCE: Duration = Duration::from_mins(1);
/// How long a call waits for a connection: less than the limit of a call, so that an outage is told as one.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);
/// How many connections writes leave to reads, unless there are fewer than twice as many.
const FOR_READS: u32 = 4;

sql! {
    BEGIN = "
        BEGIN ISOLATION LEVEL READ COMMITTED;
        SET LOCAL statement_timeout = 4500; SET LOCAL lock_timeout = 4000;
        SET LOCAL idle_in_transaction_session_timeout = 4500";

    BEGIN_READ = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL statement_timeout = 4500";

    /// A lock has a class and, in it, one of 256 numbers: a transaction that ends the grants of many users shall not fill the
    /// server's table of locks. Two keys with one number wait for each other, which is no harm.
    LOCK = "SELECT pg_advisory_xact_lock($1, (hashtextextended($2, 0) & 255)::INTEGER)";

    LOCK_SHARED = "SELECT pg_advisory_xact_lock_shared($1, (hashtextextended($2, 0) & 255)::INTEGER)";

    /// In one order, so that two that lock several cannot wait for each other.
    LOCK_USERS_OF = "
        SELECT pg_advisory_xact_lock($1, number) FROM (
            SELECT DISTINCT (hashtextextended(subject, 0) & 255)::INTEGER AS number
            FROM grants WHERE id = ANY($2) ORDER BY number) AS users";

    ENCODING = "SHOW server_encoding";
}

/// The first half of the key of a lock; the second is a hash of what it is about. `0x504F_5200` is the lock of the feed of ends,
/// which a trigger takes (`migrations/postgres/0002_ends_and_identities.sql`).
#[derive(Clone, Copy)]
enum Class {
    Batch = 0x504F_5201,
    Identity = 0x504F_5202,
    User = 0x504F_5203,
    RefreshToken = 0x504F_5204,
    Clients = 0x504F_5205,
    SigningKeys = 0x504F_5209,
}

/// A transaction.
pub(super) type Transaction = sqlx::Transaction<'static, Postgres>;

/// The connections to one database.
pub(super) struct Pool {
    place: String,
    writers: usize,
    pub(super) connections: PgPool,
}

impl Pool {
    /// How errors name the database: never with the password.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// How many writes may run at once.
    pub(super) const fn writers(&self) -> usize {
        self.writers
    }

    pub(super) async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        self.connections.begin_with(BEGIN).await
    }

    /// Runs a statement that only reads.
    pub(super) async fn read(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, sqlx::Error> {
        let mut tx = self.connections.begin_with(BEGIN_READ).await?;
        let rows = rows(&mut tx, sql, values).await?;
        tx.commit().await?;
        Ok(rows)
    }

    pub(super) async fn close(&self) {
        self.connections.close().await;
    }
}

/// Opens the database and brings its schema up to date.
pub(super) async fn open(settings: &config::Postgres) -> Result<Pool, StoreError> {
    let options = PgConnectOptions::from_str(settings.url.expose())
        // the parser's words may quote the URL, and with it the password
        .map_err(|_malformed| StoreError::about("PostgreSQL", "cannot be reached: the URL cannot be read"))?
        .application_name("portcullis")
        // a pooler refuses the connection otherwise
        .extra_float_digits(None);
    let place = place(&options);
    let migrated = tokio::time::timeout(MIGRATION_PATIENCE, migrate(&options)).await.unwrap_or_else(|_elapsed| {
        Err("has been locked for a minute by another process that prepares it: wait, or stop it".to_owned())
    });
    migrated.map_err(|words| StoreError::about(&place, words))?;
    let connections = PgPoolOptions::new()
        .max_connections(settings.connections)
        .acquire_timeout(CONNECT_LIMIT)
        .connect_lazy_with(options);
    let all = settings.connections;
    let writers = if all < 2 * FOR_READS { all.div_ceil(2) } else { all - FOR_READS };
    Ok(Pool { place, writers: usize::try_from(writers).unwrap_or(1), connections })
}

fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    match options.get_socket() {
        Some(socket) => format!("the PostgreSQL database {database} at {}", socket.display()),
        None => format!("the PostgreSQL database {database} at {}:{}", options.get_host(), options.get_port()),
    }
}

async fn migrate(options: &PgConnectOptions) -> Result<(), String> {
    // the first connection is none of a pool's: a pool would try again and again, and hide why there is none
    let connecting = tokio::time::timeout(CONNECT_LIMIT, PgConnection::connect_with(options));
    let connected = connecting.await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
    let said = |error: sqlx::Error| words(&error);
    let mut connection = connected.map_err(said)?;
    let encoding: String = sqlx::query_scalar(ENCODING).fetch_one(&mut connection).await.map_err(said)?;
    if encoding != "UTF8" {
        return Err(format!("cannot hold every name: its encoding is {encoding}; make one with ENCODING 'UTF8'"));
    }
    connection.close().await.map_err(said)?;
    // the library takes one connection for all migrations, and holds a lock of its session meanwhile
    let pool =
        PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT_LIMIT).connect_lazy_with(options.clone());
    let ours = migrations::migrator(migrations::POSTGRES);
    ours.run(&pool).await.map_err(|error| migrations::words(error, words))?;
    let needed = sqlx::query_scalar(migrations::OLDEST_PROGRAM).fetch_one(&pool).await.map_err(said)?;
    pool.close().await;
    migrations::too_new(&ours, needed).map_or(Ok(()), Err)
}

/// Takes the locks of a write, in the order of [`Class`].
pub(super) async fn lock(tx: &mut Transaction, exclusive: Exclusive<'_>) -> Result<(), sqlx::Error> {
    match exclusive {
        Exclusive::Nothing => Ok(()),
        Exclusive::Batch => lock_one(tx, LOCK, Class::Batch, "").await,
        Exclusive::BatchOf(subject) => {
            lock_one(tx, LOCK, Class::Batch, "").await?;
            lock_one(tx, LOCK, Class::User, subject).await
        }
        Exclusive::Identity(identity) => {
            lock_one(tx, LOCK, Class::Batch, "").await?;
            lock_one(tx, LOCK, Class::Identity, identity.as_str()).await
        }
        Exclusive::SignIn(subject) => {
            lock_one(tx, LOCK_SHARED, Class::Identity, subject.identity()).await?;
            lock_one(tx, LOCK, Class::User, subject.as_str()).await
        }
        Exclusive::UsersOf(grants) => {
            let ids: Vec<&str> = grants.iter().map(GrantId::as_str).collect();
            let lock = sqlx::query(LOCK_USERS_OF).persistent(false).bind(Class::User as i32).bind(ids);
            lock.execute(&mut **tx).await.map(drop)
        }
        Exclusive::RefreshToken(hash) => {
            lock_one(tx, LOCK, Class::RefreshToken, &HEXLOWER.encode(hash.as_bytes())).await
        }
        Exclusive::Clients => lock_one(tx, LOCK, Class::Clients, "").await,
        Exclusive::SigningKeys => lock_one(tx, LOCK, Class::SigningKeys, "").await,
    }
}

async fn lock_one(tx: &mut Transaction, sql: &'static str, class: Class, key: &str) -> Result<(), sqlx::Error> {
    let lock = sqlx::query(sql).persistent(false).bind(class as i32).bind(key);
    lock.execute(&mut **tx).await.map(drop)
}

/// Runs a statement in a transaction and answers how many rows it changed.
pub(super) async fn execute(tx: &mut Transaction, sql: &'static str, values: &[Value<'_>]) -> Result<u64, sqlx::Error> {
    Ok(query(sql, values).execute(&mut **tx).await?.rows_affected())
}

/// The rows that a statement answers in a transaction.
pub(super) async fn rows(
    tx: &mut Transaction,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<Vec<Row>, sqlx::Error> {
    Ok(query(sql, values).fetch_all(&mut **tx).await?.into_iter().map(Row::Postgres).collect())
}

fn query<'q>(sql: &'static str, values: &[Value<'_>]) -> Query<'q, Postgres, PgArguments> {
    values.iter().fold(sqlx::query(sql).persistent(false), |query, value| match value {
        Value::Text(text) => query.bind(text.as_deref().map(escape)),
        Value::Integer(number) => query.bind(*number),
        Value::Boolean(truth) => query.bind(*truth),
        Value::Bytes(bytes) => query.bind(*bytes),
    })
}

/// A call that took too long.
pub(super) fn stalled(limit: Duration) -> String {
    format!("did not answer within {limit:?}: the server is overloaded, or another transaction holds a lock")
}

/// Puts an error into words that follow on the database's name, with the hint where there is one.
pub(super) fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(cause) => words_for(cause.code().as_deref().unwrap_or_default(), cause.message()),
        sqlx::Error::Io(cause) => format!("cannot be reached: {cause}; check the server and its address"),
        sqlx::Error::PoolTimedOut => {
            format!("cannot be reached: no connection within {CONNECT_LIMIT:?}; check the server and its address")
        }
        sqlx::Error::PoolClosed => "is closed: this process is ending".to_owned(),
        other => format!("cannot be used: {other}"),
    }
}

/// Words for PostgreSQL's error codes. The server's own may quote a value in class 22 (data), and are left out there.
fn words_for(code: &str, message: &str) -> String {
    match code {
        "28000" | "28P01" => "refuses this user or this password: check the URL".to_owned(),
        "3D000" => "does not exist: make it (CREATE DATABASE), or name another".to_owned(),
        "42501" => {
            format!("refuses what this user must be able to do: {message}; grant it, or make the user the owner")
        }
        "25006" => "cannot be written: this server is a standby or read-only; name the primary".to_owned(),
        "53100" => "cannot grow: the disk of the server is full; free some space".to_owned(),
        "53300" => "has no connection left: raise max_connections there, or let this program open fewer".to_owned(),
        "57014" | "55P03" | "25P03" | "25P04" => stalled(CALL_LIMIT),
        "57P01" | "57P02" | "57P03" => format!("cannot be reached: the server is starting or stopping ({message})"),
        "40001" | "40P01" => format!("undid a transaction that collided with another ({code}): try again"),
        other if other.starts_with("08") => format!("cannot be reached: {message}"),
        other if other.starts_with("22") => format!("refused a value ({code})"),
        _ => format!("refused: {message} ({code})"),
    }
}

#[cfg(test)]
mod tests {
    use super::{words, words_for};

    #[test]
    fn a_wait_for_a_connection_is_told_as_an_outage() {
        // the pool tries again while the server refuses, and never says why
        let words = words(&sqlx::Error::PoolTimedOut);
        assert_eq!(words, "cannot be reached: no connection within 4s; check the server and its address");
    }

    #[test]
    fn no_value_is_quoted_in_an_error() {
        let words = words_for("22P02", "invalid input syntax for type bigint: \"Ada\"");
        assert_eq!(words, "refused a value (22P02)");
    }
}
