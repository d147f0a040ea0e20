//! What can go wrong with the store, and what the operator can do about it.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use super::CALL_LIMIT;

/// A failure of the store. Never told to clients; the operator reads it in the log.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, opened or written now.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// Too many writes of its kind wait for the one writer: this one was not begun.
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
    /// An error about the file, in words.
    pub(super) fn about(file: &Path, words: impl Display) -> Self {
        Self::Unavailable(format!("{} {words}", file.display()))
    }

    /// A call that took too long.
    pub(super) fn stalled(file: &Path, limit: Duration) -> Self {
        let words = "the disk is stalled, or another program keeps it locked";
        Self::about(file, format_args!("did not answer within {limit:?}: {words}"))
    }
}

/// What fails inside a call, before it is told with the file's name.
#[derive(Debug)]
pub(super) enum Failure {
    /// The library or the engine.
    Sql(sqlx::Error),
    /// A row that is not ours.
    Store(StoreError),
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

impl Failure {
    /// The error for the operator.
    pub(super) fn of(self, file: &Path) -> StoreError {
        match self {
            Self::Sql(error) => explain(file, &error),
            Self::Store(error) => error,
        }
    }
}

/// Puts an error of the engine into words that name the file and, where there is one, the hint.
pub(super) fn explain(file: &Path, error: &sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(cause) => {
            let code = cause.code().and_then(|code| code.parse::<i64>().ok()).unwrap_or_default();
            // the low byte is the primary result code, the rest narrows it down
            StoreError::about(file, sqlite_words(code & 0xff, cause.message()))
        }
        sqlx::Error::PoolTimedOut => StoreError::stalled(file, CALL_LIMIT),
        sqlx::Error::PoolClosed => StoreError::about(file, "is closed: this process is ending"),
        other => StoreError::about(file, format_args!("cannot be used: {other}")),
    }
}

/// Words for SQLite's primary result codes.
fn sqlite_words(code: i64, message: &str) -> String {
    match code {
        3 | 8 | 23 => {
            "cannot be written: make the file, its directory and its disk writable for the user that runs this"
        }
        5 | 6 => {
            "is locked: another program is writing to it; stop that program (a backup should use sqlite3's .backup)"
        }
        10 => return format!("cannot be read or written: the disk answers with an error ({message})"),
        11 | 26 => "is damaged or no SQLite database: restore a backup, or name another file",
        13 => "cannot grow: the disk is full; free some space",
        14 => "cannot be opened: the file and its directory must belong to the user that runs this",
        _ => return format!("refused: {message}"),
    }
    .to_owned()
}
