//! Renewal at the provider, at every refresh: whether the user may still sign in.

use std::time::Duration;

use portcullis::config::OidcFlavour;
use portcullis::config::Standing;
use portcullis::identity::{RenewError, Renewed};
use portcullis::model::user::User;
use portcullis::secret::SecretText;
use serde_json::json;

use super::{Bench, NOW};
use crate::support::provider::{Reply, TestAlgorithm, TestKey};

struct SignedInBench {
    bench: Bench,
    token: SecretText,
}

impl SignedInBench {
    async fn new(standing: Standing) -> Self {
        let bench = Bench::with(|settings| settings.standing = standing).await;
        let token = bench.sign_in().await.unwrap().token.unwrap().token;
        Self { bench, token }
    }

    async fn renew(&self) -> Result<Renewed, RenewError> {
        self.bench.us().renew("alice-id", &User::default(), Some(&self.token)).await
    }
}

fn unavailable(result: Result<Renewed, RenewError>) -> String {
    match result {
        Err(RenewError::Unavailable(words)) => words,
        other => panic!("not unavailable: {other:?}"),
    }
}

#[tokio::test]
async fn a_renewal_returns_the_next_token_and_current_claims() {
    let signed_in = SignedInBench::new(Standing::Offline).await;
    let today = json!({"sub": "alice-id", "name": "Alice B", "groups": ["/ops"]});
    signed_in.bench.provider.sign_in_as(today);
    let renewed = signed_in.renew().await.unwrap();
    let user = renewed.user.unwrap();
    assert_eq!((user.name.as_deref(), user.groups), (Some("Alice B"), vec!["/ops".to_owned()]));
    let token = renewed.token.unwrap();
    assert_ne!(token.token.expose(), signed_in.token.expose());
    assert!(token.offline && token.ends_at.is_none());
    let form = signed_in.bench.provider.last_call("/token").form;
    assert_eq!(form["grant_type"], "refresh_token");
    assert!(!form.contains_key("scope"), "nothing narrower, nothing wider");
}

#[tokio::test]
async fn a_renewal_extends_a_session_bound_token() {
    let signed_in = SignedInBench::new(Standing::Session).await;
    signed_in.bench.clock.advance(Duration::from_mins(10));
    let token = signed_in.renew().await.unwrap().token.unwrap();
    assert!(!token.offline);
    assert_eq!(token.ends_at.unwrap().0, NOW + 600 + 1800);
}

#[tokio::test]
async fn a_provider_that_does_not_rotate_leaves_our_refresh_token_in_use() {
    let signed_in = SignedInBench::new(Standing::Session).await;
    let provider = &signed_in.bench.provider;
    provider.answer_token(Reply::json(200, &json!({"access_token": "x"})));
    let renewed = signed_in.renew().await.unwrap();
    assert!(renewed.token.is_none() && renewed.user.is_none());
    provider.answer_token(Reply::json(200, &json!({"access_token": "x", "refresh_expires_in": "60"})));
    let token = signed_in.renew().await.unwrap().token.unwrap();
    assert_eq!(token.token.expose(), signed_in.token.expose());
    assert_eq!(token.ends_at.unwrap().0, NOW + 60);
}

#[tokio::test]
async fn only_a_plain_refusal_of_the_token_ends_a_renewal() {
    let refusals = [
        (
            Reply::error(400, "unauthorized_client", "Invalid client"),
            "`client_id` and `client_secret` of identity keycloak",
        ),
        (
            Reply::error(401, "unauthorized_client", "Invalid client"),
            "`client_id` and `client_secret` of identity keycloak",
        ),
        (Reply::error(401, "invalid_client", "Invalid client"), "`client_id` and `client_secret` of identity keycloak"),
        (Reply::error(400, "invalid_scope", "x"), "`scopes`"),
        (Reply::error(400, "not_allowed", "x"), "realm role offline_access"),
        (Reply::error(400, "invalid_request", "x"), "not clear whether a refresh token was refused"),
        (Reply::error(400, "access_denied", "x"), "not clear whether a refresh token was refused"),
        (Reply::error(500, "invalid_grant", "x"), "500"),
        (Reply::error(503, "unknown_error", "Bootstrap in progress"), "503"),
        (Reply::error(429, "x", "x"), "429"),
        (Reply::html(400), "without an error code"),
        (Reply::html(502), "502"),
        (Reply::html(200), "not a token response"),
        (Reply::html(307), "redirects are not followed"),
        (Reply::json(400, &json!({"error": ["invalid_grant"]})), "without an error code"),
    ];
    for (reply, words) in refusals {
        let signed_in = SignedInBench::new(Standing::Offline).await;
        let shown = format!("{reply:?}");
        signed_in.bench.provider.answer_token(reply);
        let said = unavailable(signed_in.renew().await);
        assert!(said.contains(words), "{shown}: {said}");
        assert!(signed_in.renew().await.is_ok(), "{shown}: nothing was lost");
    }
    let signed_in = SignedInBench::new(Standing::Offline).await;
    signed_in.bench.provider.end_sessions();
    let error = signed_in.renew().await.unwrap_err();
    assert!(matches!(&error, RenewError::Ended(words) if words.contains("Session not active")), "{error}");
    assert_eq!(signed_in.bench.us().trouble(), None, "a plain answer is no trouble");
}

