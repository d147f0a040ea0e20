//! What Entra ID's errors become: one line for the operator, an honest page for the user, OAuth's code for the client.

use serde_json::json;

use super::{Bench, link_back, stopped};
use crate::entra_emulator::{CORRELATION, EntraError, TRACE};
use crate::support::browser::{location, parameter};
use crate::support::log::watch;

/// An error on the redirect as Entra ID writes it.
fn redirected(bench: &Bench, url: &str, error: &EntraError) -> String {
    let state = parameter(url, "state").unwrap();
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("error", error.error)
        .append_pair("error_description", &error.description("2027-01-15 08:00:00Z"))
        .append_pair("state", &state)
        .finish();
    format!("{}/callback/entra?{query}", bench.gate.origin())
}

#[tokio::test]
async fn an_error_of_the_redirect_is_a_line_a_page_and_a_code() {
    for (error, number, of_client, page, hint) in [
        ("access_denied", 65004, "access_denied", "You declined", "declined to consent"),
        ("access_denied", 90094, "access_denied", "An administrator", "Grant admin consent"),
        ("interaction_required", 50105, "access_denied", "administrators of your organisation", "assign the user"),
        ("interaction_required", 53003, "access_denied", "administrators of your organisation", "conditional access"),
        ("login_required", 50058, "access_denied", "was not finished", "no session there"),
        ("invalid_target", 9_010_010, "server_error", "do not agree", "app_id_uri"),
        ("invalid_request", 901_002, "server_error", "do not agree", "send_resource"),
        ("invalid_client", 650_053, "server_error", "do not agree", "expose it there"),
        ("unauthorized_client", 700_016, "server_error", "do not agree", "client_id"),
        ("invalid_request", 50020, "server_error", "not known to the organisation", "guest"),
        ("temporarily_unavailable", 90033, "temporarily_unavailable", "was not finished", "passes by itself"),
        ("server_error", 90033, "temporarily_unavailable", "was not finished", "passes by itself"),
    ] {
        let mut bench = Bench::new().await;
        let url = bench.approve().await;
        let (lines, _guard) = watch();
        let answer = bench.back(&redirected(&bench, &url, &EntraError::new(error, number, "Words."))).await;
        assert!(answer.body.contains(page) && answer.body.contains(&format!("AADSTS{number}")), "{number}: {answer:?}");
        assert!(!answer.body.contains(TRACE) && !answer.body.contains("Words."), "{number}");
        assert_eq!(parameter(&link_back(&answer), "error").as_deref(), Some(of_client), "{number}");
        let text = lines.text();
        let line = text.lines().find(|line| line.contains(&format!("AADSTS{number}"))).expect("a line");
        for part in [hint, TRACE, CORRELATION, "Words."] {
            assert!(line.contains(part), "{number}: {line}");
        }
    }
}

