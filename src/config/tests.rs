//! `config.example.toml` documents every key with its default, and a variable can override every key.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::document::{Entry, Node, Value};
use super::{
    Config, assembly, assertion_issuer, client, client_documents, consent, device, document, entra, identity,
    lifetimes, limits, log, pages, proxy, registration, secrets, sections, server, shape, storage, token_issuer,
    tokens, upstream,
};

const EXAMPLE: &str = include_str!("../../config.example.toml");
const ROOT_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

const JWKS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256", "kid": "k",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

/// A directory with the files that the example refers to.
struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("portcullis.key"), ROOT_KEY).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["ca".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        std::fs::write(directory.path().join("logo.svg"), "<svg xmlns='http://www.w3.org/2000/svg'/>").unwrap();
        std::fs::write(directory.path().join("agent-jwks.json"), JWKS).unwrap();
        Self(directory)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("portcullis.toml")
    }

    /// The debug output of the whole configuration.
    fn load(&self, text: &str, variables: &[(&str, &str)]) -> String {
        let secrets = [
            "KEYCLOAK_CLIENT_SECRET",
            "CHAT_CLIENT_SECRET",
            "EXPENSES_KEY",
            "REGISTRATION_TOKEN",
            "DATABASE_PASSWORD",
            "ISSUER_CLIENT_SECRET",
            "ENTRA_CLIENT_SECRET",
        ]
        .map(|name| (name, "a-secret-of-thirty-two-characters"));
        let environment = secrets.iter().chain(variables).map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        std::fs::write(self.file(), text).unwrap();
        match Config::load(&self.file(), environment) {
            Ok(loaded) => format!("{:#?}", loaded.config),
            Err(problems) => panic!("{problems}"),
        }
    }
}

