//! The feed of ended grants: what other processes ended, in the order of their commits.
//!
//! A trigger appends to the log in the transaction that ends a grant, so no statement can end one silently. A reader continues
//! after the entry that it read last and asks for that entry once more, so that it notices a gap. No clock decides what a reader
//! sees: the processes may differ in theirs, and an entry's `ended_at` (from the `Clock` of the process that ended the grant)
//! only serves the deletion of old entries.
//!
//! This needs numbers in the order of the commits. SQLite has one writer. PostgreSQL's trigger is deferred to the commit, and
//! takes a lock before it draws the number, so that a smaller number is never committed after a larger one could be read.

use std::time::Duration;

use super::error::Failure;
use super::row::{FromRow, Row};
use super::value::values;
use super::{Store, StoreError};
use crate::model::ids::GrantId;

/// How long an entry stays in the log. A reader that was away for longer finds a gap, and reads its grants again instead.
pub(super) const KEPT: Duration = Duration::from_hours(1);

sql! {
    FROM_POSITION = "SELECT sequence, grant_id FROM grant_ends WHERE sequence >= $1 ORDER BY sequence";

    NEWEST = "SELECT MAX(sequence) FROM grant_ends";

    IS_UNENDED = "SELECT EXISTS (SELECT 1 FROM grants WHERE id = $1 AND ended_at IS NULL)";

    /// The newest entry stays: without it a reader could not tell "nothing happened" from "everything is gone".
    pub(super) DELETE_OLD = "
        DELETE FROM grant_ends WHERE sequence IN (
            SELECT sequence FROM grant_ends
            WHERE ended_at <= $1 AND sequence < (SELECT MAX(sequence) FROM grant_ends) ORDER BY ended_at LIMIT $2)";
}

/// A reader's position in the feed: the entry that it read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedPosition(i64);

/// What the feed holds after a position.
#[derive(Debug, PartialEq, Eq)]
pub enum Feed {
    /// Every grant that ended since, and the new position.
    Ended(Vec<GrantId>, FeedPosition),
    /// The position is no longer in the log: the reader may have missed ends.
    Gap,
}

struct Entry {
    sequence: i64,
    grant: GrantId,
}

impl FromRow for Entry {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("grant_ends");
        Ok(Self { sequence: row.get("sequence")?, grant: GrantId::from(row.text("grant_id")?) })
    }
}

impl Store {
    /// The position after all that was committed until now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn newest_grant_end(&self) -> Result<FeedPosition, StoreError> {
        let newest: Option<Option<i64>> = self.find(NEWEST, values![]).await?;
        Ok(FeedPosition(newest.flatten().unwrap_or_default()))
    }

    /// The grants that ended after a position, in this process or another.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn grants_ended_after(&self, position: FeedPosition) -> Result<Feed, StoreError> {
        let entries: Vec<Entry> = self.list(FROM_POSITION, values![position.0]).await?;
        let mut entries = entries.into_iter();
        if entries.next().is_none_or(|entry| entry.sequence != position.0) {
            return Ok(Feed::Gap);
        }
        let mut newest = position;
        let ended = entries.map(|entry| {
            newest = FeedPosition(entry.sequence);
            entry.grant
        });
        Ok(Feed::Ended(ended.collect(), newest))
    }

    /// Whether a grant exists and has not been ended. Its expiry is not considered.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_grant_unended(&self, id: &GrantId) -> Result<bool, StoreError> {
        self.holds(IS_UNENDED, values![id.as_str()]).await
    }
}
