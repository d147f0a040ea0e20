//! Providers that follow the standard in ways of their own, each after its vendor's documentation. Dex, npm's `oidc-provider` and
//! ZITADEL's library run for real in `tests/e2e/providers`.

use portcullis::config::{ClaimForm, GroupOrigin, GroupSource, GroupSources, OidcFlavour, OidcSettings};
use portcullis::identity::{RenewError, Renewed};
use portcullis::model::user::User;
use portcullis::secret::SecretText;
use serde_json::{Value, json};

use super::{Bench, NOW};
use crate::support::browser::parameter;
use crate::support::provider::Reply;

fn user(name: Option<&str>, email: Option<&str>, groups: &[&str]) -> User {
    User {
        name: name.map(str::to_owned),
        preferred_username: None,
        email: email.map(str::to_owned),
        domain: email.map(|_| "example.com".to_owned()),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    }
}

async fn generic(edit: impl FnOnce(&mut OidcSettings)) -> Bench {
    Bench::with(|settings| {
        settings.flavour = OidcFlavour::Generic;
        edit(settings);
    })
    .await
}

fn parameters(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl Bench {
    async fn token_of_a_sign_in(&self) -> SecretText {
        self.sign_in().await.unwrap().token.expect("a refresh token").token
    }

    async fn renewed_with(&self, token: &SecretText, known: &User) -> Result<Renewed, RenewError> {
        self.us().renew("alice-id", known, Some(token)).await
    }

    /// What the provider's metadata do not have.
    fn without(&self, names: &'static [&'static str]) {
        self.provider.edit_discovery(move |document| {
            for name in names {
                document.as_object_mut().unwrap().remove(*name);
            }
        });
    }

    fn scopes_in_metadata(&self, scopes: &'static [&'static str]) {
        self.provider.edit_discovery(move |document| document["scopes_supported"] = json!(scopes));
    }
}

/// Neither is a refresh token repeated, nor is there a `refresh_expires_in` or a `session_state`.
fn as_the_standard_has_it(answer: &mut Value) {
    let answer = answer.as_object_mut().unwrap();
    for name in ["refresh_token", "refresh_expires_in", "session_state"] {
        answer.remove(name);
    }
}

#[tokio::test]
async fn auth0_is_sent_an_audience_and_says_403_of_a_dead_refresh_token() {
    let bench =
        generic(|settings| settings.authorize_params = parameters(&[("audience", "https://api.example.com")])).await;
    bench.us().prepare().await.unwrap();
    let url = bench.authorization_url(true).unwrap();
    assert_eq!(parameter(&url, "audience").as_deref(), Some("https://api.example.com"));
    assert_eq!(parameter(&url, "prompt").as_deref(), Some("consent"), "the others stay");
    let token = bench.token_of_a_sign_in().await;
    bench.provider.answer_token(Reply::error(403, "invalid_grant", "Unknown or invalid refresh token."));
    assert!(matches!(bench.renewed_with(&token, &User::default()).await, Err(RenewError::Ended(_))));
}

#[tokio::test]
async fn google_gives_a_refresh_token_for_access_type_and_prompt_and_never_another_one() {
    let wanted = parameters(&[("access_type", "offline"), ("prompt", "consent select_account")]);
    let bench = generic(|settings| settings.authorize_params = wanted).await;
    bench.scopes_in_metadata(&["openid", "email", "profile"]);
    bench.us().prepare().await.unwrap();
    assert!(!bench.us().asks_offline(), "Google refuses the scope that it does not list");
    for offline in [false, true] {
        let url = bench.authorization_url(offline).unwrap();
        assert_eq!(parameter(&url, "access_type").as_deref(), Some("offline"));
        assert_eq!(parameter(&url, "prompt").as_deref(), Some("consent select_account"));
        assert_eq!(url.matches("prompt=").count(), 1, "{url}");
    }
    bench.provider.keep_used_refresh_tokens();
    let token = bench.token_of_a_sign_in().await;
    for _ in 0..2 {
        bench.provider.answer_token(Reply::Edited(as_the_standard_has_it));
        let renewed = bench.renewed_with(&token, &User::default()).await.unwrap();
        assert!(renewed.token.is_none(), "ours stays in use");
    }
}

#[tokio::test]
async fn okta_keeps_groups_and_address_out_of_its_thin_id_token() {
    let bench = generic(|_| {}).await;
    bench.provider.sign_in_as(json!({"sub": "alice-id", "name": "Alice A"}));
    bench.provider.say_at_userinfo(json!({
        "sub": "alice-id", "name": "Alice A", "email": "alice@example.com", "email_verified": true,
        "groups": ["Everyone", "IT"], "zoneinfo": "America/Los_Angeles",
    }));
    let whole = user(Some("Alice A"), Some("alice@example.com"), &["Everyone", "IT"]);
    let signed_in = bench.sign_in().await.unwrap();
    assert_eq!(signed_in.user, whole);
    let renewed = bench.renewed_with(&signed_in.token.unwrap().token, &whole).await.unwrap();
    assert_eq!(renewed.user, None, "nothing changed, and nothing is lost");
}

