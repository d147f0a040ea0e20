//! `portcullis api-keys`, beside a process that has the same database open.

use std::time::Duration;

use insta::assert_snapshot;
use portcullis::cli::Outcome;
use serde_json::Value;

use super::records::Running;
use crate::support::gate::WORKS;

async fn running() -> Running {
    Running::with("api_keys = [\"bearer\"]\n", |config| config.upstreams[0].settings.api_keys.bearer = true).await
}

const CREATE: [&str; 6] = ["api-keys", "create", "--upstream", "mcp", "--name", "nightly report"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_created_key_is_printed_once_works_at_once_and_is_refused_within_a_second_of_its_revocation() {
    let running = running().await;
    let created = [&CREATE[..], &["--owner", "ops", "--expires-in", "90d"]].concat();
    let (printed, log) = running.run_logged(&created);
    assert_eq!(printed.outcome, Outcome::Done, "{}", printed.err);
    let key = printed.out.trim_end().to_owned();
    assert!(key.starts_with("pck_") && key.len() == 62 && !printed.err.contains(&key), "{}", printed.out);
    assert!(printed.err.contains("it is not shown again"), "{}", printed.err);
    assert!(log.contains("granted") && log.contains("operator=") && !log.contains("pck_"), "{log}");
    assert_eq!(running.bench.gate.status_of_call(&key).await, WORKS);

    let listed = running.run(&["api-keys", "list", "--json"]);
    let rows: Vec<Value> = serde_json::from_str(&listed.out).unwrap();
    let id = rows[0]["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("k_") && !listed.out.contains("pck_"));
    assert_eq!(
        (&rows[0]["name"], &rows[0]["owner"], &rows[0]["upstream"]),
        (&"nightly report".into(), &"ops".into(), &"mcp".into())
    );
    let shown = running.run(&["api-keys", "list", "--upstream", "mcp"]);
    assert!(
        shown.out.contains(&format!("{id}  \"nightly report\", owner \"ops\"")) && shown.out.contains("1 live key"),
        "{}",
        shown.out
    );

    let (revoked, log) = running.run_logged(&["api-keys", "revoke", &id, "k_unknown", "--yes"]);
    assert_eq!(revoked.outcome, Outcome::Failed);
    assert_eq!(revoked.out, format!("{id}: revoked\n"));
    assert!(revoked.err.contains("k_unknown: there is no such live key"), "{}", revoked.err);
    let mistaken = running.run(&["api-keys", "revoke", &key, "--yes"]);
    assert_eq!(mistaken.outcome, Outcome::Failed);
    assert!(mistaken.err.contains("this is a key") && !mistaken.err.contains("pck_"), "{}", mistaken.err);
    assert!(log.contains("grant ended") && log.contains("reason=\"operator\""), "{log}");
    let refused = async {
        while running.bench.gate.status_of_call(&key).await != 401 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(1), refused).await.is_ok());
    assert_eq!(running.run(&["api-keys", "list"]).out, "0 live keys\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_never_expires_says_so_and_json_has_the_key() {
    let running = running().await;
    let printed = running.run(&[&CREATE[..], &["--never-expires", "--json"]].concat());
    let row: Value = serde_json::from_str(&printed.out).unwrap();
    assert_eq!(row["expires_at"], Value::Null);
    assert_eq!(running.bench.gate.status_of_call(row["key"].as_str().unwrap()).await, WORKS);
    let listed = running.run(&["api-keys", "list"]);
    assert!(listed.out.contains("never expires") && listed.out.contains("not known to be used"), "{}", listed.out);
    // `grants end` ends it as it ends every grant
    let ended = running.run(&["grants", "end", row["id"].as_str().unwrap()]);
    assert_eq!(ended.outcome, Outcome::Done, "{}", ended.err);
    assert_eq!(running.run(&["api-keys", "list"]).out, "0 live keys\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_could_not_be_used_is_not_created() {
    let running = running().await;
    let refused = |extra: &[&str]| {
        let printed = running.run(&[&CREATE[..], extra].concat());
        assert_ne!(printed.outcome, Outcome::Done, "{extra:?}");
        assert_eq!(printed.out, "");
        printed.err
    };
    assert!(refused(&[]).contains("--expires-in"), "an expiry is required");
    assert!(refused(&["--expires-in", "1d", "--never-expires"]).contains("cannot be used with"));
    assert_snapshot!(refused(&["--expires-in", "soon"]), @r#"
    error: "soon" is not a duration from 1s to ten years
      hint: such as 12h or 90d; --never-expires makes a key without an end
    "#);
    for zero in ["0s", "99999d"] {
        assert!(refused(&["--expires-in", zero]).contains("is not a duration"), "{zero}");
    }
    assert_snapshot!(refused(&["--never-expires", "--scope", "admin"]), @r#"
    error: the upstream does not know the scope "admin"
      hint: it knows mcp:access
    "#);
    assert!(refused(&["--never-expires", "--owner", "a\u{1b}[2J"]).contains("on one line"));
    let unknown = running.run(&["api-keys", "create", "--upstream", "wiki", "--name", "x", "--never-expires"]);
    assert_snapshot!(unknown.err, @r#"
    error: there is no upstream "wiki"
      hint: the configuration has mcp
    "#);
    let off = Running::new().await;
    assert_snapshot!(off.run(&[&CREATE[..], &["--never-expires"]].concat()).err, @r#"
    error: upstream "mcp" takes no API keys
      hint: set api_keys = ["bearer"] there, and restart the gateway
    "#);
    assert_eq!(running.run(&["api-keys", "list"]).out, "0 live keys\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_found_is_revoked_by_itself_and_never_printed() {
    let mut running = running().await;
    let key = running.run(&[&CREATE[..], &["--never-expires"]].concat()).out.trim_end().to_owned();
    assert_eq!(running.bench.gate.status_of_call(&key).await, WORKS);
    let revoke = |running: &mut Running, typed: String, more: &[&str]| {
        running.operator.answers = typed.leak();
        let printed = running.run(&[&["api-keys", "revoke", "--key-stdin"], more].concat());
        assert!(!format!("{}{}", printed.out, printed.err).contains(&key[..12]), "{}{}", printed.out, printed.err);
        printed
    };
    let mistyped = format!("{}{}", &key[..61], if key.ends_with('a') { 'b' } else { 'a' });
    for damaged in ["", "\n", "k_1\n", &key[..40], &key.replace("pck_", "pcr_"), &mistyped] {
        let printed = revoke(&mut running, damaged.to_owned(), &["--yes"]);
        assert_eq!(printed.outcome, Outcome::Failed, "{damaged}");
        assert!(printed.err.contains("error: standard input has no whole API key\n  hint: "), "{}", printed.err);
    }
    let printed = revoke(&mut running, format!("{key}\n"), &[]);
    assert!(printed.outcome == Outcome::Failed && printed.err.contains("there was no answer"), "{}", printed.err);
    let printed = revoke(&mut running, format!("{key}\nn\n"), &[]);
    assert!(printed.outcome == Outcome::Done && printed.err.contains("\"nightly report\"? [y/N] nothing was done"));
    assert_eq!(running.bench.gate.status_of_call(&key).await, WORKS);
    let printed = revoke(&mut running, format!("  {key}\r\ny\n"), &[]);
    assert!(printed.outcome == Outcome::Done && printed.out.ends_with(": revoked\n"), "{}{}", printed.out, printed.err);
    let refused = async {
        while running.bench.gate.status_of_call(&key).await != 401 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(1), refused).await.is_ok());
    let printed = revoke(&mut running, format!("{key}\n"), &["--yes"]);
    assert_eq!(printed.outcome, Outcome::Failed);
    assert_snapshot!(printed.err, @"
    The key: 
    error: this key is not live here
      hint: it was revoked or has expired, or it is of another gateway; nothing was done
    ");
    for misused in [&["api-keys", "revoke"][..], &["api-keys", "revoke", "k_1", "--key-stdin"]] {
        assert_eq!(running.run(misused).outcome, Outcome::Misused, "{misused:?}");
    }
}
