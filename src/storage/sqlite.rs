//! SQLite: the file, its connections, its schema.
//!
//! Defends against: other local users (mode 0600), and deleted secrets that stay in the file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{self, Path, PathBuf};
use std::time::Duration;

use sqlx::query::Query;
use sqlx::sqlite::{
    Sqlite, SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Connection, Executor, SqlitePool};

use super::call_limit::CALL_LIMIT;
use super::error::StoreError;
use super::migrations::{self, SQLITE, Schema, Upgrade};
use super::row::Row;
use super::value::Value;

/// How long another process may take to bring the schema up to date.
const MIGRATION_PATIENCE: Duration = Duration::from_mins(1);
/// How many may read at once; each is a thread.
const READERS: u32 = 4;

sql! {
    HAS_SCHEMA = "SELECT count(*) = 2 FROM sqlite_master WHERE type = 'table' AND name IN ('_sqlx_migrations', 'compatibility')";
}

/// A transaction on the writer.
pub(super) type Transaction = sqlx::Transaction<'static, Sqlite>;

/// The connections to one file. SQLite has one writer at a time anyway: here the others wait in a queue, not on a lock.
pub(super) struct Pools {
    file: PathBuf,
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
}

impl Pools {
    /// How errors name the database.
    pub(super) fn place(&self) -> path::Display<'_> {
        self.file.display()
    }

    /// Begins a transaction that holds the write lock from its first moment: one that had to ask for it later would fail
    /// at once when another process wrote in between.
    pub(super) async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// Runs a statement that only reads.
    pub(super) async fn read(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, sqlx::Error> {
        fetch(&self.readers, sql, values).await
    }

    pub(super) async fn close(&self) {
        // the writer last: closing the last connection folds the write-ahead log into the file
        self.readers.close().await;
        self.writer.close().await;
    }
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
    fetch(&mut **tx, sql, values).await
}

async fn fetch<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<Vec<Row>, sqlx::Error> {
    Ok(query(sql, values).fetch_all(executor).await?.into_iter().map(Row::Sqlite).collect())
}

fn query<'q>(sql: &'static str, values: &[Value<'_>]) -> Query<'q, Sqlite, SqliteArguments> {
    values.iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Text(text) => query.bind(text.as_deref()),
        Value::Integer(number) => query.bind(*number),
        Value::Boolean(truth) => query.bind(*truth),
        Value::Bytes(bytes) => query.bind(*bytes),
    })
}

