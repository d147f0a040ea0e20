//! What can be known of a database without changing anything in it: for `portcullis check --online`.

use std::time::Duration;

use super::error::StoreError;
use super::migrations::{SQLITE, Schema, Upgrade};
use super::server::Server;
use super::{Store, postgres_schema, sqlite_inspection};
use crate::config::{Database, Storage};

/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(15);

sql! {
    /// Changes no row, and needs the right to: a standby, a read-only file and a user without the privilege refuse it.
    PROBE = "UPDATE grants SET ended_at = ended_at WHERE id = ''";
}

/// A database that `serve` can use.
#[derive(Debug)]
pub struct Inspection {
    /// Which one, in words.
    pub place: String,
    /// Its schema.
    pub schema: SchemaState,
    /// Whether a pooler gives each transaction another connection.
    pub pooled: bool,
}

/// A schema, against the one of this program.
#[derive(Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// There is none: the next start of `serve` makes it.
    Absent,
    /// The next start of `serve` applies these migrations.
    Older(Vec<&'static str>),
    /// It is the same.
    Current,
}

impl From<&Schema> for SchemaState {
    fn from(schema: &Schema) -> Self {
        match schema {
            absent if absent.is_absent() => Self::Absent,
            current if current.is_current() => Self::Current,
            older => Self::Older(older.missing()),
        }
    }
}

impl Store {
    /// Looks at a database: whether it can be reached and written, its schema, and whether there is a pooler.
    ///
    /// # Errors
    /// When `serve` would not start on it.
    pub async fn inspect(settings: &Storage) -> Result<Inspection, StoreError> {
        let upgrade = Upgrade::by_serve(settings.migrate);
        match &settings.database {
            Database::Sqlite(file) => {
                let place = file.display().to_string();
                let found = sqlite_inspection::examine(file, upgrade, PROBE).await;
                let schema = found.map_err(|message| StoreError::about(&place, message))?;
                let schema = SchemaState::from(&schema.unwrap_or_else(|| Schema::empty(SQLITE)));
                Ok(Inspection { place, schema, pooled: false })
            }
            Database::Postgres(settings) => {
                let server = Server::new(&settings.server);
                let found = tokio::time::timeout(PATIENCE, postgres_schema::examine(&server, settings, upgrade, PROBE));
                let (schema, pooled) =
                    found.await.unwrap_or_else(|_elapsed| Err(server.about("does not answer in time")))?;
                Ok(Inspection { place: server.place().to_owned(), schema: (&schema).into(), pooled })
            }
        }
    }
}