#[tokio::test]
async fn cognito_has_no_offline_access_names_groups_after_itself_and_says_verified_in_words() {
    let bench = generic(|settings| settings.groups = GroupSources::claim("cognito:groups")).await;
    bench.scopes_in_metadata(&["openid", "email", "phone", "profile"]);
    bench.provider.sign_in_as(json!({
        "sub": "alice-id", "email": "alice@example.com", "email_verified": "true", "cognito:username": "alice",
        "cognito:groups": ["eu-west-1_admins"], "token_use": "id",
    }));
    let signed_in = bench.sign_in().await.unwrap();
    assert_eq!(signed_in.user, user(None, Some("alice@example.com"), &["eu-west-1_admins"]));
    let form = bench.provider.last_call("/token").form;
    assert!(!form.contains_key("scope"));
    let token = signed_in.token.expect("its refresh tokens need no scope").token;
    bench.provider.answer_token(Reply::Edited(as_the_standard_has_it));
    assert!(bench.renewed_with(&token, &User::default()).await.unwrap().token.is_none());
}

#[tokio::test]
async fn authentik_calls_no_address_verified_until_it_is_told_to() {
    let claims = json!({
        "sub": "alice-id", "name": "Alice A", "email": "alice@example.com", "email_verified": false, "groups": ["ops"],
    });
    let bench = generic(|_| {}).await;
    bench.provider.sign_in_as(claims.clone());
    assert_eq!(bench.sign_in().await.unwrap().user, user(Some("Alice A"), None, &["ops"]));
    let trusting = generic(|settings| settings.trust_email = true).await;
    trusting.provider.sign_in_as(claims);
    let user = trusting.sign_in().await.unwrap().user;
    assert_eq!(user.email.as_deref(), Some("alice@example.com"));
}

#[tokio::test]
async fn pingfederate_sends_no_id_token_with_a_refresh_and_the_user_is_asked_of_userinfo() {
    let bench = generic(|_| {}).await;
    bench.provider.sign_in_as(json!({"sub": "alice-id"}));
    let known = user(Some("Alice A"), Some("alice@example.com"), &["ops", "admins"]);
    let today = |groups: Value| {
        json!({
            "sub": "alice-id", "name": "Alice A", "email": "alice@example.com", "email_verified": true,
            "groups": groups,
        })
    };
    bench.provider.say_at_userinfo(today(json!(["ops", "admins"])));
    let token = bench.token_of_a_sign_in().await;
    bench.provider.say_at_userinfo(today(json!(["ops"])));
    bench.provider.answer_token(Reply::Edited(|answer| drop(answer.as_object_mut().unwrap().remove("id_token"))));
    let renewed = bench.renewed_with(&token, &known).await.unwrap();
    assert_eq!(renewed.user, Some(user(Some("Alice A"), Some("alice@example.com"), &["ops"])));
}

#[tokio::test]
async fn zitadel_names_its_project_among_the_audiences_and_keeps_claims_at_userinfo() {
    let roles = GroupSource {
        origin: GroupOrigin::Claim { place: "urn:zitadel:iam:org:project:roles".to_owned(), form: ClaimForm::Keys },
        prefix: "role:".to_owned(),
    };
    let bench = generic(|settings| settings.groups = GroupSources(vec![roles])).await;
    bench.provider.sign_in_as(json!({"sub": "alice-id"}));
    bench.provider.edit_id_token(|_, claims| {
        claims["aud"] = json!(["portcullis", "170086774599581953"]);
        claims["client_id"] = json!("portcullis");
    });
    bench.provider.say_at_userinfo(json!({
        "sub": "alice-id", "name": "Alice A", "email": "alice@example.com", "email_verified": true,
        "urn:zitadel:iam:org:project:roles": {"admin": {"1700": "corp.example.com"}},
    }));
    assert_eq!(bench.sign_in().await.unwrap().user, user(Some("Alice A"), Some("alice@example.com"), &["role:admin"]));
}

#[tokio::test]
async fn a_provider_without_userinfo_and_revocation_and_without_iss_still_signs_users_in() {
    let bench = generic(|_| {}).await;
    bench.without(&[
        "authorization_response_iss_parameter_supported",
        "code_challenge_methods_supported",
        "revocation_endpoint",
        "scopes_supported",
        "token_endpoint_auth_methods_supported",
    ]);
    bench.provider.sign_in_as(json!({"sub": "alice-id"}));
    let signed_in = bench.sign_in().await.unwrap();
    assert_eq!(signed_in.user, User::default());
    assert_eq!(bench.oidc().check_iss(None), Ok(()));
    let token = signed_in.token.unwrap().token;
    assert_eq!(bench.us().revoke(&token).await, Ok(false));
}

#[tokio::test]
async fn a_clock_a_minute_off_and_foreign_keys_in_the_set_cost_no_sign_in() {
    let bench = generic(|_| {}).await;
    bench.provider.edit_jwks(|document| {
        document["keys"].as_array_mut().unwrap().splice(
            0..0,
            [
                json!({"kty": "AKP", "alg": "ML-DSA-65", "kid": "quantum", "pub": "AAAA"}),
                json!({"kty": "OKP", "crv": "Ed448", "kid": "other", "x": "AAAA"}),
                json!({"kty": "EC", "crv": "secp256k1", "x": "AAAA", "y": "AAAA"}),
                json!("not a key"),
            ],
        );
    });
    for skew in [-59_i64, 59] {
        bench.provider.edit_id_token(move |_, claims| {
            for name in ["iat", "nbf", "auth_time", "exp"] {
                let lifetime = i64::from(name == "exp");
                claims[name] = json!(NOW + skew + lifetime);
            }
        });
        bench.sign_in().await.unwrap();
    }
}
