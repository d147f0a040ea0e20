//! The keys of `[storage]` that only a PostgreSQL server has.
//!
//! Defends against: a password in the file, a connection that anyone on the network can read or take over, and settings that
//! come in by the environment unnoticed.

use std::sync::Arc;

use super::database_url::{FoundUrl, WrittenUrl};
use super::needs::SecretFor;
use super::postgres::{Postgres, PostgresHost, PostgresServer, PostgresTls};
use super::problem::Mistake;
use super::reading::{Reading, Section, ValueRef};
use super::secret_source::SecretSource;
use crate::secret::SecretText;

/// More are no faster, and a server accepts 100 by default.
const MOST_CONNECTIONS: u32 = 500;

/// What the PostgreSQL library reads from the environment and cannot be told to leave alone.
const AMBIENT: [&str; 3] = ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"];

/// What is written of a server besides its URL.
pub(super) struct Written {
    pub(super) direct_url: Option<WrittenUrl>,
    pub(super) password: Option<SecretSource>,
    pub(super) tls: Option<String>,
    pub(super) ca_file: Option<String>,
    pub(super) connections: Option<u32>,
}

/// Reads the keys of a server.
pub(super) fn read(
    written: Written,
    url: &FoundUrl,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> Option<Postgres> {
    warn_of_variables(section, reading);
    let password = match written.password {
        Some(source) => reading.secret(&section.at("password"), SecretFor::Storage, &source).map(Some),
        None => Some(None),
    };
    let tls = tls(written.tls.as_deref(), written.ca_file, section, reading);
    let connections = connections(written.connections, section, reading);
    let known = password.clone().flatten();
    let direct = match written.direct_url {
        Some(url) => {
            let at = section.at("direct_url");
            url.find(&at, reading).and_then(|url| server(&url, &at, known.as_ref(), reading)).map(Some)
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
    if !url.is_postgres() {
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
