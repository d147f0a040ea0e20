//! The PostgreSQL server of `[storage]`: its URL, and how the connection is protected.
//!
//! Defends against: passwords in the configuration file, and a server in the middle: the default is TLS with a verified name,
//! unless the server is on this machine.

use std::path::PathBuf;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::problem::Mistake;
use crate::secret::SecretText;

const EXAMPLE: &str = "write url = \"postgres://USER@HOST:5432/DATABASE\"";
const DEFAULT_PORT: u16 = 5432;

/// A PostgreSQL database.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// The server, or a pooler in front of it.
    pub server: PostgresServer,
    /// The server itself, where a pooler that shares connections among transactions stands in front of it.
    pub direct: Option<PostgresServer>,
    /// The maximum number of connections of this process.
    pub connections: u32,
}

impl Postgres {
    /// How many connections a process opens unless it is configured.
    pub const CONNECTIONS: u32 = 16;

    /// A server without a pooler in front of it.
    #[must_use]
    pub const fn at(server: PostgresServer) -> Self {
        Self { server, direct: None, connections: Self::CONNECTIONS }
    }
}

/// How a server is reached, and as whom.
#[derive(Debug, Clone)]
pub struct PostgresServer {
    /// Where it listens.
    pub host: PostgresHost,
    /// The port; part of the name of a socket, too.
    pub port: u16,
    /// Who we are there.
    pub user: String,
    /// The password, for servers that ask for one.
    pub password: Option<SecretText>,
    /// The database.
    pub database: String,
    /// How the connection is protected. A socket of this machine needs no protection.
    pub tls: PostgresTls,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostgresHost {
    /// A name or an address; an IPv6 address without brackets.
    Name(String),
    /// The directory of a Unix socket.
    Socket(PathBuf),
}

/// How the connection to a server is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostgresTls {
    /// Not at all.
    Disable,
    /// Encrypted; who answers is not checked.
    Require,
    /// Encrypted; the server must have a certificate for its name, from a public authority or from one of these (PEM).
    VerifyFull(Option<Arc<[u8]>>),
}

impl PostgresServer {
    /// Parses `postgres://user:password@host:port/database`. A socket is its directory, percent-encoded, in place of
    /// the host. TLS is off on this machine and verified elsewhere.
    ///
    /// # Errors
    /// What is wrong; the URL is not repeated, because it may contain a password.
    pub(super) fn parse(text: &str) -> Result<Self, Mistake> {
        let url = Url::parse(text).map_err(|_quotes_it| Mistake::new("is not a URL").hint(EXAMPLE))?;
        let host = host(&url)?;
        let decoded = |part: &str, what: &'static str| {
            let decoded = percent_decode_str(part).decode_utf8();
            let text = decoded.map_err(|_bytes| Mistake::new(format!("{what} is not UTF-8 text")))?;
            // the protocol ends texts with NUL
            if text.contains('\0') { Err(Mistake::new(format!("{what} contains NUL"))) } else { Ok(text.into_owned()) }
        };
        let user = decoded(url.username(), "the user")?;
        let password = url.password().map(|password| decoded(password, "the password")).transpose()?;
        let database = decoded(url.path().trim_start_matches('/'), "the database's name")?;
        if user.is_empty() {
            return Err(Mistake::new("names no user").hint(EXAMPLE));
        }
        if database.is_empty() || database.contains('/') {
            return Err(Mistake::new("names no database").hint(EXAMPLE));
        }
        let tls = if host.is_here() { PostgresTls::Disable } else { PostgresTls::VerifyFull(None) };
        let password = password.filter(|password| !password.is_empty()).map(SecretText::from);
        Ok(Self { host, port: url.port().unwrap_or(DEFAULT_PORT), user, password, database, tls })
    }
}

impl std::str::FromStr for PostgresServer {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        Self::parse(url).map_err(|mistake| mistake.what.into_owned())
    }
}

impl PostgresHost {
    /// Whether the server is on this machine.
    pub(super) fn is_here(&self) -> bool {
        match self {
            Self::Socket(_) => true,
            Self::Name(name) if name == "localhost" => true,
            Self::Name(name) => name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback()),
        }
    }
}

