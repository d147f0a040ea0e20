//! The engines behind the store. Only this file and the files of the engines (`sqlite`, `postgres`, `row`) depend on the
//! engine: a statement is one text and its [`Value`]s, an answer is rows, a write is a [`Transaction`].

use std::fmt::Display;
use std::time::Duration;

use super::error::{Failure, StoreError};
use super::exclusive::Exclusive;
use super::migrations::Upgrade;
use super::row::{FromRow, Row};
use super::value::Value;
use super::{postgres, postgres_schema, postgres_words, sqlite, sqlite_inspection};
use crate::config::{Database, Storage};

/// The database that was opened.
pub(super) enum Engine {
    /// One file, one writer.
    Sqlite(sqlite::Pools),
    /// A server.
    Postgres(Box<postgres::ServerPool>),
}

impl Engine {
    /// Opens the database, and returns the names of the migrations that were applied.
    pub(super) async fn open(settings: &Storage, upgrade: Upgrade) -> Result<(Self, Vec<&'static str>), StoreError> {
        Ok(match &settings.database {
            Database::Sqlite(file) => {
                let (pools, applied) = sqlite_inspection::open(file, upgrade).await?;
                (Self::Sqlite(pools), applied)
            }
            Database::Postgres(server) => {
                let (pool, applied) = postgres_schema::open(server, upgrade).await?;
                (Self::Postgres(Box::new(pool)), applied)
            }
        })
    }

    /// How many writes may run at once.
    pub(super) const fn writers(&self) -> usize {
        match self {
            Self::Sqlite(_) => 1,
            Self::Postgres(pool) => pool.writers(),
        }
    }

    /// Begins a write that decides alone about `exclusive`.
    pub(super) async fn begin(&self, exclusive: Exclusive<'_>) -> Result<Transaction, Failure> {
        let running = match self {
            Self::Sqlite(pools) => Running::Sqlite(pools.begin().await?),
            Self::Postgres(pool) => Running::Postgres(pool.begin().await?),
        };
        let mut transaction = Transaction { running, outcome: Outcome::Commit };
        transaction.exclusive(exclusive).await?;
        Ok(transaction)
    }

    /// Runs a statement that only reads.
    pub(super) async fn read(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, Failure> {
        Ok(match self {
            Self::Sqlite(pools) => pools.read(sql, values).await?,
            Self::Postgres(pool) => pool.read(sql, values).await?,
        })
    }

    /// Whether calls wait for the database: a file is always there.
    pub(super) fn is_out_of_reach(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(pool) => pool.is_out_of_reach(),
        }
    }

    /// Waits for running writes, then closes.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pools) => pools.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }

    /// The operator's message for a failure: which database, what is wrong and, if there is one, the hint.
    pub(super) fn explain(&self, failure: Failure) -> StoreError {
        match failure {
            Failure::Store(error) => error,
            Failure::PassedOver => self.about("kept nothing of a transaction, because a statement of it had failed"),
            Failure::Sql(error) => self.about(match self {
                Self::Sqlite(_) => sqlite::message(&error),
                Self::Postgres(_) => postgres_words::message(&error),
            }),
        }
    }

    /// A call that took too long.
    pub(super) fn stalled(&self, limit: Duration) -> StoreError {
        self.about(match self {
            Self::Sqlite(_) => sqlite::stalled(limit),
            Self::Postgres(_) => postgres_words::stalled(limit),
        })
    }

    fn about(&self, message: impl Display) -> StoreError {
        match self {
            Self::Sqlite(pools) => StoreError::about(pools.place(), message),
            Self::Postgres(pool) => StoreError::about(pool.place(), message),
        }
    }
}

/// A write in progress. It is rolled back when it is dropped before its end.
pub(super) struct Transaction {
    running: Running,
    outcome: Outcome,
}

enum Running {
    Sqlite(sqlite::Transaction),
    Postgres(postgres::Transaction),
}

/// How a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Commit,
    /// It is rolled back on purpose, without a failure.
    Undo,
    /// A statement failed. A commit would silently keep nothing on PostgreSQL, and all but that statement on SQLite: neither
    /// is what the caller expects.
    Failed,
}

impl Transaction {
    /// Takes the lock for an exclusive decision until the end. Call it before any row is changed: see [`Exclusive`].
    pub(super) async fn exclusive(&mut self, exclusive: Exclusive<'_>) -> Result<(), Failure> {
        match &mut self.running {
            Running::Sqlite(_one_writer) => Ok(()),
            Running::Postgres(tx) => {
                let locked = postgres::lock(tx, exclusive).await;
                self.noted(locked)
            }
        }
    }

    /// Runs a statement and returns how many rows it changed.
    pub(super) async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, Failure> {
        let changed = match &mut self.running {
            Running::Sqlite(tx) => sqlite::execute(tx, sql, values).await,
            Running::Postgres(tx) => postgres::execute(tx, sql, values).await,
        };
        self.noted(changed)
    }

    /// The rows that a statement returns.
    pub(super) async fn all<T: FromRow>(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<T>, Failure> {
        let rows = match &mut self.running {
            Running::Sqlite(tx) => sqlite::rows(tx, sql, values).await,
            Running::Postgres(tx) => postgres::rows(tx, sql, values).await,
        };
        self.noted(rows)?.iter().map(T::from_row).collect()
    }

    /// The row that a statement returns, if any.
    pub(super) async fn optional<T: FromRow>(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Option<T>, Failure> {
        Ok(self.all(sql, values).await?.into_iter().next())
    }

    /// The one row that a statement always returns.
    pub(super) async fn one<T: FromRow>(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<T, Failure> {
        self.optional(sql, values).await?.ok_or(Failure::Sql(sqlx::Error::RowNotFound))
    }

    /// Rolls back at the end, without a failure.
    pub(super) fn undo(&mut self) {
        if self.outcome == Outcome::Commit {
            self.outcome = Outcome::Undo;
        }
    }

    /// Commits, or rolls back.
    ///
    /// # Errors
    /// When the commit fails, or when a statement had failed and the failure was passed over: then nothing was kept.
    pub(super) async fn end(self) -> Result<(), Failure> {
        let commits = self.outcome == Outcome::Commit;
        match self.running {
            Running::Sqlite(tx) if commits => tx.commit().await?,
            Running::Sqlite(tx) => tx.rollback().await?,
            Running::Postgres(tx) if commits => tx.commit().await?,
            Running::Postgres(tx) => tx.rollback().await?,
        }
        if self.outcome == Outcome::Failed { Err(Failure::PassedOver) } else { Ok(()) }
    }

    fn noted<T>(&mut self, answer: Result<T, sqlx::Error>) -> Result<T, Failure> {
        if answer.is_err() {
            self.outcome = Outcome::Failed;
        }
        Ok(answer?)
    }
}
