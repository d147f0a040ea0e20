//! What an operator sees of the commands: `check`, `keys`, `grants`, `clients`, `api-keys`, `migrate`, `storage`.

mod api_keys;
mod authorize_params;
mod client_documents;
mod commands;
mod consent;
mod delegation;
mod disabling;
mod doctor;
mod documented_clients;
mod dpop;
mod entra;
mod entries;
mod file;
mod hostile;
mod issuers;
mod kinds;
mod limits;
mod moving;
mod online;
mod pages;
mod records;
mod rights;
mod scopes;
mod secrets;
mod signing_keys;
mod storage;
mod variables;

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use portcullis::cli::{self, Outcome, Terminal};
use portcullis::config::Log;

const EXAMPLE: &str = include_str!("../../../config.example.toml");

/// A picture.
const LOGO: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\"/>";

/// A key set of one public key.
const JWKS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256", "kid": "k",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

/// 32 zero bytes.
const ROOT_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

/// The valid rest of a file, for tests of other settings.
const REST: &str = r#"
[storage]
url = "sqlite:portcullis.db"
[secrets]
keys = [{ file = "portcullis.key" }]
[[identity]]
id = "keycloak"
kind = "keycloak"
issuer = "https://sso.example.com/realms/mcp"
client_id = "portcullis"
[[upstream]]
id = "expenses"
path = "/mcp"
url = "http://127.0.0.1:8420/mcp"
"#;

/// An operator: a directory, environment variables, and answers to questions.
struct Operator {
    directory: tempfile::TempDir,
    environment: Vec<(String, String)>,
    /// What is typed when a command asks.
    answers: &'static str,
}

/// What a command printed.
struct Printed {
    outcome: Outcome,
    out: String,
    err: String,
}

impl Operator {
    /// With a trusted proxy, whose absence would be a warning.
    fn new() -> Self {
        Self::without_proxy().with("PORTCULLIS_SERVER__TRUSTED_PROXIES", "127.0.0.1")
    }

    fn without_proxy() -> Self {
        let operator = Self { directory: tempfile::tempdir().unwrap(), environment: Vec::new(), answers: "" };
        operator.write_secret("portcullis.key", ROOT_KEY);
        operator
    }

    fn with(mut self, name: &str, text: &str) -> Self {
        self.environment.push((name.to_owned(), text.to_owned()));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_secret(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Printed {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut input = self.answers.as_bytes();
        let environment = self.environment.clone();
        let start_log = |_: &Log| Ok(());
        let mut terminal = Terminal { out: &mut out, err: &mut err, input: &mut input, start_log, environment };
        let arguments = ["portcullis"].iter().chain(arguments).map(OsString::from);
        let outcome = cli::run(arguments, &mut terminal);
        let text = |bytes| {
            let text = String::from_utf8(bytes).unwrap();
            text.replace(&format!("{}/portcullis.toml", self.directory.path().display()), "portcullis.toml")
                .replace(&self.directory.path().display().to_string(), "/etc/portcullis")
        };
        Printed { outcome, out: text(out), err: text(err) }
    }

    /// `portcullis check` of this text.
    fn check(&self, configuration: impl AsRef<[u8]>) -> Printed {
        let file = self.path("portcullis.toml");
        std::fs::write(&file, configuration).unwrap();
        self.run(&["check", "--config", &file.display().to_string()])
    }

    /// The problems that `check` finds in this text.
    fn problems(&self, configuration: impl AsRef<[u8]>) -> String {
        let Printed { outcome, out, err } = self.check(configuration);
        assert_eq!((outcome, out.as_str()), (Outcome::Failed, ""), "{err}");
        err
    }
}

/// The example with every key that is commented out switched on, and the database of which all keys of `[storage]` make sense.
fn whole_example() -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => key,
        None if line.starts_with("url = \"sqlite:") => "url = \"postgres://portcullis@db.internal/portcullis\"",
        _ => line,
    });
    lines.map(|line| line.trim_end_matches("   # no default")).collect::<Vec<_>>().join("\n")
}

fn whole_operator() -> Operator {
    let operator = [
        "KEYCLOAK_CLIENT_SECRET",
        "CHAT_CLIENT_SECRET",
        "EXPENSES_KEY",
        "REGISTRATION_TOKEN",
        "DATABASE_PASSWORD",
        "ISSUER_CLIENT_SECRET",
        "ENTRA_CLIENT_SECRET",
    ]
    .into_iter()
    .fold(Operator::without_proxy(), |operator, name| operator.with(name, "a-secret-of-thirty-two-characters"));
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["ca".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(operator.path("ca.pem"), certificate.pem()).unwrap();
    std::fs::write(operator.path("logo.svg"), LOGO).unwrap();
    std::fs::write(operator.path("agent-jwks.json"), JWKS).unwrap();
    operator
}
