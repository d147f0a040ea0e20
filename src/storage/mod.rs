//! The store. Every SQL text is a constant in this folder; rows become nouns here and nowhere else.
//!
//! One text serves both engines: `$1` parameters, `RETURNING`, `ON CONFLICT`, seconds as `BIGINT`, ids and JSON as `TEXT`. What
//! differs is in the files of the engines, and in their migrations.
//! Columns are always listed, never `*`: the next release may add one while this one runs.
//!
//! Each method is one read (a single statement) or one [`Store::write`], and a write is a transaction even when it is a
//! single statement: a failed commit is then an error of the call, not a side effect of resetting a statement. A write says
//! what it must decide about alone ([`exclusive::Exclusive`]).
//!
//! Defends against: SQL injection (texts are constants, values are bound).

#[macro_use]
mod sql;

mod account;
mod api_keys;
mod authorizations;
mod call_limit;
mod cancelled_sign_ins;
mod client_documents;
mod clients;
mod codes;
mod copy;
mod device_codes;
mod disabled_clients;
mod end_feed;
mod engine;
mod error;
mod exclusive;
mod expiry;
mod grant_ends;
mod grants;
mod identities;
mod inspection;
mod listed_clients;
mod listed_documents;
mod listed_grants;
mod machine_grants;
mod migrations;
mod nul;
mod pooler;
mod postgres;
mod postgres_schema;
mod postgres_words;
mod provider_logouts;
mod refresh_tokens;
mod remembered_consents;
mod row;
mod sealed;
mod server;
mod shared_tokens;
mod signing_keys;
mod single_use;
mod sqlite;
mod sqlite_inspection;
mod standing_checks;
mod value;
mod write_queue;

#[cfg(test)]
mod tests;

pub use account::NewAccountSession;
pub use api_keys::{FoundApiKey, ListedApiKey};
pub use clients::{ManagedClient, StoredClient};
pub use codes::{Abandoned, CodeIssue, NewCode, Redemption};
pub use copy::{CopiedTable, copy_to_postgres};
pub use device_codes::DeviceAnswer;
pub use end_feed::{Feed, FeedPosition};
pub use error::StoreError;
pub use expiry::Retention;
pub use grant_ends::{EndedGrant, GrantsOf};
pub use identities::StoredIdentity;
pub use inspection::{Inspection, SchemaState};
pub use listed_clients::{ClientUse, ListedClient};
pub use listed_documents::ListedDocument;
pub use listed_grants::{GrantFilter, GrantKind, ListedGrant};
pub use machine_grants::MachineGrant;
pub use refresh_tokens::{NewRefreshToken, Rotation};
pub use remembered_consents::CodeConsent;
pub use sealed::{SealedColumn, SealedValue};
pub use standing_checks::{CheckLease, Checked};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use self::call_limit::CALL_LIMIT;
use self::engine::{Engine, Transaction};
use self::error::Failure;
use self::exclusive::Exclusive;
use self::migrations::Upgrade;
use self::row::FromRow;
use self::value::Value;
use self::write_queue::{Priority, WriteQueue, WriteSlot};
use crate::config;
use crate::telemetry::metrics::{self, StoreCall};

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    engine: Engine,
    writes: WriteQueue,
    /// Lookups of registrations, one at a time: a flood of them leaves the other connections free.
    lookups: WriteQueue,
    /// Lookups of API keys, likewise.
    key_lookups: WriteQueue,
    limit: Duration,
    metrics: metrics::Store,
    // apart, because a disk that cannot be written is still read twice a second
    read_failed: AtomicBool,
    write_failed: AtomicBool,
}

impl Store {
    /// Opens the store, and brings its schema up to date unless that is left to `portcullis migrate`. At most `waiting_writes`
    /// writes of each kind that unauthenticated callers can cause may wait.
    ///
    /// # Errors
    /// When the database cannot be opened or written, or its schema is newer than this program; older, too, where this process
    /// may not change it.
    pub async fn open(
        settings: &config::Storage,
        waiting_writes: usize,
        metrics: metrics::Store,
    ) -> Result<Self, StoreError> {
        let upgrade = Upgrade::by_serve(settings.migrate);
        Self::open_with(settings, upgrade, waiting_writes, metrics).await
    }

    /// Opens a database for a command: nothing is made, and its schema stays as it is.
    ///
    /// # Errors
    /// Those of [`Self::open`], and when the schema is not there or older than this program.
    pub async fn open_existing(
        settings: &config::Storage,
        waiting_writes: usize,
        metrics: metrics::Store,
    ) -> Result<Self, StoreError> {
        Self::open_with(settings, Upgrade::NotByCommands, waiting_writes, metrics).await
    }

