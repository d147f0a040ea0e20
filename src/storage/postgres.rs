//! PostgreSQL: its connections, its locks, its schema, and its error messages.
//!
//! Between us and the server there may be a pooler that gives each *transaction* another server connection (PgBouncer). So
//! every statement, a read too, runs in an explicit transaction; none is prepared under a name; settings are `SET LOCAL`, locks
//! are `pg_advisory_xact_lock`; and the start-up packet asks for nothing that a pooler refuses.
//!
//! When a call exceeds our own limit it is dropped, but the server goes on with its statement and keeps its locks. So the server
//! has limits of its own, a little below ours: see [`BEGIN`].

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgArguments, PgPoolOptions, Postgres};
use sqlx::query::Query;

use super::call_limit::CONNECT_LIMIT;
use super::exclusive::Exclusive;
use super::nul::escape;
use super::row::Row;
use super::server::Server;
use super::value::Value;
use crate::model::ids::GrantId;
use crate::secret::{Sha256, base64url};

/// When a call that waits for a connection is a sign of an outage: it is reported before the call itself times out.
const SOON: Duration = Duration::from_secs(1);
/// How many connections writes leave to reads, unless there are fewer than twice as many.
const FOR_READS: u32 = 4;

sql! {
    pub(super) BEGIN = "
        BEGIN ISOLATION LEVEL READ COMMITTED;
        SET LOCAL statement_timeout = 4500; SET LOCAL lock_timeout = 4000;
        SET LOCAL idle_in_transaction_session_timeout = 4500";

    BEGIN_READ = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL statement_timeout = 4500";

    /// A lock has a class and, in it, one of 256 numbers: a transaction that ends the grants of many users must not fill the
    /// server's lock table. Two keys with one number wait for each other, which is harmless.
    LOCK = "SELECT pg_advisory_xact_lock($1, (hashtextextended($2, 0) & 255)::INTEGER)";

    LOCK_SHARED = "SELECT pg_advisory_xact_lock_shared($1, (hashtextextended($2, 0) & 255)::INTEGER)";

    /// In one order, so that two transactions that lock several cannot deadlock.
    LOCK_USERS_OF = "
        SELECT pg_advisory_xact_lock($1, number) FROM (
            SELECT DISTINCT (hashtextextended(subject, 0) & 255)::INTEGER AS number
            FROM grants WHERE id = ANY($2) ORDER BY number) AS users";

    LOCK_USER_OF = "
        SELECT pg_advisory_xact_lock($1, (hashtextextended(g.subject, 0) & 255)::INTEGER)
        FROM refresh_tokens t JOIN grants g ON g.id = t.grant_id WHERE t.hash = $2";
}

/// The first half of the key of a lock; the second is a hash of what it is about. `0x504F_5200` is the lock of the feed of ends,
/// which a trigger takes (`migrations/postgres/0002_ends_and_identities.sql`).
#[derive(Clone, Copy)]
enum Class {
    Batch = 0x504F_5201,
    Identity = 0x504F_5202,
    User = 0x504F_5203,
    Clients = 0x504F_5205,
    Client = 0x504F_5206,
    SigningKeys = 0x504F_5209,
    ProviderSession = 0x504F_520A,
}

/// A transaction.
pub(super) type Transaction = sqlx::Transaction<'static, Postgres>;

/// The connections to one database.
pub(super) struct ServerPool {
    server: Server,
    writers: usize,
    pub(super) connections: PgPool,
    /// Whether the last call had to wait for a connection, and has none yet.
    is_out_of_reach: AtomicBool,
}

impl ServerPool {
    /// Connects at the first call.
    pub(super) fn new(server: Server, connections: u32) -> Self {
        let writers = if connections < 2 * FOR_READS { connections.div_ceil(2) } else { connections - FOR_READS };
        let options = PgPoolOptions::new().max_connections(connections).acquire_timeout(CONNECT_LIMIT);
        Self {
            connections: options.connect_lazy_with(server.options().clone()),
            server,
            writers: usize::try_from(writers).unwrap_or(1),
            is_out_of_reach: AtomicBool::new(false),
        }
    }

