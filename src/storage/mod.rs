//! What is remembered. Every SQL text is a constant in this folder; rows become nouns here and nowhere else.
//!
//! One text serves every engine: `$1` parameters, `RETURNING`, `ON CONFLICT`, seconds as `BIGINT`, ids and JSON as `TEXT`.
//! Columns are always listed, never `*`: the next release may add one while this one runs.
//!
//! Each method is one [`Store::read`] or one [`Store::write`], and a write is a transaction even when it is a single
//! statement: a failure to commit is then an answer, not something that happens when a statement is reset.

#[macro_use]
mod sql;

mod authorizations;
mod clients;
mod codes;
mod end_feed;
mod error;
mod expiry;
mod grant_ends;
mod grants;
mod identities;
mod listing;
mod refresh_tokens;
mod rows;
mod sealed;
mod signing_keys;
mod sqlite;
mod turns;

#[cfg(test)]
mod tests;

pub use codes::{Abandoned, NewCode, Redemption};
pub use end_feed::{Feed, FeedPosition};
pub use error::StoreError;
pub use expiry::Retention;
pub use grant_ends::{EndedGrant, GrantsOf};
pub use identities::StoredIdentity;
pub use listing::{ClientUse, GrantFilter, ListedClient, ListedGrant};
pub use refresh_tokens::{NewRefreshToken, Rotation};
pub use sealed::{SealedColumn, SealedValue};

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments};
use tokio::time::Instant;

use self::error::Failure;
use self::turns::{Turn, Turns};
use crate::clock::Clock;
use crate::config;
use crate::telemetry::metrics::{self, StoreCall};

/// How long one call may take, waiting included. What is longer is rolled back.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// A transaction on the writer. If it is dropped before its commit, it is rolled back.
type Transaction = sqlx::Transaction<'static, Sqlite>;

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    file: PathBuf,
    pools: sqlite::Pools,
    turns: Turns,
    /// What registrations look up, one at a time: a flood of them leaves the other readers to everybody else.
    lookups: Turns,
    clock: Clock,
    limit: Duration,
    counted: metrics::Store,
    // apart, because a disk that cannot be written is still read twice a second
    read_failed: AtomicBool,
    write_failed: AtomicBool,
}

impl Store {
    /// Opens the store and brings its schema up to date. At most `waiting_writes` writes of each kind that strangers can cause
    /// may wait.
    ///
    /// # Errors
    /// When the place cannot be opened or written, or its schema is newer than this program.
    pub async fn open(
        settings: &config::Storage,
        waiting_writes: usize,
        clock: &Clock,
        counted: metrics::Store,
    ) -> Result<Self, StoreError> {
        let config::Storage::Sqlite(file) = settings;
        let pools = sqlite::open(file).await?;
        Ok(Self(Arc::new(Inner {
            file: file.clone(),
            pools,
            turns: Turns::new(waiting_writes),
            lookups: Turns::new(waiting_writes),
            clock: clock.clone(),
            limit: CALL_LIMIT,
            counted,
            read_failed: AtomicBool::new(false),
            write_failed: AtomicBool::new(false),
        })))
    }

    /// Whether the last real call failed: the last read or the last write.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.0.read_failed.load(Ordering::Relaxed) || self.0.write_failed.load(Ordering::Relaxed)
    }

    /// Waits for what is being written and closes.
    pub async fn close(&self) {
        // the writer last: closing the last connection folds the write-ahead log into the file
        self.0.pools.readers.close().await;
        self.0.pools.writer.close().await;
    }

    fn readers(&self) -> &SqlitePool {
        &self.0.pools.readers
    }

    /// Begins a transaction that holds the write lock from its first moment: one that had to ask for it later would fail
    /// at once when another process wrote in between.
    async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        self.0.pools.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// Runs a read, within the limit.
    async fn read<T: Send>(&self, work: impl Future<Output = Result<T, Failure>> + Send) -> Result<T, StoreError> {
        self.bounded(work, self.0.limit, StoreCall::Read).await
    }

    /// Runs a write when it is its turn, waiting included within the limit. `work` begins a transaction and commits it; when
    /// this fails nothing happened, unless the time ran out during the commit itself.
    async fn write<T: Send>(
        &self,
        turn: Turn,
        work: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        // a turn that never came says nothing about the disk: that shows in the write that has the turn
        let taken = tokio::time::timeout(self.0.limit, self.0.turns.take(turn)).await.or(Err(StoreError::Busy))??;
        let written = self.bounded(work, self.0.limit.saturating_sub(began.elapsed()), StoreCall::Write).await;
        drop(taken);
        written
    }

    /// Runs a single statement as a write and answers how many rows it changed.
    async fn execute(&self, turn: Turn, statement: Query<'_, Sqlite, SqliteArguments>) -> Result<u64, StoreError> {
        self.write(turn, async {
            let mut tx = self.begin().await?;
            let changed = statement.execute(&mut *tx).await?.rows_affected();
            tx.commit().await?;
            Ok(changed)
        })
        .await
    }

    async fn bounded<T: Send>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send,
        limit: Duration,
        call: StoreCall,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let answer = match tokio::time::timeout(limit, work).await {
            Ok(answer) => answer.map_err(|failure| failure.of(&self.0.file)),
            Err(_elapsed) => Err(StoreError::stalled(&self.0.file, self.0.limit)),
        };
        let failed = match call {
            StoreCall::Read => &self.0.read_failed,
            StoreCall::Write => &self.0.write_failed,
        };
        failed.store(answer.is_err(), Ordering::Relaxed);
        self.0.counted.called(call, answer.is_ok(), began.elapsed());
        answer
    }
}
