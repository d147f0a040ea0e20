//! Refreshes: what Entra ID is asked, and what its answers mean.

use std::time::Duration;

use super::{Bench, Written};
use crate::entra_emulator::{APP_ID_URI, CORRELATION, TRACE};
use crate::support::browser::{location, parameter};
use crate::support::gate::WORKS;
use crate::support::log::watch;

const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

#[tokio::test]
async fn a_refresh_asks_for_the_scopes_of_the_sign_in_and_keeps_the_newest_token() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    let mut seen = std::collections::BTreeSet::new();
    let mut given = given;
    for _ in 0..3 {
        given = bench.refreshed(&given).await;
        let form = bench.last_form();
        assert_eq!(form["scope"], format!("email {APP_ID_URI}/mcp.access offline_access openid profile"));
        assert!(seen.insert(form["refresh_token"].clone()), "each refresh uses the token of the one before");
    }
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
}

#[tokio::test]
async fn a_user_whose_sessions_were_revoked_is_out() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    bench.emulator.state().revoke_sessions("alice");
    let (lines, _guard) = watch();
    let refused = bench.refresh(&given).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"));
    assert_eq!(bench.gate.call(&given.access).await.status, 401, "the grant has ended");
    assert!(lines.text().contains("AADSTS50173") && lines.text().contains(TRACE), "{}", lines.text());
}

#[tokio::test]
async fn a_refresh_token_that_was_not_used_for_ninety_days_ends_the_grant() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    bench.clock.advance(Duration::from_hours(24 * 91));
    let refused = bench.refresh(&given).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"));
}

#[tokio::test]
async fn what_conditional_access_wants_leads_to_a_new_sign_in_and_ends_nothing() {
    for (error, suberror, number, claims) in [
        ("invalid_grant", Some("basic_action"), 50076, None),
        ("invalid_grant", None, 50079, Some(CLAIMS)),
        ("interaction_required", None, 50076, Some(CLAIMS)),
        ("interaction_required", Some("basic_action"), 50158, Some(CLAIMS)),
        ("invalid_grant", Some("consent_required"), 65001, None),
        ("invalid_grant", Some("user_password_expired"), 50055, None),
        ("login_required", None, 50058, None),
    ] {
        let mut bench = Bench::new().await;
        let given = bench.tokens().await;
        bench.emulator.state().challenge("alice", (error, suberror), number, claims);
        let (lines, _guard) = watch();
        let refused = bench.refresh(&given).await;
        assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"), "{error} {number}");
        assert!(lines.text().contains(&format!("AADSTS{number}")), "{}", lines.text());
        assert_eq!(bench.gate.call(&given.access).await.status, WORKS, "no session is dead");

        // the client begins a sign-in, which carries what was asked for
        let url = bench.approve().await;
        assert_eq!(parameter(&url, "claims").as_deref(), claims, "{error} {number}");
        assert!(parameter(&location(&bench.back(&bench.emulator.visit(&url).back()).await), "code").is_some());
        assert_eq!(bench.refresh(&given).await.status, 200, "and the grant of before is good again, too");
    }
}

#[tokio::test]
async fn claims_are_not_sent_for_other_clients_nor_for_ever() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    bench.emulator.state().challenge("alice", ("interaction_required", None), 50076, Some(CLAIMS));
    assert_eq!(bench.refresh(&given).await.status, 400);
    let ours = std::mem::replace(&mut bench.client, bench.gate.register_named("Another").await);
    assert_eq!(parameter(&bench.approve().await, "claims"), None);
    bench.client = ours;
    assert_eq!(parameter(&bench.approve().await, "claims").as_deref(), Some(CLAIMS));
    bench.clock.advance(Duration::from_mins(16));
    assert_eq!(parameter(&bench.approve().await, "claims"), None);
}

#[tokio::test]
async fn claims_that_are_no_short_object_are_not_sent_on() {
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(5000));
    for claims in ["not json", "[]", long.as_str()] {
        let mut bench = Bench::new().await;
        let given = bench.tokens().await;
        bench.emulator.state().challenge("alice", ("interaction_required", None), 50076, Some(claims));
        assert_eq!(bench.refresh(&given).await.status, 400);
        assert_eq!(parameter(&bench.approve().await, "claims"), None, "{claims:.20}");
    }
}

#[tokio::test]
async fn throttling_and_outages_cost_nothing() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    for (status, retry_after) in [(429, Some(30)), (500, None), (502, None), (503, Some(10)), (504, None), (408, None)]
    {
        bench.emulator.state().fail_next("/token", status, retry_after);
        let refused = bench.refresh(&given).await;
        assert_eq!((refused.status, refused.error().as_str()), (503, "temporarily_unavailable"), "{status}");
        assert!(!refused.header("retry-after").is_empty());
        assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    }
    bench.emulator.stop().await;
    assert_eq!(bench.refresh(&given).await.status, 503);
    bench.emulator.restart().await;
    let given = bench.refreshed(&given).await;
    bench.emulator.state().fail_next("/token", 429, Some(30));
    let answer = bench.visit().await;
    assert_eq!(parameter(&location(&answer), "error").as_deref(), Some("temporarily_unavailable"), "{answer:?}");
    bench.refreshed(&given).await;
}

#[tokio::test]
async fn what_is_wrong_with_our_registration_ends_no_grant() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    let secrets = std::mem::take(&mut bench.emulator.state().our_app().secrets);
    let (lines, _guard) = watch();
    let refused = bench.refresh(&given).await;
    assert_eq!((refused.status, refused.error().as_str()), (503, "temporarily_unavailable"));
    let text = lines.text();
    assert!(
        text.contains("AADSTS7000215") && text.contains("copy the value of the secret") && text.contains(CORRELATION),
        "{text}"
    );
    bench.emulator.state().our_app().secrets = secrets;
    bench.refreshed(&given).await;
}

#[tokio::test]
async fn standing_none_asks_for_no_refresh_token_and_asks_nothing_again() {
    let mut bench = Bench::with(Written::default().with("standing = \"none\"")).await;
    let url = bench.approve().await;
    assert!(!parameter(&url, "scope").unwrap().contains("offline_access"));
    let answer = bench.back(&bench.emulator.visit(&url).back()).await;
    let code = parameter(&location(&answer), "code").unwrap();
    let given = crate::support::gate::tokens(&bench.gate.redeem(&bench.client, &code).await);
    let asked = bench.emulator.calls("/token");
    bench.refreshed(&given).await;
    assert_eq!(bench.emulator.calls("/token"), asked);
}
