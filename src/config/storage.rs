//! `[storage]`: the database.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::problem::Mistake;
use super::reading::{Reading, Section};
use crate::secret::SecretText;

const EXAMPLE: &str = "write url = \"sqlite:/var/lib/portcullis/portcullis.db\"";

/// Where the database is.
#[derive(Debug, Clone)]
pub enum Storage {
    /// `sqlite:FILE`; a relative FILE begins at the configuration file's directory.
    Sqlite(PathBuf),
    /// A PostgreSQL server, for several replicas. The configuration file cannot select it yet.
    Postgres(Postgres),
}

/// A PostgreSQL database.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// `postgres://user:password@host/database`. Secret, because of the password.
    pub url: SecretText,
    /// The maximum number of connections of this process.
    pub connections: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    url: Option<String>,
}

/// Reads the section.
pub(super) fn read(section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Storage> {
    let written: Written = reading.shape(section)?;
    let file = written.url.as_deref().ok_or_else(|| Mistake::new("is missing").hint(EXAMPLE)).and_then(sqlite_file);
    let path = file.map(|file| reading.resolve(file)).and_then(|path| check(&path).map(|()| path));
    reading.keep(&section.at("url"), path).map(Storage::Sqlite)
}

/// The file of `sqlite:FILE` or `sqlite://FILE`.
fn sqlite_file(url: &str) -> Result<&str, Mistake> {
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        return Err(Mistake::new("PostgreSQL is not supported in this version").hint(EXAMPLE));
    }
    let file = url.strip_prefix("sqlite:").ok_or_else(|| Mistake::new("must begin with sqlite:").hint(EXAMPLE))?;
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
        assert_eq!(sqlite_file("postgres://u:p@h/d").unwrap_err().what, "PostgreSQL is not supported in this version");
    }
}
