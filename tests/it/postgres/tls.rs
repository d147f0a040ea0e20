//! The protection of the connection.

use portcullis::config::{Postgres, PostgresTls};

use super::{open, refused, settings};
use crate::support::cluster::{Database, cluster};

/// The server under a name, with this protection.
fn at(host: &str, database: &Database, tls: PostgresTls) -> Postgres {
    let mut settings = settings(&cluster().tcp_url(host, database.name()));
    settings.server.tls = tls;
    settings
}

#[tokio::test]
async fn a_server_is_verified_by_its_authority_and_its_name() {
    let database = cluster().create(None);
    let ca: PostgresTls = PostgresTls::VerifyFull(Some(std::fs::read(cluster().ca_file()).unwrap().into()));
    let store = open(at("localhost", &database, ca.clone())).await.unwrap();
    assert!(store.signing_keys().await.unwrap().is_empty());
    let is_encrypted: bool = sqlx::query_scalar("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        .fetch_one(&sqlx::PgPool::connect(&cluster().tcp_url("localhost", database.name())).await.unwrap())
        .await
        .unwrap();
    assert!(is_encrypted, "the server has TLS");
    for (host, tls) in [("localhost", PostgresTls::VerifyFull(None)), ("127.0.0.1", ca)] {
        let error = refused(at(host, &database, tls)).await;
        assert!(error.contains("does not prove its identity: ") && error.contains("storage.ca_file"), "{error}");
        assert!(!error.contains("only-for-tests"), "{error}");
    }
}

#[tokio::test]
async fn encryption_without_verification_and_none_at_all_are_possible_when_asked_for() {
    let database = cluster().create(None);
    for (tls, encrypted) in [(PostgresTls::Require, 1), (PostgresTls::Disable, 0)] {
        let store = open(at("127.0.0.1", &database, tls)).await.unwrap();
        store.signing_keys().await.unwrap();
        let count = "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a ON a.pid = s.pid \
                     WHERE s.ssl AND a.application_name = 'portcullis' AND a.datname = current_database()";
        let mut connection =
            <sqlx::PgConnection as sqlx::Connection>::connect(&cluster().url(database.name())).await.unwrap();
        let count: i64 = sqlx::query_scalar(count).fetch_one(&mut connection).await.unwrap();
        assert_eq!(count, encrypted);
        store.close().await;
    }
}
