//! From the authorization URL to the user.

use std::collections::BTreeMap;

use portcullis::config::{Identity, IdentityKind, LocalUser, OidcFlavour, Standing};
use portcullis::identity::{ExchangeError, Identities, SignInMethod, hash_password};
use portcullis::model::user::User;
use portcullis::oauth::scope::ScopeSet;
use portcullis::secret::SecretText;
use portcullis::telemetry::metrics::Metrics;
use serde_json::json;
use url::Url;

use super::{Bench, CALLBACK, NONCE, NOW, STATE, refused, unavailable};
use crate::support::config;
use crate::support::provider::{CLIENT_SECRET, OfflineRefusal, Reply, SESSION_IDLE};

#[tokio::test]
async fn the_authorization_url_holds_our_request_and_nothing_of_the_client() {
    let bench = Bench::new().await;
    bench.us().prepare().await.unwrap();
    let url = Url::parse(&bench.authorization_url(true).unwrap()).unwrap();
    assert_eq!(url.path(), "/realms/mcp/auth");
    let query: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    insta::assert_snapshot!(serde_json::to_string_pretty(&query).unwrap(), @r#"
    {
      "client_id": "portcullis",
      "code_challenge": "g80hPkaKL7rbUpYj1pvTaDr7jxOh8KvDFn00a94wNxk",
      "code_challenge_method": "S256",
      "nonce": "our-nonce",
      "redirect_uri": "https://mcp.example.com/callback/keycloak",
      "response_type": "code",
      "scope": "email offline_access openid profile",
      "state": "r_1.proof"
    }
    "#);
    assert_eq!(bench.us().requested_scopes(false), ScopeSet::parse("openid email profile").unwrap());
}

#[tokio::test]
async fn a_query_of_the_authorization_endpoint_is_kept() {
    let bench = Bench::new().await;
    bench.provider.edit_discovery(|document| {
        let endpoint = format!("{}?p=B2C_1_sign%20in", document["authorization_endpoint"].as_str().unwrap());
        document["authorization_endpoint"] = json!(endpoint);
    });
    bench.us().prepare().await.unwrap();
    let url = bench.authorization_url(false).unwrap();
    assert!(url.contains("/auth?p=B2C_1_sign%20in&response_type=code&"), "{url}");
}

#[tokio::test]
async fn a_sign_in_returns_the_user_and_an_offline_token() {
    let bench = Bench::new().await;
    let signed_in = bench.sign_in().await.unwrap();
    assert_eq!(signed_in.key, "alice-id");
    insta::assert_snapshot!(serde_json::to_string_pretty(&signed_in.user).unwrap(), @r#"
    {
      "name": "Alice A",
      "preferred_username": "alice",
      "verified_email": "alice@example.com",
      "verified_domain": "example.com",
      "groups": [
        "/eng/core"
      ]
    }
    "#);
    assert!(signed_in.renewable);
    let token = signed_in.token.unwrap();
    assert!(token.offline && token.ends_at.is_none());
    assert_eq!(bench.us().trouble(), None);
}

#[tokio::test]
async fn the_token_request_authenticates_in_the_header_and_sends_the_verifier() {
    let bench = Bench::new().await;
    let code = bench.code(true).await;
    bench.exchange(&code, true).await.unwrap();
    let call = bench.provider.last_call("/token");
    let form: BTreeMap<_, _> = call.form.into_iter().collect();
    insta::assert_snapshot!(serde_json::to_string_pretty(&form).unwrap(), @r#"
    {
      "code": "code-1",
      "code_verifier": "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk",
      "grant_type": "authorization_code",
      "redirect_uri": "https://mcp.example.com/callback/keycloak"
    }
    "#);
    assert!(call.headers["authorization"].to_str().unwrap().starts_with("Basic "));
    assert_eq!(call.headers["accept"], "application/json");
    assert_eq!(call.headers["user-agent"], concat!("portcullis/", env!("PORTCULLIS_VERSION")));
}

#[tokio::test]
async fn client_secret_post_is_used_where_only_that_is_listed() {
    let bench = Bench::new().await;
    bench.provider.edit_discovery(|document| {
        document["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
    });
    bench.sign_in().await.unwrap();
    let call = bench.provider.last_call("/token");
    assert_eq!(call.form["client_secret"], CLIENT_SECRET);
    assert_eq!(call.form["client_id"], "portcullis");
    assert!(!call.headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_public_client_sends_its_id_in_the_body() {
    let bench = Bench::with(|settings| settings.client_secret = None).await;
    bench.provider.set_client_secret(None);
    bench.sign_in().await.unwrap();
    let call = bench.provider.last_call("/token");
    assert_eq!(call.form["client_id"], "portcullis");
    assert!(!call.headers.contains_key("authorization") && !call.form.contains_key("client_secret"));
}

#[tokio::test]
async fn refused_offline_access_leads_to_a_session_bound_token_with_an_end() {
    let bench = Bench::new().await;
    bench.provider.refuse_offline(Some(OfflineRefusal::AtToken));
    let error = bench.sign_in().await.unwrap_err();
    assert!(
        matches!(&error, ExchangeError::OfflineRefused(words) if words.contains("realm role offline_access")),
        "{error}"
    );
    let code = bench.code(false).await;
    let signed_in = bench.exchange(&code, false).await.unwrap();
    let token = signed_in.token.unwrap();
    assert!(signed_in.renewable && !token.offline);
    assert_eq!(token.ends_at.unwrap().0, NOW + i64::try_from(SESSION_IDLE).unwrap());
}

#[tokio::test]
async fn an_error_means_refused_offline_access_only_if_it_was_requested() {
    for (status, error) in [(400, "not_allowed"), (400, "invalid_scope")] {
        for asked in [true, false] {
            let bench = Bench::new().await;
            let code = bench.code(asked).await;
            bench.provider.answer_token(Reply::error(status, error, "no"));
            let result = bench.exchange(&code, asked).await;
            assert_eq!(matches!(result, Err(ExchangeError::OfflineRefused(_))), asked, "{error} {result:?}");
        }
    }
}

#[tokio::test]
async fn another_products_words_for_a_refusal_are_no_refusal_of_offline_access() {
    let bench = Bench::with(|settings| settings.flavour = OidcFlavour::Generic).await;
    let code = bench.code(true).await;
    bench.provider.answer_token(Reply::error(400, "not_allowed", "no"));
    let words = refused(bench.exchange(&code, true).await);
    assert!(words.contains("not_allowed") && !words.contains("realm"), "{words}");
    // nor does a lifetime of zero mark an offline token, where the answer names the scopes without it
    bench.provider.answer_token(Reply::Edited(|body| {
        (body["scope"], body["refresh_expires_in"]) = (json!("openid"), json!(0));
    }));
    let token = bench.sign_in().await.unwrap().token.unwrap();
    assert!(!token.offline && token.ends_at.is_none());
}

#[tokio::test]
async fn offline_access_missing_from_the_granted_scope_was_not_granted() {
    let bench = Bench::new().await;
    bench.provider.answer_token(Reply::Edited(|body| {
        body["scope"] = json!("openid email");
        body["refresh_expires_in"] = json!(1200);
    }));
    let token = bench.sign_in().await.unwrap().token.unwrap();
    assert!(!token.offline);
    assert_eq!(token.ends_at.unwrap().0, NOW + 1200);
    // RFC 6749 5.1: no scope in the answer means the requested one.
    bench.provider.answer_token(Reply::Edited(|body| {
        body.as_object_mut().unwrap().retain(|name, _| name != "scope" && name != "refresh_expires_in");
    }));
    let token = bench.sign_in().await.unwrap().token.unwrap();
    assert!(token.offline && token.ends_at.is_none());
}

#[tokio::test]
async fn each_standing_requests_and_keeps_only_what_it_needs() {
    for (standing, asks, keeps) in
        [(Standing::Offline, true, true), (Standing::Session, false, true), (Standing::None, false, false)]
    {
        let bench = Bench::with(|settings| settings.standing = standing).await;
        bench.us().prepare().await.unwrap();
        assert_eq!(bench.us().asks_offline(), asks, "{standing:?}");
        let signed_in = bench.sign_in().await.unwrap();
        assert_eq!(signed_in.token.is_some(), keeps, "{standing:?}");
        assert!(signed_in.renewable, "{standing:?}");
    }
}

#[tokio::test]
async fn only_standing_none_is_renewable_without_a_refresh_token() {
    for (standing, renewable) in [(Standing::Offline, false), (Standing::Session, false), (Standing::None, true)] {
        let bench = Bench::with(|settings| settings.standing = standing).await;
        bench.provider.answer_token(Reply::Edited(|body| {
            drop(body.as_object_mut().unwrap().remove("refresh_token"));
        }));
        let signed_in = bench.sign_in().await.unwrap();
        assert_eq!((signed_in.renewable, signed_in.token.is_some()), (renewable, false), "{standing:?}");
    }
}

#[tokio::test]
async fn offline_access_is_requested_if_discovery_or_the_operator_lists_it() {
    for (listed, configured, asks) in [(true, false, true), (false, false, false), (false, true, true)] {
        let bench = Bench::with(|settings| {
            if configured {
                settings.scopes = ScopeSet::parse("email offline_access").unwrap();
            }
        })
        .await;
        bench.provider.edit_discovery(move |document| {
            if !listed {
                document["scopes_supported"] = json!(["openid"]);
            }
        });
        bench.us().prepare().await.unwrap();
        assert_eq!(bench.us().asks_offline(), asks);
        assert!(!bench.us().requested_scopes(false).contains("offline_access"), "the second round is without");
    }
}

#[tokio::test]
async fn every_token_endpoint_error_is_either_passing_or_names_its_setting() {
    let refusals = [
        (
            Reply::error(401, "unauthorized_client", "Invalid client"),
            false,
            "`client_id` and `client_secret` of identity keycloak",
        ),
        (
            Reply::error(401, "invalid_client", "Invalid client"),
            false,
            "`client_id` and `client_secret` of identity keycloak",
        ),
        (Reply::error(400, "invalid_client", "x"), false, "`client_id` and `client_secret` of identity keycloak"),
        (Reply::error(400, "invalid_grant", "Code not valid"), false, "Code not valid"),
        (Reply::error(400, "unsupported_grant_type", "x"), false, "must allow authorization_code"),
        (Reply::error(403, "access_denied", "Realm not enabled"), false, "Realm not enabled"),
        (Reply::html(404), false, "check `issuer`"),
        (Reply::json(200, &json!([])), false, "not a token response"),
        (Reply::html(200), false, "not a token response"),
        (Reply::json(200, &json!({"access_token": "x"})), false, "no ID token"),
        (Reply::html(302), false, "redirects are not followed"),
        (Reply::json(204, &json!(null)), false, "204"),
        (Reply::json(201, &json!({"access_token": "x", "id_token": "y"})), false, "201"),
        (Reply::json(200, &json!({"error": "invalid_grant"})), false, "not a token response"),
        (Reply::json(200, &json!({"access_token": "x", "id_token": ["y"]})), false, "not a token response"),
        (Reply::json(400, &json!({"error": {"message": "nested"}})), false, "without an error code"),
        (Reply::json(400, &json!([{"error": "invalid_grant"}])), false, "without an error code"),
        (Reply::json(400, &json!("invalid_grant")), false, "without an error code"),
        (Reply::html(500), true, "500"),
        (Reply::html(502), true, "502"),
        (Reply::error(503, "temporarily_unavailable", "Bootstrap in progress"), true, "503"),
        (Reply::error(429, "slow_down", "x"), true, "429"),
        (Reply::json(200, &json!("x".repeat(1024 * 1024))), true, "larger than"),
    ];
    for (reply, passes, words) in refusals {
        let bench = Bench::new().await;
        let code = bench.code(false).await;
        let shown = format!("{reply:?}").chars().take(90).collect::<String>();
        bench.provider.answer_token(reply);
        let result = bench.exchange(&code, false).await;
        let said = if passes { unavailable(result) } else { refused(result) };
        assert!(said.contains(words), "{shown}: {said}");
    }
}

#[tokio::test]
async fn a_secret_quoted_by_the_provider_is_not_repeated() {
    for secret in [CLIENT_SECRET, "code-1", Bench::verifier().expose()] {
        let bench = Bench::new().await;
        let code = bench.code(false).await;
        bench.provider.answer_token(Reply::error(400, "invalid_request", &format!("unexpected {secret} here")));
        let words = refused(bench.exchange(&code, false).await);
        assert!(!words.contains(secret) && words.contains("400"), "{words}");
        let code = bench.code(false).await;
        bench.provider.answer_token(Reply::error(400, &format!("bad {code}"), ""));
        assert!(!refused(bench.exchange(&code, false).await).contains(&code));
    }
    let bench = Bench::new().await;
    let code = bench.code(false).await;
    bench.provider.answer_token(Reply::error(400, "invalid_request", &format!("line\r\nbreak{}", "x".repeat(9000))));
    let words = refused(bench.exchange(&code, false).await);
    assert!(words.len() < 500 && !words.contains(['\r', '\n']), "{words}");
}

#[tokio::test]
async fn a_provider_code_is_exchanged_only_once() {
    let bench = Bench::new().await;
    let code = bench.code(false).await;
    bench.exchange(&code, false).await.unwrap();
    assert!(refused(bench.exchange(&code, false).await).contains("Code not valid"));
}

#[tokio::test]
async fn mix_up_iss_is_required_if_announced_and_compared_if_present() {
    for (announced, iss, good) in [
        (true, Some("own"), true),
        (true, Some("https://evil.example"), false),
        (true, Some("own/"), false),
        (true, None, false),
        (false, None, true),
        (false, Some("own"), true),
        (false, Some("https://evil.example"), false),
    ] {
        let bench = Bench::new().await;
        bench.provider.edit_discovery(move |document| {
            document["authorization_response_iss_parameter_supported"] = json!(announced);
        });
        bench.us().prepare().await.unwrap();
        let iss = iss.map(|iss| iss.replace("own", &bench.provider.issuer()));
        let result = bench.oidc().check_iss(iss.as_deref());
        assert_eq!(result.is_ok(), good, "{announced} {iss:?} {result:?}");
    }
    let never_read = Bench::new().await;
    assert!(never_read.oidc().check_iss(None).is_err());
    assert!(never_read.oidc().check_iss(Some(&never_read.provider.issuer())).is_ok());
}

#[tokio::test]
async fn the_fake_provider_redirects_like_a_real_one() {
    let bench = Bench::new().await;
    bench.us().prepare().await.unwrap();
    let url = bench.authorization_url(true).unwrap();
    let callback = bench.provider.visit(&url);
    assert!(callback.starts_with(CALLBACK) && callback.contains(&format!("state={STATE}")), "{callback}");
    assert!(url.contains(NONCE));
    let fetcher = portcullis::outbound::Fetcher::new([]);
    let redirect = fetcher.get(&url, std::time::Duration::from_secs(5)).await.unwrap();
    assert_eq!(redirect.status, 302, "a browser that comes by HTTP is sent back too");
    bench.provider.refuse_offline(Some(OfflineRefusal::AtAuthorize));
    assert!(bench.provider.visit(&url).contains("error=invalid_scope"));
    assert!(!bench.provider.visit(&bench.authorization_url(false).unwrap()).contains("error"));
}

#[tokio::test]
async fn local_users_type_a_password_here_and_have_no_provider_endpoints() {
    let user = LocalUser {
        id: "u_1".to_owned(),
        username: "alice".to_owned(),
        password_hash: hash_password(&SecretText::from("correct horse".to_owned())),
        name: None,
        email: None,
        groups: Vec::new(),
    };
    let local = Identity {
        id: "demo".to_owned(),
        name: "Demo".to_owned(),
        kind: IdentityKind::Local(vec![user]),
        admission: portcullis::config::Admission::default(),
    };
    let mut bench = Bench::new().await;
    bench.identities =
        Identities::new(&config(vec![local, bench.provider.identity()]), &bench.clock, &Metrics::default().providers);
    let demo = bench.identities.get("demo").unwrap();
    assert!(matches!(demo.sign_in_method(), SignInMethod::Password(_)));
    assert!(demo.prepare().await.is_ok() && !demo.asks_offline() && demo.trouble().is_none());
    assert!(demo.renew("u_1", &User::default(), None).await.unwrap().user.is_some());
    assert!(demo.renew("u_2", &User::default(), None).await.is_err());
    assert!(matches!(bench.us().sign_in_method(), SignInMethod::Redirect(_)));
    let names: Vec<_> = bench.identities.iter().map(|provider| (provider.id().as_str(), provider.name())).collect();
    assert_eq!(names, [("demo", "Demo"), ("keycloak", "Keycloak")]);
}
