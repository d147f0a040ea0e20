//! `[storage]`: PostgreSQL, and that its password is in no file of settings and in no message.

use insta::assert_snapshot;
use portcullis::cli::Outcome;

use super::{Operator, Printed, REST};

fn file(storage: &str) -> String {
    let rest =
        REST.replace("url = \"sqlite:portcullis.db\"\n", "").replace("[storage]", &format!("[storage]\n{storage}"));
    format!("public_url = \"https://mcp.example.com\"{rest}")
}

/// Passwords that must not be printed begin with `pw-`.
fn problems(operator: &Operator, storage: &str) -> String {
    let Printed { outcome, err, .. } = operator.check(file(storage));
    assert_eq!(outcome, Outcome::Failed, "{storage}");
    assert!(!err.contains("pw-"), "{err}");
    err
}

fn accepted(operator: &Operator, storage: &str) -> String {
    let Printed { outcome, err, .. } = operator.check(file(storage));
    assert_eq!(outcome, Outcome::Done, "{storage}: {err}");
    assert!(!err.contains("pw-"), "{err}");
    err
}

#[test]
fn a_server_is_accepted_with_its_password_from_a_file_a_variable_or_in_a_secret_url() {
    let operator = Operator::new().with("DATABASE_PASSWORD", "pw-1").with("DATABASE_URL", "postgres://u:pw-1@db/d");
    operator.write_secret("database", "pw-1\n");
    operator.write_secret("database-url", "postgres://u:pw-1@db/d\n");
    for storage in [
        "url = \"postgres://u@db/d\"",
        "url = \"postgresql://u@%2Frun%2Fpostgresql/d\"\nmigrate = false",
        "url = \"postgres://u@db:6432/d\"\npassword = { file = \"database\" }\ndirect_url = \"postgres://u@db/d\"",
        "url = \"postgres://u@db/d\"\npassword = { env = \"DATABASE_PASSWORD\" }\nconnections = 40",
        "url = { env = \"DATABASE_URL\" }\ntls = \"verify-full\"",
        "url = { file = \"database-url\" }\ndirect_url = { env = \"DATABASE_URL\" }",
        "url = \"postgres://u@127.0.0.1/d\"\ntls = \"disable\"",
    ] {
        assert_eq!(accepted(&operator, storage), "", "{storage}");
    }
    let overridden = Operator::new().with("PORTCULLIS_STORAGE__URL", "postgres://u:pw-2@db/d");
    assert_eq!(accepted(&overridden, "url = \"sqlite:portcullis.db\""), "");
    let overridden = Operator::new()
        .with("PORTCULLIS_STORAGE__URL", "postgres://u@db/d")
        .with("PORTCULLIS_STORAGE__PASSWORD", "pw-2")
        .with("PORTCULLIS_STORAGE__CONNECTIONS", "9")
        .with("PORTCULLIS_STORAGE__MIGRATE", "false");
    assert_eq!(accepted(&overridden, ""), "");
}

