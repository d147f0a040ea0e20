//! The round trip to an identity provider: binding to one browser, mix-up, replayed answers, and failures.

use portcullis::config::OidcFlavour;
use portcullis::oauth::redirect_uri::RedirectPolicy;
use serde_json::json;

use crate::support::bench::{Bench, provider_settings};
use crate::support::browser::{Form, location, parameter};
use crate::support::gate::{TestClient, WORKS, claims, tokens};
use crate::support::log::watch;
use crate::support::provider::{OfflineRefusal, Reply};

#[tokio::test]
async fn the_provider_learns_nothing_about_the_client() {
    let mut bench = Bench::new().await;
    let url = bench.approve().await;
    for ours in ["client_id", "redirect_uri", "state", "nonce", "code_challenge", "scope"] {
        assert!(parameter(&url, ours).is_some(), "{ours}");
    }
    assert_eq!(parameter(&url, "redirect_uri").unwrap(), format!("{}/callback/keycloak", bench.gate.origin()));
    assert_eq!(parameter(&url, "code_challenge_method").as_deref(), Some("S256"));
    for theirs in ["client-state", &bench.client.id, "33418", "mcp%3Aaccess", "resource"] {
        assert!(!url.contains(theirs), "{theirs} in {url}");
    }
    assert!(parameter(&url, "response_mode").is_none() && parameter(&url, "prompt").is_none());
}

#[tokio::test]
async fn tokens_name_the_user_by_the_providers_id_and_hold_no_personal_data() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    let claims = claims(&given.access);
    assert!(claims["sub"].as_str().unwrap().starts_with("keycloak|"), "{claims}");
    for private in ["email", "name", "groups", "preferred_username"] {
        assert!(claims.get(private).is_none(), "{private} in {claims}");
    }
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.status, 200);
}

#[tokio::test]
async fn a_generic_openid_connect_provider_signs_in_and_renews_like_keycloak() {
    let mut bench = Bench::with(|config| provider_settings(config).flavour = OidcFlavour::Generic).await;
    let given = bench.tokens().await;
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.status, 200);
    bench.provider.end_sessions();
    let other = bench.tokens().await;
    bench.provider.end_sessions();
    assert_eq!(bench.gate.refresh(&bench.client, &other.refresh).await.error(), "invalid_grant");
}

#[tokio::test]
async fn an_approved_url_is_useless_in_another_browser() {
    let mut bench = Bench::new().await;
    let url = bench.approve().await;
    let back = bench.provider.visit(&url);
    let attacker = std::mem::take(&mut bench.browser);
    for answer in [back.clone(), bench.error(&url, "access_denied")] {
        let victim = bench.back(&answer).await;
        assert_eq!(victim.status, 403, "{victim:?}");
        assert!(victim.header("location").is_empty());
    }
    bench.browser = attacker;
    assert!(parameter(&location(&bench.back(&back).await), "code").is_some(), "it still works in its own browser");
}

#[tokio::test]
async fn a_forged_or_mixed_state_is_refused() {
    let mut bench = Bench::new().await;
    let (first, second) = (bench.approve().await, bench.approve().await);
    let (one, two) = (parameter(&first, "state").unwrap(), parameter(&second, "state").unwrap());
    let mixed = format!("{}.{}", one.split_once('.').unwrap().0, two.split_once('.').unwrap().1);
    let good = bench.provider.visit(&first);
    for state in [mixed.as_str(), "", "x", "r_unknown.x", &format!("{one}x")] {
        let forged = good.replace(&one, state);
        let answer = bench.back(&forged).await;
        assert!((400..404).contains(&answer.status), "{state}: {answer:?}");
        assert!(answer.header("location").is_empty());
    }
    assert!(parameter(&location(&bench.back(&good).await), "code").is_some());
}

