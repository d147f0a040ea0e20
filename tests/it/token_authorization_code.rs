//! The authorization code grant: what a redemption must prove, and that a code is redeemed once (replay).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use portcullis::oauth::scope::ScopeSet;
use portcullis::secret::Sha256;
use serde_json::Value;

use crate::engines::also_on_postgres;
use crate::support::browser::{Browser, parameter};
use crate::support::gate::{Answer, REDIRECT_URI, TestClient, TestGate, VERIFIER, WORKS, claims, tokens, upstream};
use crate::support::log::watch;

also_on_postgres! {
    one_of_64_parallel_redemptions_succeeds_and_its_tokens_work,
    a_code_replayed_after_ten_seconds_ends_the_grant,
    a_failed_check_does_not_consume_the_code,
    five_failed_redemptions_end_a_code,
    a_code_expires_after_a_minute,
    a_code_survives_a_restart_and_cannot_be_redeemed_twice,
    a_client_with_a_secret_must_send_it_in_header_or_body,
    refresh_tokens_are_issued_as_registered_or_requested,
}

fn header(token: &str) -> Value {
    let header = token.split('.').next().unwrap();
    serde_json::from_slice(&data_encoding::BASE64URL_NOPAD.decode(header.as_bytes()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_code_is_redeemed_for_tokens_of_exactly_one_resource() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let answer = gate.redeem(&client, &gate.code(&client).await).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
    insta::assert_json_snapshot!(answer.json(), { ".access_token" => "[jwt]", ".refresh_token" => "[pcr]" }, @r#"
    {
      "access_token": "[jwt]",
      "expires_in": 3600,
      "refresh_token": "[pcr]",
      "scope": "mcp:access offline_access",
      "token_type": "Bearer"
    }
    "#);
    let given = tokens(&answer);
    let head = header(&given.access);
    assert_eq!((head["typ"].as_str(), head["alg"].as_str()), (Some("at+jwt"), Some("ES256")));
    let mut claims = claims(&given.access);
    for (name, prefix) in [("jti", "t_"), ("sid", "g_")] {
        assert!(claims[name].take().as_str().unwrap().starts_with(prefix));
    }
    claims["client_id"] = "[client_id]".into();
    insta::assert_json_snapshot!(claims, @r#"
    {
      "aud": "http://127.0.0.1:6749/mcp",
      "client_id": "[client_id]",
      "exp": 1800003600,
      "iat": 1800000000,
      "iss": "http://127.0.0.1:6749",
      "jti": null,
      "scope": "mcp:access",
      "sid": null,
      "sub": "local|alice"
    }
    "#);
}

/// The `scope` of a token response, if it has one.
fn named(answer: &Answer) -> Option<String> {
    answer.json().get("scope").map(|scope| scope.as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_token_response_names_no_more_scope_than_was_requested() {
    let gate = TestGate::with(|config| {
        let scopes = ScopeSet::parse("mcp:access mcp:write").unwrap();
        config.upstreams[0].settings.scopes.required = scopes;
    })
    .await;
    let client = gate.register().await;
    for (asked, code, refresh) in [
        ("mcp:access mcp:write", Some("mcp:access mcp:write"), Some("mcp:access mcp:write")),
        (
            "mcp:access mcp:write offline_access",
            Some("mcp:access mcp:write offline_access"),
            Some("mcp:access mcp:write offline_access"),
        ),
        ("mcp:write  mcp:access nonsense", Some("mcp:access mcp:write"), Some("mcp:access mcp:write")),
        ("", Some("mcp:access mcp:write offline_access"), Some("mcp:access mcp:write offline_access")),
        (" ", Some("mcp:access mcp:write offline_access"), Some("mcp:access mcp:write offline_access")),
        // meaningless scopes get the default, of which the client requested nothing
        ("openid profile", None, None),
        ("offline_access", Some("offline_access"), Some("offline_access")),
    ] {
        let place = gate.sign_in(&mut Browser::default(), &client, &[("scope", asked)]).await;
        let answer = gate.redeem(&client, &parameter(&place, "code").unwrap()).await;
        assert_eq!(named(&answer).as_deref(), code, "{asked}");
        let given = tokens(&answer);
        assert!(!given.refresh.is_empty(), "a refresh token is given as ever");
        assert_eq!(claims(&given.access)["scope"], "mcp:access mcp:write", "{asked}");
        assert_eq!(gate.call(&given.access).await.status, WORKS);
        let answer = gate.refresh(&client, &given.refresh).await;
        assert_eq!(named(&answer).as_deref(), refresh, "{asked}");
    }
}

#[tokio::test]
async fn a_resource_may_be_spelt_as_typed_everywhere_and_the_audience_is_canonical() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    for typed in ["http://127.0.0.1:6749/mcp?toolsets=a", "http://localhost:6749/mcp", "http://[::1]:6749/mcp/?x"] {
        let place = gate.sign_in(&mut Browser::default(), &client, &[("resource", typed)]).await;
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("client_id", client.id.as_str()),
            ("code_verifier", VERIFIER),
            ("resource", typed),
        ];
        let code = parameter(&place, "code").unwrap();
        fields.push(("code", &code));
        let given = tokens(&gate.post_form("/token", &fields).await);
        assert_eq!(claims(&given.access)["aud"], "http://127.0.0.1:6749/mcp", "{typed}");
        assert_eq!(gate.call_at("/mcp?toolsets=a", &given.access).await.status, WORKS);
        let refresh = [
            ("grant_type", "refresh_token"),
            ("client_id", client.id.as_str()),
            ("refresh_token", given.refresh.as_str()),
            ("resource", typed),
        ];
        let refreshed = tokens(&gate.post_form("/token", &refresh).await);
        assert_eq!(claims(&refreshed.access)["aud"], "http://127.0.0.1:6749/mcp", "{typed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_64_parallel_redemptions_succeeds_and_its_tokens_work() {
    let gate = Arc::new(TestGate::new().await);
    let client = gate.register().await;
    let code = gate.code(&client).await;
    let attempts = (0..64).map(|_| {
        let (gate, client, code) = (Arc::clone(&gate), client.clone(), code.clone());
        tokio::spawn(async move { gate.redeem(&client, &code).await })
    });
    let answers: Vec<_> = join_all(attempts).await.into_iter().map(Result::unwrap).collect();
    let good: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(good.len(), 1);
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.error() == "invalid_grant"));
    let given = tokens(good[0]);
    assert_eq!(gate.call(&given.access).await.status, WORKS);
    assert_eq!(gate.refresh(&client, &given.refresh).await.status, 200);
}

#[tokio::test]
async fn a_code_replayed_after_ten_seconds_ends_the_grant() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let code = gate.code(&client).await;
    let given = tokens(&gate.redeem(&client, &code).await);
    gate.clock.advance(Duration::from_secs(9));
    assert_eq!(gate.redeem(&client, &code).await.error(), "invalid_grant");
    assert_eq!(gate.call(&given.access).await.status, WORKS, "a retry within ten seconds changes nothing");
    gate.clock.advance(Duration::from_secs(2));
    assert_eq!(gate.redeem(&client, &code).await.error(), "invalid_grant");
    assert_eq!(gate.call(&given.access).await.status, 401);
    assert_eq!(gate.refresh(&client, &given.refresh).await.error(), "invalid_grant");
}

#[tokio::test]
async fn a_stranger_who_replays_a_code_without_the_verifier_ends_nothing() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let code = gate.code(&client).await;
    let given = tokens(&gate.redeem(&client, &code).await);
    gate.clock.advance(Duration::from_mins(1));
    for _ in 0..6 {
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", client.id.as_str()),
            ("code", code.as_str()),
            ("code_verifier", &"a".repeat(43)),
        ];
        assert_eq!(gate.post_form("/token", &fields).await.error(), "invalid_grant");
    }
    assert_eq!(gate.call(&given.access).await.status, WORKS);
    assert_eq!(gate.refresh(&client, &given.refresh).await.status, 200);
}

#[tokio::test]
async fn a_failed_check_does_not_consume_the_code() {
    let gate = TestGate::with(|config| {
        config.upstreams.push(upstream(&config.public_url, "other", "http://127.0.0.1:9/"));
    })
    .await;
    let (client, other) = (gate.register().await, gate.register_named("other").await);
    let long = "a".repeat(129);
    for (name, value, error) in [
        ("client_id", other.id.as_str(), "invalid_grant"),
        ("client_id", "c_unknown", "invalid_client"),
        ("redirect_uri", "http://127.0.0.1:33419/callback", "invalid_grant"),
        ("code_verifier", "", "invalid_request"),
        ("code_verifier", "short", "invalid_request"),
        ("code_verifier", long.as_str(), "invalid_request"),
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXX", "invalid_grant"),
        ("resource", "http://127.0.0.1:6749/other", "invalid_target"),
        ("resource", "https://elsewhere.example/", "invalid_target"),
        ("grant_type", "password", "unsupported_grant_type"),
        ("grant_type", "", "invalid_request"),
        ("client_secret", "something", "invalid_client"),
    ] {
        let code = gate.code(&client).await;
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("client_id", client.id.as_str()),
            ("code", code.as_str()),
            ("redirect_uri", client.redirect_uri.as_str()),
            ("code_verifier", VERIFIER),
            ("resource", "http://127.0.0.1:6749/mcp"),
        ];
        fields.retain(|(key, _)| *key != name);
        fields.push((name, value));
        let answer = gate.post_form("/token", &fields).await;
        assert_eq!(answer.error(), error, "{name}={value}: {answer:?}");
        assert_eq!(answer.status, if error == "invalid_client" { 401 } else { 400 });
        assert_eq!(gate.redeem(&client, &code).await.status, 200, "{name}={value}: the code is still good");
    }
}