/// The example with its keys uncommented: all of them, with the database of which all keys of `[storage]` make sense, or only
/// those that show a default.
fn uncommented(all: bool) -> String {
    let mut in_example_block = false;
    let lines = EXAMPLE.lines().map(|line| {
        let header = line.trim_start_matches('#');
        if header.starts_with('[') {
            in_example_block = header != line;
        }
        let key = line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()));
        match key {
            Some(key) if all || !(in_example_block || line.ends_with("# no default")) => key,
            None if all && line.starts_with("url = \"sqlite:") => {
                "url = \"postgres://portcullis@db.internal/portcullis\""
            }
            _ => line,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The entries of a list, or the table itself: keys that exclude each other are in several entries.
fn tables(section: &Node) -> Vec<&Node> {
    let items: Vec<_> = (0..).map_while(|index| section.item(index)).collect();
    if items.is_empty() { vec![section] } else { items }
}

/// Every key as `section.key`.
fn written_keys(text: &str) -> BTreeSet<String> {
    let Ok(root) = document::parse(text) else { panic!("the example is not TOML") };
    let mut keys = BTreeSet::new();
    for Entry { key: section, node, .. } in root {
        for table in tables(&node) {
            match &table.value {
                Value::Table(entries) => keys.extend(entries.iter().map(|entry| format!("{section}.{}", entry.key))),
                _ => assert!(keys.insert(format!(".{section}"))),
            }
        }
    }
    keys
}

fn keys_of<T: DeserializeOwned>(section: &str) -> impl Iterator<Item = String> {
    let known = shape::keys::<T>();
    assert!(!known.is_empty(), "{section}: unknown keys are accepted");
    known.iter().map(move |key| format!("{section}.{key}"))
}

/// Keys that exclude one which the example has: a comment names them.
const INSTEAD: [&str; 3] =
    ["identity.client_certificate", "identity.federated_token_file", "identity.managed_identity"];

fn known_keys() -> BTreeSet<String> {
    let keys = keys_of::<assembly::Written>("")
        .chain(keys_of::<server::Written>("server"))
        .chain(keys_of::<log::Written>("log"))
        .chain(keys_of::<limits::Written>("limits"))
        .chain(keys_of::<storage::Written>("storage"))
        .chain(keys_of::<secrets::Written>("secrets"))
        .chain(keys_of::<lifetimes::Written>("lifetimes"))
        .chain(keys_of::<tokens::Written>("tokens"))
        .chain(keys_of::<registration::Written>("registration"))
        .chain(keys_of::<device::Written>("device"))
        .chain(keys_of::<client_documents::Written>("client_documents"))
        .chain(keys_of::<consent::Written>("consent"))
        .chain(keys_of::<pages::Written>("pages"))
        .chain(keys_of::<proxy::Written>("outbound"))
        .chain(keys_of::<identity::Written>("identity"))
        .chain(keys_of::<token_issuer::Written>("issuer"))
        .chain(keys_of::<entra::Written>("identity"))
        .chain(keys_of::<upstream::Written>("upstream"))
        .chain(keys_of::<client::Written>("client"))
        .chain(keys_of::<assertion_issuer::Written>("assertion_issuer"));
    keys.filter(|key| !INSTEAD.contains(&key.as_str())).collect()
}

#[test]
fn the_example_contains_every_key_and_no_other() {
    for key in INSTEAD {
        let (_, key) = key.split_once('.').unwrap();
        assert!(EXAMPLE.contains(&format!("\n#   {key} = ")), "{key}");
    }
    assert_eq!(written_keys(&uncommented(true)), known_keys());
    let sections: BTreeSet<String> = known_keys().iter().map(|key| key.split('.').next().unwrap().to_owned()).collect();
    for name in sections::names() {
        assert!(sections.contains(name) || known_keys().contains(&format!(".{name}")), "{name}");
    }
}

#[test]
fn the_example_explains_every_key() {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let is_key = line.trim_start_matches('#').starts_with(|c: char| c.is_ascii_lowercase());
        if is_key && !line.starts_with("# ") && !line.trim_start_matches('#').starts_with("client_secret") {
            assert!(lines[at - 1].starts_with("# ") && lines[at - 1].len() > 10, "{line}");
        }
    }
}

#[test]
fn the_defaults_in_the_example_are_the_real_ones() {
    let directory = Directory::new();
    let as_it_is = directory.load(EXAMPLE, &[]);
    let spelt_out = uncommented(false);
    assert!(written_keys(&spelt_out).len() > written_keys(EXAMPLE).len() + 30);
    assert_same(&directory.load(&spelt_out, &[]), &as_it_is);
}

fn assert_same(a: &str, b: &str) {
    for (a, b) in a.lines().zip(b.lines()) {
        assert_eq!(a, b);
    }
    assert_eq!(a.len(), b.len());
}

#[test]
fn the_example_loads_with_every_key_uncommented() {
    let directory = Directory::new();
    let whole = directory.load(&uncommented(true), &[]);
    assert!(whole.contains("chat.example.com") && whole.contains("[certificates: 1]"), "{whole}");
}

/// A value of the file as the text of a variable; a secret source becomes the secret.
fn as_variable(node: &Node) -> String {
    match &node.value {
        Value::Text(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::List(items) if items.iter().any(|item| item.entry("file").is_some()) => ROOT_KEY.to_owned(),
        Value::List(items) if items.iter().any(|item| matches!(item.value, Value::Table(_))) => {
            format!("[{}]", items.iter().map(as_toml).collect::<Vec<_>>().join(", "))
        }
        Value::List(items) => items.iter().map(as_variable).collect::<Vec<_>>().join(", "),
        Value::Table(entries) if entries.iter().all(|entry| matches!(entry.node.value, Value::List(_))) => {
            let pairs = entries.iter().map(|Entry { key, node, .. }| {
                let Value::List(items) = &node.value else { panic!("not a list") };
                format!("{key:?} = {:?}", items.iter().map(as_variable).collect::<Vec<_>>())
            });
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Table(entries) if !entries.iter().any(|entry| matches!(&*entry.key, "env" | "file")) => {
            let pairs = entries.iter().map(|Entry { key, node, .. }| format!("{key:?} = {}", as_toml(node)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        _ => "a-secret-of-thirty-two-characters".to_owned(),
    }
}

/// A value of the file as it is written inside a list of tables.
fn as_toml(node: &Node) -> String {
    match &node.value {
        Value::Table(entries) => {
            let pairs = entries.iter().map(|entry| format!("{} = {}", entry.key, as_toml(&entry.node)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::List(items) => format!("[{}]", items.iter().map(as_toml).collect::<Vec<_>>().join(", ")),
        Value::Boolean(value) => value.to_string(),
        _ => format!("{:?}", as_variable(node)),
    }
}

#[test]
fn every_value_can_be_overridden_by_a_variable() {
    let directory = Directory::new();
    let text = uncommented(true);
    let as_written = directory.load(&text, &[]);
    let Ok(root) = document::parse(&text) else { panic!("the example is not TOML") };
    let (mut variables, mut known) = (Vec::new(), BTreeSet::new());
    let tables =
        root.iter().flat_map(|Entry { key, node, .. }| tables(node).into_iter().map(move |table| (key, node, table)));
    for (section, node, table) in tables {
        let is_entry = node.item(0).is_some();
        let id = if is_entry { format!("{}__", sections::id(section, table).unwrap()) } else { String::new() };
        let Value::Table(entries) = &table.value else {
            known.insert(format!(".{section}"));
            variables.push((format!("PORTCULLIS_{section}").to_uppercase(), as_variable(table)));
            continue;
        };
        for entry in entries {
            known.insert(format!("{section}.{}", entry.key));
            // each header has a variable of its own
            let header = entry.node.entries().first().filter(|_| entry.key == "headers");
            let header = header.map(|header| format!("__{}", header.key.replace('-', "_"))).unwrap_or_default();
            let name = format!("PORTCULLIS_{section}__{id}{}{header}", entry.key);
            variables.push((name.to_uppercase(), as_variable(&entry.node)));
        }
    }
    assert_eq!(known, known_keys());
    for (name, value) in &variables {
        assert_same(&directory.load(&text, &[(name, value)]), &as_written);
    }
    let all: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let ids = "[[identity]]\nid = 'keycloak'\n[[identity]]\nid = 'entra'\n[[upstream]]\nid = 'expenses'\n\
        [[client]]\nclient_id = 'chat'\n[[client]]\nclient_id = 'agent'\n[[client]]\nclient_id = 'signer'\n\
        [[assertion_issuer]]\nid = 'okta'\n[[issuer]]\nid = 'corp'\n[[issuer]]\nid = 'entra'\n";
    assert_same(&directory.load(ids, &all), &as_written);
}

#[test]
fn a_relative_path_begins_at_the_files_directory() {
    let directory = Directory::new();
    let loaded = directory.load(EXAMPLE, &[]);
    let expected = directory.0.path().join("portcullis.db");
    assert!(loaded.contains(&format!("{expected:?}")), "{loaded}");
    assert!(Path::new(&expected).is_absolute());
}
