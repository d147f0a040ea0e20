//! The authorization request: what reaches consent, what gets an error page, and what is redirected to the client.

use http::header::CONTENT_SECURITY_POLICY;
use portcullis::config::ConfiguredClient;
use portcullis::oauth::client_metadata::AuthMethod;
use serde_json::json;

use crate::support::browser::{Browser, Form, location, parameter};
use crate::support::gate::{REDIRECT_URI, TestClient, TestGate, WORKS, claims, tokens, upstream};
use crate::support::log::watch;

#[tokio::test]
async fn a_valid_authorization_request_shows_the_consent_page_and_stores_nothing() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let answer = gate.get(&gate.authorize_path(&client, &[])).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("Test client") && answer.body.contains("http://127.0.0.1:33418/callback"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("referrer-policy"), "same-origin");
    let policy = answer.header(CONTENT_SECURITY_POLICY.as_str());
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("form-action"), "{policy}");
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("portcullis-6749-c-") && cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
    assert!(!cookie.contains("Secure"));
    let id = cookie.strip_prefix("portcullis-6749-c-").and_then(|rest| rest.split('=').next()).unwrap();
    assert_eq!(gate.app.store().authorization(&format!("r_{id}").into()).await.unwrap(), None);
}

#[tokio::test]
async fn an_unknown_client_or_redirect_uri_gets_a_page_and_never_a_redirect() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let with = |extra: &[(&'static str, &'static str)]| gate.authorize_path(&client, extra);
    for path in [
        with(&[("client_id", "c_unknown")]),
        with(&[("client_id", "")]),
        with(&[("redirect_uri", "http://127.0.0.1:33418/other")]),
        with(&[("redirect_uri", "http://localhost:33418/callback")]),
        with(&[("redirect_uri", "https://evil.example/callback")]),
        with(&[("redirect_uri", "http://127.0.0.1:33418/callback?x=1")]),
        with(&[("redirect_uri", "http://127.0.0.1:33418/callback#f")]),
        with(&[("redirect_uri", "http://user@127.0.0.1:33418/callback")]),
        with(&[("redirect_uri", "http://127.0.0.1:33418/callback/../callback")]),
        with(&[("redirect_uri", "http:127.0.0.1:33418/callback")]),
        with(&[("redirect_uri", "http://127.1:33418/callback")]),
        with(&[("redirect_uri", "javascript:alert(1)")]),
        format!("{}&client_id=x", with(&[])),
        format!("{}&redirect_uri=https://evil.example/", with(&[])),
        format!("{}&state=again", with(&[])),
    ] {
        let answer = gate.get(&path).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.header("location").is_empty(), "{path}");
        assert!(answer.header("content-type").starts_with("text/html"), "{path}");
        assert!(answer.body.contains(answer.header("x-request-id")), "{path}: the page shows the request id");
    }
    for allowed in ["http://127.0.0.1:1/callback", "HTTP://127.0.0.1:33418/callback", "http://127.0.0.1:80/callback"] {
        assert_eq!(gate.get(&with(&[("redirect_uri", allowed)])).await.status, 200, "{allowed}");
    }
}

#[tokio::test]
async fn a_loopback_client_must_send_its_redirect_uri_because_its_port_was_cut_out() {
    let gate = TestGate::new().await;
    for uri in [REDIRECT_URI, "https://localhost:8443/cb"] {
        let client = gate.register_as(&json!({"redirect_uris": [uri]})).await;
        let answer = gate.get(&gate.authorize_path(&client, &[("redirect_uri", "")])).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.header("location").is_empty());
        assert!(answer.body.contains("invalid_request: redirect_uri is missing"), "{answer:?}");
    }
    let remote = gate.register_as(&json!({"redirect_uris": ["https://a.example/cb"]})).await;
    let url = gate.sign_in(&mut Browser::default(), &remote, &[("redirect_uri", "")]).await;
    assert!(url.starts_with("https://a.example/cb?code="), "{url}");
}