#[tokio::test]
async fn redirect_uri_and_resource_are_optional_at_the_token_endpoint() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let code = gate.code(&client).await;
    let fields =
        [("grant_type", "authorization_code"), ("client_id", &client.id), ("code", &code), ("code_verifier", VERIFIER)];
    assert_eq!(gate.post_form("/token", &fields).await.status, 200);
}

#[tokio::test]
async fn five_failed_redemptions_end_a_code() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let code = gate.code(&client).await;
    let wrong = [
        ("grant_type", "authorization_code"),
        ("client_id", client.id.as_str()),
        ("code", code.as_str()),
        ("code_verifier", &"a".repeat(43)),
    ];
    for _ in 0..5 {
        assert_eq!(gate.post_form("/token", &wrong).await.error(), "invalid_grant");
    }
    assert_eq!(gate.redeem(&client, &code).await.error(), "invalid_grant");
}

#[tokio::test]
async fn attempts_on_a_dead_code_write_nothing() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let (attacked, redeemed) = (gate.code(&client).await, gate.code(&client).await);
    gate.redeem(&client, &redeemed).await;
    let failures = async |code: &str| {
        let issued = gate.app.store().issued_code(&Sha256::of(code.as_bytes())).await.unwrap();
        issued.unwrap().failed_redemptions
    };
    let (log, _guard) = watch();
    for code in [&attacked, &redeemed] {
        let wrong = [
            ("grant_type", "authorization_code"),
            ("client_id", client.id.as_str()),
            ("code", code.as_str()),
            ("code_verifier", &"a".repeat(43)),
        ];
        for _ in 0..9 {
            assert_eq!(gate.post_form("/token", &wrong).await.error(), "invalid_grant");
        }
    }
    assert_eq!((failures(&attacked).await, failures(&redeemed).await), (5, 0));
    assert_eq!(log.text().matches("a code was ended by failed redemptions").count(), 1);
    assert_eq!(gate.redeem(&client, &attacked).await.error(), "invalid_grant");
}

