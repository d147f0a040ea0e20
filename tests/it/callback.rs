//! The way to an identity provider and back: whose answer it is, what comes twice, and what goes wrong there.

use std::sync::Arc;

use futures_util::future::join_all;
use portcullis::config::{Config, Standing};
use serde_json::json;

use crate::support::browser::{Browser, Form, location, parameter};
use crate::support::gate::{Answer, TestClient, TestGate, tokens};
use crate::support::provider::{FakeProvider, OfflineRefusal, Reply};

const WORKS: u16 = 502; // the token is good; nobody listens behind us

/// A gate in front of a provider that can be made to misbehave, and a browser that begins to sign in there.
struct Bench {
    gate: TestGate,
    provider: FakeProvider,
    client: TestClient,
    browser: Browser,
}

impl Bench {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let (gate, provider) = TestGate::with_provider(change).await;
        let client = gate.register().await;
        Self { gate, provider, client, browser: Browser::default() }
    }

    /// Approves, and answers the URL at the provider.
    async fn approve(&mut self) -> String {
        let form = self.gate.consent_form(&mut self.browser, &self.client, &[]).await;
        let form = form.with("decision", "approve").with("identity", "keycloak");
        location(&self.browser.submit(&self.gate, &form).await)
    }

    /// Brings an answer of the provider's back.
    async fn back(&mut self, url: &str) -> Answer {
        let path = url.strip_prefix(self.gate.origin()).unwrap_or_else(|| panic!("{url} is not ours")).to_owned();
        self.browser.get(&self.gate, &path).await
    }

    /// The whole way to the client's redirect URI.
    async fn sign_in(&mut self) -> String {
        let url = self.approve().await;
        let answer = self.back(&self.provider.visit(&url)).await;
        location(&answer)
    }

    async fn tokens(&mut self) -> crate::support::gate::Given {
        let url = self.sign_in().await;
        let code = parameter(&url, "code").unwrap_or_else(|| panic!("no code in {url}"));
        tokens(&self.gate.redeem(&self.client, &code).await)
    }

    /// An answer that the provider did not send.
    fn error(&self, url: &str, error: &str) -> String {
        let state = parameter(url, "state").unwrap();
        format!("{}/callback/keycloak?error={error}&state={state}&iss={}", self.gate.origin(), self.provider.issuer())
    }
}

#[tokio::test]
async fn the_provider_sees_nothing_of_the_client() {
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
async fn a_sign_in_ends_in_tokens_that_name_the_user_by_the_providers_own_id() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    let payload = given.access.split('.').nth(1).unwrap();
    let claims: serde_json::Value =
        serde_json::from_slice(&data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap();
    assert!(claims["sub"].as_str().unwrap().starts_with("keycloak|"), "{claims}");
    for private in ["email", "name", "groups", "preferred_username"] {
        assert!(claims.get(private).is_none(), "{private} in {claims}");
    }
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.status, 200);
}

#[tokio::test]
async fn any_openid_connect_provider_serves_as_well_as_keycloak() {
    let mut bench = Bench::with(|config| {
        if let portcullis::config::IdentityKind::Oidc(settings) = &mut config.identities[0].kind {
            settings.flavour = portcullis::config::OidcFlavour::Generic;
        }
    })
    .await;
    let given = bench.tokens().await;
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.status, 200);
    bench.provider.end_sessions();
    let other = bench.tokens().await;
    bench.provider.end_sessions();
    assert_eq!(bench.gate.refresh(&bench.client, &other.refresh).await.error(), "invalid_grant");
}

#[tokio::test]
async fn an_approved_url_that_was_forwarded_to_somebody_else_ends_in_nothing() {
    let mut bench = Bench::new().await;
    let url = bench.approve().await;
    let back = bench.provider.visit(&url);
    let attacker = std::mem::take(&mut bench.browser);
    let victim = bench.back(&back).await;
    assert_eq!(victim.status, 403, "{victim:?}");
    assert!(victim.header("location").is_empty());
    bench.browser = attacker;
    assert!(parameter(&location(&bench.back(&back).await), "code").is_some(), "it was still there for its own browser");
}

