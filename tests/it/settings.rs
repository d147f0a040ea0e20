//! The running program follows its settings.

use std::net::IpAddr;

use portcullis::config::{ConfiguredClient, PublicUrl, SigningAlgorithm};
use portcullis::oauth::client_metadata::AuthMethod;
use serde_json::{Value, json};

use crate::support::browser::{Browser, parameter};
use crate::support::gate::{
    Answer, NOT_LISTENING, REDIRECT_URI, TestClient, TestGate, VERIFIER, WORKS, tokens, upstream,
};
use crate::support::upstream::Upstream;

#[tokio::test]
async fn with_an_https_public_url_all_urls_and_cookies_are_https() {
    let behind = Upstream::polite().await;
    let gate = TestGate::with(|config| {
        config.public_url = PublicUrl::parse("https://mcp.example.com").unwrap();
        config.upstreams = vec![upstream(&config.public_url, "mcp", &behind.url())];
    })
    .await;
    let metadata = gate.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["token_endpoint"], "https://mcp.example.com/token");
    let client = gate.register().await;
    let page = gate.get(&gate.authorize_path(&client, &[])).await;
    let cookie = page.header("set-cookie");
    assert!(cookie.starts_with("__Host-portcullis-c-") && cookie.ends_with("; Secure"), "{cookie}");
    let place = gate.sign_in(&mut Browser::default(), &client, &[]).await;
    assert_eq!(parameter(&place, "iss").as_deref(), Some("https://mcp.example.com"));
    let token = tokens(&gate.redeem(&client, &parameter(&place, "code").unwrap()).await).access;
    for host in ["mcp.example.com", "MCP.example.com:443"] {
        let request =
            http::Request::post("/mcp").header("host", host).header("authorization", format!("Bearer {token}"));
        assert_eq!(gate.send(request, "").await.status, 200, "{host}");
        let seen = behind.last();
        let told = ["x-forwarded-proto", "x-forwarded-host"].map(|name| seen.header(name));
        assert_eq!(told, [Some("https"), Some("mcp.example.com")]);
    }
}

#[tokio::test]
async fn allowed_hosts_are_answered_under_the_public_name() {
    let gate = TestGate::with(|config| config.server.allowed_hosts = vec!["mcp.internal:8443".to_owned()]).await;
    for (host, status) in [("mcp.internal:8443", 401), ("MCP.internal:8443", 401), ("mcp.internal", 421)] {
        let answer = gate.send(http::Request::post("/mcp").header("host", host), "").await;
        assert_eq!(answer.status, status, "{host}");
        assert!(!answer.header("www-authenticate").contains("internal"), "{answer:?}");
    }
}

#[tokio::test]
async fn only_trusted_proxies_may_state_the_client_address() {
    let behind = Upstream::polite().await;
    let gate = TestGate::with(|config| {
        config.upstreams = vec![upstream(&config.public_url, "mcp", &behind.url())];
        config.server.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        config.registration.per_address_per_hour = 2;
    })
    .await;
    let client = gate.register().await;
    let token = gate.tokens(&client).await.access;
    let (proxy, stranger): (IpAddr, IpAddr) = ("10.1.2.3".parse().unwrap(), "192.0.2.1".parse().unwrap());
    for (peer, seen) in [(proxy, "203.0.113.9"), (stranger, "192.0.2.1")] {
        let request = gate.request("POST", "/mcp").header("authorization", format!("Bearer {token}"));
        let answer = gate.send_from(peer, request.header("x-forwarded-for", "6.6.6.6, 203.0.113.9"), "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(behind.last().header("x-forwarded-for"), Some(seen));
    }

    let register = async |name: &str, client: &str| {
        let body = json!({"client_name": name, "redirect_uris": [REDIRECT_URI]}).to_string();
        let request = gate.request("POST", "/register").header("content-type", "application/json");
        gate.send_from(proxy, request.header("x-forwarded-for", client), body).await.status
    };
    let same =
        [register("a", "203.0.113.9").await, register("b", "203.0.113.9").await, register("c", "203.0.113.9").await];
    assert_eq!(same, [201, 201, 429]);
    assert_eq!(register("c", "203.0.113.10").await, 201, "behind one proxy each client has its own count");
}

#[tokio::test]
async fn bodies_beyond_inspect_limit_are_not_collected() {
    let gate = TestGate::with(|config| {
        config.server.inspect_limit = 1024;
        config.upstreams = vec![upstream(&config.public_url, "mcp", NOT_LISTENING)];
    })
    .await;
    let client = gate.register().await;
    let token = gate.tokens(&client).await.access;
    for (padding, id) in [(900, json!(7)), (1100, Value::Null)] {
        let body = json!({"id": 7, "pad": "x".repeat(padding)}).to_string();
        let request = gate
            .request("POST", "/mcp")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("content-length", body.len());
        let answer = gate.send(request, body).await;
        assert_eq!((answer.status, &answer.json()["id"]), (502, &id), "{padding}: only a collected body tells its id");
    }
}

#[tokio::test]
async fn tokens_are_signed_with_the_configured_algorithm() {
    for (algorithm, name, kind) in
        [(SigningAlgorithm::EdDsa, "EdDSA", "OKP"), (SigningAlgorithm::Rs256, "RS256", "RSA")]
    {
        let gate = TestGate::with(|config| config.tokens.algorithm = algorithm).await;
        assert_eq!(gate.get("/.well-known/jwks.json").await.json()["keys"][0]["kty"], kind);
        let metadata = gate.get("/.well-known/openid-configuration").await.json();
        assert_eq!(metadata["id_token_signing_alg_values_supported"], json!([name]));
        let client = gate.register().await;
        let token = gate.tokens(&client).await.access;
        assert_eq!(format!("{:?}", jsonwebtoken::decode_header(&token).unwrap().alg), name);
        assert_eq!(gate.call(&token).await.status, WORKS);
    }
}

#[tokio::test]
async fn a_configured_client_with_a_secret_needs_no_registration() {
    let gate = TestGate::with(|config| {
        config.registration.enabled = false;
        config.clients.push(ConfiguredClient {
            device: false,
            client_id: "chat".to_owned(),
            name: Some("Company chat".to_owned()),
            redirect_uris: vec![REDIRECT_URI.to_owned()],
            client_secret: Some("s3cret:with+odd%signs".to_owned().into()),
            keys: None,
            auth_method: AuthMethod::ClientSecretBasic,
            machine: None,
            dpop_bound: false,
            introspects: Vec::new(),
        });
    })
    .await;
    let client = TestClient { id: "chat".to_owned(), redirect_uri: REDIRECT_URI.to_owned() };
    let code = gate.code(&client).await;
    let redeem = async |secret: &str| -> Answer {
        let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let basic = data_encoding::BASE64.encode(format!("chat:{encoded}").as_bytes());
        let request = gate
            .request("POST", "/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("authorization", format!("Basic {basic}"));
        gate.send(request, format!("grant_type=authorization_code&code={code}&code_verifier={VERIFIER}")).await
    };
    assert_eq!(gate.redeem(&client, &code).await.status, 401, "without the secret");
    assert_eq!(redeem("wrong").await.status, 401);
    assert_eq!(redeem("s3cret:with+odd%signs").await.status, 200);
}
