//! Every lifetime is as configured.

use std::time::Duration;

use portcullis::config::Lifetimes;

use crate::support::browser::{Browser, Form, location};
use crate::support::gate::{TestClient, TestGate, WORKS, tokens};

const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);

async fn gate() -> TestGate {
    TestGate::with(|config| {
        config.lifetimes = Lifetimes {
            code: 10 * SECOND,
            consent: MINUTE,
            authorization: 2 * MINUTE,
            access_token: 5 * MINUTE,
            refresh_idle: 60 * MINUTE,
            max_grant_age: 90 * MINUTE,
            replay_window: 3 * SECOND,
            unused_client: 10 * MINUTE,
            used_client: 180 * MINUTE,
            jwks_max_age: 70 * SECOND,
        };
    })
    .await
}

#[tokio::test]
async fn lifetimes_of_consent_forms_sign_ins_and_codes_are_as_configured() {
    let gate = gate().await;
    let client = gate.register().await;
    let mut browser = Browser::default();
    let approve = |form: Form| form.with("decision", "approve").with("identity", "local");

    let form = approve(gate.consent_form(&mut browser, &client, &[]).await);
    gate.clock.advance(MINUTE);
    let asked_again = browser.submit(&gate, &form).await;
    assert_eq!(asked_again.status, 200);
    let form = approve(Form::on(&asked_again.body));
    gate.clock.advance(59 * SECOND);
    let place = location(&browser.submit(&gate, &form).await);

    gate.clock.advance(119 * SECOND);
    assert_eq!(browser.get(&gate, &place).await.status, 200);
    gate.clock.advance(SECOND);
    assert_eq!(browser.get(&gate, &place).await.status, 400);

    let (early, late) = (gate.code(&client).await, gate.code(&client).await);
    gate.clock.advance(9 * SECOND);
    assert_eq!(gate.redeem(&client, &early).await.status, 200);
    gate.clock.advance(SECOND);
    assert_eq!(gate.redeem(&client, &late).await.error(), "invalid_grant");
}

#[tokio::test]
async fn lifetimes_of_tokens_and_grants_are_as_configured() {
    let gate = gate().await;
    let client = gate.register().await;
    let answer = gate.redeem(&client, &gate.code(&client).await).await;
    assert_eq!(answer.json()["expires_in"], 300);
    let first = tokens(&answer);
    gate.clock.advance(299 * SECOND);
    assert_eq!(gate.call(&first.access).await.status, WORKS);
    gate.clock.advance(SECOND);
    assert_eq!(gate.call(&first.access).await.status, 401);

    let idle = gate.tokens(&client).await;
    let second = tokens(&gate.refresh(&client, &first.refresh).await);
    gate.clock.advance(2 * SECOND);
    assert_eq!(tokens(&gate.refresh(&client, &first.refresh).await).refresh, second.refresh);
    gate.clock.advance(3597 * SECOND);
    let third = tokens(&gate.refresh(&client, &second.refresh).await);
    gate.clock.advance(SECOND);
    assert_eq!(gate.refresh(&client, &idle.refresh).await.error(), "invalid_grant");
    gate.clock.advance(2 * SECOND);
    assert_eq!(gate.refresh(&client, &second.refresh).await.error(), "invalid_grant", "after the replay window");
    assert_eq!(gate.call(&third.access).await.status, 401);

    let mut given = gate.tokens(&client).await;
    gate.clock.advance(45 * MINUTE);
    given = tokens(&gate.refresh(&client, &given.refresh).await);
    gate.clock.advance(45 * MINUTE);
    assert_eq!(gate.refresh(&client, &given.refresh).await.error(), "invalid_grant", "a grant has an end");
}

#[tokio::test]
async fn lifetimes_of_clients_and_of_cached_keys_are_as_configured() {
    let gate = gate().await;
    assert_eq!(gate.get("/.well-known/jwks.json").await.header("cache-control"), "public, max-age=70");
    let (used, unused) = (gate.register_named("used").await, gate.register_named("unused").await);
    gate.tokens(&used).await;
    let is_known = async |client: &TestClient| {
        gate.app.issuer().expire().await;
        gate.get(&gate.authorize_path(client, &[])).await.status == 200
    };
    gate.clock.advance(9 * MINUTE);
    assert!(is_known(&unused).await);
    gate.clock.advance(2 * MINUTE);
    assert!(!is_known(&unused).await);
    gate.clock.advance(168 * MINUTE);
    assert!(is_known(&used).await);
    gate.clock.advance(2 * MINUTE);
    assert!(!is_known(&used).await, "its grant ended long ago");
}

#[tokio::test]
async fn the_number_of_unused_clients_is_as_configured() {
    let gate = TestGate::with(|config| config.registration.max_unused = 3).await;
    let mut clients = Vec::new();
    for name in ["first", "second", "third", "fourth"] {
        clients.push(gate.register_named(name).await);
        gate.clock.advance(SECOND);
    }
    let mut known = Vec::new();
    for client in &clients {
        known.push(gate.get(&gate.authorize_path(client, &[])).await.status == 200);
    }
    assert_eq!(known, [false, true, true, true]);
}
