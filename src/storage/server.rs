//! A PostgreSQL server: how a connection to it is made, and how errors name it.

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};

use super::call_limit::CONNECT_LIMIT;
use super::error::StoreError;
use super::postgres_words::message;
use crate::config::{PostgresHost, PostgresServer, PostgresTls};

/// A server.
pub(super) struct Server {
    place: String,
    options: PgConnectOptions,
}

impl Server {
    pub(super) fn new(settings: &PostgresServer) -> Self {
        Self { place: place(settings), options: options(settings) }
    }

    /// How errors name the database: never with the password.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) const fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Opens a connection that belongs to no pool: a pool would try again and again, and hide why there is none.
    pub(super) async fn connect(&self) -> Result<PgConnection, StoreError> {
        let connecting = tokio::time::timeout(CONNECT_LIMIT, PgConnection::connect_with(&self.options));
        connecting.await.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(|error| self.explain(&error))
    }

    pub(super) fn explain(&self, error: &sqlx::Error) -> StoreError {
        self.about(message(error))
    }

    pub(super) fn about(&self, message: impl std::fmt::Display) -> StoreError {
        StoreError::about(&self.place, message)
    }
}

/// Every option is set, because the library takes the rest from the environment.
fn options(settings: &PostgresServer) -> PgConnectOptions {
    let PostgresServer { host, port, user, password, database, tls } = settings;
    let options = PgConnectOptions::new_without_pgpass()
        .port(*port)
        .username(user)
        .password(password.as_ref().map_or("", |password| password.expose()))
        .database(database)
        .application_name("portcullis")
        // a pooler refuses the connection otherwise
        .extra_float_digits(None);
    let options = match host {
        PostgresHost::Name(name) => options.host(name),
        PostgresHost::Socket(directory) => options.host("localhost").socket(directory),
    };
    match tls {
        PostgresTls::Disable => options.ssl_mode(PgSslMode::Disable),
        PostgresTls::Require => options.ssl_mode(PgSslMode::Require),
        PostgresTls::VerifyFull(ca) => {
            options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert_from_pem(ca.as_deref().unwrap_or_default().to_vec())
        }
    }
}

fn place(PostgresServer { host, port, database, .. }: &PostgresServer) -> String {
    match host {
        PostgresHost::Name(name) => format!("the PostgreSQL database {database} at {name}:{port}"),
        PostgresHost::Socket(directory) => {
            format!("the PostgreSQL database {database} at {}, port {port}", directory.display())
        }
    }
}