#[tokio::test]
async fn an_https_loopback_redirect_uri_is_shown_as_a_program_on_this_computer() {
    let gate = TestGate::new().await;
    let client = gate.register_as(&json!({"redirect_uris": ["https://localhost:8443/cb"]})).await;
    let page = gate.get(&gate.authorize_path(&client, &[("redirect_uri", "https://localhost:9443/cb")])).await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains("a program on this computer"), "{page:?}");
}

#[tokio::test]
async fn a_code_is_sent_to_the_redirect_uri_as_the_client_spelt_it() {
    let gate = TestGate::new().await;
    let client = gate.register_as(&json!({"redirect_uris": ["http://127.0.0.1:8000/"]})).await;
    let client = TestClient { redirect_uri: "HTTP://127.0.0.1:8001".to_owned(), ..client };
    let url = gate.sign_in(&mut Browser::default(), &client, &[]).await;
    assert!(url.starts_with("HTTP://127.0.0.1:8001?code="), "{url}");
    let code = parameter(&url, "code").unwrap();
    let elsewhere = TestClient { redirect_uri: "http://127.0.0.1:8000/".to_owned(), ..client.clone() };
    assert_eq!(gate.redeem(&elsewhere, &code).await.error(), "invalid_grant", "the port counts");
    let same = TestClient { redirect_uri: "http://127.0.0.1:8001/".to_owned(), ..client };
    assert_eq!(gate.redeem(&same, &code).await.status, 200);
}

/// `Open WebUI` registers again when the answer, in lower case, contains one of these.
const REGISTER_AGAIN: [&str; 5] = ["invalid_client", "invalid client", "client id", "redirect_uri", "redirect uri"];

#[tokio::test]
async fn an_error_page_makes_programs_register_again_only_where_that_helps() {
    let gate = TestGate::new().await;
    let remote = gate.register_as(&json!({"redirect_uris": ["https://a.example/cb"]})).await;
    let says_so = |body: &str| REGISTER_AGAIN.iter().any(|words| body.to_lowercase().contains(words));
    for (extra, code) in
        [(("client_id", "c_unknown"), "invalid_client"), (("redirect_uri", "https://a.example/other"), "redirect_uri")]
    {
        let page = gate.get(&gate.authorize_path(&remote, &[extra])).await;
        assert!(page.status == 400 && page.body.contains(code) && says_so(&page.body), "{page:?}");
    }
    for (extra, code) in [
        (("code_challenge", ""), "invalid_request"),
        (("resource", "https://elsewhere.example/"), "invalid_target"),
        (("response_type", "token"), "unsupported_response_type"),
    ] {
        let page = gate.get(&gate.authorize_path(&remote, &[extra])).await;
        assert!(page.status == 400 && page.body.contains(code) && !says_so(&page.body), "{page:?}");
    }
    let (gate, provider) = TestGate::with_provider(|_| {}).await;
    let client = gate.register().await;
    provider.stop().await;
    gate.clock.advance(std::time::Duration::from_hours(1));
    let page = gate.get(&gate.authorize_path(&client, &[])).await;
    assert_eq!(page.status, 503);
    assert!(page.body.contains("temporarily_unavailable") && !says_so(&page.body), "{page:?}");
}

#[tokio::test]
async fn other_errors_are_redirected_to_a_loopback_client_with_error_state_and_iss() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    for (extra, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", ""), "invalid_request"),
        (("response_mode", "fragment"), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", "short"), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("resource", "http://127.0.0.1:6749/other"), "invalid_target"),
        (("resource", "not a uri"), "invalid_target"),
    ] {
        let answer = gate.get(&gate.authorize_path(&client, &[extra])).await;
        let url = location(&answer);
        assert!(url.starts_with("http://127.0.0.1:33418/callback?error="), "{url}");
        assert_eq!(parameter(&url, "error").as_deref(), Some(error), "{extra:?}");
        assert_eq!(parameter(&url, "state").as_deref(), Some("client-state"));
        assert_eq!(parameter(&url, "iss").as_deref(), Some(gate.origin()));
    }
}

