//! Back-channel logout: a provider reports that a user signed out there, and what ends here (docs/logout.md).

mod hostile;
mod races;
mod standing;

use portcullis::config::{Config, Identity, IdentityKind, Standing};
use serde_json::{Value, json};

use crate::support::bench::{Bench, provider_settings};
use crate::support::browser::Browser;
use crate::support::gate::{Answer, Given, TestClient, TestGate, WORKS};
use crate::support::log::watch;

/// Where the provider of a [`Bench`] reports logouts.
const PATH: &str = "/back-channel-logout/keycloak";

async fn report(gate: &TestGate, token: &str) -> Answer {
    gate.post_form(PATH, &[("logout_token", token)]).await
}

/// Asserts that a token was accepted, whatever it ended.
fn assert_accepted(answer: &Answer) {
    assert_eq!(
        (answer.status, answer.body.as_str(), answer.header("cache-control")),
        (200, "", "no-store"),
        "{answer:?}"
    );
}

/// Asserts that a token was refused as the specification has it.
fn assert_refused(answer: &Answer) {
    assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_request"), "{answer:?}");
    assert!(answer.json()["error_description"].is_string(), "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
}

async fn assert_ended(gate: &TestGate, client: &TestClient, given: &Given) {
    assert_eq!(gate.call(&given.access).await.status, 401);
    assert_eq!(gate.refresh(client, &given.refresh).await.error(), "invalid_grant");
}

fn session_bound(config: &mut Config) {
    provider_settings(config).standing = Standing::Session;
}

/// Signs in with a new browser, in this session of the provider.
async fn sign_in(bench: &mut Bench, sid: &str) -> Given {
    bench.browser = Browser::default();
    bench.provider.begin_session(sid);
    bench.tokens().await
}

/// A logout token of the provider with some claims replaced or, with null, taken away.
fn token_with(bench: &Bench, changes: &Value) -> String {
    bench.provider.logout_token(|_, claims| {
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
    })
}

#[tokio::test]
async fn a_logout_ends_the_grants_of_its_session_at_once_and_no_others() {
    let mut bench = Bench::with(session_bound).await;
    let elsewhere = sign_in(&mut bench, "desktop").await;
    let first = sign_in(&mut bench, "laptop").await;
    let second = bench.tokens().await;
    let asked = bench.provider.calls("/token");
    let (lines, guard) = watch();
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({}))).await);
    drop(guard);
    for given in [&first, &second] {
        assert_ended(&bench.gate, &bench.client, given).await;
    }
    assert_eq!(bench.provider.calls("/token"), asked, "there is nothing to ask");
    assert_eq!(bench.gate.call(&elsewhere.access).await.status, WORKS);
    assert_eq!(bench.gate.refresh(&bench.client, &elsewhere.refresh).await.status, 200);
    assert!(bench.provider.revoked().is_empty());
    let text = lines.text();
    let ended: Vec<_> = text.lines().filter(|line| line.contains("grant ended")).collect();
    assert_eq!(ended.len(), 2, "{text}");
    assert!(ended.iter().all(|line| line.contains("reason=\"back_channel_logout\"") && line.contains("request_id=")));
    assert!(text.contains("signed out at the identity provider"), "{text}");
    assert!(!text.contains("laptop"), "the session is a secret of the user's");
}

#[tokio::test]
async fn a_token_without_a_session_ends_all_of_the_user_and_one_without_a_user_its_session() {
    let mut bench = Bench::with(session_bound).await;
    let (laptop, desktop) = (sign_in(&mut bench, "laptop").await, sign_in(&mut bench, "desktop").await);
    bench.provider.sign_in_as(json!({"sub": "bob-id"}));
    let bobs = sign_in(&mut bench, "bob's").await;
    bench.provider.sign_in_as(json!({"sub": "alice-id"}));
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({"sub": null, "sid": "laptop"}))).await);
    assert_ended(&bench.gate, &bench.client, &laptop).await;
    assert_eq!(bench.gate.call(&desktop.access).await.status, WORKS);
    let third = sign_in(&mut bench, "tablet").await;
    bench.gate.clock.advance(std::time::Duration::from_secs(1));
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({"sid": null}))).await);
    for given in [&desktop, &third] {
        assert_ended(&bench.gate, &bench.client, given).await;
    }
    assert_eq!(bench.gate.call(&bobs.access).await.status, WORKS);
}

