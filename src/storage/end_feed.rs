//! The feed of ended grants: what other processes ended, in the order of their commits.
//!
//! A trigger appends to the log in the transaction that ends a grant. A reader goes on behind the entry that it read last,
//! so that no clock decides what it sees; and it asks for that entry once more, so that it sees when the log has a gap.

use std::time::Duration;

use super::{Store, StoreError};
use crate::model::ids::GrantId;

/// How long an entry stays in the log. A reader that was away for longer finds a gap, and reads its grants again instead.
pub(super) const KEPT: Duration = Duration::from_hours(1);

sql! {
    FROM_POSITION = "SELECT sequence, grant_id FROM grant_ends WHERE sequence >= $1 ORDER BY sequence";

    NEWEST = "SELECT MAX(sequence) FROM grant_ends";

    IS_UNENDED = "SELECT EXISTS (SELECT 1 FROM grants WHERE id = $1 AND ended_at IS NULL)";

    /// The newest stays: without it a reader could not tell "nothing happened" from "everything is gone".
    pub(super) DELETE_OLD = "
        DELETE FROM grant_ends WHERE sequence IN (
            SELECT sequence FROM grant_ends
            WHERE ended_at <= $1 AND sequence < (SELECT MAX(sequence) FROM grant_ends) ORDER BY ended_at LIMIT $2)";
}

/// Where a reader of the feed stands: the entry that it read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedPosition(i64);

/// What the feed holds behind a position.
#[derive(Debug, PartialEq, Eq)]
pub enum Feed {
    /// Every grant that ended since, and the new position.
    Ended(Vec<GrantId>, FeedPosition),
    /// The position is not in the log any more: what ended since cannot be told.
    Gap,
}

impl Store {
    /// The position behind all that was committed until now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn newest_grant_end(&self) -> Result<FeedPosition, StoreError> {
        self.read(async {
            let newest: Option<i64> = sqlx::query_scalar(NEWEST).fetch_one(self.readers()).await?;
            Ok(FeedPosition(newest.unwrap_or_default()))
        })
        .await
    }

    /// The grants that ended behind a position, whoever ended them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn grants_ended_after(&self, position: FeedPosition) -> Result<Feed, StoreError> {
        self.read(async {
            let entries: Vec<(i64, String)> =
                sqlx::query_as(FROM_POSITION).bind(position.0).fetch_all(self.readers()).await?;
            let mut entries = entries.into_iter();
            if entries.next().is_none_or(|(sequence, _)| sequence != position.0) {
                return Ok(Feed::Gap);
            }
            let mut newest = position;
            let ended = entries.map(|(sequence, grant)| {
                newest = FeedPosition(sequence);
                GrantId::from(grant)
            });
            Ok(Feed::Ended(ended.collect(), newest))
        })
        .await
    }

    /// Whether a grant is there and nothing has ended it. Its own end by time is another matter.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_grant_unended(&self, id: &GrantId) -> Result<bool, StoreError> {
        self.read(async { Ok(sqlx::query_scalar(IS_UNENDED).bind(id.as_str()).fetch_one(self.readers()).await?) }).await
    }
}
