//! The start on a PostgreSQL server: is it one that this program can use, and is its schema current?
//!
//! The schema is read first and changed only if something is missing, so that a process needs no privilege to change it when
//! another one did, and no connection without a pooler.

use std::time::Duration;

use sqlx::postgres::{PgConnection, PgPoolOptions};
use sqlx::{Connection, PgTransaction};

use super::call_limit::CONNECT_LIMIT;
use super::error::StoreError;
use super::migrations::{self, POSTGRES, Schema, Upgrade};
use super::pooler;
use super::postgres::{BEGIN, ServerPool};
use super::postgres_words::message;
use super::server::Server;
use crate::config;

/// How long other processes may take to bring the schema up to date.
const PATIENCE: Duration = Duration::from_mins(1);
/// The oldest server on which this program is tested.
const OLDEST_SERVER: i64 = 150_000;

sql! {
    SERVER = "SELECT current_setting('server_encoding'), current_setting('server_version_num')::BIGINT";

    MAY_CREATE = "SELECT COALESCE(has_schema_privilege(current_schema(), 'CREATE'), FALSE)";

    HAS_SCHEMA = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL AND to_regclass('compatibility') IS NOT NULL";
}

/// Opens the database, and returns the names of the migrations that were applied.
pub(super) async fn open(
    settings: &config::Postgres,
    upgrade: Upgrade,
) -> Result<(ServerPool, Vec<&'static str>), StoreError> {
    let server = Server::new(&settings.server);
    let preparing = tokio::time::timeout(PATIENCE, prepare(&server, settings, upgrade));
    let applied = preparing.await.unwrap_or_else(|_elapsed| {
        Err(server.about("has been locked for a minute by another process that prepares it: wait, or stop it"))
    })?;
    Ok((ServerPool::new(server, settings.connections), applied))
}

async fn prepare(
    server: &Server,
    settings: &config::Postgres,
    upgrade: Upgrade,
) -> Result<Vec<&'static str>, StoreError> {
    let schema = inspect(server).await?;
    let pooled = is_pooled(server).await?;
    if pooled {
        tracing::info!("{} is behind a pooler that shares connections among transactions", server.place());
    }
    if schema.is_current() {
        return Ok(Vec::new());
    }
    if upgrade != Upgrade::Apply {
        return Err(server.about(schema.refusal(upgrade)));
    }
    match direct(server, settings, pooled).await? {
        Some(direct) => run_missing(&direct).await?,
        None => run_missing(server).await?,
    }
    if inspect(server).await?.is_current() {
        Ok(schema.missing())
    } else {
        Err(server.about("is another database than that of storage.direct_url, or another schema of it is in use"))
    }
}

/// The server that changes the schema, where it is another than the one that is asked everything else: without a pooler.
async fn direct(server: &Server, settings: &config::Postgres, pooled: bool) -> Result<Option<Server>, StoreError> {
    match settings.direct.as_ref().map(Server::new) {
        Some(direct) if is_pooled(&direct).await? => Err(direct.about(
            "is behind a pooler that shares connections among transactions: storage.direct_url must name the server itself",
        )),
        None if pooled => Err(server.about(
            "is behind a pooler that shares connections among transactions, through which its schema cannot be changed: \
             name the server itself in storage.direct_url",
        )),
        direct => Ok(direct),
    }
}

/// What is found without changing anything: the schema, and whether a pooler stands before the server. `probe` is a statement
/// that changes no row, and needs the right to write.
///
/// # Errors
/// When a start would fail.
pub(super) async fn examine(
    server: &Server,
    settings: &config::Postgres,
    upgrade: Upgrade,
    probe: &'static str,
) -> Result<(Schema, bool), StoreError> {
    let (schema, pooled) = (inspect(server).await?, is_pooled(server).await?);
    if !schema.is_absent() {
        try_write(server, probe).await?;
    }
    if !schema.is_current() {
        if upgrade != Upgrade::Apply {
            return Err(server.about(schema.refusal(upgrade)));
        }
        let direct = direct(server, settings, pooled).await?;
        require_creator(direct.as_ref().unwrap_or(server)).await?;
    }
    Ok((schema, pooled))
}

