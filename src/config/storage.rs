//! `[storage]`: the database. `storage_server.rs` has the keys of a server.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::database_url::{FoundUrl, WrittenUrl};
use super::postgres::Postgres;
use super::problem::Mistake;
use super::reading::{Reading, Section};
use super::secret_source::SecretSource;
use super::storage_server;

const EXAMPLE: &str = "write url = \"sqlite:/var/lib/portcullis/portcullis.db\", or \"postgres://USER@HOST/DATABASE\"";
/// The keys that only a server has.
const OF_POSTGRES: [&str; 5] = ["password", "direct_url", "tls", "ca_file", "connections"];

/// The database, and who changes its schema.
#[derive(Debug, Clone)]
pub struct Storage {
    /// Where it is.
    pub database: Database,
    /// Whether a start brings the schema up to date. Otherwise `portcullis migrate` does, and a start with an old schema fails.
    pub migrate: bool,
}

/// Where the database is.
#[derive(Debug, Clone)]
pub enum Database {
    /// `sqlite:FILE`; a relative FILE begins at the configuration file's directory.
    Sqlite(PathBuf),
    /// A PostgreSQL server, for several replicas.
    Postgres(Box<Postgres>),
}

impl From<Database> for Storage {
    /// With the default: a start brings the schema up to date.
    fn from(database: Database) -> Self {
        Self { database, migrate: true }
    }
}

impl From<Postgres> for Storage {
    /// The same.
    fn from(server: Postgres) -> Self {
        Database::Postgres(Box::new(server)).into()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    url: Option<WrittenUrl>,
    direct_url: Option<WrittenUrl>,
    password: Option<SecretSource>,
    tls: Option<String>,
    ca_file: Option<String>,
    connections: Option<u32>,
    migrate: Option<bool>,
}

/// Reads the section. Without `stores` nothing is ever stored, so it may be missing: the value then names a file that no one
/// opens.
pub(super) fn read(stores: bool, section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Storage> {
    let written: Written = reading.shape(section)?;
    let Written { url, direct_url, password, tls, ca_file, connections, migrate } = written;
    let at = section.at("url");
    let Some(url) = url else {
        if !stores {
            return Some(Database::Sqlite(reading.resolve("portcullis.db")).into());
        }
        reading.error(&at, Mistake::new("is missing").hint(EXAMPLE));
        return None;
    };
    let url = url.find(&at, reading)?;
    let database = if url.is_postgres() {
        let server = storage_server::Written { direct_url, password, tls, ca_file, connections };
        Database::Postgres(Box::new(storage_server::read(server, &url, section, reading)?))
    } else {
        Database::Sqlite(sqlite(&url, section, reading)?)
    };
    Some(Storage { database, migrate: migrate.unwrap_or(true) })
}

fn sqlite(url: &FoundUrl, section: &Section<'_>, reading: &mut Reading<'_>) -> Option<PathBuf> {
    for key in OF_POSTGRES.into_iter().filter(|key| section.has(key)) {
        let mistake = Mistake::new("is for PostgreSQL, and url names a SQLite file");
        reading.error(&section.at(key), mistake.hint("leave it out, or write url = \"postgres://USER@HOST/DATABASE\""));
    }
    let path = sqlite_file(url.text.expose()).map(|file| reading.resolve(file));
    reading.keep(&section.at("url"), path.and_then(|path| check(&path).map(|()| path)))
}

/// The file of `sqlite:FILE` or `sqlite://FILE`.
fn sqlite_file(url: &str) -> Result<&str, Mistake> {
    let file = url
        .strip_prefix("sqlite:")
        .ok_or_else(|| Mistake::new("must begin with sqlite: or postgres:").hint(EXAMPLE))?;
    let file = file.strip_prefix("//").unwrap_or(file);
    if file.is_empty() || file.ends_with('/') {
        return Err(Mistake::new("names no file").hint(EXAMPLE));
    }
    if file.starts_with(":memory:") || file.contains('?') {
        return Err(Mistake::new("must be the name of a file, without parameters").hint(EXAMPLE));
    }
    Ok(file)
}

fn check(path: &Path) -> Result<(), Mistake> {
    if path.is_dir() {
        return Err(Mistake::new("is a directory").hint("name a file in it"));
    }
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() && !directory.is_dir() => {
            Err(Mistake::new("the directory of the database does not exist")
                .hint("create it for the user that runs Portcullis"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::sqlite_file;

    #[test]
    fn only_a_sqlite_file_is_accepted() {
        for (url, file) in [
            ("sqlite:portcullis.db", "portcullis.db"),
            ("sqlite:/var/x.db", "/var/x.db"),
            ("sqlite://x.db", "x.db"),
            ("sqlite:///var/x.db", "/var/x.db"),
        ] {
            assert_eq!(sqlite_file(url), Ok(file));
        }
        for url in [
            "",
            "portcullis.db",
            "sqlite:",
            "sqlite://",
            "sqlite:data/",
            "sqlite::memory:",
            "sqlite:x.db?mode=ro",
            "mysql://x",
        ] {
            assert!(sqlite_file(url).is_err(), "{url}");
        }
    }
}