    async fn open_with(
        settings: &config::Storage,
        upgrade: Upgrade,
        waiting_writes: usize,
        metrics: metrics::Store,
    ) -> Result<Self, StoreError> {
        let (engine, applied) = Engine::open(settings, upgrade).await?;
        if !applied.is_empty() {
            tracing::info!(migrations = applied.join(" "), "the schema of the database is up to date");
        }
        Ok(Self(Arc::new(Inner {
            writes: WriteQueue::new(engine.writers(), waiting_writes),
            lookups: WriteQueue::new(1, waiting_writes),
            key_lookups: WriteQueue::new(1, waiting_writes),
            engine,
            limit: CALL_LIMIT,
            metrics,
            read_failed: AtomicBool::new(false),
            write_failed: AtomicBool::new(false),
        })))
    }

    /// Brings the schema of a database up to date, whatever the settings say, and returns the names of what was applied.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub async fn migrate(settings: &config::Storage) -> Result<Vec<&'static str>, StoreError> {
        let (engine, applied) = Engine::open(settings, Upgrade::Apply).await?;
        engine.close().await;
        Ok(applied)
    }

    /// Whether the last real call failed (the last read or the last write), or calls wait for a server that does not answer.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.0.engine.is_out_of_reach()
            || self.0.read_failed.load(Ordering::Relaxed)
            || self.0.write_failed.load(Ordering::Relaxed)
    }

    /// Waits for running writes, then closes.
    pub async fn close(&self) {
        self.0.engine.close().await;
    }

    /// The rows that a statement returns.
    async fn list<T: FromRow + Send>(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<T>, StoreError> {
        // boxed, here and below: otherwise the state of both engines would be part of every caller's future
        let rows = Box::pin(async { self.0.engine.read(sql, values).await?.iter().map(T::from_row).collect() });
        self.bounded(rows, self.0.limit, StoreCall::Read).await
    }

    /// The row that a statement returns, if any.
    async fn find<T: FromRow + Send>(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Option<T>, StoreError> {
        Ok(self.list(sql, values).await?.into_iter().next())
    }

    /// The result of a statement that returns a boolean.
    async fn holds(&self, sql: &'static str, values: &[Value<'_>]) -> Result<bool, StoreError> {
        Ok(self.find(sql, values).await?.unwrap_or_default())
    }

    /// Runs a write when its slot is free; the limit includes the wait. When this fails nothing happened, unless the time
    /// ran out during the commit itself.
    async fn write<T: Send>(
        &self,
        priority: Priority,
        exclusive: Exclusive<'_>,
        work: impl AsyncFnOnce(&mut Transaction) -> Result<T, Failure> + Send,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        // a wait that timed out is no sign of a failing disk: the write that has the slot shows that
        let slot = self.wait_for_slot(&self.0.writes, priority).await?;
        let write = Box::pin(async {
            let mut tx = self.0.engine.begin(exclusive).await?;
            let answer = work(&mut tx).await?;
            tx.end().await?;
            Ok(answer)
        });
        let written = self.bounded(write, self.0.limit.saturating_sub(began.elapsed()), StoreCall::Write).await;
        drop(slot);
        written
    }

    /// Waits for a slot, at most as long as a call may take.
    async fn wait_for_slot(&self, queue: &WriteQueue, priority: Priority) -> Result<WriteSlot, StoreError> {
        let slot = tokio::time::timeout(self.0.limit, queue.take(priority)).await.unwrap_or(Err(StoreError::Busy));
        if slot.is_err() {
            self.0.metrics.refused();
        }
        slot
    }

    /// Runs a single statement as a write and returns how many rows it changed.
    async fn execute(
        &self,
        priority: Priority,
        exclusive: Exclusive<'_>,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<u64, StoreError> {
        self.write(priority, exclusive, async |tx| tx.execute(sql, values).await).await
    }

    async fn bounded<T: Send>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
        limit: Duration,
        call: StoreCall,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let answer = match tokio::time::timeout(limit, work).await {
            Ok(answer) => answer.map_err(|failure| self.0.engine.explain(failure)),
            Err(_elapsed) => Err(self.0.engine.stalled(self.0.limit)),
        };
        let failed = match call {
            StoreCall::Read => &self.0.read_failed,
            StoreCall::Write => &self.0.write_failed,
        };
        failed.store(answer.is_err(), Ordering::Relaxed);
        self.0.metrics.called(call, answer.is_ok(), began.elapsed());
        answer
    }
}
