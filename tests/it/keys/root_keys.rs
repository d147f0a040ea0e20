//! Retiring a root key: put the new one first, start, wait until everything is resealed, remove the old one.

use portcullis::config::{RootKey, Secrets};
use portcullis::keys::{Resealed, Resealing, Sealer};

use crate::support::browser::{Browser, location, parameter};
use crate::support::gate::{Given, TestClient, TestGate, WORKS, tokens};
use crate::support::provider::FakeProvider;

fn ring(keys: &[u8]) -> Secrets {
    Secrets { keys: keys.iter().map(|byte| RootKey::from_bytes([*byte; 32])).collect() }
}

async fn code(gate: &TestGate, provider: &FakeProvider, client: &TestClient) -> String {
    let mut browser = Browser::default();
    let form = gate.consent_form(&mut browser, client, &[]).await;
    let form = form.with("decision", "approve").with("identity", "keycloak");
    let url = location(&browser.submit(gate, &form).await);
    let back = provider.visit(&url);
    let answer = browser.get(gate, back.strip_prefix(gate.origin()).unwrap()).await;
    parameter(&location(&answer), "code").unwrap()
}

async fn sign_in(gate: &TestGate, provider: &FakeProvider, client: &TestClient) -> Given {
    tokens(&gate.redeem(client, &code(gate, provider, client).await).await)
}

async fn pass(gate: &TestGate, keys: &[u8]) -> Resealed {
    Resealing::new(gate.app.store().clone(), Sealer::new(&ring(keys))).pass().await.unwrap()
}

#[tokio::test]
async fn an_old_root_key_can_be_removed_after_resealing() {
    let (gate, provider) = TestGate::with_provider(|config| config.secrets = ring(&[1])).await;
    let client = gate.register().await;
    let first = sign_in(&gate, &provider, &client).await;
    let waiting = code(&gate, &provider, &client).await;

    let gate = gate.restart_with(|config| config.secrets = ring(&[2, 1])).await;
    let done = pass(&gate, &[2, 1]).await;
    assert_eq!(done, Resealed { resealed: 3, lost: 0 }, "the signing key, the grant's token, and the code's");
    assert_eq!(pass(&gate, &[2, 1]).await, Resealed::default(), "nothing is left to do");

    let gate = gate.restart_with(|config| config.secrets = ring(&[2])).await;
    assert_eq!(gate.call(&first.access).await.status, WORKS, "the old signing key opens");
    let refreshed = tokens(&gate.refresh(&client, &first.refresh).await);
    let second = tokens(&gate.redeem(&client, &waiting).await);
    tokens(&gate.refresh(&client, &second.refresh).await);
    assert_eq!(gate.call(&refreshed.access).await.status, WORKS);
}

#[tokio::test]
async fn concurrent_resealing_in_two_processes_loses_nothing() {
    let (gate, provider) = TestGate::with_provider(|config| config.secrets = ring(&[1])).await;
    let client = gate.register().await;
    let mut given = Vec::new();
    for _ in 0..8 {
        given.push(sign_in(&gate, &provider, &client).await);
    }
    let (one, other) = tokio::join!(pass(&gate, &[2, 1]), pass(&gate, &[2, 1]));
    assert_eq!(one.resealed + other.resealed, 9);
    let gate = gate.restart_with(|config| config.secrets = ring(&[2])).await;
    for given in given {
        tokens(&gate.refresh(&client, &given.refresh).await);
    }
}

#[tokio::test]
async fn values_that_no_root_key_opens_are_counted_and_left_unchanged() {
    let (gate, provider) = TestGate::with_provider(|config| config.secrets = ring(&[1])).await;
    let client = gate.register().await;
    let given = sign_in(&gate, &provider, &client).await;
    assert_eq!(pass(&gate, &[3, 2]).await, Resealed { resealed: 0, lost: 2 });
    let gate = gate.restart_with(|config| config.secrets = ring(&[2, 1])).await;
    tokens(&gate.refresh(&client, &given.refresh).await);
}
