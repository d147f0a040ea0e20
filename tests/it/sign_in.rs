//! Our own sign-in page: CSRF, sessions, and that one provider cannot answer for another (mix-up).

use portcullis::config::{Identity, IdentityKind};

use crate::support::bench::Bench;
use crate::support::browser::{Browser, ELSEWHERE, Form, location, parameter};
use crate::support::gate::{TestClient, TestGate, local_user};

/// Approves; returns the form of the sign-in page with name and password filled in.
async fn sign_in_form(gate: &TestGate, browser: &mut Browser, client: &TestClient) -> Form {
    let form = gate.consent_form(browser, client, &[]).await;
    let approved = browser.submit(gate, &form.with("decision", "approve").with("identity", "local")).await;
    let page = browser.get(gate, &location(&approved)).await;
    Form::on(&page.body).with("username", "alice").with("password", "wonderland")
}

#[tokio::test]
async fn csrf_a_sign_in_form_from_another_site_or_sign_in_is_refused() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let mut browser = Browser::default();
    let form = sign_in_form(&gate, &mut browser, &client).await;
    let other = sign_in_form(&gate, &mut browser, &client).await;

    for (name, value) in ELSEWHERE {
        let answer = browser.submit_saying(&gate, &form, &[(name, value)]).await;
        assert_eq!((answer.status, answer.header("location")), (400, ""), "{name}: {value}: {answer:?}");
    }
    let (_, proof_of_the_other) = other.fields.iter().find(|(name, _)| name == "form_token").unwrap();
    for proof in [proof_of_the_other, ""] {
        let answer = browser.submit(&gate, &form.clone().with("form_token", proof)).await;
        assert_eq!((answer.status, answer.header("location")), (400, ""), "{answer:?}");
    }
    assert!(parameter(&location(&browser.submit(&gate, &form).await), "code").is_some(), "the form itself was good");
}

#[tokio::test]
async fn every_sign_in_needs_the_password_again() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let mut browser = Browser::default();
    let form = sign_in_form(&gate, &mut browser, &client).await;
    assert!(parameter(&location(&browser.submit(&gate, &form).await), "code").is_some());
    let again = sign_in_form(&gate, &mut browser, &client).await;
    let answer = browser.submit(&gate, &again.with("password", "")).await;
    assert_eq!((answer.status, answer.header("location")), (422, ""), "{answer:?}");
}

#[tokio::test]
async fn mix_up_an_answer_at_another_providers_callback_is_refused() {
    let mut bench = Bench::with(|config| {
        let second = Identity { id: "second".to_owned(), ..config.identities[0].clone() };
        let users = IdentityKind::Local(vec![local_user("alice", "wonderland")]);
        config.identities.push(second);
        config.identities.push(Identity {
            id: "local".to_owned(),
            name: "Local".to_owned(),
            kind: users,
            admission: portcullis::config::Admission::default(),
        });
    })
    .await;
    let url = bench.approve().await;
    let good = bench.provider.visit(&url);
    let state = parameter(&url, "state").unwrap();
    let authorization = state.split('.').next().unwrap();
    for elsewhere in [
        good.replace("/callback/keycloak", "/callback/second"),
        good.replace("/callback/keycloak", "/callback/local"),
        format!("{}/sign-in/local?authorization={authorization}", bench.gate.origin()),
        format!("{}/sign-in/keycloak?authorization={authorization}", bench.gate.origin()),
    ] {
        let answer = bench.back(&elsewhere).await;
        assert_eq!((answer.status, answer.header("location")), (400, ""), "{elsewhere}: {answer:?}");
    }
    assert!(parameter(&location(&bench.back(&good).await), "code").is_some(), "its own answer still counts");
}
