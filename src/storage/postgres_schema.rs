//! The start on a PostgreSQL server: is it one that this program can use, and is its schema current?
//!
//! The schema is read first and changed only if something is missing, so that a process needs no privilege to change it when
//! another one did, and no connection without a pooler.

use std::time::Duration;

use sqlx::postgres::{PgConnection, PgPoolOptions};
use sqlx::{Connection, PgTransaction};

use super::call_limit::CONNECT_LIMIT;
use super::error::StoreError;
use super::migrations::{self, POSTGRES, Schema};
use super::pooler;
use super::postgres::ServerPool;
use super::postgres_words::message;
use super::server::Server;
use crate::config;

/// How long other processes may take to bring the schema up to date.
const PATIENCE: Duration = Duration::from_mins(1);
/// The oldest server on which this program is tested.
const OLDEST_SERVER: i64 = 150_000;

sql! {
    SERVER = "SELECT current_setting('server_encoding'), current_setting('server_version_num')::BIGINT";

    HAS_SCHEMA = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL AND to_regclass('compatibility') IS NOT NULL";
}

/// Opens the database. Brings its schema up to date if `migrate`, and returns the names of what was applied.
pub(super) async fn open(
    settings: &config::Postgres,
    migrate: bool,
) -> Result<(ServerPool, Vec<&'static str>), StoreError> {
    let server = Server::new(&settings.server);
    let preparing = tokio::time::timeout(PATIENCE, prepare(&server, settings, migrate));
    let applied = preparing.await.unwrap_or_else(|_elapsed| {
        Err(server.about("has been locked for a minute by another process that prepares it: wait, or stop it"))
    })?;
    Ok((ServerPool::new(server, settings.connections), applied))
}

async fn prepare(server: &Server, settings: &config::Postgres, migrate: bool) -> Result<Vec<&'static str>, StoreError> {
    let schema = inspect(server).await?;
    let pooled = is_pooled(server).await?;
    if pooled {
        tracing::info!("{} is behind a pooler that shares connections among transactions", server.place());
    }
    if schema.is_current() {
        return Ok(Vec::new());
    }
    if !migrate {
        return Err(server.about(schema.outdated()));
    }
    match settings.direct.as_ref().map(Server::new) {
        Some(direct) if is_pooled(&direct).await? => return Err(direct.about(
            "is behind a pooler that shares connections among transactions: storage.direct_url must name the server itself",
        )),
        Some(direct) => run_missing(&direct).await?,
        None if pooled => return Err(server.about(
            "is behind a pooler that shares connections among transactions, through which its schema cannot be changed: \
             name the server itself in storage.direct_url",
        )),
        None => run_missing(server).await?,
    }
    if inspect(server).await?.is_current() {
        Ok(schema.missing())
    } else {
        Err(server.about("is another database than that of storage.direct_url, or another schema of it is in use"))
    }
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