#[tokio::test]
async fn a_refused_token_ends_a_renewal_whatever_the_status() {
    for (status, error) in [
        (401, "invalid_grant"),
        // Auth0
        (403, "invalid_grant"),
        (400, "interaction_required"),
        (400, "login_required"),
    ] {
        let signed_in = SignedInBench::new(Standing::Offline).await;
        signed_in.bench.provider.answer_token(Reply::error(status, error, "x"));
        let error = signed_in.renew().await.unwrap_err();
        assert!(matches!(&error, RenewError::Ended(_)), "{error}");
    }
}

#[tokio::test]
async fn a_token_that_is_refused_like_an_unknown_one_ends_a_renewal_and_a_different_answer_is_trouble() {
    let signed_in = SignedInBench::new(Standing::Offline).await;
    let provider = &signed_in.bench.provider;
    let refusals = |of_the_unknown: Reply| {
        provider.answer_token(Reply::error(400, "invalid_request", "Refresh token is invalid"));
        provider.answer_token(of_the_unknown);
    };
    for other in [
        Reply::error(401, "invalid_request", "x"),
        Reply::error(400, "invalid_client", "x"),
        Reply::error(503, "invalid_request", "x"),
        Reply::json(200, &json!({"access_token": "for anything"})),
    ] {
        let shown = format!("{other:?}");
        refusals(other);
        assert!(unavailable(signed_in.renew().await).contains("invalid_request"), "{shown}");
        let asked = provider.last_call("/token").form["refresh_token"].clone();
        assert_ne!(asked, signed_in.token.expose(), "{shown}: the second one is made up");
        assert!(signed_in.bench.us().trouble().is_some(), "{shown}");
    }
    refusals(Reply::error(400, "invalid_request", "Refresh token is invalid"));
    let error = signed_in.renew().await.unwrap_err();
    assert!(matches!(&error, RenewError::Ended(words) if words.contains("unknown token")), "{error}");
    signed_in.renew().await.unwrap();
    assert_eq!(signed_in.bench.us().trouble(), None, "a renewal that succeeds ends the trouble");
}

#[tokio::test]
async fn consent_is_asked_for_with_offline_access_where_the_standard_says_so() {
    for (flavour, offline, prompt) in [
        (OidcFlavour::Generic, true, Some("consent")),
        (OidcFlavour::Generic, false, None),
        (OidcFlavour::Keycloak, true, None),
    ] {
        let bench = Bench::with(|settings| settings.flavour = flavour).await;
        bench.us().prepare().await.unwrap();
        let url = bench.authorization_url(offline).unwrap();
        assert_eq!(crate::support::browser::parameter(&url, "prompt").as_deref(), prompt, "{url}");
    }
}

#[tokio::test]
async fn a_refresh_token_quoted_by_the_provider_is_not_logged() {
    let signed_in = SignedInBench::new(Standing::Offline).await;
    let token = signed_in.token.expose().to_owned();
    for error in ["invalid_grant", "invalid_request"] {
        signed_in.bench.provider.answer_token(Reply::error(400, error, &format!("no session for {token}")));
        let words = signed_in.renew().await.unwrap_err().to_string();
        assert!(!words.contains(&token) && words.contains("400"), "{words}");
    }
}

#[tokio::test]
async fn a_wrong_client_secret_is_reported_as_trouble_until_corrected() {
    let signed_in = SignedInBench::new(Standing::Offline).await;
    let bench = &signed_in.bench;
    bench.provider.set_client_secret(Some("rotated"));
    assert!(unavailable(signed_in.renew().await).contains("client_secret"));
    assert!(bench.us().trouble().unwrap().contains("client_secret"));
    bench.provider.set_client_secret(Some(crate::support::provider::CLIENT_SECRET));
    signed_in.renew().await.unwrap();
    assert_eq!(bench.us().trouble(), None);
}

#[tokio::test]
async fn a_renewal_for_another_user_is_refused() {
    let signed_in = SignedInBench::new(Standing::Offline).await;
    signed_in.bench.provider.edit_id_token(|_, claims| claims["sub"] = json!("bob-id"));
    let words = unavailable(signed_in.renew().await);
    assert!(words.contains("another") && !words.contains("bob-id"), "{words}");
}

