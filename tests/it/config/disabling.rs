//! `portcullis clients show`, `disable` and `enable`, beside a process that has the same database open.

use insta::assert_snapshot;
use portcullis::cli::Outcome;
use portcullis::config::ConfiguredClient;
use portcullis::oauth::client_metadata::AuthMethod;
use serde_json::{Value, json};

use super::records::Running;
use crate::support::gate::{REDIRECT_URI, TestClient, TestGate, WORKS};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_client_is_refused_by_the_running_process_until_it_is_enabled() {
    let mut running = Running::new().await;
    let ann = running.tokens("ann").await;
    let client = running.bench.client.clone();
    let code_url = running.bench.sign_in().await;
    let code = crate::support::browser::parameter(&code_url, "code").unwrap();

    let (printed, log) = running.run_logged(&["clients", "disable", &client.id, "--yes"]);
    assert_eq!(printed.outcome, Outcome::Done, "{}", printed.err);
    assert!(printed.out.contains("1 grant ended\n1 sign-in in progress cancelled\n"), "{}", printed.out);
    assert!(printed.out.ends_with(&format!("client {} is disabled\n", client.id)), "{}", printed.out);
    let line = log.lines().find(|line| line.contains("client disabled")).expect("an audit line");
    assert!(line.contains("operator=\"") && line.contains(&client.id), "{line}");
    let line = log.lines().find(|line| line.contains("sign-ins cancelled")).expect("an audit line");
    assert!(line.contains("operator=\"") && line.contains(&client.id), "{line}");

    assert!(running.is_refused_soon(&ann).await);
    let gate = &running.bench.gate;
    let refresh = gate.refresh(&client, &ann.refresh).await;
    assert_eq!((refresh.status, refresh.error().as_str()), (401, "invalid_client"));
    assert!(refresh.body.contains("disabled here"), "{refresh:?}");
    assert_eq!(gate.redeem(&client, &code).await.error(), "invalid_client");
    let page = gate.get(&gate.authorize_path(&client, &[])).await;
    assert_eq!((page.status, page.header("location")), (403, ""));
    assert!(page.body.contains("The operator of this server has disabled it."), "{}", page.body);
    assert_eq!(gate.register().await.id, client.id, "it registers again");
    assert_eq!(gate.get(&gate.authorize_path(&client, &[])).await.status, 403, "and stays disabled");

    let list: Value = serde_json::from_str(&running.run(&["clients", "list", "--json"]).out).unwrap();
    let of = |id: &str| list.as_array().unwrap().iter().find(|row| row["id"] == id).unwrap()["disabled"].clone();
    assert_eq!((of(&client.id), of("chat")), (json!(true), json!(false)));

    let enabled = running.run(&["clients", "enable", &client.id]);
    assert_eq!((enabled.outcome, enabled.out), (Outcome::Done, format!("client {} is enabled\n", client.id)));
    assert_eq!(running.run(&["clients", "enable", &client.id]).outcome, Outcome::Failed, "a second time");
    assert_eq!(running.bench.gate.redeem(&client, &code).await.error(), "invalid_grant", "what was cancelled stays so");
    let again = running.tokens("ann").await;
    assert_eq!(running.status(&again).await, WORKS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_shown_and_disabled_in_json() {
    let mut running = Running::new().await;
    running.tokens("ann").await;
    let id = running.bench.client.id.clone();
    let printed = running.run(&["clients", "show", &id]);
    let text = printed.out.replace(&id, "c_1");
    let (text, _time) = text.split_once(", last used 20").unwrap();
    assert_snapshot!(text, @r#"
    c_1  "Test client"
        origin          registered
        state           enabled
        authentication  none
        redirect URI    http://127.0.0.1/callback
        use             1 live grant
    "#);
    let shown: Value = serde_json::from_str(&running.run(&["clients", "show", "chat", "--json"]).out).unwrap();
    assert_eq!(
        shown,
        json!({"id": "chat", "name": "Company chat", "origin": "configured", "auth_method": "none", "disabled": false,
            "redirect_uris": ["https://chat.example/cb"], "grants": 0, "last_used_at": null})
    );
    let printed = running.run(&["clients", "disable", &id, "--yes", "--json"]);
    let report: Value = serde_json::from_str(&printed.out).unwrap_or_else(|error| panic!("{error}: {}", printed.out));
    assert_eq!((&report["client"], &report["disabled"]), (&json!(id), &json!(true)));
    assert_eq!(report["ended"].as_array().map(Vec::len), Some(1), "{report}");
    let printed = running.run(&["clients", "delete", &id, "--yes", "--json"]);
    let report: Value = serde_json::from_str(&printed.out).unwrap_or_else(|error| panic!("{error}: {}", printed.out));
    assert_eq!((&report["client"], &report["deleted"]), (&json!(id), &json!(true)));
    for command in ["show", "disable", "delete"] {
        let printed = running.run(&["clients", command, "c_unknown"]);
        assert_eq!(printed.outcome, Outcome::Failed, "{command}");
        assert!(
            printed.err.contains("there is no client c_unknown\n  hint: `portcullis clients list`"),
            "{}",
            printed.err
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disabling_asks_first_and_takes_configured_clients_and_urls() {
    let mut running = Running::new().await;
    running.operator.answers = "n\n";
    let printed = running.run(&["clients", "disable", "chat"]);
    assert_eq!((printed.outcome, printed.out.as_str()), (Outcome::Done, ""));
    assert!(
        printed.err.contains("Disable client chat \"Company chat\" and end its 0 grants? [y/N]"),
        "{}",
        printed.err
    );
    running.operator.answers = "y\n";
    for id in ["chat", "https://app.example/client.json"] {
        assert_eq!(running.run(&["clients", "disable", id]).outcome, Outcome::Done, "{id}");
        assert!(running.bench.gate.app.store().is_client_disabled(&id.into()).await.unwrap(), "{id}");
    }
}

#[tokio::test]
async fn a_disabled_configured_client_is_refused_and_the_upkeep_ends_what_slipped_through() {
    let gate = TestGate::with(|config| {
        config.clients.push(ConfiguredClient {
            device: false,
            client_id: "chat".to_owned(),
            name: None,
            redirect_uris: vec![REDIRECT_URI.to_owned()],
            client_secret: None,
            keys: None,
            auth_method: AuthMethod::None,
            dpop_bound: false,
            introspects: Vec::new(),
            machine: None,
        });
    })
    .await;
    let chat = TestClient { id: "chat".to_owned(), redirect_uri: REDIRECT_URI.to_owned() };
    let given = gate.tokens(&chat).await;
    gate.app.store().disable_client(&"chat".into(), gate.clock.now()).await.unwrap();
    assert_eq!(gate.get(&gate.authorize_path(&chat, &[])).await.status, 403);
    assert_eq!(gate.refresh(&chat, &given.refresh).await.error(), "invalid_client");
    assert_eq!(gate.call(&given.access).await.status, WORKS, "its grant has not ended yet");
    gate.app.issuer().expire().await;
    assert_eq!(gate.call(&given.access).await.status, 401);
}
