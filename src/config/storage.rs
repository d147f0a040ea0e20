//! `[storage]`: the database.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::postgres::{Postgres, PostgresHost, PostgresServer, PostgresTls};
use super::problem::{Location, Mistake};
use super::reading::{Reading, Section, ValueRef};
use super::secret_source::SecretSource;
use crate::secret::SecretText;

const EXAMPLE: &str = "write url = \"sqlite:/var/lib/portcullis/portcullis.db\", or \"postgres://USER@HOST/DATABASE\"";
/// More are no faster, and a server accepts 100 by default.
const MOST_CONNECTIONS: u32 = 500;

/// The keys that only a server has.
const OF_POSTGRES: [&str; 5] = ["password", "direct_url", "tls", "ca_file", "connections"];

/// What the PostgreSQL library reads from the environment and cannot be told to leave alone.
const AMBIENT: [&str; 3] = ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"];

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

/// A URL, or where to find one that contains a password.
#[derive(Deserialize)]
#[serde(untagged, expecting = "must be a URL in quotes, { file = \"…\" } or { env = \"…\" }")]
enum WrittenUrl {
    Text(String),
    Source(SecretSource),
}

/// A URL as it was found, and whether it may contain a password.
struct FoundUrl {
    text: SecretText,
    may_have_password: bool,
}

/// Reads the section.
pub(super) fn read(section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Storage> {
    let mut written: Written = reading.shape(section)?;
    let at = section.at("url");
    let Some(url) = written.url.take() else {
        reading.error(&at, Mistake::new("is missing").hint(EXAMPLE));
        return None;
    };
    let migrate = written.migrate.unwrap_or(true);
    let url = found(url, &at, reading)?;
    let database = if is_postgres(url.text.expose()) {
        Database::Postgres(Box::new(postgres(written, &url, section, reading)?))
    } else {
        Database::Sqlite(sqlite(&url, section, reading)?)
    };
    Some(Storage { database, migrate })
}

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres:") || url.starts_with("postgresql:")
}

fn found(url: WrittenUrl, at: &ValueRef, reading: &mut Reading<'_>) -> Option<FoundUrl> {
    match url {
        // a variable that overrides the file is no part of the file
        WrittenUrl::Text(text) => {
            Some(FoundUrl { text: text.into(), may_have_password: matches!(at.location, Location::Variable(_)) })
        }
        WrittenUrl::Source(source) => {
            let text = reading.secret(at, &source)?;
            Some(FoundUrl { text, may_have_password: true })
        }
    }
}

fn sqlite(url: &FoundUrl, section: &Section<'_>, reading: &mut Reading<'_>) -> Option<PathBuf> {
    for key in OF_POSTGRES.into_iter().filter(|key| section.has(key)) {
        let mistake = Mistake::new("is for PostgreSQL, and url names a SQLite file");
        reading.error(&section.at(key), mistake.hint("leave it out, or write url = \"postgres://USER@HOST/DATABASE\""));
    }
    let path = sqlite_file(url.text.expose()).map(|file| reading.resolve(file));
    reading.keep(&section.at("url"), path.and_then(|path| check(&path).map(|()| path)))
}

