//! How often a request reads the database: each thing once.

use crate::support::bench::Bench;
use crate::support::browser::{Browser, location, parameter};
use crate::support::gate::{TestGate, as_alice};
use crate::support::statements::{of, reads, reads_of};

#[tokio::test]
async fn a_refresh_reads_its_client_its_token_and_its_grant_once_each() {
    let mut bench = Bench::new().await;
    let first = bench.tokens().await;
    let (answer, statements) = of(bench.gate.refresh(&bench.client, &first.refresh)).await;
    assert_eq!(answer.status, 200);
    for table in ["clients", "refresh_tokens", "grants"] {
        assert_eq!(reads_of(table, &statements), 1, "{table}: {statements:#?}");
    }
    assert_eq!(reads(&statements).count(), 3, "{statements:#?}");
    let (again, statements) = of(bench.gate.refresh(&bench.client, &first.refresh)).await;
    assert_eq!(again.body, answer.body);
    assert_eq!((statements.len(), reads(&statements).count()), (3, 3), "a retry writes nothing: {statements:#?}");
}

#[tokio::test]
async fn each_request_of_a_sign_in_at_a_provider_looks_its_client_up_once() {
    let mut bench = Bench::new().await;
    let (form, statements) = of(bench.gate.consent_form(&mut bench.browser, &bench.client, &[])).await;
    assert_eq!((reads_of("clients", &statements), statements.len()), (1, 1), "/authorize: {statements:#?}");

    let form = form.with("decision", "approve").with("identity", "keycloak");
    let (approved, statements) = of(bench.browser.submit(&bench.gate, &form)).await;
    assert_eq!((reads_of("clients", &statements), reads(&statements).count()), (1, 1), "/consent: {statements:#?}");

    let url = bench.provider.visit(&location(&approved));
    let (answer, statements) = of(bench.back(&url)).await;
    assert_eq!((reads_of("clients", &statements), reads(&statements).count()), (1, 4), "/callback: {statements:#?}");

    let code = parameter(&location(&answer), "code").unwrap();
    let (redeemed, statements) = of(bench.gate.redeem(&bench.client, &code)).await;
    assert_eq!(redeemed.status, 200);
    assert_eq!(reads_of("clients", &statements), 1, "/token: {statements:#?}");

    let (_, statements) = of(bench.back(&url)).await;
    assert_eq!(reads_of("clients", &statements), 1, "the same callback again: {statements:#?}");
}

#[tokio::test]
async fn each_request_of_a_sign_in_with_a_password_looks_its_client_up_once() {
    let gate = TestGate::new().await;
    let (client, mut browser) = (gate.register().await, Browser::default());
    let form = gate.consent_form(&mut browser, &client, &[]).await;
    let approved = browser.submit(&gate, &form.with("decision", "approve").with("identity", "local")).await;
    let (page, statements) = of(browser.get(&gate, &location(&approved))).await;
    assert_eq!((reads_of("clients", &statements), reads(&statements).count()), (1, 2), "the page: {statements:#?}");
    for (password, status) in [("wrong", 422), ("wonderland", 303)] {
        let (answer, statements) = of(browser.submit(&gate, &as_alice(&page).with("password", password))).await;
        assert_eq!(answer.status, status);
        assert_eq!(
            (reads_of("clients", &statements), reads(&statements).count()),
            (1, 2),
            "{password}: {statements:#?}"
        );
    }
}
