//! `portcullis clients` and clients that are known by a metadata document, beside a process that has the same database open.

use insta::assert_snapshot;
use portcullis::cli::Outcome;
use serde_json::{Value, json};

use super::records::Running;
use crate::support::documents::DocumentHost;
use crate::support::gate::{Given, REDIRECT_URI, TestClient, WORKS};

const PATH: &str = "/client.json";

/// A running gate with one grant of a client that has a document.
async fn running() -> (DocumentHost, TestClient, Running, Given) {
    let host = DocumentHost::start().await;
    let client = host.publish(
        PATH,
        json!({"client_name": "Document client", "redirect_uris": [REDIRECT_URI, "https://client.example/callback"]}),
    );
    let mut running = Running::with("", |config| host.trusted(config)).await;
    running.bench.client = client.clone();
    let ann = running.tokens("ann").await;
    (host, client, running, ann)
}

fn rows(running: &Running) -> Vec<Value> {
    serde_json::from_str(&running.run(&["clients", "list", "--json"]).out).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_with_documents_are_listed_and_shown() {
    let (_host, client, running, _ann) = running().await;
    let id = &client.id;
    let printed = running.run(&["clients", "list"]);
    assert_eq!(printed.outcome, Outcome::Done, "{}", printed.err);
    let listed = format!(
        "{id}  \"Document client\"\n    document, sends codes to 127.0.0.1, client.example\n    1 live grant, last used 20"
    );
    assert!(printed.out.contains(&listed), "{}", printed.out);
    assert!(printed.out.ends_with("3 clients\n"), "the configured and the registered one, too: {}", printed.out);
    let row = rows(&running).into_iter().find(|row| row["id"] == id.as_str()).unwrap();
    let last_used = row["last_used_at"].as_i64().unwrap();
    let expected = json!({
        "id": id, "name": "Document client", "origin": "document", "auth_method": "none", "disabled": false,
        "redirect_uris": ["http://127.0.0.1/callback", "https://client.example/callback"], "grants": 1, "last_used_at": last_used,
    });
    assert_eq!(row, expected);
    let shown: Value = serde_json::from_str(&running.run(&["clients", "show", id, "--json"]).out).unwrap();
    assert_eq!(shown, expected);
    let text = running.run(&["clients", "show", id]).out.replace(id, "URL");
    let (text, _time) = text.split_once(", last used 20").unwrap();
    assert_snapshot!(text, @r#"
    URL  "Document client"
        origin          document
        state           enabled
        authentication  none
        redirect URI    http://127.0.0.1/callback
        redirect URI    https://client.example/callback
        use             1 live grant
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_a_client_with_a_document_ends_its_grants_and_forgets_the_document() {
    let (host, client, mut running, ann) = running().await;
    running.operator.answers = "n\n";
    let printed = running.run(&["clients", "delete", &client.id]);
    let question =
        "Forget the document of client URL \"Document client\" and end its 1 grant? [y/N] nothing was done\n";
    assert_eq!(printed.err.replace(&client.id, "URL"), question);
    assert_eq!(running.status(&ann).await, WORKS);

    let (printed, log) = running.run_logged(&["clients", "delete", &client.id, "--yes"]);
    assert_eq!(printed.outcome, Outcome::Done, "{}", printed.err);
    assert!(printed.out.contains("1 grant ended\n1 offline token revoked at keycloak\n"), "{}", printed.out);
    assert!(printed.out.ends_with(&format!("client {} is deleted\n", client.id)), "{}", printed.out);
    assert_snapshot!(printed.err.replace(&client.id, "URL"), @"
      hint: its document is read again when a user next signs in for it;
            `portcullis clients disable URL` locks it out
    ");
    let line = log.lines().find(|line| line.contains("client deleted")).expect("an audit line");
    assert!(line.contains("operator=\"") && line.contains(&client.id), "{line}");
    assert!(running.is_refused_soon(&ann).await);
    assert_eq!(running.bench.gate.refresh(&client, &ann.refresh).await.error(), "invalid_grant");
    assert!(rows(&running).iter().all(|row| row["id"] != client.id.as_str()));
    assert_eq!(running.run(&["clients", "delete", &client.id, "--yes"]).outcome, Outcome::Failed, "a second time");

    let again = running.tokens("ann").await;
    assert_eq!(running.status(&again).await, WORKS, "it is back with the next consent");
    assert!(rows(&running).iter().any(|row| row["id"] == client.id.as_str()));
    assert!(host.calls(PATH) >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_a_disabled_client_with_a_document_does_not_let_it_in() {
    let (_host, client, running, _ann) = running().await;
    assert_eq!(running.run(&["clients", "disable", &client.id, "--yes"]).outcome, Outcome::Done);
    let printed = running.run(&["clients", "delete", &client.id, "--yes", "--json"]);
    assert_eq!((printed.outcome, printed.err.as_str()), (Outcome::Done, ""));
    let report: Value = serde_json::from_str(&printed.out).unwrap();
    assert_eq!((&report["client"], &report["deleted"]), (&json!(client.id), &json!(true)));
    let gate = &running.bench.gate;
    assert_eq!(gate.get(&gate.authorize_path(&client, &[])).await.status, 403, "it stays disabled");
    let row = rows(&running).into_iter().find(|row| row["id"] == client.id.as_str()).unwrap();
    assert_eq!((&row["origin"], &row["disabled"], &row["name"]), (&json!("document"), &json!(true), &Value::Null));
    let printed = running.run(&["clients", "delete", &client.id, "--yes"]);
    assert_eq!(printed.outcome, Outcome::Failed);
    assert_snapshot!(printed.err.replace(&client.id, "URL"), @"
    error: of client URL only that it is disabled is stored
      hint: `portcullis clients enable URL` lets it in again
    ");
}