#[tokio::test]
async fn a_code_expires_after_a_minute() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let (early, late) = (gate.code(&client).await, gate.code(&client).await);
    gate.clock.advance(Duration::from_secs(59));
    assert_eq!(gate.redeem(&client, &early).await.status, 200);
    gate.clock.advance(Duration::from_secs(1));
    assert_eq!(gate.redeem(&client, &late).await.error(), "invalid_grant");
}

#[tokio::test]
async fn a_code_survives_a_restart_and_cannot_be_redeemed_twice() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let code = gate.code(&client).await;
    let gate = gate.restart().await;
    let given = tokens(&gate.redeem(&client, &code).await);
    let gate = gate.restart().await;
    assert_eq!(gate.redeem(&client, &code).await.error(), "invalid_grant");
    assert_eq!(gate.call(&given.access).await.status, WORKS);
    assert_eq!(gate.refresh(&client, &given.refresh).await.status, 200);
}

#[tokio::test]
async fn a_client_with_a_secret_must_send_it_in_header_or_body() {
    let gate = TestGate::new().await;
    let body = serde_json::json!({
        "redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "client_secret_basic",
    });
    let registered = gate.post_json("/register", &body).await.json();
    let (id, secret) = (registered["client_id"].as_str().unwrap(), registered["client_secret"].as_str().unwrap());
    let client = TestClient { id: id.to_owned(), redirect_uri: REDIRECT_URI.to_owned() };
    let code = gate.code(&client).await;
    let form = |extra: &str| format!("grant_type=authorization_code&code={code}&code_verifier={VERIFIER}{extra}");
    let basic = |secret: &str| format!("Basic {}", data_encoding::BASE64.encode(format!("{id}:{secret}").as_bytes()));
    let post = |authorization: Option<String>, body: String| {
        let mut request = gate.request("POST", "/token").header("content-type", "application/x-www-form-urlencoded");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        gate.send(request, body)
    };
    let without = post(None, form(&format!("&client_id={id}"))).await;
    assert_eq!((without.status, without.error().as_str()), (401, "invalid_client"));
    let wrong = post(Some(basic("pcs_wrong")), form("")).await;
    assert_eq!((wrong.status, wrong.header("www-authenticate")), (401, "Basic realm=\"token\""));
    let both = post(Some(basic(secret)), form(&format!("&client_id={id}&client_secret={secret}"))).await;
    assert_eq!(both.error(), "invalid_request");
    assert_eq!(post(Some(basic(secret)), form("")).await.status, 200);
    let code = gate.code(&client).await;
    let in_body = format!(
        "grant_type=authorization_code&code={code}&code_verifier={VERIFIER}&client_id={id}&client_secret={secret}"
    );
    assert_eq!(post(None, in_body).await.status, 200);
}

