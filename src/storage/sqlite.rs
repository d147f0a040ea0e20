//! Opening SQLite: the file, its connections, its schema.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqlitePool};

use super::CALL_LIMIT;
use super::error::{StoreError, explain};

/// How long another process may take to bring the schema up to date.
const MIGRATION_PATIENCE: Duration = Duration::from_mins(1);
/// How many may read at once; each is a thread.
const READERS: u32 = 4;

sql! {
    OLDEST_PROGRAM = "SELECT oldest_program FROM compatibility";
}

/// The connections to one file. SQLite has one writer at a time anyway: here the others wait in line, not on a lock.
pub(super) struct Pools {
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
}

/// Opens the file, makes it if it is not there, and brings its schema up to date.
pub(super) async fn open(file: &Path) -> Result<Pools, StoreError> {
    let lock = lock_beside(file).await?;
    create(file)?;
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
        .map_err(|error| explain(file, &error))?;
    migrate(&writer, file).await?;
    drop(lock);
    warn_of_readers(file);
    let readers = pool(READERS)
        .connect_with(options(file).pragma("query_only", "ON"))
        .await
        .map_err(|error| explain(file, &error))?;
    Ok(Pools { writer, readers })
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

/// `synchronous=NORMAL` does not wait for the disk at every commit. A process that dies, by whatever signal, loses nothing;
/// a power cut or a crash of the machine may lose the commits of the last moments (never part of one): who signed in
/// then signs in again, and a refresh token that was exchanged then is good once more.
fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(true)
        .busy_timeout(CALL_LIMIT)
        // what is deleted (names, addresses, sealed tokens) shall not lie about in unused parts of the file
        .pragma("secure_delete", "FAST")
}

/// Takes the lock under which one process at a time makes the file and its schema. It lies beside the database, because
/// closing any handle of the database itself would let go of SQLite's own locks.
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
            file,
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
    StoreError::about(file, format_args!("cannot be opened: {} cannot be made: {why}", path.display()))
}

async fn migrate(writer: &SqlitePool, file: &Path) -> Result<(), StoreError> {
    let mut ours = sqlx::migrate!("migrations/sqlite");
    // what a later release added does not disturb this one; what it removed is judged below
    ours.set_ignore_missing(true);
    ours.run(writer).await.map_err(|error| migration_failed(file, error))?;
    let needed: i64 =
        sqlx::query_scalar(OLDEST_PROGRAM).fetch_one(writer).await.map_err(|error| explain(file, &error))?;
    let known = ours.iter().map(|migration| migration.version).max().unwrap_or_default();
    if needed > known {
        return Err(StoreError::about(
            file,
            format_args!(
                "has a newer schema than this program: it needs one that knows migration {needed}, this one ends at \
                 {known}; start the newer program, or restore a backup from before it"
            ),
        ));
    }
    Ok(())
}

fn migration_failed(file: &Path, error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => explain(file, &error),
        MigrateError::VersionMismatch(version) => StoreError::about(
            file,
            format_args!(
                "was made by another build: its migration {version} is not this program's; use that build, or a new file"
            ),
        ),
        other => StoreError::about(file, format_args!("cannot be brought up to date: {other}")),
    }
}
