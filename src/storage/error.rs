//! What can go wrong with the store, and what the operator can do about it.

use std::fmt::Display;

/// A failure of the store. Never told to clients; the operator reads it in the log.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, opened or written now, or is not what is needed.
    #[error("the database cannot be used: {0}")]
    Unavailable(String),
    /// Too many writes of this priority wait: this one was not begun.
    #[error("too many writes wait for the database (limits.waiting_writes): this one was not begun")]
    Busy,
    /// A row holds something that this program never wrote.
    #[error("the database is corrupt: {table}.{column}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
}

impl StoreError {
    /// The message for a database's failure.
    pub(super) fn about(place: impl Display, message: impl Display) -> Self {
        Self::Unavailable(format!("{place} {message}"))
    }
}

/// A failure inside a call, before the name of the database is added.
#[derive(Debug)]
pub(super) enum Failure {
    /// The library or the engine.
    Sql(sqlx::Error),
    /// A failure that has its message already.
    Store(StoreError),
    /// A statement failed and its transaction was committed all the same: a bug in this program.
    PassedOver,
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
