//! Starts that fail: the last lines that the operator sees, and exit status 1.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use portcullis::app::App;
use portcullis::clock::Clock;
use portcullis::config::Config;

const CONFIGURATION: &str = r#"
public_url = "http://127.0.0.1:6749"
[server]
listen = "LISTEN"
operations = "OPERATIONS"
[storage]
url = "sqlite:DATABASE"
[secrets]
keys = [{ file = "portcullis.key" }]
[[identity]]
id = "keycloak"
kind = "keycloak"
issuer = "http://127.0.0.1:9/realms/mcp"
client_id = "portcullis"
client_secret = { env = "KEYCLOAK_CLIENT_SECRET" }
[[upstream]]
id = "expenses"
path = "/mcp"
url = "http://127.0.0.1:9/mcp"
"#;

/// What differs from a start that goes well.
struct Setting<'a> {
    listen: &'a str,
    operations: &'a str,
    database: &'a str,
}

/// Nothing: two free ports, and a file that is made.
const FINE: Setting<'static> = Setting { listen: "127.0.0.1:0", operations: "off", database: "portcullis.db" };

fn write_key(directory: &Path, letter: &str) {
    let key = directory.join("portcullis.key");
    std::fs::write(&key, format!("{}=\n", letter.repeat(43))).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
}

/// The error of a start in this directory, which must fail.
fn last_words(directory: &Path, setting: &Setting<'_>) -> String {
    let file = write(directory, setting);
    let mut portcullis = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    portcullis.args(["serve", "--config"]).arg(file);
    portcullis.env_clear().env("KEYCLOAK_CLIENT_SECRET", "a-secret").stdin(Stdio::null());
    let ended = portcullis.output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    let at = said.rfind("error: ").unwrap_or_else(|| panic!("no error: {said}"));
    said[at..].replace(&directory.display().to_string(), "/srv")
}

fn write(directory: &Path, setting: &Setting<'_>) -> PathBuf {
    let text = CONFIGURATION
        .replace("LISTEN", setting.listen)
        .replace("OPERATIONS", setting.operations)
        .replace("DATABASE", &directory.join(setting.database).display().to_string());
    let file = directory.join("portcullis.toml");
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn an_unusable_database_is_reported_with_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    write_key(directory, "A");
    std::fs::write(directory.join("letter.txt"), "Dear Sir or Madam, ".repeat(100)).unwrap();
    let words = last_words(directory, &Setting { database: "letter.txt", ..FINE });
    insta::assert_snapshot!(
        words,
        @"error: storage: the database cannot be used: /srv/letter.txt is damaged or no SQLite database: restore a backup, or name another file"
    );
}

#[test]
fn an_unavailable_listen_address_is_reported_with_its_setting_and_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    write_key(directory, "A");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let words = |setting: Setting<'_>| last_words(directory, &setting).replace(&taken, "127.0.0.1:TAKEN");
    insta::assert_snapshot!(words(Setting { listen: &taken, ..FINE }), @r"
    error: server.listen: cannot listen on 127.0.0.1:TAKEN: Address already in use (os error 98)
      hint: another program listens there: stop it, or choose another port
    ");
    insta::assert_snapshot!(words(Setting { operations: &taken, ..FINE }), @r"
    error: server.operations: cannot listen on 127.0.0.1:TAKEN: Address already in use (os error 98)
      hint: another program listens there: stop it, or choose another port
    ");
    insta::assert_snapshot!(words(Setting { listen: "192.0.2.1:8080", ..FINE }), @r"
    error: server.listen: cannot listen on 192.0.2.1:8080: Cannot assign requested address (os error 99)
      hint: this machine does not have that address: use 127.0.0.1 for this machine only, 0.0.0.0 for everyone
    ");
    assert!(!directory.join("portcullis.db").exists(), "the address comes before the database");
}

#[tokio::test]
async fn a_database_sealed_with_another_root_key_is_reported_with_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    write_key(directory, "A");
    let file = write(directory, &FINE);
    let secret = ("KEYCLOAK_CLIENT_SECRET".to_owned(), "a-secret".to_owned());
    let config = Config::load(&file, [secret]).unwrap().config;
    App::build(Arc::new(config), Clock::system()).await.unwrap().close().await;
    write_key(directory, "E");
    let words = last_words(directory, &FINE);
    let id = words.split_whitespace().find(|word| word.starts_with("k_")).unwrap_or_default();
    insta::assert_snapshot!(
        words.replace(id, "k_1"),
        @"error: keys: signing key k_1 was sealed by a root key that `secrets.keys` does not hold: add that key to the list again"
    );
}