#[tokio::test]
async fn the_redirect_uri_is_checked_again_at_consent_and_at_the_callback() {
    let uri = "cursor://anysphere.cursor-mcp/oauth/callback";
    for approved in [false, true] {
        let mut bench = Bench::new().await;
        let registered = bench.gate.post_json("/register", &json!({"redirect_uris": [uri]})).await.json();
        let id = registered["client_id"].as_str().unwrap().to_owned();
        bench.client = TestClient { id, redirect_uri: uri.to_owned() };
        let form = bench.gate.consent_form(&mut bench.browser, &bench.client, &[]).await;
        let form = form.with("decision", "approve").with("identity", "keycloak");
        let at_the_provider = approved.then_some(bench.browser.submit(&bench.gate, &form).await);
        bench.gate =
            bench.gate.restart_with(|config| config.registration.redirect_policy = RedirectPolicy::default()).await;
        let answer = match at_the_provider {
            Some(sent) => bench.back(&bench.provider.visit(&location(&sent))).await,
            None => bench.browser.submit(&bench.gate, &form).await,
        };
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(
            answer.body.contains("Access cannot be sent to this application") && !answer.body.contains("code="),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_provider_answer_with_a_wrong_or_missing_iss_is_refused() {
    let mut bench = Bench::new().await;
    let url = bench.approve().await;
    let good = bench.provider.visit(&url);
    let without: String = good.split('&').filter(|pair| !pair.starts_with("iss=")).collect::<Vec<_>>().join("&");
    let iss = good.split('&').find(|pair| pair.starts_with("iss=")).expect("the provider sends iss").to_owned();
    for forged in [without, good.replace(&iss, "iss=https%3A%2F%2Fevil.example")] {
        assert_eq!(bench.back(&forged).await.status, 400);
    }
    assert!(parameter(&location(&bench.back(&good).await), "code").is_some());
}

#[tokio::test]
async fn the_first_provider_answer_counts_and_a_later_one_offers_to_finish() {
    let mut bench = Bench::new().await;
    let url = bench.approve().await;
    let good = bench.provider.visit(&url);
    let first = location(&bench.back(&good).await);
    let late = bench.error(&url, "temporarily_unavailable");
    for later in [good.clone(), late] {
        let answer = bench.back(&later).await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("location").is_empty());
        assert!(answer.body.contains(&first.replace('&', "&#38;")), "{answer:?}");
    }
    let code = parameter(&first, "code").unwrap();
    assert_eq!(bench.gate.redeem(&bench.client, &code).await.status, 200, "nothing was undone");
    let after = bench.back(&good).await;
    assert!(!after.body.contains("code="));
}

#[tokio::test]
async fn a_browser_that_disconnects_does_not_stop_its_sign_in() {
    let mut bench = Bench::new().await;
    let url = bench.approve().await;
    let back = bench.provider.visit(&url);
    let path = back.strip_prefix(bench.gate.origin()).unwrap();
    let mut browser = bench.browser.clone();
    let mut leaving = Box::pin(browser.get(&bench.gate, path));
    while bench.provider.calls("/token") == 0 {
        assert!(futures_util::poll!(leaving.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    drop(leaving);
    bench.gate.settle().await;
    assert_eq!(bench.provider.calls("/token"), 1);
    let page = bench.back(&back).await;
    assert!(page.body.contains("code="), "the browser gets what it missed: {page:?}");
    assert_eq!(bench.provider.calls("/token"), 1);
}

#[tokio::test]
async fn a_login_form_posted_twice_is_retried_silently() {
    let mut bench = Bench::new().await;
    let first = bench.approve().await;
    let answer = bench.back(&bench.error(&first, "temporarily_unavailable")).await;
    let second = location(&answer);
    assert!(second.starts_with(&bench.provider.issuer()), "{second}");
    assert_ne!(parameter(&first, "state"), parameter(&second, "state"));
    assert_ne!(parameter(&first, "nonce"), parameter(&second, "nonce"));

    let stale = bench.back(&bench.provider.visit(&first)).await;
    assert_eq!(location(&stale), second, "the first round's answer is used up and leads to the current round");
    let finished = location(&bench.back(&bench.provider.visit(&second)).await);
    assert!(parameter(&finished, "code").is_some(), "{finished}");
}

#[tokio::test]
async fn an_error_that_arrives_during_the_code_exchange_undoes_nothing() {
    for error in ["temporarily_unavailable", "access_denied"] {
        let mut bench = Bench::new().await;
        let url = bench.approve().await;
        let (good, bad) = (bench.provider.visit(&url), bench.error(&url, error));
        let path = good.strip_prefix(bench.gate.origin()).unwrap();
        let held = bench.provider.hold_token();
        let mut browser = bench.browser.clone();
        let redeeming = browser.get(&bench.gate, path);
        let beside = async {
            held.reached().await;
            let late = bench.browser.get(&bench.gate, bad.strip_prefix(bench.gate.origin()).unwrap()).await;
            drop(held);
            late
        };
        let (finished, late) = tokio::join!(redeeming, beside);
        assert!(parameter(&location(&finished), "code").is_some(), "{error}: {finished:?}");
        assert_eq!(late.status, 200, "{error}: {late:?}");
        assert!(late.header("location").is_empty(), "{error}: {late:?}");
    }
}

#[tokio::test]
async fn an_error_that_arrives_first_counts_and_a_later_code_is_not_exchanged() {
    for (error, goes_to_the_client) in [("temporarily_unavailable", false), ("access_denied", true)] {
        let mut bench = Bench::new().await;
        let url = bench.approve().await;
        let (good, bad) = (bench.provider.visit(&url), bench.error(&url, error));
        let place = location(&bench.back(&bad).await);
        assert_eq!(parameter(&place, "error").as_deref() == Some(error), goes_to_the_client, "{place}");
        assert_eq!(place.starts_with(&bench.provider.issuer()), !goes_to_the_client, "{place}");
        let late = bench.back(&good).await;
        if goes_to_the_client {
            assert_eq!((late.status, late.header("location")), (200, ""), "{error}: {late:?}");
            assert!(!late.body.contains("code="), "{error}: {late:?}");
        } else {
            assert_eq!(location(&late), place, "the browser is sent to the current round");
        }
        assert_eq!(bench.provider.calls("/token"), 0, "{error}");
    }
}

#[tokio::test]
async fn a_silent_retry_happens_only_once_and_the_client_then_gets_the_error() {
    let mut bench = Bench::new().await;
    let first = bench.approve().await;
    let second = location(&bench.back(&bench.error(&first, "temporarily_unavailable")).await);
    let end = location(&bench.back(&bench.error(&second, "temporarily_unavailable")).await);
    assert_eq!(parameter(&end, "error").as_deref(), Some("temporarily_unavailable"));
    assert_eq!(parameter(&end, "state").as_deref(), Some("client-state"));
    assert_eq!(parameter(&end, "iss").as_deref(), Some(bench.gate.origin()));
}

#[tokio::test]
async fn refused_offline_access_is_retried_silently_without_it() {
    for how in [OfflineRefusal::AtToken, OfflineRefusal::AtAuthorize] {
        let mut bench = Bench::new().await;
        bench.provider.refuse_offline(Some(how));
        let url = bench.approve().await;
        assert!(parameter(&url, "scope").unwrap().contains("offline_access"));
        let second = location(&bench.back(&bench.provider.visit(&url)).await);
        assert!(!parameter(&second, "scope").unwrap().contains("offline_access"), "{second}");
        let finished = location(&bench.back(&bench.provider.visit(&second)).await);
        let code = parameter(&finished, "code").unwrap();
        let given = tokens(&bench.gate.redeem(&bench.client, &code).await);
        let answer = bench.gate.refresh(&bench.client, &given.refresh).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn provider_errors_reach_the_client_as_oauth_error_codes() {
    for (theirs, ours) in [
        ("access_denied", "access_denied"),
        ("login_required", "access_denied"),
        ("server_error", "temporarily_unavailable"),
        ("unauthorized_client", "server_error"),
        ("whatever", "server_error"),
    ] {
        let mut bench = Bench::new().await;
        let url = bench.approve().await;
        let end = location(&bench.back(&bench.error(&url, theirs)).await);
        assert_eq!(parameter(&end, "error").as_deref(), Some(ours), "{theirs}");
        assert!(!end.contains(theirs) || theirs == ours, "{end}");
    }
}

#[tokio::test]
async fn a_failed_code_exchange_fails_only_its_own_sign_in() {
    for (reply, error) in [
        (Reply::html(502), "temporarily_unavailable"),
        (Reply::error(401, "unauthorized_client", "Invalid client or Invalid client credentials"), "server_error"),
        (Reply::error(400, "invalid_grant", "Code not valid"), "server_error"),
        (Reply::json(200, &json!({"access_token": "x"})), "server_error"),
    ] {
        let mut bench = Bench::new().await;
        let url = bench.approve().await;
        bench.provider.answer_token(reply);
        let answer = bench.back(&bench.provider.visit(&url)).await;
        let end = location(&answer);
        assert_eq!(parameter(&end, "error").as_deref(), Some(error), "{end}");
        assert!(parameter(&bench.sign_in().await, "code").is_some(), "the next sign-in works");
    }
}

#[tokio::test]
async fn an_id_token_with_another_nonce_is_refused_at_the_callback() {
    let mut bench = Bench::new().await;
    bench.provider.edit_id_token(|_, claims| claims["nonce"] = json!("another"));
    let url = bench.approve().await;
    let end = location(&bench.back(&bench.provider.visit(&url)).await);
    assert_eq!(parameter(&end, "error").as_deref(), Some("server_error"));
}

#[tokio::test]
async fn a_provider_answer_after_twenty_minutes_is_refused() {
    let mut bench = Bench::new().await;
    let url = bench.approve().await;
    let back = bench.provider.visit(&url);
    bench.gate.clock.advance(std::time::Duration::from_mins(20));
    for later in [0, 1, 60] {
        bench.gate.clock.advance(std::time::Duration::from_mins(later));
        bench.gate.app.issuer().expire().await;
        let answer = bench.back(&back).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.body.contains("This sign-in is over"), "{answer:?}");
    }
}

#[tokio::test]
async fn the_program_starts_without_its_provider() {
    let mut bench = Bench::new().await;
    bench.provider.stop().await;
    bench.gate = bench.gate.restart().await;
    let path = bench.gate.authorize_path(&bench.client, &[]);
    let down = bench.browser.get(&bench.gate, &path).await;
    assert_eq!(down.status, 503, "{down:?}");
    assert!(!down.header("retry-after").is_empty());
    bench.provider.restart().await;
    bench.gate.clock.advance(std::time::Duration::from_secs(5));
    let up = bench.browser.get(&bench.gate, &path).await;
    assert_eq!(up.status, 200, "{up:?}");
    assert!(!Form::on(&up.body).fields.is_empty());
}

#[tokio::test]
async fn a_long_provider_error_is_cut_in_the_log() {
    let mut bench = Bench::new().await;
    let url = bench.approve().await;
    let words = format!("{}&error_description={}", "e".repeat(20_000), "d".repeat(20_000));
    let answer = bench.error(&url, &words);
    let (log, _guard) = watch();
    assert_eq!(parameter(&location(&bench.back(&answer).await), "error").as_deref(), Some("server_error"));
    let line = log.text().lines().find(|line| line.contains("answered with an error")).unwrap().to_owned();
    assert!(line.contains("eee") && line.contains("ddd") && line.len() < 1000, "{} bytes", line.len());
}
