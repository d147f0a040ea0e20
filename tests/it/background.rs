//! The background tasks of the running program: expiry, the revocation feed, resealing.

use std::time::Duration;

use portcullis::config::{Config, RootKey, Secrets};
use portcullis::keys::{KeyRing, Sealer};
use portcullis::model::grant::EndReason;
use serde_json::Value;

use crate::support::gate::{TestGate, WORKS};

fn on_free_ports(config: &mut Config) {
    let free = "127.0.0.1:0".parse().unwrap();
    config.server.listen = free;
    config.server.operations = Some(free);
}

/// How long to wait before more time is made to pass.
const SOON: Duration = Duration::from_millis(300);

/// Runs the program with its listeners until `what` is true. `passes` is the time that has to pass for it, if any.
#[expect(clippy::future_not_send, reason = "a test runs on one thread")]
async fn run_until(gate: &TestGate, passes: Option<Duration>, what: impl AsyncFn() -> bool) {
    let listeners = gate.app.listen().unwrap();
    let comes_true = async {
        for _ in 0..100 {
            if tokio::time::timeout(SOON, async { while !what().await {} }).await.is_ok() {
                return;
            }
            if let Some(passes) = passes {
                tokio::time::pause();
                tokio::time::advance(passes).await;
                tokio::time::resume();
            }
        }
        panic!("it never came true");
    };
    tokio::select! {
        ended = gate.app.run(listeners) => panic!("the program ended: {ended:?}"),
        () = comes_true => {}
    }
}

#[tokio::test]
async fn the_running_program_deletes_expired_rows() {
    let gate = TestGate::with(on_free_ports).await;
    let unused = gate.register().await;
    gate.clock.advance(Duration::from_hours(31 * 24));
    run_until(&gate, Some(Duration::from_secs(31)), async || {
        gate.app.store().client(&unused.id.as_str().into()).await.unwrap().is_none()
    })
    .await;
}

#[tokio::test]
async fn the_running_program_learns_of_grants_that_another_process_ended() {
    let gate = TestGate::with(on_free_ports).await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    assert_eq!(gate.call(&given.access).await.status, WORKS);
    let claims = data_encoding::BASE64URL_NOPAD.decode(given.access.split('.').nth(1).unwrap().as_bytes()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let (grant, now) = (claims["sid"].as_str().unwrap().into(), gate.clock.now());
    gate.app.store().end_grant(&grant, EndReason::IdentityProvider, now).await.unwrap().expect("it was live");
    assert_eq!(gate.call(&given.access).await.status, WORKS, "the feed was not read yet");
    run_until(&gate, None, async || gate.status_of_call(&given.access).await == 401).await;
}

#[tokio::test]
async fn the_running_program_reseals_what_an_older_root_key_sealed() {
    let ring = |keys: &[u8]| Secrets { keys: keys.iter().map(|byte| RootKey::from_bytes([*byte; 32])).collect() };
    let gate = TestGate::with(on_free_ports).await;
    let gate = gate.restart_with(|config| config.secrets = ring(&[8, 7])).await;
    let opens = async || {
        let (store, algorithm) = (gate.app.store().clone(), gate.config.tokens.algorithm);
        KeyRing::load(store, Sealer::new(&ring(&[8])), algorithm, gate.clock.clone()).await.is_ok()
    };
    assert!(!opens().await, "the new key alone opens nothing yet");
    run_until(&gate, None, opens).await;
}
