//! `portcullis keys list` and `keys rotate` beside a running process.

use std::time::Duration;

use portcullis::cli::Outcome;
use serde_json::Value;

use super::records::Running;
use super::{Operator, Printed};
use crate::support::gate::WORKS;

fn listed(running: &Running) -> Vec<(String, String)> {
    let printed = running.run(&["keys", "list", "--json"]);
    assert_eq!(printed.outcome, Outcome::Done, "{}", printed.err);
    let rows: Vec<Value> = serde_json::from_str(&printed.out).unwrap();
    let text = |row: &Value, member: &str| row[member].as_str().unwrap().to_owned();
    rows.iter().map(|row| (text(row, "id"), text(row, "state"))).collect()
}

fn states(running: &Running) -> Vec<String> {
    listed(running).into_iter().map(|(_, state)| state).collect()
}

fn done(printed: &Printed) -> &str {
    assert_eq!(printed.outcome, Outcome::Done, "{}", printed.err);
    &printed.out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_publishes_one_key_and_says_when_it_signs() {
    let running = Running::new().await;
    assert_eq!(states(&running), ["signing"]);
    let (printed, log) = running.run_logged(&["keys", "rotate"]);
    let line = log.lines().find(|line| line.contains("signing key published")).expect("an audit line");
    assert!(line.contains("operator=\"") && line.contains("algorithm=\"ES256\""), "{line}");
    assert_eq!(states(&running), ["signing", "next"]);
    let next = &listed(&running)[1].0;
    assert!(done(&printed).starts_with(&format!("{next}: published (ES256), signs from 20")), "{}", printed.out);
    let again = running.run(&["keys", "rotate"]);
    assert!(done(&again).starts_with(&format!("{next}: is published already, and signs from 20")), "{}", again.out);
    assert!(again.out.ends_with("on: nothing was done\n"), "{}", again.out);
    assert_eq!(states(&running), ["signing", "next"]);
    let text = running.run(&["keys", "list"]).out;
    assert!(text.contains("  ES256  signs since 20") && text.contains("  ES256  next, signs from 20"), "{text}");
    assert!(text.ends_with("2 signing keys\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn withdrawing_all_keys_asks_first_and_reaches_a_running_process() {
    let mut running = Running::new().await;
    let given = running.tokens("ann").await;
    assert_eq!(running.status(&given).await, WORKS);
    let asked = running.run(&["keys", "rotate", "--now"]);
    assert!(asked.err.contains("Withdraw 1 key at once?") && asked.err.contains("[y/N]"), "{}", asked.err);
    assert_eq!((states(&running), asked.out.as_str()), (vec!["signing".to_owned()], ""));
    assert_eq!(running.run(&["keys", "rotate", "--yes"]).outcome, Outcome::Misused, "there is nothing to confirm");
    let old = listed(&running).remove(0).0;
    let (printed, log) = running.run_logged(&["keys", "rotate", "--now", "--yes"]);
    assert!(done(&printed).starts_with(&format!("{old}: withdrawn\nk_")), "{}", printed.out);
    assert!(log.contains("signing key withdrawn") && log.contains("signing key published"), "{log}");
    assert_eq!(states(&running), ["signing", "withdrawn"]);
    let gate = &running.bench.gate;
    gate.clock.advance(Duration::from_secs(1));
    gate.app.key_rotation().tend().await.unwrap();
    assert_eq!(running.status(&given).await, 401);
    let refreshed = running.bench.gate.refresh(&running.bench.client, &given.refresh).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_key_is_listed_with_the_time_when_it_goes() {
    let running = Running::new().await;
    let gate = &running.bench.gate;
    crate::support::database::by_hand(
        &gate.config.storage,
        "UPDATE signing_keys SET created_at = created_at - 10000, active_from = created_at - 10000",
    )
    .await;
    running.run(&["keys", "rotate"]);
    // as if eleven minutes had passed since
    crate::support::database::by_hand(
        &gate.config.storage,
        "UPDATE signing_keys SET active_from = active_from - 700 WHERE generation = 2",
    )
    .await;
    assert_eq!(states(&running), ["previous", "signing"]);
    let rows: Vec<Value> = serde_json::from_str(&running.run(&["keys", "list", "--json"]).out).unwrap();
    let times = (rows[0]["retires_at"].as_i64().unwrap(), rows[1]["active_from"].as_i64().unwrap());
    assert_eq!(times.0 - times.1, 3600 + 15 * 60);
}

#[test]
fn the_time_between_rotations_is_a_day_at_least_or_off() {
    let check = |value: &str| {
        let rest =
            format!("public_url = \"https://mcp.example.com\"\n[tokens]\nrotate_keys = {value}\n{}", super::REST);
        Operator::new().check(rest).err
    };
    for good in ["\"1d\"", "\"90d\"", "\"24h\"", "\"off\"", "false"] {
        assert_eq!(check(good), "", "{good}");
    }
    for (bad, words) in [
        ("\"23h\"", "tokens: rotate_keys: must be at least 1d\n    hint: `portcullis keys rotate` rotates at once"),
        ("\"0s\"", "tokens: rotate_keys: must be at least 1d"),
        ("90", "tokens: rotate_keys: must be a duration\n    hint: a duration such as \"90d\", or \"off\""),
        ("true", "tokens: rotate_keys: must be a duration"),
        ("\"11000d\"", "tokens: rotate_keys: is longer than ten years"),
    ] {
        assert!(check(bad).contains(words), "{bad}: {}", check(bad));
    }
}

#[test]
fn nothing_is_rotated_where_there_is_no_database() {
    let operator = Operator::new();
    operator.check(format!("public_url = \"https://mcp.example.com\"{}", super::REST));
    let file = operator.path("portcullis.toml").display().to_string();
    for command in [&["keys", "list"][..], &["keys", "rotate"], &["keys", "rotate", "--now", "--yes"]] {
        let printed = operator.run(&[command, &["-c", &file]].concat());
        assert_eq!(printed.outcome, Outcome::Failed);
        assert!(printed.err.contains("error: there is no database at"), "{}", printed.err);
    }
    assert!(!operator.path("portcullis.db").exists());
}