/// The host. Parameters are refused: what they say has a setting of its own, or none.
fn host(url: &Url) -> Result<PostgresHost, Mistake> {
    if let Some((name, _)) = url.query_pairs().next() {
        return Err(if name.starts_with("ssl") {
            Mistake::new("must not say how the connection is protected")
                .hint("leave out sslmode and sslrootcert: write tls = \"…\" and ca_file = \"…\"")
        } else {
            Mistake::new("has parameters, which are not supported").hint("leave out everything from \"?\" on")
        });
    }
    if url.fragment().is_some() {
        return Err(Mistake::new("has a fragment").hint("write \"#\" in a user, password or database as %23"));
    }
    let name = match url.host() {
        None => String::new(),
        // the parser keeps the hosts of this scheme as they are written
        Some(Host::Domain(name)) => percent_decode_str(name).decode_utf8_lossy().into_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
    };
    match name {
        name if name.is_empty() => Err(Mistake::new("names no host").hint(EXAMPLE)),
        name if name.contains(',') => {
            Err(Mistake::new("names several hosts").hint("name one: the primary, or what leads to it"))
        }
        name if name.starts_with('/') => Ok(PostgresHost::Socket(name.into())),
        name => Ok(PostgresHost::Name(name.to_ascii_lowercase())),
    }
}

#[cfg(test)]
mod tests {
    use super::{PostgresHost, PostgresServer, PostgresTls};

    #[test]
    fn a_url_names_host_port_user_password_and_database() {
        for (url, host, port, tls) in [
            ("postgres://u:p%40ss@db.internal/d", "db.internal", 5432, PostgresTls::VerifyFull(None)),
            ("postgresql://u:p%40ss@DB:6432/d", "db", 6432, PostgresTls::VerifyFull(None)),
            ("postgres://u:p%40ss@10.0.0.1/d", "10.0.0.1", 5432, PostgresTls::VerifyFull(None)),
            ("postgres://u:p%40ss@[fd00::1]:1/d", "fd00::1", 1, PostgresTls::VerifyFull(None)),
            ("postgres://u:p%40ss@127.0.0.1/d", "127.0.0.1", 5432, PostgresTls::Disable),
            ("postgres://u:p%40ss@[::1]/d", "::1", 5432, PostgresTls::Disable),
            ("postgres://u:p%40ss@localhost/d", "localhost", 5432, PostgresTls::Disable),
            ("postgres://u:p%40ss@localhost.example/d", "localhost.example", 5432, PostgresTls::VerifyFull(None)),
        ] {
            let server = PostgresServer::parse(url).unwrap();
            assert_eq!(server.host, PostgresHost::Name(host.to_owned()), "{url}");
            assert_eq!((server.port, server.user.as_str(), server.database.as_str()), (port, "u", "d"), "{url}");
            assert_eq!(server.password.unwrap().expose(), "p@ss", "{url}");
            assert_eq!(server.tls, tls, "{url}");
        }
    }

    #[test]
    fn a_socket_is_named_by_its_directory() {
        let server = PostgresServer::parse("postgres://u@%2Frun%2FPG:5433/d").unwrap();
        assert_eq!((server.host, server.port), (PostgresHost::Socket("/run/PG".into()), 5433));
        assert_eq!((server.password.is_none(), server.tls), (true, PostgresTls::Disable));
    }

    #[test]
    fn a_url_that_says_too_little_or_too_much_is_refused_without_being_repeated() {
        for (url, what) in [
            ("postgres:///d", "names no host"),
            ("postgres://u@h", "names no database"),
            ("postgres://u@h/d/e", "names no database"),
            ("postgres://h/d", "names no user"),
            ("postgres://u@h:pw-1/d", "is not a URL"),
            ("postgres://u@a,b/d", "names several hosts"),
            ("postgres://u@h/d?sslmode=disable", "must not say how the connection is protected"),
            ("postgres://u@h/d?options=-c%20x", "has parameters, which are not supported"),
            ("postgres://u:pw-1@h/d#x", "has a fragment"),
            ("postgres://u:%ff@h/d", "the password is not UTF-8 text"),
            ("postgres://u:%00@h/d", "the password contains NUL"),
        ] {
            assert_eq!(PostgresServer::parse(url).unwrap_err().what, what, "{url}");
        }
    }
}
