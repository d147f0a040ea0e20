//! `portcullis doctor`: each fault is found by its id, and what is well has none.

mod entra;
mod provider;
mod public_url;
mod upstream;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use insta::assert_snapshot;
use portcullis::cli::Outcome;
use portcullis::clock::Clock;
use serde_json::Value;

use super::{Operator, Printed};
use crate::support::provider::{CLIENT_SECRET, FakeProvider};
use crate::support::upstream::{Answer, Upstream, answer};

const PAGE: &str = include_str!("../../../docs/doctor.md");
const IDS: &str = include_str!("../../../src/cli/doctor/finding.rs");
const MCP: &[(&str, &str)] = &[("content-type", "application/json")];

/// An address where nothing listens.
fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A file with this identity and this upstream.
fn file(public_url: &str, identity: &str, upstream: &str) -> String {
    let (_, port) = public_url.rsplit_once(':').unwrap();
    format!(
        "public_url = \"{public_url}\"\n[server]\nlisten = \"127.0.0.1:{port}\"\n[storage]\nurl = \"sqlite:portcullis.db\"\n[secrets]\nkeys = [{{ file = \"portcullis.key\" }}]\n\
         [[identity]]\n{identity}\n[[upstream]]\nid = \"expenses\"\npath = \"/mcp\"\n{upstream}\n"
    )
}

fn keycloak(issuer: &str, more: &str) -> String {
    format!(
        "id = \"keycloak\"\nkind = \"keycloak\"\nissuer = \"{issuer}\"\nclient_id = \"portcullis\"\n\
         client_secret = {{ env = \"SECRET\" }}\n{more}"
    )
}

/// Runs `portcullis doctor` on a thread of its own, while servers of the test keep serving.
fn run(operator: &Operator, text: &str, options: &[&str]) -> Printed {
    let file = operator.path("portcullis.toml").display().to_string();
    std::fs::write(&file, text).unwrap();
    let arguments = [&["doctor", "--config", file.as_str()], options].concat();
    std::thread::scope(|scope| scope.spawn(|| operator.run(&arguments)).join().unwrap())
}

fn operator() -> Operator {
    Operator::new().with("SECRET", CLIENT_SECRET)
}

/// The findings, without the public URL.
fn findings_of(operator: &Operator, text: &str) -> Vec<Value> {
    let printed = run(operator, text, &["--json", "--without-public-url"]);
    read(&printed)
}

fn read(printed: &Printed) -> Vec<Value> {
    let document: Value =
        serde_json::from_str(&printed.out).unwrap_or_else(|_| panic!("{}{}", printed.out, printed.err));
    let findings = document["findings"].as_array().unwrap().clone();
    let faults = findings.iter().filter(|finding| finding["severity"] == "error").count();
    assert_eq!(document["well"], faults == 0);
    assert_eq!(printed.outcome, if faults == 0 { Outcome::Done } else { Outcome::Failed });
    for finding in &findings {
        assert!(!finding["mend"].as_str().unwrap().is_empty(), "{finding}");
        assert!(finding["line"].as_u64().is_some() || finding["variable"].is_string(), "{finding}");
    }
    assert!(!printed.out.contains(CLIENT_SECRET) && !printed.err.contains(CLIENT_SECRET));
    findings
}

fn ids(findings: &[Value]) -> Vec<&str> {
    findings.iter().map(|finding| finding["id"].as_str().unwrap()).collect()
}

/// An MCP server that answers `initialize`.
async fn mcp() -> Upstream {
    Upstream::polite().await
}

