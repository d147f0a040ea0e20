//! The database behind a store, by hand: what this program never does to it.

use std::path::Path;

use portcullis::config::{Database, PostgresHost, PostgresServer, Storage};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

/// The file of a store on SQLite.
pub fn file(storage: &Storage) -> &Path {
    match &storage.database {
        Database::Sqlite(file) => file,
        Database::Postgres(_) => panic!("a store on PostgreSQL has no file"),
    }
}

/// A connection beside those of the store on SQLite.
pub async fn connect(storage: &Storage) -> SqliteConnection {
    SqliteConnection::connect(file(storage).to_str().unwrap()).await.unwrap()
}

/// The URL of a server, for connections beside those of the store.
pub fn url(server: &PostgresServer) -> String {
    let host = match &server.host {
        PostgresHost::Name(name) => name.clone(),
        PostgresHost::Socket(directory) => directory.to_str().unwrap().replace('/', "%2F"),
    };
    let password = server.password.as_ref().map_or("", |password| password.expose());
    format!("postgres://{}:{password}@{host}:{}/{}", server.user, server.port, server.database)
}

/// Runs statements that neither engine reads in another way.
pub async fn by_hand(storage: &Storage, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    match &storage.database {
        Database::Sqlite(_) => {
            let mut connection = connect(storage).await;
            connection.execute(sql).await.unwrap();
            connection.close().await.unwrap();
        }
        Database::Postgres(settings) => {
            let mut connection = PgConnection::connect(&url(&settings.server)).await.unwrap();
            connection.execute(sql).await.unwrap();
            connection.close().await.unwrap();
        }
    }
}

/// The number that a statement answers.
pub async fn number(storage: &Storage, sql: &str) -> i64 {
    let sql = AssertSqlSafe(sql.to_owned());
    match &storage.database {
        Database::Sqlite(_) => sqlx::query_scalar(sql).fetch_one(&mut connect(storage).await).await.unwrap(),
        Database::Postgres(settings) => {
            let mut connection = PgConnection::connect(&url(&settings.server)).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
        }
    }
}