#[tokio::test]
async fn before_consent_no_error_redirects_a_browser_to_a_remote_client_that_registered_itself() {
    let gate = TestGate::with(|config| {
        config.clients.push(ConfiguredClient {
            device: false,
            client_id: "known".to_owned(),
            name: None,
            redirect_uris: vec!["https://known.example/cb".to_owned()],
            client_secret: None,
            keys: None,
            auth_method: AuthMethod::None,
            machine: None,
            dpop_bound: false,
            introspects: Vec::new(),
        });
    })
    .await;
    for uri in ["https://a.example/cb", "cursor://anysphere.cursor-mcp/oauth/callback"] {
        let client = gate.register_as(&json!({"client_name": "Remote", "redirect_uris": [uri]})).await;
        let answer = gate.get(&gate.authorize_path(&client, &[("code_challenge", "")])).await;
        assert_eq!(answer.status, 400);
        assert!(answer.header("location").is_empty());
        assert!(answer.body.contains("code_challenge is missing"), "{answer:?}");
    }
    let known = TestClient { id: "known".to_owned(), redirect_uri: "https://known.example/cb".to_owned() };
    let answer = gate.get(&gate.authorize_path(&known, &[("code_challenge", "")])).await;
    assert!(location(&answer).starts_with("https://known.example/cb?error=invalid_request"));
}

#[tokio::test]
async fn state_is_limited_to_2_kib_and_the_authorization_request_to_8_kib() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let state = "s".repeat(2048);
    let url = gate.sign_in(&mut Browser::default(), &client, &[("state", &state)]).await;
    assert_eq!(parameter(&url, "state"), Some(state));
    assert_eq!(gate.get(&gate.authorize_path(&client, &[("state", &"s".repeat(2049))])).await.status, 400);
    assert_eq!(gate.get(&gate.authorize_path(&client, &[("pad", &"s".repeat(8192))])).await.status, 400);
    assert_eq!(gate.get(&gate.authorize_path(&client, &[("pad", &"s".repeat(7000))])).await.status, 200);
}

#[tokio::test]
async fn a_resource_may_be_spelt_as_clients_spell_it_and_be_repeated() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    for resource in ["http://127.0.0.1:6749/mcp", "http://127.0.0.1:6749/mcp/", "HTTP://127.0.0.1:6749/mcp", ""] {
        assert_eq!(gate.get(&gate.authorize_path(&client, &[("resource", resource)])).await.status, 200, "{resource}");
    }
    let twice = format!("{}&resource=http://127.0.0.1:6749/mcp/", gate.authorize_path(&client, &[]));
    assert_eq!(gate.get(&twice).await.status, 200);
    for resource in [
        "http://127.0.0.1:6749/mcp?toolsets=a,b",
        "http://127.0.0.1:6749/mcp/?toolsets=a",
        "http://localhost:6749/mcp",
        "http://[::1]:6749/mcp?toolsets=a",
    ] {
        assert_eq!(gate.get(&gate.authorize_path(&client, &[("resource", resource)])).await.status, 200, "{resource}");
    }
}

#[tokio::test]
async fn a_resource_that_only_a_lenient_parser_accepts_is_invalid_target() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    for resource in [
        "http:127.0.0.1:6749/mcp",
        "http:///127.0.0.1:6749/mcp",
        "http://127.1:6749/mcp",
        "http://%31%32%37.0.0.1:6749/mcp",
        "http://user@127.0.0.1:6749/mcp",
        "http://127.0.0.1:6749/m\tcp",
        "http://127.0.0.1:6749\\mcp",
        "http://127.0.0.1:6749/x/../mcp",
        "http://127.0.0.1:6749/%6dcp",
        "http://127.0.0.1:6749/mcp#f",
        "http://127.0.0.1:6749/other?/mcp",
        "http://127.0.0.2:6749/mcp",
        "http://localhost:6750/mcp",
        "http://localhost.:6749/mcp",
        "https://localhost:6749/mcp",
    ] {
        let answer = gate.get(&gate.authorize_path(&client, &[("resource", resource)])).await;
        assert_eq!(parameter(&location(&answer), "error").as_deref(), Some("invalid_target"), "{resource}");
    }
}