#[tokio::test]
async fn the_token_endpoint_takes_only_forms_without_repeated_parameters() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let json = gate.post_json("/token", &serde_json::json!({"grant_type": "authorization_code"})).await;
    assert_eq!((json.status, json.error().as_str()), (400, "invalid_request"));
    let code = gate.code(&client).await;
    let twice = [
        ("grant_type", "authorization_code"),
        ("client_id", client.id.as_str()),
        ("code", code.as_str()),
        ("code", code.as_str()),
        ("code_verifier", VERIFIER),
    ];
    assert_eq!(gate.post_form("/token", &twice).await.error(), "invalid_request");
    assert_eq!(gate.get("/token").await.status, 405);
    let large = gate.post_form("/token", &[("pad", &"x".repeat(70_000))]).await;
    assert_eq!(large.status, 413);
}

/// Each field of a form costs memory beside its bytes: tens of thousands of empty ones fit into a body that is within its limit.
#[tokio::test]
async fn a_request_with_thousands_of_parameters_is_refused_and_never_read_in_part() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let code = gate.code(&client).await;
    let flood = "&a".repeat(30_000);
    let body =
        format!("grant_type=authorization_code&client_id={}&code={code}&code_verifier={VERIFIER}{flood}", client.id);
    let request = || gate.request("POST", "/token").header("content-type", "application/x-www-form-urlencoded");
    let refused = gate.send(request(), body.clone()).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_request"));
    let authorize = gate.get(&format!("/authorize?client_id={}{}", client.id, &flood[..2000])).await;
    assert_eq!(authorize.status, 400);
    let whole = body.trim_end_matches("&a").to_owned();
    assert_eq!(gate.send(request(), whole).await.status, 200, "the code was not touched");
}

#[tokio::test]
async fn refresh_tokens_are_issued_as_registered_or_requested() {
    use portcullis::config::RefreshTokens::{Asked, Registered};
    for (policy, grant_types, scope, expected) in [
        (Registered, None, "", true),
        (Registered, Some(vec!["authorization_code", "refresh_token"]), "", true),
        (Registered, Some(vec!["authorization_code"]), "", false),
        (Registered, Some(vec!["authorization_code"]), "offline_access", true),
        (Asked, None, "", false),
        (Asked, None, "mcp:access offline_access", true),
    ] {
        let gate = TestGate::with(|config| config.tokens.refresh = policy).await;
        let mut body = serde_json::json!({"redirect_uris": [REDIRECT_URI]});
        if let Some(types) = &grant_types {
            body["grant_types"] = serde_json::json!(types);
        }
        let client = gate.register_as(&body).await;
        let url = gate.sign_in(&mut Browser::default(), &client, &[("scope", scope)]).await;
        let code = parameter(&url, "code").unwrap();
        let answer = gate.redeem(&client, &code).await.json();
        assert_eq!(answer.get("refresh_token").is_some(), expected, "{policy:?} {grant_types:?} {scope}");
        assert_eq!(answer["scope"].as_str().unwrap().contains("offline_access"), expected);
    }
}