fn greeted() -> Answer {
    answer(200, MCP, r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25"}}"#)
}

#[test]
fn every_id_is_documented_with_its_severity_and_no_other() {
    let (_, table) = IDS.split_once("\nids! {\n").unwrap();
    let table = table.split("\n}\n").next().unwrap().lines();
    let ids: BTreeSet<_> = table
        .map(|line| {
            let (_, rest) = line.split_once(" = \"").unwrap();
            let (id, severity) = rest.split_once("\" ").unwrap();
            (id.to_owned(), severity.trim_end_matches(';').to_lowercase())
        })
        .collect();
    assert!(ids.contains(&("provider.redirect_uri".to_owned(), "error".to_owned())), "{ids:?}");
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeSet<_> = rows
        .map(|row| {
            let mut cells = row.split('|').map(str::trim);
            let id = cells.next().unwrap().trim_end_matches('`').to_owned();
            (id, cells.next().unwrap().to_owned())
        })
        .filter(|(_, severity)| severity == "error" || severity == "warning")
        .collect();
    assert_eq!(documented, ids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_names_line_id_setting_and_mend_for_people() {
    let (behind, provider) = (mcp().await, FakeProvider::start(&Clock::system()).await);
    let text = file("http://127.0.0.1:1", &keycloak(&provider.issuer(), ""), &format!("url = \"{}\"", behind.url()));
    let shown = |printed: Printed| {
        assert_eq!(printed.err, "");
        printed.out.replace(&provider.address().to_string(), "PROVIDER").replace(&behind.address.to_string(), "BEHIND")
    };
    let printed = run(&operator(), &text, &["--without-public-url"]);
    assert_eq!(printed.outcome, Outcome::Done);
    assert_snapshot!(shown(printed), @r"
    database           /etc/portcullis/portcullis.db: well
    identity keycloak  http://PROVIDER/realms/mcp: well
    upstream expenses  http://BEHIND/backend: well
portcullis.toml: all is well
");
    let printed = run(&Operator::new().with("SECRET", "wrong-Secret"), &text, &["--without-public-url"]);
    assert_eq!(printed.outcome, Outcome::Failed);
    assert!(!printed.out.contains("wrong-Secret"));
    assert_snapshot!(shown(printed), @r#"
    portcullis.toml:13:17: error[provider.client_secret]: identity "keycloak": client_secret: the token endpoint of identity keycloak answers 401 unauthorized_client (Invalid client or Invalid client credentials)
        there: Keycloak: Clients > portcullis > Credentials > Client Secret
        mend: copy the secret from there

        database           /etc/portcullis/portcullis.db: well
        identity keycloak  http://PROVIDER/realms/mcp: 1 finding
        upstream expenses  http://BEHIND/backend: well
    portcullis.toml: 1 fault
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finding_is_an_object_for_programs() {
    let text =
        file("http://127.0.0.1:1", &keycloak("http://127.0.0.1:1/realms/mcp", ""), "url = \"http://127.0.0.1:2/mcp\"");
    let findings = findings_of(&operator(), &text);
    assert_eq!(ids(&findings), ["provider.unreachable", "upstream.unreachable"]);
    assert_snapshot!(serde_json::to_string_pretty(&findings[0]).unwrap(), @r#"
    {
      "column": 10,
      "elsewhere": null,
      "file": "portcullis.toml",
      "id": "provider.unreachable",
      "key": "issuer",
      "line": 11,
      "mend": "check that the server runs, and that this machine can reach it under that address; behind a company proxy, set `proxy` in [outbound]",
      "message": "http://127.0.0.1:1/realms/mcp/.well-known/openid-configuration cannot be read: 127.0.0.1 refuses the connection: nothing listens there",
      "section": "identity \"keycloak\"",
      "severity": "error",
      "variable": null
    }
    "#);
}

#[test]
fn a_file_that_serve_refuses_is_refused_in_both_forms() {
    let printed = run(&operator(), "public_url = 1", &[]);
    assert_eq!((printed.outcome, printed.out.as_str()), (Outcome::Failed, ""));
    assert!(printed.err.contains("public_url"), "{}", printed.err);
    let printed = run(&operator(), "public_url = 1", &["--json"]);
    let document: Value = serde_json::from_str(&printed.out).unwrap();
    assert_eq!((printed.outcome, &document["well"]), (Outcome::Failed, &Value::Bool(false)));
    assert!(!document["configuration"].as_array().unwrap().is_empty());
    assert_eq!(operator().run(&["doctor", "--nonsense"]).outcome, Outcome::Misused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_be_used_is_a_fault() {
    let (behind, provider) = (mcp().await, FakeProvider::start(&Clock::system()).await);
    let text = file("http://127.0.0.1:1", &keycloak(&provider.issuer(), ""), &format!("url = \"{}\"", behind.url()));
    let operator = operator().with("PORTCULLIS_STORAGE__URL", &format!("postgres://u:pw-1@{}/d", free()));
    let printed = run(&operator, &text, &["--json", "--without-public-url"]);
    assert!(!printed.out.contains("pw-1"), "{}", printed.out);
    let findings = read(&printed);
    assert_eq!(ids(&findings), ["storage.database"]);
    assert_eq!(findings[0]["variable"], "PORTCULLIS_STORAGE__URL");
}
