//! `portcullis grants` and `portcullis clients`, beside a process that has the same database open.

use std::time::Duration;

use insta::assert_snapshot;
use portcullis::cli::Outcome;
use portcullis::clock::Clock;
use portcullis::config::{Config, Postgres, Storage};
use portcullis::model::authorization::Stage;
use portcullis::model::client::{Authentication, Client, ClientOrigin};
use portcullis::oauth::scope::ScopeSet;
use portcullis::telemetry::metrics::{Metrics, Task};
use serde_json::{Value, json};

use super::{Operator, Printed};
use crate::account::begin;
use crate::support::bench::Bench;
use crate::support::browser::{Browser, location, parameter};
use crate::support::cluster::{blocking, cluster};
use crate::support::database;
use crate::support::gate::{Given, TestGate, WORKS, claims};
use crate::support::log::watch;
use crate::support::provider::CLIENT_SECRET;

/// The root key of the gates of these tests.
const GATE_KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n";

/// A running gate, and its operator.
pub(super) struct Running {
    pub(super) bench: Bench,
    pub(super) operator: Operator,
}

impl Running {
    /// The command and the gate share the machine's clock.
    pub(super) async fn new() -> Self {
        Self::with("", |_| {}).await
    }

    /// The same with more keys of the upstream in the file, and with other settings of the gate.
    pub(super) async fn with(upstream: &str, change: impl FnOnce(&mut Config)) -> Self {
        let (gate, provider) = TestGate::with_provider_at(Clock::system().now(), change).await;
        let client = gate.register().await;
        let bench = Bench { gate, provider, client, browser: Browser::default() };
        let database = database::file(&bench.gate.config.storage);
        let operator = Operator::without_proxy().with("SECRET", CLIENT_SECRET);
        operator.write_secret("portcullis.key", GATE_KEY);
        let text = format!(
            "public_url = \"{}\"\n[server]\nlisten = \"127.0.0.1:6749\"\n[storage]\nurl = \"sqlite:{}\"\n\
             [secrets]\nkeys = [{{ file = \"portcullis.key\" }}]\n\
             [[identity]]\nid = \"keycloak\"\nkind = \"keycloak\"\nissuer = \"{}\"\nclient_id = \"portcullis\"\n\
             client_secret = {{ env = \"SECRET\" }}\n\
             [[upstream]]\nid = \"mcp\"\npath = \"/mcp\"\nurl = \"{}\"\n{upstream}\
             [[client]]\nclient_id = \"chat\"\nname = \"Company chat\"\nredirect_uris = [\"https://chat.example/cb\"]\n",
            bench.gate.origin(),
            database.display(),
            bench.provider.issuer(),
            bench.gate.behind.url(),
        );
        std::fs::write(operator.path("portcullis.toml"), text).unwrap();
        let (feed, store) = (bench.gate.app.revocation().clone(), bench.gate.app.store().clone());
        let runs = Metrics::default().background.task(Task::RevocationFeed, &bench.gate.clock);
        tokio::spawn(feed.run(store, runs));
        Self { bench, operator }
    }

    /// Runs a command on a thread of its own: it has its own runtime, and the gate and the provider keep serving.
    pub(super) fn run(&self, arguments: &[&str]) -> Printed {
        self.run_logged(arguments).0
    }

    /// The same, and what was logged.
    pub(super) fn run_logged(&self, arguments: &[&str]) -> (Printed, String) {
        let file = self.operator.path("portcullis.toml").display().to_string();
        let arguments = [arguments, &["--config", &file]].concat();
        let command = || {
            let (lines, _guard) = watch();
            let printed = self.operator.run(&arguments);
            (printed, lines.text())
        };
        std::thread::scope(|scope| scope.spawn(command).join().unwrap())
    }

    /// Signs this user of the provider in.
    pub(super) async fn tokens(&mut self, user: &str) -> Given {
        self.bench.provider.sign_in_as(json!({"sub": user, "name": format!("{user} Ample")}));
        self.bench.browser = Browser::default();
        self.bench.tokens().await
    }

    pub(super) async fn status(&self, given: &Given) -> u16 {
        self.bench.gate.status_of_call(&given.access).await
    }

    /// Whether a token is refused within a second.
    pub(super) async fn is_refused_soon(&self, given: &Given) -> bool {
        let refused = async {
            while self.status(given).await != 401 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(1), refused).await.is_ok()
    }