#[tokio::test]
async fn an_error_of_the_token_endpoint_is_a_line_a_page_and_a_code() {
    for (error, status, number, of_client, page, hint) in [
        ("invalid_client", 401, 7_000_215, "server_error", "do not agree", "client_secret"),
        ("invalid_client", 401, 7_000_222, "server_error", "do not agree", "has expired"),
        ("invalid_client", 401, 7_000_218, "server_error", "do not agree", "credential"),
        ("invalid_client", 401, 700_025, "server_error", "do not agree", "public client"),
        ("invalid_client", 401, 700_027, "server_error", "do not agree", "upload the certificate"),
        ("unauthorized_client", 400, 700_016, "server_error", "do not agree", "client_id"),
        ("invalid_scope", 400, 70011, "server_error", "do not agree", "app_id_uri"),
        ("invalid_request", 400, 28000, "server_error", "do not agree", "several APIs"),
        ("invalid_request", 400, 9_002_327, "server_error", "do not agree", "platform Web"),
        ("invalid_grant", 400, 54005, "access_denied", "was not finished", "used before"),
        ("invalid_grant", 400, 70008, "access_denied", "was not finished", "expired"),
        ("invalid_grant", 400, 501_481, "server_error", "do not agree", "PKCE"),
        ("invalid_grant", 400, 65001, "access_denied", "An administrator", "Grant admin consent"),
        ("invalid_grant", 400, 50076, "access_denied", "was not finished", "multi-factor"),
        ("invalid_grant", 400, 53003, "access_denied", "administrators", "conditional access"),
        ("interaction_required", 400, 50079, "access_denied", "was not finished", "multi-factor"),
    ] {
        let mut bench = Bench::new().await;
        let url = bench.approve().await;
        let back = bench.emulator.visit(&url).back();
        let document = EntraError::new(error, number, "Words.").document("2027-01-15 08:00:00Z");
        bench.emulator.state().answer_next("/token", status, document);
        let (lines, _guard) = watch();
        let answer = bench.back(&back).await;
        assert!(answer.body.contains(page) && answer.body.contains(&format!("AADSTS{number}")), "{number}: {answer:?}");
        assert_eq!(parameter(&link_back(&answer), "error").as_deref(), Some(of_client), "{number}");
        let text = lines.text();
        let line = text.lines().find(|line| line.contains(&format!("AADSTS{number}"))).expect("a line");
        for part in [hint, TRACE, CORRELATION, error] {
            assert!(line.contains(part), "{number}: {line}");
        }
    }
}

#[tokio::test]
async fn an_error_without_a_number_is_told_as_any_other_providers() {
    let mut bench = Bench::new().await;
    let url = bench.approve().await;
    let state = parameter(&url, "state").unwrap();
    let answer = bench.back(&format!("{}/callback/entra?error=access_denied&state={state}", bench.gate.origin())).await;
    assert_eq!(parameter(&location(&answer), "error").as_deref(), Some("access_denied"));
    let url = bench.approve().await;
    let back = bench.emulator.visit(&url).back();
    bench.emulator.state().answer_next(
        "/token",
        400,
        json!({"error": "invalid_grant", "error_description": "No number."}),
    );
    assert_eq!(parameter(&location(&bench.back(&back).await), "error").as_deref(), Some("server_error"));
}

#[tokio::test]
async fn nothing_secret_that_an_error_repeats_is_logged() {
    let mut bench = Bench::new().await;
    let url = bench.approve().await;
    let back = bench.emulator.visit(&url).back();
    let code = parameter(&back, "code").unwrap();
    let document = EntraError::new("invalid_grant", 70000, format!("The code {code} is wrong.")).document("now");
    bench.emulator.state().answer_next("/token", 400, document);
    let (lines, _guard) = watch();
    bench.back(&back).await;
    assert!(!lines.text().contains(&code), "{}", lines.text());
}

#[tokio::test]
async fn who_declines_at_microsoft_is_told_so_and_the_client_too() {
    let mut bench = Bench::new().await;
    bench.emulator.state().declines = true;
    let page = bench.visit().await;
    assert!(page.body.contains("You declined"), "{page:?}");
    assert_eq!(parameter(&link_back(&page), "error").as_deref(), Some("access_denied"));
}

#[tokio::test]
async fn a_redirect_uri_that_is_not_registered_ends_at_microsoft() {
    let mut bench = Bench::new().await;
    bench.emulator.state().our_app().redirect_uris.clear();
    assert!(stopped(&mut bench).await.contains("AADSTS50011"));
    bench.emulator.state().our_app().client_id = "another".to_owned();
    assert!(stopped(&mut bench).await.contains("AADSTS700016"));
}

#[tokio::test]
async fn a_client_without_redirect_gets_the_page_too() {
    // the user's own page
    let mut bench = Bench::new().await;
    let page = bench.browser.get(&bench.gate, "/account").await;
    let form = crate::support::browser::Form::on(&page.body).with("identity", "entra");
    let url = location(&bench.browser.submit(&bench.gate, &form).await);
    let answer = bench.back(&redirected(&bench, &url, &EntraError::new("access_denied", 50105, "Words."))).await;
    assert!(answer.body.contains("AADSTS50105") && !answer.body.contains("Go back"), "{answer:?}");
}