    /// How errors name the database: never with the password.
    pub(super) fn place(&self) -> &str {
        self.server.place()
    }

    /// How many writes may run at once.
    pub(super) const fn writers(&self) -> usize {
        self.writers
    }

    /// Whether calls wait for a connection in vain (an outage).
    pub(super) fn is_out_of_reach(&self) -> bool {
        self.is_out_of_reach.load(Ordering::Relaxed)
    }

    pub(super) async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        self.begin_with(BEGIN).await
    }

    /// Runs a statement that only reads.
    pub(super) async fn read(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, sqlx::Error> {
        let mut tx = self.begin_with(BEGIN_READ).await?;
        let rows = rows(&mut tx, sql, values).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// The library hides an outage: it keeps trying to connect until the limit, without a sign.
    async fn begin_with(&self, sql: &'static str) -> Result<Transaction, sqlx::Error> {
        let mut beginning = pin!(self.connections.begin_with(sql));
        let begun = match tokio::time::timeout(SOON, &mut beginning).await {
            Ok(begun) => begun,
            Err(_elapsed) => {
                self.is_out_of_reach.store(true, Ordering::Relaxed);
                beginning.await
            }
        };
        self.is_out_of_reach.store(begun.is_err(), Ordering::Relaxed);
        begun
    }

    pub(super) async fn close(&self) {
        self.connections.close().await;
    }
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
        Exclusive::SignInFrom(subject, session) => {
            lock_one(tx, LOCK_SHARED, Class::Identity, subject.identity()).await?;
            lock_one(tx, LOCK, Class::User, subject.as_str()).await?;
            lock_session(tx, session).await
        }
        Exclusive::Logout { subject, session } => {
            if let Some(subject) = subject {
                lock_one(tx, LOCK, Class::User, subject.as_str()).await?;
            }
            lock_session(tx, session).await
        }
        Exclusive::MachineGrant(subject, client) => {
            lock_one(tx, LOCK_SHARED, Class::Identity, subject.identity()).await?;
            lock_one(tx, LOCK, Class::User, subject.as_str()).await?;
            lock_one(tx, LOCK_SHARED, Class::Client, client.as_str()).await
        }
        Exclusive::Client(client) => lock_one(tx, LOCK, Class::Client, client.as_str()).await,
        Exclusive::UsersOf(grants) => {
            let ids: Vec<&str> = grants.iter().map(GrantId::as_str).collect();
            let lock = sqlx::query(LOCK_USERS_OF).persistent(false).bind(Class::User as i32).bind(ids);
            lock.execute(&mut **tx).await.map(drop)
        }
        Exclusive::UserOf(token) => {
            let lock =
                sqlx::query(LOCK_USER_OF).persistent(false).bind(Class::User as i32).bind(token.as_bytes().as_slice());
            lock.execute(&mut **tx).await.map(drop)
        }
        Exclusive::Clients => lock_one(tx, LOCK, Class::Clients, "").await,
        Exclusive::SigningKeys => lock_one(tx, LOCK, Class::SigningKeys, "").await,
    }
}

async fn lock_session(tx: &mut Transaction, session: Option<&Sha256>) -> Result<(), sqlx::Error> {
    let Some(session) = session else { return Ok(()) };
    lock_one(tx, LOCK, Class::ProviderSession, &base64url(session.as_bytes())).await
}

async fn lock_one(tx: &mut Transaction, sql: &'static str, class: Class, key: &str) -> Result<(), sqlx::Error> {
    let lock = sqlx::query(sql).persistent(false).bind(class as i32).bind(key);
    lock.execute(&mut **tx).await.map(drop)
}

/// Runs a statement in a transaction and returns how many rows it changed.
pub(super) async fn execute(tx: &mut Transaction, sql: &'static str, values: &[Value<'_>]) -> Result<u64, sqlx::Error> {
    Ok(query(sql, values).execute(&mut **tx).await?.rows_affected())
}

/// The rows that a statement returns in a transaction.
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