#[tokio::test]
async fn a_request_without_resource_needs_a_default_among_several_upstreams() {
    let several = |default: bool| async move {
        let gate = TestGate::with(|config| {
            let mut other = upstream(&config.public_url, "other", "http://127.0.0.1:9/");
            other.settings.default = default;
            config.upstreams.push(other);
        })
        .await;
        let client = gate.register().await;
        gate.get(&gate.authorize_path(&client, &[("resource", "")])).await
    };
    let answer = several(false).await;
    assert_eq!(parameter(&location(&answer), "error").as_deref(), Some("invalid_target"));
    let answer = several(true).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("Server other"), "{answer:?}");
}

#[tokio::test]
async fn two_resources_in_one_request_are_refused() {
    let gate =
        TestGate::with(|config| config.upstreams.push(upstream(&config.public_url, "other", "http://127.0.0.1:9/")))
            .await;
    let client = gate.register().await;
    let path = format!("{}&resource=http://127.0.0.1:6749/other", gate.authorize_path(&client, &[]));
    assert_eq!(parameter(&location(&gate.get(&path).await), "error").as_deref(), Some("invalid_target"));
}

#[tokio::test]
async fn unknown_scopes_are_dropped_without_an_error() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    for scope in ["openid profile email", "nonsense", "mcp:access nonsense", "a\"b", "", "offline_access"] {
        let url = gate.sign_in(&mut Browser::default(), &client, &[("scope", scope)]).await;
        let given = tokens(&gate.redeem(&client, &parameter(&url, "code").unwrap()).await);
        assert_eq!(claims(&given.access)["scope"], "mcp:access", "{scope}");
        assert_eq!(gate.call(&given.access).await.status, WORKS, "{scope}");
    }
}

#[tokio::test]
async fn names_and_states_of_clients_are_escaped_on_the_consent_page() {
    let gate = TestGate::new().await;
    let name = r#"<script>alert(1)</script>"><img src=x>"#;
    let client = gate.register_named(name).await;
    let answer = gate.get(&gate.authorize_path(&client, &[("state", "\"><script>")])).await;
    assert!(!answer.body.contains("<script>") && !answer.body.contains("<img"), "{answer:?}");
    assert!(!Form::on(&answer.body).fields.is_empty());
}

#[tokio::test]
async fn a_malformed_client_id_cannot_put_a_message_on_our_page() {
    let gate = TestGate::new().await;
    let client =
        TestClient { id: "locked! Call +1 555\u{202e}\u{0}\u{e9}".to_owned(), redirect_uri: REDIRECT_URI.to_owned() };
    let page = gate.get(&gate.authorize_path(&client, &[])).await;
    assert_eq!(page.status, 400);
    assert!(page.body.contains("<code><bdi>locked!?Call?+1?555???</bdi></code>"), "{page:?}");
}

#[tokio::test]
async fn a_client_that_is_refused_or_cannot_be_looked_up_is_told_apart_from_an_unknown_one() {
    let gate = TestGate::with(|config| config.client_documents.enabled = false).await;
    let client = |id: &str| TestClient { id: id.to_owned(), redirect_uri: REDIRECT_URI.to_owned() };
    for (id, reason) in [
        ("c_unknown", "client c_unknown is not known here"),
        ("https://app.example.com/client.json", "Client ID Metadata Documents are not read here"),
        ("a message to the user", "client a?message?to?the?user is not known here"),
    ] {
        let (lines, guard) = watch();
        let page = gate.get(&gate.authorize_path(&client(id), &[])).await;
        assert_eq!((page.status, page.header("location")), (400, ""), "{id}");
        assert!(lines.text().contains(reason), "{}", lines.text());
        assert!(!page.body.contains("a message to the user"), "{page:?}");
        drop(guard);
        let refused = gate.redeem(&client(id), "pcc_x").await;
        assert_eq!((refused.status, refused.error().as_str()), (401, "invalid_client"), "{id}");
    }
    gate.app.store().close().await;
    assert_eq!(gate.get(&gate.authorize_path(&client("c_unknown"), &[])).await.status, 503);
    let refused = gate.redeem(&client("c_unknown"), "pcc_x").await;
    assert_eq!((refused.status, refused.error().as_str()), (503, "temporarily_unavailable"));
}