#[tokio::test]
async fn a_state_that_is_not_ours_or_of_another_tab_is_refused() {
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
async fn an_answer_of_another_issuer_or_without_the_announced_iss_is_refused() {
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
async fn the_first_answer_is_kept_and_a_later_one_offers_to_finish() {
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
async fn a_login_form_posted_twice_costs_one_silent_round_and_not_the_sign_in() {
    let mut bench = Bench::new().await;
    let first = bench.approve().await;
    let answer = bench.back(&bench.error(&first, "temporarily_unavailable")).await;
    let second = location(&answer);
    assert!(second.starts_with(&bench.provider.issuer()), "{second}");
    assert_ne!(parameter(&first, "state"), parameter(&second, "state"));
    assert_ne!(parameter(&first, "nonce"), parameter(&second, "nonce"));

    let stale = bench.back(&bench.provider.visit(&first)).await;
    assert_eq!(stale.status, 200, "the first round's answer is no longer waited for");
    let finished = location(&bench.back(&bench.provider.visit(&second)).await);
    assert!(parameter(&finished, "code").is_some(), "{finished}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_error_that_comes_beside_the_good_answer_undoes_nothing() {
    for error in ["temporarily_unavailable", "access_denied"] {
        for _ in 0..10 {
            let mut bench = Bench::new().await;
            let url = bench.approve().await;
            let (good, bad) = (bench.provider.visit(&url), bench.error(&url, error));
            let path = |url: &str| url.strip_prefix(bench.gate.origin()).unwrap().to_owned();
            let (mut one, mut other) = (bench.browser.clone(), bench.browser.clone());
            let (good, bad) = (path(&good), path(&bad));
            let (good, bad) = tokio::join!(one.get(&bench.gate, &good), other.get(&bench.gate, &bad));
            let answers = [good.header("location"), bad.header("location")];
            let codes = answers.iter().filter(|place| place.contains("code=") && !place.contains("code_challenge"));
            let finished = codes.count() == 1 || good.body.contains("code=") || bad.body.contains("code=");
            let refused =
                bad.header("location").contains("error=") || bad.header("location").contains("code_challenge");
            assert!(finished != refused, "{error}: {good:?} {bad:?}");
        }
    }
}

#[tokio::test]
async fn a_second_silent_round_is_not_given() {
    let mut bench = Bench::new().await;
    let first = bench.approve().await;
    let second = location(&bench.back(&bench.error(&first, "temporarily_unavailable")).await);
    let end = location(&bench.back(&bench.error(&second, "temporarily_unavailable")).await);
    assert_eq!(parameter(&end, "error").as_deref(), Some("temporarily_unavailable"));
    assert_eq!(parameter(&end, "state").as_deref(), Some("client-state"));
    assert_eq!(parameter(&end, "iss").as_deref(), Some(bench.gate.origin()));
}

#[tokio::test]
async fn offline_access_that_is_refused_either_way_costs_one_silent_round() {
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
async fn what_the_provider_says_reaches_the_client_in_oauths_own_words() {
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
async fn a_provider_that_fails_at_the_exchange_fails_that_sign_in_and_nothing_else() {
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
async fn an_id_token_that_must_not_be_believed_signs_nobody_in() {
    let mut bench = Bench::new().await;
    bench.provider.edit_id_token(|_, claims| claims["nonce"] = json!("another"));
    let url = bench.approve().await;
    let end = location(&bench.back(&bench.provider.visit(&url)).await);
    assert_eq!(parameter(&end, "error").as_deref(), Some("server_error"));
}

#[tokio::test]
async fn an_answer_that_comes_after_twenty_minutes_is_too_late() {
    let mut bench = Bench::new().await;
    let url = bench.approve().await;
    let back = bench.provider.visit(&url);
    bench.gate.clock.advance(std::time::Duration::from_mins(20));
    let answer = bench.back(&back).await;
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[tokio::test]
async fn while_the_provider_is_down_authorize_is_a_page_that_passes_and_refresh_loses_nothing() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    bench.provider.stop().await;
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS, "tokens work");

    let refused = bench.gate.refresh(&bench.client, &given.refresh).await;
    assert_eq!((refused.status, refused.error().as_str()), (503, "temporarily_unavailable"));
    assert!(!refused.header("retry-after").is_empty());

    bench.provider.restart().await;
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.status, 200, "nothing was lost");
}

#[tokio::test]
async fn start_up_does_not_need_the_provider() {
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
async fn only_invalid_grant_of_the_provider_ends_a_grant() {
    for reply in [
        Reply::html(500),
        Reply::html(429),
        Reply::error(401, "unauthorized_client", "rotated"),
        Reply::error(401, "invalid_client", "disabled"),
        Reply::error(400, "invalid_request", "?"),
        Reply::json(200, &json!({"nonsense": true})),
    ] {
        let mut bench = Bench::new().await;
        let given = bench.tokens().await;
        bench.provider.answer_token(reply);
        let refused = bench.gate.refresh(&bench.client, &given.refresh).await;
        assert_eq!((refused.status, refused.error().as_str()), (503, "temporarily_unavailable"), "{refused:?}");
        assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
        assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.status, 200);
    }
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    bench.provider.end_sessions();
    let refused = bench.gate.refresh(&bench.client, &given.refresh).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"));
    assert_eq!(bench.gate.call(&given.access).await.status, 401);
    assert!(bench.provider.revoked().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_refreshes_in_two_processes_ask_the_provider_once() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    let Bench { gate, provider, client, browser: _ } = bench;
    let asked = provider.calls("/token");
    let gates = [Arc::new(gate.twin().await), Arc::new(gate)];
    let attempts = (0..8).map(|number| {
        let (gate, client, token) = (Arc::clone(&gates[number % 2]), client.clone(), given.refresh.clone());
        tokio::spawn(async move { gate.refresh(&client, &token).await })
    });
    let answers: Vec<_> = join_all(attempts).await.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body), "{answers:?}");
    assert_eq!(provider.calls("/token"), asked + 1, "a provider that forbids reuse would have ended the session");
}

#[tokio::test]
async fn standing_session_ends_tokens_with_the_providers_session() {
    let mut bench = Bench::with(|config| {
        if let portcullis::config::IdentityKind::Oidc(settings) = &mut config.identities[0].kind {
            settings.standing = Standing::Session;
        }
    })
    .await;
    let url = bench.sign_in().await;
    let answer = bench.gate.redeem(&bench.client, &parameter(&url, "code").unwrap()).await;
    let session = crate::support::provider::SESSION_IDLE;
    assert_eq!(answer.json()["expires_in"], session, "an hour is more than the session has");
    let given = tokens(&answer);
    bench.gate.clock.advance(std::time::Duration::from_secs(session / 2));
    let renewed = bench.gate.refresh(&bench.client, &given.refresh).await;
    assert_eq!(renewed.json()["expires_in"], session, "each refresh moves the end");
    bench.gate.clock.advance(std::time::Duration::from_secs(session));
    assert_eq!(bench.gate.refresh(&bench.client, &tokens(&renewed).refresh).await.error(), "invalid_grant");
}

#[tokio::test]
async fn a_replayed_grant_revokes_its_offline_token_at_the_provider_only_when_it_was_the_users_last() {
    let mut bench = Bench::new().await;
    let (first, other) = (bench.tokens().await, bench.tokens().await);
    for (given, revoked) in [(first, 0), (other, 1)] {
        let next = tokens(&bench.gate.refresh(&bench.client, &given.refresh).await);
        tokens(&bench.gate.refresh(&bench.client, &next.refresh).await);
        assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.error(), "invalid_grant");
        bench.gate.settle().await;
        assert_eq!(bench.provider.revoked().len(), revoked);
    }
}