#[tokio::test]
async fn a_token_about_nobody_here_is_answered_like_any_other() {
    let mut bench = Bench::with(session_bound).await;
    let given = sign_in(&mut bench, "laptop").await;
    let known = report(&bench.gate, &token_with(&bench, &json!({"sid": "laptop"}))).await;
    assert_ended(&bench.gate, &bench.client, &given).await;
    for nobody in
        [json!({"sub": "nobody"}), json!({"sub": null, "sid": "unknown"}), json!({"sid": null, "sub": "nobody"})]
    {
        let answer = report(&bench.gate, &token_with(&bench, &nobody)).await;
        assert_accepted(&answer);
        let without_id = |answer: &Answer| {
            let mut headers = answer.headers.clone();
            headers.remove("x-request-id");
            headers
        };
        assert_eq!(without_id(&answer), without_id(&known), "no oracle");
    }
}

#[tokio::test]
async fn a_provider_that_is_never_asked_again_still_ends_its_grants() {
    let mut bench = Bench::with(|config| provider_settings(config).standing = Standing::None).await;
    let given = sign_in(&mut bench, "laptop").await;
    let other = sign_in(&mut bench, "desktop").await;
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({"sid": "laptop"}))).await);
    assert_ended(&bench.gate, &bench.client, &given).await;
    assert_eq!(bench.gate.refresh(&bench.client, &other.refresh).await.status, 200);
}

/// The same provider under another id, where we are another client.
fn under_another_client(config: &mut Config, id: &str) {
    let IdentityKind::Oidc(settings) = &config.identities[0].kind else { panic!("a provider") };
    let mut settings = settings.clone();
    settings.client_id = format!("portcullis-{id}");
    let kind = IdentityKind::Oidc(settings);
    let admission = portcullis::config::Admission::default();
    config.identities.push(Identity { id: id.to_owned(), name: id.to_owned(), kind, admission });
}

#[tokio::test]
async fn a_logout_is_for_one_identity_whatever_else_is_equal() {
    let mut bench = Bench::with(|config| {
        session_bound(config);
        under_another_client(config, "other");
    })
    .await;
    let given = sign_in(&mut bench, "laptop").await;
    let of_other = token_with(&bench, &json!({"aud": "portcullis-other"}));
    assert_refused(&report(&bench.gate, &of_other).await);
    let ours = token_with(&bench, &json!({}));
    assert_refused(&bench.gate.post_form("/back-channel-logout/other", &[("logout_token", &ours)]).await);
    // the same user and the same session, as far as the provider's words go
    assert_accepted(&bench.gate.post_form("/back-channel-logout/other", &[("logout_token", &of_other)]).await);
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    assert_accepted(&report(&bench.gate, &ours).await);
    assert_ended(&bench.gate, &bench.client, &given).await;
}

#[tokio::test]
async fn identities_that_send_no_logout_tokens_refuse_them() {
    let gate = TestGate::new().await;
    for path in ["/back-channel-logout/local", "/back-channel-logout/unknown", "/back-channel-logout/%ff"] {
        assert_refused(&gate.post_form(path, &[("logout_token", "a.b.c")]).await);
    }
}

#[tokio::test]
async fn the_session_at_the_users_own_page_ends_too() {
    let mut bench = Bench::with(session_bound).await;
    bench.provider.begin_session("laptop");
    let page = bench.browser.get(&bench.gate, "/account").await;
    let form = crate::support::browser::Form::on(&page.body).with("identity", "keycloak");
    let sent = bench.browser.submit(&bench.gate, &form).await;
    let back = bench.provider.visit(&crate::support::browser::location(&sent));
    bench.back(&back).await;
    let signed_in = async |bench: &mut Bench| {
        let page = bench.browser.get(&bench.gate, "/account").await;
        page.body.contains("/account/sign-out")
    };
    assert!(signed_in(&mut bench).await);
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({"sid": "desktop"}))).await);
    assert!(signed_in(&mut bench).await, "another session of the same user");
    assert_accepted(&report(&bench.gate, &token_with(&bench, &json!({"sid": "laptop"}))).await);
    assert!(!signed_in(&mut bench).await);
}

#[tokio::test]
async fn every_result_is_counted_for_its_identity_and_none_for_a_made_up_one() {
    let bench = Bench::with(session_bound).await;
    let token = token_with(&bench, &json!({}));
    for _ in 0..2 {
        report(&bench.gate, &token).await;
    }
    report(&bench.gate, "nonsense").await;
    bench.gate.post_form("/back-channel-logout/made-up", &[("logout_token", &token)]).await;
    let text = bench.gate.app.metrics().await;
    for result in ["accepted", "replayed", "refused"] {
        let line = format!("portcullis_logout_tokens_total{{identity=\"keycloak\",result=\"{result}\"}} 1");
        assert!(text.contains(&line), "{line}: {text}");
    }
    assert!(!text.contains("made-up"));
}

#[tokio::test]
async fn our_own_metadata_promises_no_logout() {
    let bench = Bench::new().await;
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        let document = bench.gate.get(path).await;
        assert!(!document.body.contains("logout") && !document.body.contains("end_session"), "{document:?}");
    }
}