async fn try_write(server: &Server, probe: &'static str) -> Result<(), StoreError> {
    let mut connection = server.connect().await?;
    let tried = async {
        let mut tx = connection.begin_with(BEGIN).await?;
        sqlx::query(probe).persistent(false).execute(&mut *tx).await?;
        tx.rollback().await
    };
    tried.await.map_err(|error| server.explain(&error))
}

async fn require_creator(server: &Server) -> Result<(), StoreError> {
    let mut connection = server.connect().await?;
    let asked = async {
        let mut tx = connection.begin_with(BEGIN).await?;
        let may: bool = sqlx::query_scalar(MAY_CREATE).persistent(false).fetch_one(&mut *tx).await?;
        tx.rollback().await?;
        Ok(may)
    };
    let may = asked.await.map_err(|error: sqlx::Error| server.explain(&error))?;
    if may {
        return Ok(());
    }
    Err(server.about(
        "lacks tables that this user may not make: run `portcullis migrate` as one that may, or GRANT CREATE ON SCHEMA",
    ))
}

/// Refuses what this program cannot use, and compares the schema with ours.
async fn inspect(server: &Server) -> Result<Schema, StoreError> {
    let mut connection = server.connect().await?;
    let found = read(&mut connection).await;
    // it was read: how the connection ends changes nothing
    connection.close().await.ok();
    found.map_err(|error| server.explain(&error))?.map_err(|message| server.about(message))
}

async fn read(connection: &mut PgConnection) -> Result<Result<Schema, String>, sqlx::Error> {
    let mut tx = connection.begin().await?;
    let (encoding, version): (String, i64) = sqlx::query_as(SERVER).persistent(false).fetch_one(&mut *tx).await?;
    if let Err(message) = usable(&encoding, version) {
        return Ok(Err(message));
    }
    let has_schema: bool = sqlx::query_scalar(HAS_SCHEMA).persistent(false).fetch_one(&mut *tx).await?;
    let schema = if has_schema { read_tables(&mut tx).await? } else { Ok(Schema::empty(POSTGRES)) };
    tx.commit().await?;
    Ok(schema)
}

async fn read_tables(tx: &mut PgTransaction<'_>) -> Result<Result<Schema, String>, sqlx::Error> {
    let applied: Vec<(i64, Vec<u8>)> =
        sqlx::query_as(migrations::APPLIED).persistent(false).fetch_all(&mut **tx).await?;
    let oldest: i64 = sqlx::query_scalar(migrations::OLDEST_PROGRAM).persistent(false).fetch_one(&mut **tx).await?;
    Ok(Schema::read(POSTGRES, &applied, oldest))
}

fn usable(encoding: &str, version: i64) -> Result<(), String> {
    if encoding != "UTF8" {
        return Err(format!("cannot hold every name: its encoding is {encoding}; make one with ENCODING 'UTF8'"));
    }
    if version < OLDEST_SERVER {
        return Err(format!("is of PostgreSQL {}: this program needs 15 or newer", version / 10_000));
    }
    Ok(())
}

async fn is_pooled(server: &Server) -> Result<bool, StoreError> {
    let (mut one, mut other) = (server.connect().await?, server.connect().await?);
    let shared = pooler::shares_connections(&mut one, &mut other).await;
    // neither is closed in order, because one may still wait for the other
    drop((one, other));
    shared.map_err(|error| server.explain(&error))
}

/// The library takes one connection for all migrations, and holds a lock of its session meanwhile.
async fn run_missing(server: &Server) -> Result<(), StoreError> {
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT_LIMIT);
    let pool = pool.connect_lazy_with(server.options().clone());
    let ran = migrations::migrator(POSTGRES).run(&pool).await;
    pool.close().await;
    ran.map_err(|error| server.about(migrations::message(error, message)))
}

#[cfg(test)]
mod tests {
    use super::usable;

    #[test]
    fn a_server_that_is_too_old_and_a_database_of_another_encoding_are_refused() {
        assert_eq!(usable("UTF8", 150_018), Ok(()));
        assert_eq!(usable("UTF8", 149_999).unwrap_err(), "is of PostgreSQL 14: this program needs 15 or newer");
        assert!(usable("SQL_ASCII", 150_018).unwrap_err().ends_with("make one with ENCODING 'UTF8'"));
    }
}
