//! What a proof costs a call: `cargo bench --bench dpop`.
//!
//! Calls through the gate, in process and one after another, as a bearer token and with a proof each, in turn, in one run. The
//! client's part, making the proofs, is not measured. What counts is the difference: one proof is read, its signature verified, and
//! remembered. The bearer calls go to an upstream that takes bound tokens too, and to one that does not: these two must be equal.

#![expect(dead_code, unreachable_pub, reason = "only a part of what the tests share is used here")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark that goes wrong ends, and says what it measured"
)]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::time::Duration;

use tokio::time::Instant;

use support::dpop::{Holder, call, optional};
use support::gate::{TestGate, WORKS};

const CALLS: usize = 2000;
const ROUNDS: usize = 7;

/// The time that a call takes on average.
fn each(began: Instant) -> Duration {
    (Instant::now() - began) / u32::try_from(CALLS).unwrap()
}

async fn bearer(gate: &TestGate, token: &str) -> Duration {
    let began = Instant::now();
    for _ in 0..CALLS {
        assert_eq!(gate.call(token).await.status, WORKS);
    }
    let each = each(began);
    gate.behind.seen.lock().unwrap().clear();
    each
}

async fn bound(gate: &TestGate, holder: &Holder, token: &str) -> Duration {
    let proofs: Vec<_> = (0..CALLS).map(|_| holder.for_call(gate, "POST", token)).collect();
    let began = Instant::now();
    for proof in &proofs {
        assert_eq!(call(gate, "POST", token, &[proof]).await.status, WORKS);
    }
    let each = each(began);
    gate.behind.seen.lock().unwrap().clear();
    each
}

fn median(mut of: Vec<Duration>) -> Duration {
    of.sort_unstable();
    of[of.len() / 2]
}

#[tokio::main]
async fn main() {
    let (off, on, holder) = (TestGate::new().await, optional().await, Holder::new());
    let plain = off.tokens(&off.register().await).await.access;
    let client = on.register().await;
    let (unbound, token) = (on.tokens(&client).await.access, holder.tokens(&on, &client).await.access);
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for number in 1..=ROUNDS {
        let round = [bearer(&off, &plain).await, bearer(&on, &unbound).await, bound(&on, &holder, &token).await];
        println!(
            "round {number}: Bearer, dpop off {:?}; Bearer, dpop optional {:?}; DPoP {:?}",
            round[0], round[1], round[2]
        );
        for (times, time) in times.iter_mut().zip(round) {
            times.push(time);
        }
        // another nonce, so that the memory of proofs is as full as in use
        on.clock.advance(Duration::from_secs(15));
    }
    let [off, on, dpop] = times.map(median);
    println!(
        "median: Bearer, dpop off {off:?}; Bearer, dpop optional {on:?}; DPoP {dpop:?}; a proof costs {:?}",
        dpop.saturating_sub(on)
    );
}
