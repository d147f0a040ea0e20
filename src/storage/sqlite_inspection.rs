//! A SQLite file that is looked at without a change: to open it only if everything is there, and to tell what a start would meet.

use std::path::Path;

use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::call_limit::CALL_LIMIT;
use super::error::StoreError;
use super::migrations::{Schema, Upgrade};
use super::sqlite::{self, Pools, inspect, message, options};

/// Opens the file, and answers the names of the migrations that were applied. Unless its schema may be upgraded, nothing is made
/// before it is known that everything is there.
pub(super) async fn open(file: &Path, upgrade: Upgrade) -> Result<(Pools, Vec<&'static str>), StoreError> {
    if upgrade != Upgrade::Apply {
        require_current(file, upgrade).await.map_err(|message| StoreError::about(file.display(), message))?;
    }
    sqlite::open(file, upgrade).await
}

async fn require_current(file: &Path, upgrade: Upgrade) -> Result<(), String> {
    if matches!(file.try_exists(), Ok(false)) {
        return Err("does not exist: run `portcullis migrate`, which makes it".to_owned());
    }
    let mut connection = connect_to_read(file).await?;
    let schema = inspect(&mut connection).await;
    // it was read: how the connection ends changes nothing
    connection.close().await.ok();
    let schema = schema?;
    if schema.is_current() { Ok(()) } else { Err(schema.refusal(upgrade)) }
}

/// Opens a file that exists with a connection that cannot change it.
pub(super) async fn connect_to_read(file: &Path) -> Result<SqliteConnection, String> {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(false).busy_timeout(CALL_LIMIT);
    SqliteConnection::connect_with(&options.pragma("query_only", "ON")).await.map_err(|error| message(&error))
}

/// What is found in the file without changing anything; `None` when there is no file yet. `probe` is a statement that changes no
/// row, and needs the right to write.
pub(super) async fn examine(file: &Path, upgrade: Upgrade, probe: &'static str) -> Result<Option<Schema>, String> {
    if upgrade != Upgrade::Apply {
        require_current(file, upgrade).await?;
    }
    if matches!(file.try_exists(), Ok(false)) {
        return Ok(None);
    }
    let mut connection = connect_to_read(file).await?;
    let schema = inspect(&mut connection).await;
    connection.close().await.ok();
    let schema = schema?;
    if !schema.is_absent() {
        try_write(file, probe).await?;
    }
    Ok(Some(schema))
}

async fn try_write(file: &Path, sql: &'static str) -> Result<(), String> {
    let said = |error: sqlx::Error| message(&error);
    let mut connection = SqliteConnection::connect_with(&options(file)).await.map_err(said)?;
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(said)?;
    sqlx::query(sql).execute(&mut *tx).await.map_err(said)?;
    tx.rollback().await.map_err(said)?;
    connection.close().await.map_err(said)
}