    fn listed(&self, conditions: &[&str]) -> Vec<Value> {
        let printed = self.run(&[&["grants", "list", "--json"], conditions].concat());
        assert_eq!(printed.outcome, Outcome::Done, "{}", printed.err);
        serde_json::from_str(&printed.out).unwrap()
    }
}

fn grant_of(given: &Given) -> String {
    claims(&given.access)["sid"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_grants_are_listed_by_user_client_and_upstream() {
    let mut running = Running::new().await;
    let (ann, bob) = (running.tokens("ann").await, running.tokens("bob").await);
    let client = running.bench.client.id.clone();
    let all = running.listed(&[]);
    assert_eq!(all.len(), 2);
    for (conditions, found) in [
        (&["--user", "keycloak|ann"][..], vec![grant_of(&ann)]),
        (&["--user", "keycloak|bob", "--client", &client, "--upstream", "mcp"], vec![grant_of(&bob)]),
        (&["--user", "ann"], vec![]),
        (&["--client", "c_other"], vec![]),
    ] {
        let ids: Vec<_> = running.listed(conditions).iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids, found, "{conditions:?}");
    }
    let row = &running.listed(&["--user", "keycloak|ann"])[0];
    assert_eq!(
        (&row["subject"], &row["name"], &row["client_id"], &row["client_name"], &row["upstream"], &row["scope"]),
        (
            &json!("keycloak|ann"),
            &json!("ann Ample"),
            &json!(client),
            &json!("Test client"),
            &json!("mcp"),
            &json!("mcp:access")
        )
    );
    for time in ["created_at", "last_used_at", "expires_at"] {
        assert!(row[time].is_i64(), "{row}");
    }
    let printed = running.run(&["grants", "list", "--user", "keycloak|ann"]);
    let (text, _times) = printed.out.split_once("    created   20").unwrap();
    assert_snapshot!(text.replace(&grant_of(&ann), "g_1").replace(&client, "c_1"), @r#"
    g_1
        kind      user
        user      keycloak|ann  "ann Ample"
        client    c_1  "Test client"
        resource  http://127.0.0.1:6749/mcp
        scope     mcp:access
    "#);
    assert!(printed.out.ends_with("\n\n1 live grant\n"), "{}", printed.out);
    let printed = running.run(&["grants", "list", "--upstream", "wiki"]);
    assert_eq!(printed.outcome, Outcome::Failed);
    assert_snapshot!(printed.err, @r#"
    error: there is no upstream "wiki"
      hint: the configuration has mcp
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_grant_is_refused_by_the_running_process_and_its_offline_token_is_revoked() {
    let mut running = Running::new().await;
    let (ann, bob) = (running.tokens("ann").await, running.tokens("bob").await);
    assert_eq!((running.status(&ann).await, running.status(&bob).await), (WORKS, WORKS));
    let (printed, log) = running.run_logged(&["grants", "end", &grant_of(&ann)]);
    assert_eq!(printed.outcome, Outcome::Done, "{}", printed.err);
    let line = log.lines().find(|line| line.contains("grant ended")).expect("an audit line");
    assert!(line.contains("operator=\"") && line.contains("(uid ") && line.contains(&grant_of(&ann)), "{line}");
    let client = running.bench.client.id.clone();
    assert_snapshot!(printed.out.replace(&grant_of(&ann), "g_1").replace(&client, "c_1"), @r"
    g_1: ended (user keycloak|ann, client c_1)
    1 grant ended
    1 offline token revoked at keycloak
    ");
    assert!(running.is_refused_soon(&ann).await);
    assert_eq!(running.bench.gate.refresh(&running.bench.client, &ann.refresh).await.error(), "invalid_grant");
    assert_eq!(running.bench.provider.revoked().len(), 1);
    assert_eq!(running.status(&bob).await, WORKS);

    let again = running.run(&["grants", "end", &grant_of(&ann), "g_\u{1b}[2J"]);
    assert_eq!(again.outcome, Outcome::Failed);
    assert!(again.err.contains(&format!("error: {}: there is no such live grant", grant_of(&ann))), "{}", again.err);
    assert!(again.err.contains("g_\\u{1b}[2J") && !again.err.contains('\u{1b}'), "{}", again.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_are_listed_by_id_and_revoked_with_a_report_for_a_program() {
    let mut running = Running::new().await;
    let (ann, bob) = (running.tokens("ann").await, running.tokens("bob").await);
    assert_eq!((running.status(&ann).await, running.status(&bob).await), (WORKS, WORKS));
    let rows = running.listed(&[&grant_of(&bob), "g_none"]);
    assert_eq!(rows.iter().map(|row| &row["id"]).collect::<Vec<_>>(), [&grant_of(&bob)]);
    let client = running.bench.client.id.clone();
    let which = ["--user", "keycloak|ann", "--client", &client, "--upstream", "mcp"];
    let printed = running.run(&[&["grants", "revoke", "--yes", "--json"], &which[..]].concat());
    assert_eq!(printed.outcome, Outcome::Done, "{}", printed.err);
    let report: Value = serde_json::from_str(&printed.out).unwrap();
    let resource = running.bench.gate.config.upstreams[0].audience();
    let ended = json!({
        "id": grant_of(&ann), "subject": "keycloak|ann", "client_id": client, "resource": resource,
    });
    assert_eq!(
        report,
        json!({
            "ended": [ended],
            "cancelled_sign_ins": 0,
            "ended_sessions": 0,
            "offline_tokens": [{"identity": "keycloak", "revoked": 1, "kept": 0, "failure": null}],
        })
    );
    assert!(running.is_refused_soon(&ann).await);
    assert_eq!(running.status(&bob).await, WORKS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_grants_of_a_user_end_together_and_each_offline_token_is_revoked() {
    let mut running = Running::new().await;
    let (first, second, bob) = (running.tokens("ann").await, running.tokens("ann").await, running.tokens("bob").await);
    let printed = running.run(&["grants", "end", "--user", "keycloak|ann", "--yes"]);
    assert_eq!(printed.outcome, Outcome::Done, "{}", printed.err);
    assert!(printed.out.ends_with("2 grants ended\n2 offline tokens revoked at keycloak\n"), "{}", printed.out);
    assert!(running.is_refused_soon(&first).await && running.is_refused_soon(&second).await);
    assert_eq!(running.bench.provider.revoked().len(), 2);
    assert_eq!(running.status(&bob).await, WORKS);
}

/// Signs a user in at their own page.
async fn own_page(running: &mut Running, user: &str) -> Browser {
    running.bench.provider.sign_in_as(json!({"sub": user}));
    running.bench.browser = Browser::default();
    let url = begin(&mut running.bench).await;
    let back = running.bench.provider.visit(&url);
    assert_eq!(location(&running.bench.back(&back).await), "/account");
    running.bench.browser.clone()
}

async fn is_signed_in(running: &Running, browser: &Browser) -> bool {
    let page = browser.clone().get(&running.bench.gate, "/account").await;
    page.body.contains("You are signed in as")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ending_all_grants_of_a_user_signs_them_out_of_their_own_page() {
    let mut running = Running::new().await;
    let ann = running.tokens("ann").await;
    let client = running.bench.client.id.clone();
    let anns = [own_page(&mut running, "ann").await, own_page(&mut running, "ann").await];
    let bobs = own_page(&mut running, "bob").await;
    let grant = grant_of(&ann);
    for narrower in
        [&["grants", "end", &grant][..], &["grants", "end", "--user", "keycloak|ann", "--client", &client, "--yes"]]
    {
        assert_eq!(running.run(narrower).outcome, Outcome::Done);
        assert!(is_signed_in(&running, &anns[0]).await, "{narrower:?}");
    }
    let (printed, log) = running.run_logged(&["grants", "end", "--user", "keycloak|ann", "--yes"]);
    assert_eq!(printed.out, "0 grants ended\n2 sessions at /account ended\n", "{}", printed.err);
    let line = log.lines().find(|line| line.contains("sessions at the own page ended")).expect("an audit line");
    assert!(line.contains("operator=\"") && line.contains("count=2") && line.contains("keycloak|ann"), "{line}");
    for session in &anns {
        assert!(!is_signed_in(&running, session).await);
    }
    assert!(is_signed_in(&running, &bobs).await);
    let printed = running.run(&["grants", "end", "--all", "--yes", "--json"]);
    let report: Value = serde_json::from_str(&printed.out).unwrap();
    assert_eq!(report["ended_sessions"], 1, "{report}");
    assert!(!is_signed_in(&running, &bobs).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_at_the_own_page_that_is_under_way_while_grants_end_opens_no_session() {
    let mut running = Running::new().await;
    running.bench.provider.sign_in_as(json!({"sub": "ann"}));
    for which in [["--user", "keycloak|ann"].as_slice(), &["--all"]] {
        running.bench.browser = Browser::default();
        let url = begin(&mut running.bench).await;
        let back = running.bench.provider.visit(&url);
        let printed = running.run(&[&["grants", "end", "--yes"], which].concat());
        assert_eq!(printed.outcome, Outcome::Done, "{}", printed.err);
        running.bench.back(&back).await;
        let session = running.bench.browser.clone();
        assert!(!is_signed_in(&running, &session).await, "{which:?}");
    }
    let session = own_page(&mut running, "ann").await;
    assert!(is_signed_in(&running, &session).await, "the next one works");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ending_grants_also_refuses_sign_ins_under_way() {
    let mut running = Running::new().await;
    running.bench.provider.sign_in_as(json!({"sub": "ann"}));
    for which in [["--user", "keycloak|ann"].as_slice(), &["--all"]] {
        running.bench.browser = Browser::default();
        let code = parameter(&running.bench.sign_in().await, "code").unwrap();
        let (printed, log) = running.run_logged(&[&["grants", "end", "--yes"], which].concat());
        assert_eq!(printed.outcome, Outcome::Done, "{}", printed.err);
        assert_eq!(printed.out, "0 grants ended\n1 sign-in in progress cancelled\n");
        let line = log.lines().find(|line| line.contains("sign-ins cancelled")).expect("an audit line");
        assert!(line.contains("operator=\"") && line.contains("count=1"), "{line}");
        assert_eq!(line.contains("keycloak|ann"), which.len() == 2, "{line}");
        assert_eq!(running.bench.gate.redeem(&running.bench.client, &code).await.error(), "invalid_grant");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_at_the_provider_while_grants_end_gets_no_code_and_the_next_one_works() {
    let mut running = Running::new().await;
    running.bench.provider.sign_in_as(json!({"sub": "ann"}));
    // one that comes back afterwards, and one whose answer is being worked on
    for in_flight in [false, true] {
        running.bench.browser = Browser::default();
        let url = running.bench.approve().await;
        let back = running.bench.provider.visit(&url);
        let path = back.strip_prefix(running.bench.gate.origin()).unwrap();
        let end = || {
            let printed = running.run(&["grants", "end", "--user", "keycloak|ann", "--yes"]);
            assert_eq!((printed.outcome, printed.out.as_str()), (Outcome::Done, "0 grants ended\n"), "{}", printed.err);
        };
        let mut browser = running.bench.browser.clone();
        let answer = if in_flight {
            let held = running.bench.provider.hold_token();
            let beside = async {
                held.reached().await;
                end();
                drop(held);
            };
            tokio::join!(browser.get(&running.bench.gate, path), beside).0
        } else {
            end();
            browser.get(&running.bench.gate, path).await
        };
        assert!(answer.status >= 400 && answer.header("location").is_empty(), "{in_flight}: {answer:?}");
        let state = parameter(&url, "state").unwrap();
        let id = state.split('.').next().unwrap().into();
        let authorization = running.bench.gate.app.store().authorization(&id).await.unwrap().unwrap();
        assert_eq!(authorization.stage, Stage::Refused, "a reload need not wait");
        assert_eq!(running.listed(&[]).len(), 0);
        let anew = running.tokens("ann").await;
        assert_eq!(running.status(&anew).await, WORKS);
        assert_eq!(running.run(&["grants", "end", &grant_of(&anew)]).outcome, Outcome::Done);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_consent_form_of_a_deleted_client_cannot_be_approved() {
    let mut running = Running::new().await;
    let bench = &mut running.bench;
    let form = bench.gate.consent_form(&mut bench.browser, &bench.client, &[]).await;
    let id = running.bench.client.id.clone();
    assert_eq!(running.run(&["clients", "delete", &id, "--yes"]).outcome, Outcome::Done);
    let form = form.with("decision", "approve").with("identity", "keycloak");
    let bench = &mut running.bench;
    let answer = bench.browser.submit(&bench.gate, &form).await;
    assert!(answer.status >= 400 && answer.header("location").is_empty(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_ends_while_the_provider_is_down_and_the_unrevoked_token_is_reported() {
    let mut running = Running::new().await;
    let ann = running.tokens("ann").await;
    running.bench.provider.stop().await;
    let printed = running.run(&["grants", "end", &grant_of(&ann)]);
    assert_eq!(printed.outcome, Outcome::Failed);
    assert!(printed.out.ends_with("1 grant ended\n"), "{}", printed.out);
    assert!(printed.err.contains("error: 1 offline token could not be revoked at keycloak: "), "{}", printed.err);
    assert!(printed.err.contains("nothing listens there"), "{}", printed.err);
    assert!(running.is_refused_soon(&ann).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_this_configuration_cannot_revoke_are_reported() {
    for (written, instead, why) in [
        ("client_id = \"portcullis\"", "client_id = \"other\"", "it was issued to another client id"),
        ("id = \"keycloak\"", "id = \"sso\"", "the configuration no longer has this identity"),
    ] {
        let mut running = Running::new().await;
        let ann = running.tokens("ann").await;
        let file = running.operator.path("portcullis.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replacen(written, instead, 1)).unwrap();
        let printed = running.run(&["grants", "end", &grant_of(&ann)]);
        assert_eq!(printed.outcome, Outcome::Failed);
        let said = format!("error: 1 offline token could not be revoked at keycloak: {why}\n");
        assert!(
            printed.out.ends_with("1 grant ended\n") && printed.err.contains(&said),
            "{}{}",
            printed.out,
            printed.err
        );
        assert_eq!(running.bench.provider.calls("/revoke"), 0);
        assert!(running.is_refused_soon(&ann).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ending_many_grants_needs_a_confirmation() {
    let mut running = Running::new().await;
    let ann = running.tokens("ann").await;
    for (answer, words, outcome) in [
        (
            "",
            "[y/N] \nerror: nothing was done: there was no answer\n  hint: --yes skips this question",
            Outcome::Failed,
        ),
        ("n\n", "[y/N] nothing was done", Outcome::Done),
        ("\n", "[y/N] nothing was done", Outcome::Done),
        ("maybe\n", "[y/N] nothing was done", Outcome::Done),
    ] {
        running.operator.answers = answer;
        let printed = running.run(&["grants", "end", "--all"]);
        assert!(printed.err.contains(&format!("End 1 grant of 1 user? {words}")), "{}", printed.err);
        assert_eq!(printed.outcome, outcome, "{answer:?}");
        assert_eq!(running.listed(&[]).len(), 1, "{answer:?}");
    }
    running.operator.answers = "y\n";
    assert_eq!(running.run(&["grants", "end", "--all"]).outcome, Outcome::Done);
    assert!(running.is_refused_soon(&ann).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_a_client_ends_its_grants_and_a_configured_client_cannot_be_deleted() {
    let mut running = Running::new().await;
    let ann = running.tokens("ann").await;
    let client = running.bench.client.clone();
    let printed = running.run(&["clients", "list"]);
    assert!(
        printed.out.contains(
            "chat  \"Company chat\"\n    configured, sends codes to chat.example\n    0 live grants, never used\n"
        ),
        "{}",
        printed.out
    );
    assert!(
        printed.out.contains(&format!(
            "{}  \"Test client\"\n    registered, sends codes to 127.0.0.1\n    1 live grant, last used 20",
            client.id
        )),
        "{}",
        printed.out
    );

    let refused = running.run(&["clients", "delete", "chat", "--yes"]);
    assert_eq!(refused.outcome, Outcome::Failed);
    assert_snapshot!(refused.err, @"
    error: client chat is in the configuration
      hint: `portcullis clients disable chat` locks it out
    ");

    let printed = running.run(&["clients", "delete", &client.id, "--yes"]);
    assert_eq!(printed.outcome, Outcome::Done, "{}", printed.err);
    assert!(printed.out.ends_with(&format!("client {} is deleted\n", client.id)), "{}", printed.out);
    assert!(running.is_refused_soon(&ann).await);
    assert_eq!(running.bench.gate.refresh(&client, &ann.refresh).await.error(), "invalid_client");
    let rows: Vec<Value> = serde_json::from_str(&running.run(&["clients", "list", "--json"]).out).unwrap();
    assert_eq!(rows.iter().map(|row| &row["id"]).collect::<Vec<_>>(), ["chat"]);
    assert_eq!(running.run(&["clients", "delete", &client.id, "--yes"]).outcome, Outcome::Failed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_names_cannot_inject_escape_sequences_into_the_terminal() {
    let running = Running::new().await;
    let gate = &running.bench.gate;
    let hostile = "\u{1b}]0;owned\u{7}\u{9b}2J\r\n\u{202e}evil\" (configured)";
    let client = Client {
        id: "c_hostile".into(),
        origin: ClientOrigin::Registered,
        name: Some(hostile.to_owned()),
        redirect_uris: vec!["https://evil.example/\u{1b}[2J".to_owned(), "x:\u{9b}2J".to_owned()],
        authentication: Authentication::None,
        refresh_token: true,
        device: false,
        dpop_bound: false,
        scope: ScopeSet::empty(),
        application_type: None,
        created_at: gate.clock.now(),
    };
    gate.app.store().insert_client(&client, "192.0.2.1", 100, gate.clock.now()).await.unwrap();
    for arguments in [&["clients", "list"][..], &["clients", "list", "--json"], &["clients", "delete", "c_hostile"]] {
        let Printed { out, err, .. } = running.run(arguments);
        let text = format!("{out}{err}");
        assert!(text.contains("evil"), "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}'), "{text:?}");
        assert!(text.contains(r#"\" (configured)"#), "the quotes hold: {text}");
    }
}

#[test]
fn listing_does_not_create_a_missing_database() {
    let operator = Operator::new();
    let database = operator.path("portcullis.db");
    assert_eq!(
        operator.check(format!("public_url = \"https://mcp.example.com\"{}", super::REST)).outcome,
        Outcome::Done
    );
    let file = operator.path("portcullis.toml").display().to_string();
    let printed = operator.run(&["grants", "list", "-c", &file]);
    assert_eq!(printed.outcome, Outcome::Failed);
    assert_snapshot!(printed.err, @r"
    error: there is no database at /etc/portcullis/portcullis.db
      hint: `serve` creates it at its first start; check storage.url
    ");
    for command in COMMANDS {
        assert_eq!(operator.run(&[*command, &["-c", &file]].concat()).err, printed.err, "{command:?}");
    }
    assert!(!database.exists());
    std::fs::write(&database, "").unwrap();
    for command in COMMANDS {
        let printed = operator.run(&[*command, &["-c", &file]].concat());
        assert_eq!(printed.outcome, Outcome::Failed, "{command:?}");
        assert_eq!(printed.err, EMPTY.replace("PLACE", "/etc/portcullis/portcullis.db"), "{command:?}");
    }
    assert_eq!(std::fs::metadata(&database).unwrap().len(), 0);
    let files = std::fs::read_dir(operator.directory.path()).unwrap().count();
    assert_eq!(files, 3, "the configuration, the key, and the empty file");
}

/// What works on an existing database.
const COMMANDS: &[&[&str]] = &[
    &["grants", "list"],
    &["grants", "end", "--all", "--yes"],
    &["clients", "list"],
    &["clients", "show", "c_1"],
    &["clients", "disable", "c_1", "--yes"],
    &["clients", "enable", "c_1"],
    &["clients", "delete", "c_1", "--yes"],
    &["api-keys", "list"],
    &["api-keys", "revoke", "k_1", "--yes"],
    &["keys", "list"],
    &["keys", "rotate"],
];

/// What they say of an empty one.
const EMPTY: &str = "error: storage: the database cannot be used: PLACE is empty
  hint: `serve` or `portcullis migrate` makes the tables; check storage.url
";

#[test]
fn no_command_makes_tables_in_an_empty_database_on_postgres() {
    let database = cluster().create(None);
    let operator = Operator::new().with("PORTCULLIS_STORAGE__URL", &database.url());
    let text = format!("public_url = \"https://mcp.example.com\"{}", super::REST);
    std::fs::write(operator.path("portcullis.toml"), text).unwrap();
    let file = operator.path("portcullis.toml").display().to_string();
    for command in COMMANDS {
        let printed = operator.run(&[*command, &["-c", &file]].concat());
        assert_eq!(printed.outcome, Outcome::Failed, "{command:?}");
        let (before, after) = EMPTY.split_once("PLACE").unwrap();
        assert!(printed.err.starts_with(before) && printed.err.ends_with(after), "{command:?}: {}", printed.err);
    }
    let storage: Storage = Postgres::at(database.url().parse().unwrap()).into();
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()";
    assert_eq!(blocking(async move { database::number(&storage, tables).await }), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_leaves_the_schema_of_an_older_version_alone() {
    let running = Running::new().await;
    let storage = &running.bench.gate.config.storage;
    database::by_hand(storage, "DROP TABLE single_use; DELETE FROM _sqlx_migrations WHERE version = 5").await;
    let printed = running.run(&["grants", "list"]);
    assert_eq!(printed.outcome, Outcome::Failed);
    let lacks = "lacks a migration of this program (0005_single_use)\n  hint: run `portcullis migrate` first\n";
    assert!(printed.err.ends_with(lacks), "{}", printed.err);
    assert_eq!(running.run(&["migrate"]).outcome, Outcome::Done);
    assert_eq!(running.run(&["grants", "list"]).outcome, Outcome::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_secret_stops_only_the_commands_that_need_it() {
    let mut running = Running::new().await;
    let ann = running.tokens("ann").await;
    running.operator.environment.retain(|(name, _)| name != "SECRET");
    for command in
        [&["grants", "list"][..], &["clients", "list"], &["api-keys", "list"], &["keys", "list"], &["migrate"]]
    {
        let printed = running.run(command);
        assert_eq!((printed.outcome, printed.err.as_str()), (Outcome::Done, ""), "{command:?}");
    }
    assert_eq!(running.run(&["keys", "rotate"]).outcome, Outcome::Done, "it needs the root keys alone");
    let printed = running.run(&["check"]);
    assert!(printed.outcome == Outcome::Failed && printed.err.contains("client_secret"), "{}", printed.err);
    let printed = running.run(&["grants", "end", &grant_of(&ann)]);
    assert_eq!(printed.outcome, Outcome::Failed, "the grant has ended, and its token at the provider has not");
    assert!(printed.out.contains("1 grant ended\n"), "{}", printed.out);
    assert!(printed.err.contains("warning: identity \"keycloak\": client_secret: "), "{}", printed.err);
    assert!(printed.err.contains("cannot be revoked without it"), "{}", printed.err);
    assert!(printed.err.contains("error: 1 offline token could not be revoked at keycloak"), "{}", printed.err);
    assert!(running.is_refused_soon(&ann).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_end_without_the_root_keys() {
    let mut running = Running::new().await;
    let ann = running.tokens("ann").await;
    std::fs::remove_file(running.operator.path("portcullis.key")).unwrap();
    assert_eq!(running.run(&["grants", "list"]).outcome, Outcome::Done);
    assert_eq!(running.run(&["keys", "rotate"]).outcome, Outcome::Failed);
    let printed = running.run(&["grants", "end", "--user", "keycloak|ann", "--yes"]);
    assert!(printed.out.contains("1 grant ended\n"), "{}{}", printed.out, printed.err);
    assert!(printed.err.contains("warning: secrets: keys[0]: the root key's file does not exist"), "{}", printed.err);
    let kept = "error: 1 offline token could not be revoked at keycloak: it cannot be opened\n";
    assert!(printed.err.contains(kept), "{}", printed.err);
    assert!(running.is_refused_soon(&ann).await);
    assert_eq!(running.bench.provider.calls("/revoke"), 0);
}

#[test]
fn the_password_of_the_database_is_always_needed() {
    let operator = Operator::new();
    let storage = "url = \"postgres://u@127.0.0.1/d\"\npassword = { env = \"DATABASE_PASSWORD\" }";
    let text = super::REST.replace("url = \"sqlite:portcullis.db\"", storage);
    std::fs::write(operator.path("portcullis.toml"), format!("public_url = \"https://mcp.example.com\"{text}"))
        .unwrap();
    let file = operator.path("portcullis.toml").display().to_string();
    let printed = operator.run(&["grants", "list", "-c", &file]);
    assert_eq!(printed.outcome, Outcome::Failed);
    assert!(
        printed.err.contains("error: storage: password: the environment variable DATABASE_PASSWORD"),
        "{}",
        printed.err
    );
}