/// Opens the file, which is made if it is not there, and returns the names of the migrations that were applied.
pub(super) async fn open(file: &Path, upgrade: Upgrade) -> Result<(Pools, Vec<&'static str>), StoreError> {
    let lock = lock_beside(file).await?;
    create(file)?;
    let explain = |error| StoreError::about(file.display(), message(&error));
    let writer = pool(1)
        .after_release(|connection, _| {
            Box::pin(async move {
                // Some failures (a full disk) make SQLite roll back by itself; the library does not notice, and would
                // refuse every later transaction of this connection. Its own rollback is over after the ping.
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
        .connect_with(options(file).journal_mode(SqliteJournalMode::Wal))
        .await
        .map_err(explain)?;
    let applied = prepare(&writer, upgrade).await.map_err(|message| StoreError::about(file.display(), message))?;
    drop(lock);
    warn_of_readers(file);
    let readers = pool(READERS).connect_with(options(file).pragma("query_only", "ON")).await.map_err(explain)?;
    Ok((Pools { file: file.to_owned(), writer, readers }, applied))
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(CALL_LIMIT)
        // a ping before each use would cost a change of threads, and a call that is cancelled in it the connection
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

/// `synchronous=NORMAL` does not wait for the disk at every commit. A process that dies, by whatever signal, loses nothing; a
/// power cut or a crash of the machine may lose the commits of the last moments (never part of one): users who signed in then
/// sign in again, and a refresh token that was exchanged then can be used once more.
pub(super) fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(true)
        .busy_timeout(CALL_LIMIT)
        // deleted data (names, addresses, sealed tokens) must not stay in unused parts of the file
        .pragma("secure_delete", "FAST")
}

/// Takes the lock under which one process at a time creates the file and its schema. The lock file is beside the database,
/// because closing any handle of the database itself would release SQLite's own locks.
async fn lock_beside(file: &Path) -> Result<File, StoreError> {
    let path = beside(file, ".lock");
    let lock = private().create(true).truncate(false).open(&path).map_err(|error| refused(file, &path, &error))?;
    let taken = tokio::time::timeout(MIGRATION_PATIENCE, async {
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(TryLockError::Error(error)) => return Err(refused(file, &path, &error)),
            }
        }
    });
    taken.await.unwrap_or_else(|_elapsed| {
        Err(StoreError::about(
            file.display(),
            "has been locked for a minute by another process that prepares it: wait, or stop it",
        ))
    })?;
    Ok(lock)
}

/// Makes the file for its owner alone; SQLite gives the files that it puts beside it the same mode. An existing file stays
/// unopened: see [`lock_beside`].
fn create(file: &Path) -> Result<(), StoreError> {
    match private().create_new(true).open(file) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(refused(file, file, &error)),
    }
}

/// What this program makes is for its owner alone; a file that was copied, restored or made by hand may not be.
fn warn_of_readers(file: &Path) {
    let open_to_others =
        |path: &PathBuf| std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0);
    let files = [file.to_owned(), beside(file, "-wal"), beside(file, "-shm")];
    let files: Vec<_> = files.into_iter().filter(open_to_others).map(|path| path.display().to_string()).collect();
    if !files.is_empty() {
        let files = files.join(" ");
        tracing::warn!(
            "other users of this machine can read or write the database, which holds users' names and sealed tokens: run \
             `chmod 600 {files}`"
        );
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn refused(file: &Path, path: &Path, error: &io::Error) -> StoreError {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let why = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            format!("{} is not a directory; make it first", directory.display())
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            format!("the user that runs this must be able to write in {}", directory.display())
        }
        _ => error.to_string(),
    };
    StoreError::about(file.display(), format_args!("cannot be opened: {} cannot be made: {why}", path.display()))
}

async fn prepare(writer: &SqlitePool, upgrade: Upgrade) -> Result<Vec<&'static str>, String> {
    let schema = inspect_with(writer).await?;
    if schema.is_current() {
        return Ok(Vec::new());
    }
    if upgrade != Upgrade::Apply {
        return Err(schema.refusal(upgrade));
    }
    migrations::migrator(SQLITE).run(writer).await.map_err(|error| migrations::message(error, message))?;
    inspect_with(writer).await?;
    Ok(schema.missing())
}

async fn inspect_with(pool: &SqlitePool) -> Result<Schema, String> {
    let mut connection = pool.acquire().await.map_err(|error| message(&error))?;
    inspect(&mut connection).await
}

/// Compares the schema with ours.
pub(super) async fn inspect(connection: &mut SqliteConnection) -> Result<Schema, String> {
    let said = |error: sqlx::Error| message(&error);
    let has_schema: bool = sqlx::query_scalar(HAS_SCHEMA).fetch_one(&mut *connection).await.map_err(said)?;
    if !has_schema {
        return Ok(Schema::empty(SQLITE));
    }
    let applied: Vec<(i64, Vec<u8>)> =
        sqlx::query_as(migrations::APPLIED).fetch_all(&mut *connection).await.map_err(said)?;
    let oldest: i64 = sqlx::query_scalar(migrations::OLDEST_PROGRAM).fetch_one(connection).await.map_err(said)?;
    Schema::read(SQLITE, &applied, oldest)
}

/// A call that took too long.
pub(super) fn stalled(limit: Duration) -> String {
    format!("did not answer within {limit:?}: the disk is stalled, or another program keeps it locked")
}

/// The message for an error, which follows the file's name, with a hint where there is one.
pub(super) fn message(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(cause) => {
            let code = cause.code().and_then(|code| code.parse::<i64>().ok()).unwrap_or_default();
            // the low byte is the primary result code, the rest narrows it down
            words_for(code & 0xff, cause.message())
        }
        sqlx::Error::PoolTimedOut => stalled(CALL_LIMIT),
        sqlx::Error::PoolClosed => "is closed: this process is ending".to_owned(),
        other => format!("cannot be used: {other}"),
    }
}

/// Messages for SQLite's primary result codes.
fn words_for(code: i64, message: &str) -> String {
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
