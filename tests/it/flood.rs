//! A flood of registrations from more addresses than the limits per address can count, beside a signed-in user.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::support::gate::{Answer, REDIRECT_URI, TestGate, tokens};
use crate::support::log;

/// How many strangers register at once, and how often each, always from another /48.
const STRANGERS: u16 = 1000;
const EACH: u16 = 3;

async fn register_from(gate: &TestGate, number: u16) -> Answer {
    let address = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, number, 0, 0, 0, 0, 1));
    let body = json!({"client_name": format!("client {number}"), "redirect_uris": [REDIRECT_URI]}).to_string();
    let request = gate.request("POST", "/register").header("content-type", "application/json");
    gate.send_from(address, request, body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_pass_a_flood_of_registrations_whose_surplus_gets_503() {
    let gate = Arc::new(TestGate::new().await);
    let client = gate.register().await;
    let mut given = gate.tokens(&client).await;
    let waits = Arc::new(Notify::new());
    let flood: Vec<_> = (0..STRANGERS)
        .map(|stranger| {
            let (gate, waits) = (Arc::clone(&gate), Arc::clone(&waits));
            tokio::spawn(async move {
                let mut answers = Vec::new();
                for number in (0..EACH).map(|time| time * STRANGERS + stranger) {
                    answers.push(register_from(&gate, number).await);
                    if answers.iter().any(|answer| answer.status == 503) {
                        waits.notify_one();
                    }
                }
                answers
            })
        })
        .collect();
    timeout(Duration::from_secs(20), waits.notified()).await.expect("more registrations arrive than may wait");
    let (mut slowest, mut refreshes) = (Duration::ZERO, 0);
    while refreshes == 0 || !flood.iter().all(tokio::task::JoinHandle::is_finished) {
        let began = Instant::now();
        given = tokens(&gate.refresh(&client, &given.refresh).await);
        slowest = slowest.max(began.elapsed());
        refreshes += 1;
        // the same grant may be refreshed sixty times in an hour
        gate.clock.advance(Duration::from_mins(1));
    }
    let answers: Vec<_> = join_all(flood).await.into_iter().flat_map(Result::unwrap).collect();
    let busy: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    println!(
        "{refreshes} refreshes, the slowest in {slowest:?}; {} of {} registrations told to wait",
        busy.len(),
        answers.len()
    );
    // clients give up after ten seconds; the test does not measure how much faster a quiet machine is
    assert!(slowest < Duration::from_secs(8), "{slowest:?}");
    assert!(!busy.is_empty() && busy.len() < answers.len(), "{} of {}", busy.len(), answers.len());
    for answer in busy {
        assert_eq!((answer.error().as_str(), answer.header("retry-after")), ("temporarily_unavailable", "5"));
    }
    assert!(answers.iter().all(|answer| [201, 503].contains(&answer.status)));
    assert!(!gate.app.store().is_degraded(), "a full queue is not a storage failure");
    assert_eq!(register_from(&gate, STRANGERS * EACH).await.status, 201, "afterwards all is as before");
}

#[tokio::test]
async fn the_log_names_the_setting_that_bounds_waiting_registrations() {
    let (lines, _guard) = log::watch();
    let gate = TestGate::with(|config| config.limits.waiting_writes = 4).await;
    let statuses: Vec<_> = join_all((0..30).map(|number| register_from(&gate, number))).await;
    let refused = statuses.iter().filter(|answer| answer.status == 503).count();
    // one has its turn and four wait, first for the look-up and then for the write
    assert!((20..=25).contains(&refused), "{refused} of 30");
    assert!(statuses.iter().all(|answer| [201, 503].contains(&answer.status)));
    assert!(lines.text().contains("(limits.waiting_writes)"), "{}", lines.text());
}