fn postgres(written: Written, url: &FoundUrl, section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Postgres> {
    warn_of_variables(section, reading);
    let password = match written.password {
        Some(source) => reading.secret(&section.at("password"), &source).map(Some),
        None => Some(None),
    };
    let tls = tls(written.tls.as_deref(), written.ca_file, section, reading);
    let connections = connections(written.connections, section, reading);
    let known = password.clone().flatten();
    let direct = match written.direct_url {
        Some(url) => {
            let at = section.at("direct_url");
            found(url, &at, reading).and_then(|url| server(&url, &at, known.as_ref(), reading)).map(Some)
        }
        None => Some(None),
    };
    let server = server(url, &section.at("url"), known.as_ref(), reading);
    password?;
    let (mut server, mut direct, tls) = (server?, direct?, tls?);
    for server in [Some(&mut server), direct.as_mut()].into_iter().flatten() {
        protect(server, tls.as_ref());
    }
    warn_of_exposure(&server, &section.at(if section.has("tls") { "tls" } else { "url" }), reading);
    Some(Postgres { server, direct, connections: connections? })
}

fn warn_of_variables(section: &Section<'_>, reading: &mut Reading<'_>) {
    for name in AMBIENT {
        if reading.variable(name).is_some() {
            let mistake = Mistake::new(format!("the variable {name} of the environment changes every connection"));
            reading.warn(&section.at("url"), mistake.hint("unset it, unless that is intended"));
        }
    }
}

/// The server that a URL names. The password stands in the URL or in `password`, in the file itself in neither.
fn server(
    url: &FoundUrl,
    at: &ValueRef,
    password: Option<&SecretText>,
    reading: &mut Reading<'_>,
) -> Option<PostgresServer> {
    if !is_postgres(url.text.expose()) {
        reading.error(at, Mistake::new("must begin with postgres:"));
        return None;
    }
    let mut server = reading.keep(at, PostgresServer::parse(url.text.expose()))?;
    if server.password.is_some() && !url.may_have_password {
        let mistake = Mistake::new("contains a password: secrets are not allowed in this file");
        let hint =
            "leave it out of the URL, and write password = { file = \"/run/secrets/NAME\" } or { env = \"NAME\" }";
        reading.error(at, mistake.hint(hint));
        return None;
    }
    if server.password.is_none() {
        server.password = password.cloned();
    }
    Some(server)
}

/// `None` inside is the default. `verify-ca` is missing on purpose: the library always adds the public authorities, each of
/// which certifies any name that its customer owns, so without the name nothing would be verified.
#[expect(clippy::option_option, reason = "the outer one is a mistake that was reported")]
fn tls(
    written: Option<&str>,
    ca_file: Option<String>,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> Option<Option<PostgresTls>> {
    let at = section.at("tls");
    let path = ca_file.as_deref().map(|path| reading.resolve(path));
    let is_usable = ca_file.is_none() || reading.ca_file(section, ca_file).is_some();
    let pem: Option<Arc<[u8]>> = path.and_then(|path| std::fs::read(path).ok()).map(Into::into);
    let form = "\"verify-full\" (the default, unless the server is on this machine), \"require\" or \"disable\"";
    let tls = match written {
        None if pem.is_some() => Ok(Some(PostgresTls::VerifyFull(pem.clone()))),
        None => Ok(None),
        Some("verify-full") => Ok(Some(PostgresTls::VerifyFull(pem.clone()))),
        Some("require") => Ok(Some(PostgresTls::Require)),
        Some("disable") => Ok(Some(PostgresTls::Disable)),
        Some("verify-ca") => {
            Err(Mistake::new("\"verify-ca\" is not supported: every public authority would be trusted for every name")
                .hint("write \"verify-full\", and in url a name that the server's certificate has"))
        }
        Some("prefer" | "allow") => {
            Err(Mistake::new("must say whether the connection is encrypted: \"prefer\" lets others decide").hint(form))
        }
        Some(_) => Err(Mistake::new("is not known").hint(form)),
    };
    if matches!(tls, Ok(Some(PostgresTls::Require | PostgresTls::Disable))) && pem.is_some() {
        let mistake = Mistake::new("is not used, because tls does not verify the server");
        reading.error(&section.at("ca_file"), mistake.hint("write tls = \"verify-full\", or leave it out"));
    }
    reading.keep(&at, tls).filter(|_| is_usable)
}

/// A socket of this machine has no TLS, and needs none.
fn protect(server: &mut PostgresServer, tls: Option<&PostgresTls>) {
    if let (PostgresHost::Name(_), Some(tls)) = (&server.host, tls) {
        server.tls = tls.clone();
    }
}

fn warn_of_exposure(server: &PostgresServer, at: &ValueRef, reading: &mut Reading<'_>) {
    if server.host.is_here() {
        return;
    }
    let what = match server.tls {
        PostgresTls::Disable => "the network between here and the database can read and change what is stored",
        PostgresTls::Require => "an attacker on the network can pose as the database",
        PostgresTls::VerifyFull(_) => return,
    };
    let hint = "write tls = \"verify-full\", and ca_file = \"…\" for an authority of your own";
    reading.warn(at, Mistake::new(what).hint(hint));
}

fn connections(written: Option<u32>, section: &Section<'_>, reading: &mut Reading<'_>) -> Option<u32> {
    let connections = written.unwrap_or(Postgres::CONNECTIONS);
    let checked = if (2..=MOST_CONNECTIONS).contains(&connections) {
        Ok(connections)
    } else {
        Err(Mistake::new(format!("must be from 2 to {MOST_CONNECTIONS}"))
            .hint("the connections of all replicas together must be fewer than the server's max_connections"))
    };
    reading.keep(&section.at("connections"), checked)
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
