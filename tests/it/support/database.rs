//! The database behind a store, by hand: what this program never does to it.

use std::path::Path;

use portcullis::config::Storage;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

/// The file of a store on SQLite.
pub fn file(storage: &Storage) -> &Path {
    match storage {
        Storage::Sqlite(file) => file,
        Storage::Postgres(_) => panic!("a store on PostgreSQL has no file"),
    }
}

/// A connection beside those of the store on SQLite.
pub async fn connect(storage: &Storage) -> SqliteConnection {
    SqliteConnection::connect(file(storage).to_str().unwrap()).await.unwrap()
}

/// Runs statements that neither engine reads in another way.
pub async fn by_hand(storage: &Storage, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    match storage {
        Storage::Sqlite(_) => {
            let mut connection = connect(storage).await;
            connection.execute(sql).await.unwrap();
            connection.close().await.unwrap();
        }
        Storage::Postgres(settings) => {
            let mut connection = PgConnection::connect(settings.url.expose()).await.unwrap();
            connection.execute(sql).await.unwrap();
            connection.close().await.unwrap();
        }
    }
}

/// The number that a statement answers.
pub async fn number(storage: &Storage, sql: &str) -> i64 {
    let sql = AssertSqlSafe(sql.to_owned());
    match storage {
        Storage::Sqlite(_) => sqlx::query_scalar(sql).fetch_one(&mut connect(storage).await).await.unwrap(),
        Storage::Postgres(settings) => {
            let mut connection = PgConnection::connect(settings.url.expose()).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
        }
    }
}