#[tokio::test]
async fn a_renewal_with_an_invalid_id_token_is_refused() {
    let signed_in = SignedInBench::new(Standing::Offline).await;
    signed_in.bench.provider.edit_id_token(|header, _| header["alg"] = json!("none"));
    assert!(unavailable(signed_in.renew().await).contains("is not believed"));
    let signed_in = SignedInBench::new(Standing::Offline).await;
    signed_in.bench.provider.edit_id_token(|_, claims| claims["aud"] = json!("other"));
    assert!(unavailable(signed_in.renew().await).contains("is not believed"));
}

#[tokio::test]
async fn a_renewal_without_keys_keeps_the_next_token() {
    let signed_in = SignedInBench::new(Standing::Offline).await;
    let bench = &signed_in.bench;
    bench.provider.rotate(TestKey::new(TestAlgorithm::Rs256, "second"), true);
    bench.provider.edit_jwks(|document| *document = json!("no key set"));
    bench.clock.advance(Duration::from_secs(11));
    let renewed = signed_in.renew().await.unwrap();
    assert!(renewed.user.is_none(), "the user stays as it was");
    let next = renewed.token.unwrap().token;
    bench.provider.edit_jwks(|_| {});
    bench.clock.advance(Duration::from_secs(11));
    assert!(bench.us().renew("alice-id", &User::default(), Some(&next)).await.unwrap().user.is_some());
}

#[tokio::test]
async fn a_renewal_while_the_provider_is_down_ends_nothing() {
    let signed_in = SignedInBench::new(Standing::Offline).await;
    signed_in.bench.provider.stop().await;
    let words = unavailable(signed_in.renew().await);
    assert!(words.contains("refuses the connection"), "{words}");
    assert_eq!(signed_in.bench.us().trouble(), Some(words));
    signed_in.bench.provider.restart().await;
    assert!(signed_in.renew().await.is_ok());
    assert_eq!(signed_in.bench.us().trouble(), None);
}

#[tokio::test]
async fn the_first_renewal_after_a_restart_fetches_metadata_and_keys() {
    let signed_in = SignedInBench::new(Standing::Offline).await;
    let SignedInBench { bench, token } = signed_in;
    let restarted = Bench::around(bench.provider, bench.clock, |_| {});
    assert!(restarted.us().renew("alice-id", &User::default(), Some(&token)).await.unwrap().user.is_some());
}

#[tokio::test]
async fn standing_none_never_asks_the_provider_and_a_missing_token_needs_a_sign_in() {
    let bench = Bench::with(|settings| settings.standing = Standing::None).await;
    bench.sign_in().await.unwrap();
    let calls = bench.provider.calls("/token");
    let old = SecretText::from("of an older configuration".to_owned());
    for token in [None, Some(&old)] {
        let renewed = bench.us().renew("alice-id", &User::default(), token).await.unwrap();
        assert!(renewed.token.is_none() && renewed.user.is_none());
    }
    assert_eq!(bench.provider.calls("/token"), calls);
    let bench = Bench::with(|settings| settings.standing = Standing::Session).await;
    assert!(matches!(bench.us().renew("alice-id", &User::default(), None).await, Err(RenewError::Ended(_))));
}

#[tokio::test]
async fn revocation_uses_the_discovered_endpoint_and_reports_failures() {
    let signed_in = SignedInBench::new(Standing::Offline).await;
    let bench = &signed_in.bench;
    assert_eq!(bench.us().revoke(&signed_in.token).await, Ok(true));
    assert_eq!(bench.provider.revoked(), [signed_in.token.expose()]);
    assert_eq!(bench.provider.last_call("/revoke").form["token_type_hint"], "refresh_token");
    assert_eq!(bench.us().revoke(&signed_in.token).await, Ok(true), "one that is gone is as good as revoked");
    bench.provider.stop().await;
    let failure = bench.us().revoke(&signed_in.token).await.unwrap_err().to_string();
    assert!(failure.contains("refuses the connection"), "{failure}");
    assert_eq!(bench.provider.calls("/revoke"), 2);

    let just_started = Bench::new().await;
    assert_eq!(just_started.us().revoke(&signed_in.token).await, Ok(true));
    assert_eq!(just_started.provider.calls("/revoke"), 1, "the metadata are read for it");

    let bench = Bench::new().await;
    bench.provider.edit_discovery(|document| drop(document.as_object_mut().unwrap().remove("revocation_endpoint")));
    assert_eq!(bench.us().revoke(&signed_in.token).await, Ok(false));
    assert_eq!(bench.provider.calls("/revoke"), 0);
}