#[test]
fn a_password_in_the_file_is_refused_wherever_it_stands() {
    let operator = Operator::new();
    assert_snapshot!(problems(&operator, "url = \"postgres://u:pw-1@db/d\"\ndirect_url = \"postgres://u:pw-1@db/d\""), @r#"
    portcullis.toml:3:7: error: storage: url: contains a password: secrets are not allowed in this file
        hint: leave it out of the URL, and write password = { file = "/run/secrets/NAME" } or { env = "NAME" }
    portcullis.toml:4:14: error: storage: direct_url: contains a password: secrets are not allowed in this file
        hint: leave it out of the URL, and write password = { file = "/run/secrets/NAME" } or { env = "NAME" }
    portcullis.toml: 2 errors
    "#);
    assert_snapshot!(problems(&operator, "url = \"postgres://u@db/d\"\npassword = \"pw-1\""), @r#"
    portcullis.toml:4:12: error: storage: password: secrets are not allowed in this file
        hint: write { file = "/run/secrets/NAME" } or { env = "NAME" }
    portcullis.toml: 1 error
    "#);
}

#[test]
fn mistakes_in_the_settings_of_a_server_are_named() {
    let operator = Operator::new();
    let all = "url = \"postgres://db\"\ndirect_url = \"sqlite:x\"\npassword = { env = \"NOT_SET\" }\ntls = \"prefer\"\n\
               ca_file = \"missing.pem\"\nconnections = 1";
    assert_snapshot!(problems(&operator, all), @r#"
    portcullis.toml:3:7: error: storage: url: names no user
        hint: write url = "postgres://USER@HOST:5432/DATABASE"
    portcullis.toml:4:14: error: storage: direct_url: must begin with postgres:
    portcullis.toml:5:12: error: storage: password: the environment variable NOT_SET is not set, or is not UTF-8 text
        hint: set it for this process; the name is written without $
    portcullis.toml:6:7: error: storage: tls: must say whether the connection is encrypted: "prefer" lets others decide
        hint: "verify-full" (the default, unless the server is on this machine), "require" or "disable"
    portcullis.toml:7:11: error: storage: ca_file: the file cannot be read: there is no such file or directory
        hint: expected PEM certificates; relative paths begin at /etc/portcullis
    portcullis.toml:8:15: error: storage: connections: must be from 2 to 500
        hint: the connections of all replicas together must be fewer than the server's max_connections
    portcullis.toml: 6 errors
    "#);
    let mut printed = String::new();
    for tls in ["verify-ca", "on", "require\"\nca_file = \"ca.pem"] {
        std::fs::write(operator.path("ca.pem"), authority()).unwrap();
        printed += &problems(&operator, &format!("url = \"postgres://u@db/d\"\ntls = \"{tls}\""));
    }
    assert_snapshot!(printed, @r#"
    portcullis.toml:4:7: error: storage: tls: "verify-ca" is not supported: every public authority would be trusted for every name
        hint: write "verify-full", and in url a name that the server's certificate has
    portcullis.toml: 1 error
    portcullis.toml:4:7: error: storage: tls: is not known
        hint: "verify-full" (the default, unless the server is on this machine), "require" or "disable"
    portcullis.toml: 1 error
    portcullis.toml:4:7: warning: storage: tls: an attacker on the network can pose as the database
        hint: write tls = "verify-full", and ca_file = "…" for an authority of your own
    portcullis.toml:5:11: error: storage: ca_file: is not used, because tls does not verify the server
        hint: write tls = "verify-full", or leave it out
    portcullis.toml: 1 error, 1 warning
    "#);
    assert_snapshot!(problems(&operator, "url = [1]"), @r#"
    portcullis.toml:3:7: error: storage: url: must be a URL in quotes, { file = "…" } or { env = "…" }
    portcullis.toml: 1 error
    "#);
    assert_snapshot!(problems(&operator, "url = \"sqlite:x.db\"\npassword = { env = \"P\" }\ntls = \"disable\""), @r#"
    portcullis.toml:4:12: error: storage: password: is for PostgreSQL, and url names a SQLite file
        hint: leave it out, or write url = "postgres://USER@HOST/DATABASE"
    portcullis.toml:5:7: error: storage: tls: is for PostgreSQL, and url names a SQLite file
        hint: leave it out, or write url = "postgres://USER@HOST/DATABASE"
    portcullis.toml: 2 errors
    "#);
}

#[test]
fn a_connection_that_others_can_read_or_take_over_is_warned_about() {
    let operator = Operator::new().with("PGOPTIONS", "-c search_path=elsewhere");
    assert_snapshot!(accepted(&operator, "url = \"postgres://u@db/d\"\ntls = \"disable\""), @r#"
    portcullis.toml:3:7: warning: storage: url: the variable PGOPTIONS of the environment changes every connection
        hint: unset it, unless that is intended
    portcullis.toml:4:7: warning: storage: tls: the network between here and the database can read and change what is stored
        hint: write tls = "verify-full", and ca_file = "…" for an authority of your own
    portcullis.toml: 2 warnings
    "#);
    assert_snapshot!(accepted(&Operator::new(), "url = \"postgres://u@10.0.0.1/d\"\ntls = \"require\""), @r#"
    portcullis.toml:4:7: warning: storage: tls: an attacker on the network can pose as the database
        hint: write tls = "verify-full", and ca_file = "…" for an authority of your own
    portcullis.toml: 1 warning
    "#);
}

fn authority() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::new(vec!["ca".to_owned()]).unwrap().self_signed(&key).unwrap().pem()
}
