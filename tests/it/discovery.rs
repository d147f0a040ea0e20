//! Metadata: where it is, where it is not, and that no request can make it fail.

use http::Request;
use portcullis::config::Upstream;
use serde_json::json;

use crate::support::gate::{TestGate, WORKS, upstream};

#[tokio::test]
async fn server_metadata_announce_only_what_works() {
    let gate = TestGate::new().await;
    let answer = gate.get("/.well-known/oauth-authorization-server").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    let mut metadata = answer.json();
    let algorithms = json!(["ES256", "ES384", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"]);
    for endpoint in ["token", "revocation"] {
        let name = format!("{endpoint}_endpoint_auth_signing_alg_values_supported");
        assert_eq!(metadata.as_object_mut().unwrap().remove(&name).unwrap(), algorithms, "{endpoint}");
    }
    insta::assert_json_snapshot!(metadata, @r#"
    {
      "authorization_endpoint": "http://127.0.0.1:6749/authorize",
      "authorization_response_iss_parameter_supported": true,
      "client_id_metadata_document_supported": true,
      "code_challenge_methods_supported": [
        "S256"
      ],
      "grant_types_supported": [
        "authorization_code",
        "refresh_token"
      ],
      "id_token_signing_alg_values_supported": [
        "ES256"
      ],
      "issuer": "http://127.0.0.1:6749",
      "jwks_uri": "http://127.0.0.1:6749/.well-known/jwks.json",
      "registration_endpoint": "http://127.0.0.1:6749/register",
      "response_modes_supported": [
        "query"
      ],
      "response_types_supported": [
        "code"
      ],
      "revocation_endpoint": "http://127.0.0.1:6749/revoke",
      "revocation_endpoint_auth_methods_supported": [
        "none",
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt"
      ],
      "scopes_supported": [
        "mcp:access",
        "offline_access"
      ],
      "subject_types_supported": [
        "public"
      ],
      "token_endpoint": "http://127.0.0.1:6749/token",
      "token_endpoint_auth_methods_supported": [
        "none",
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt"
      ]
    }
    "#);
    assert_eq!(gate.get("/.well-known/openid-configuration").await.body, answer.body);
}

#[tokio::test]
async fn resource_metadata_name_the_resource_as_it_was_typed() {
    let gate = TestGate::new().await;
    let answer = gate.get("/.well-known/oauth-protected-resource/mcp").await;
    assert_eq!(answer.status, 200);
    insta::assert_json_snapshot!(answer.json(), @r#"
    {
      "authorization_servers": [
        "http://127.0.0.1:6749"
      ],
      "bearer_methods_supported": [
        "header"
      ],
      "resource": "http://127.0.0.1:6749/mcp",
      "resource_name": "Server mcp",
      "scopes_supported": [
        "mcp:access"
      ]
    }
    "#);
    for same in ["/.well-known/oauth-protected-resource", "/mcp/.well-known/oauth-protected-resource"] {
        assert_eq!(gate.get(same).await.body, answer.body, "{same}");
    }
    let slashed = gate.get("/.well-known/oauth-protected-resource/mcp/").await;
    assert_eq!(slashed.json()["resource"], "http://127.0.0.1:6749/mcp/");
}

/// The parameter `resource_metadata` of the challenge for a request, as a path under the host of the request.
async fn challenged(gate: &TestGate, host: &str, target: &str) -> (String, String) {
    let request = Request::post(target).header("host", host);
    let answer = gate.send(request, "").await;
    assert_eq!(answer.status, 401, "{answer:?}");
    let challenge = answer.header("www-authenticate").to_owned();
    let (_, rest) = challenge.split_once("resource_metadata=\"").unwrap();
    let url = rest.split('"').next().unwrap();
    let path = url.strip_prefix(&format!("http://{host}")).unwrap_or_else(|| panic!("{url} is not on {host}"));
    (challenge.clone(), path.to_owned())
}

#[tokio::test]
async fn challenge_and_metadata_repeat_the_host_and_the_query_that_were_typed() {
    let gate = TestGate::new().await;
    for host in ["127.0.0.1:6749", "localhost:6749", "[::1]:6749"] {
        for target in ["/mcp", "/mcp/", "/mcp?toolsets=repos,issues&x=%20", "/mcp/?scope=all&error=x", "/mcp?"] {
            let (challenge, metadata) = challenged(&gate, host, target).await;
            assert!(challenge.starts_with("Bearer scope=\"mcp:access\", "), "{challenge}");
            let document = gate.send(Request::get(metadata).header("host", host), "").await.json();
            assert_eq!(document["resource"], format!("http://{host}{target}"));
            assert_eq!(document["authorization_servers"], serde_json::json!([gate.origin()]));
        }
    }
}

#[tokio::test]
async fn a_query_that_could_break_the_challenge_is_not_repeated() {
    let gate = TestGate::new().await;
    let long = format!("/mcp?{}", "x".repeat(2000));
    for target in ["/mcp?a=\\", "/mcp?a='", &long] {
        let (challenge, metadata) = challenged(&gate, "127.0.0.1:6749", target).await;
        assert_eq!(metadata, "/.well-known/oauth-protected-resource/mcp", "{challenge}");
    }
}

#[tokio::test]
async fn a_page_under_another_loopback_name_redirects_to_ours_and_a_form_there_is_refused() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let path = gate.authorize_path(&client, &[]);
    for host in ["localhost:6749", "[::1]:6749"] {
        let answer = gate.send(Request::get(&path).header("host", host), "").await;
        assert_eq!((answer.status, answer.header("location")), (303, format!("{}{path}", gate.origin()).as_str()));
        assert!(answer.header("set-cookie").is_empty());
        for form in ["/consent", "/sign-in/local"] {
            let post =
                Request::post(form).header("host", host).header("content-type", "application/x-www-form-urlencoded");
            assert_eq!(gate.send(post, "decision=approve").await.status, 421, "{form}");
        }
        let keys = gate.send(Request::get("/.well-known/jwks.json").header("host", host), "").await;
        assert_eq!(keys.status, 200);
        let origin = Request::post("/mcp").header("host", host).header("origin", format!("http://{host}"));
        assert_eq!(
            gate.send(origin, "").await.status,
            403,
            "another program may listen there, and its origin is not ours"
        );
    }
}

#[tokio::test]
async fn with_two_upstreams_there_is_no_resource_metadata_at_the_root() {
    let gate = TestGate::with(|config| {
        config.upstreams.push(upstream(&config.public_url, "other", "http://127.0.0.1:9/"));
    })
    .await;
    assert_eq!(gate.get("/.well-known/oauth-protected-resource").await.status, 404);
    let other = gate.get("/.well-known/oauth-protected-resource/other").await;
    assert_eq!(other.json()["resource"], "http://127.0.0.1:6749/other");
}

#[tokio::test]
async fn an_upstream_path_may_have_several_segments() {
    let gate = TestGate::with(|config| {
        let mut settings = config.upstreams[0].settings.clone();
        settings.path = "/team/wiki".to_owned();
        config.upstreams = vec![Upstream::new(&config.public_url, settings).unwrap()];
    })
    .await;
    for place in ["/.well-known/oauth-protected-resource/team/wiki", "/team/wiki/.well-known/oauth-protected-resource"]
    {
        assert_eq!(gate.get(place).await.json()["resource"], "http://127.0.0.1:6749/team/wiki", "{place}");
    }
    let challenge = gate.send(gate.request("POST", "/team/wiki"), "").await;
    assert!(challenge.header("www-authenticate").contains("/.well-known/oauth-protected-resource/team/wiki\""));
    for nothing in ["/team", "/wiki", "/.well-known/oauth-protected-resource/team", "/team/wiki/more"] {
        assert_eq!(gate.get(nothing).await.status, 404, "{nothing}");
    }
    let client = gate.register().await;
    let token = gate.tokens(&client).await.access;
    assert_eq!(gate.call_at("/team/wiki", &token).await.status, WORKS);
}

#[tokio::test]
async fn metadata_paths_that_would_need_another_issuer_are_404() {
    let gate = TestGate::new().await;
    for path in [
        "/.well-known/oauth-authorization-server/mcp",
        "/.well-known/openid-configuration/mcp",
        "/mcp/.well-known/openid-configuration",
        "/mcp/.well-known/oauth-authorization-server",
        "/.well-known/oauth-protected-resource/other",
        "/.well-known/oauth-protected-resource/mcp/deeper",
        "/.well-known/anything",
        "/",
        "/introspect",
        "/live",
        "/ready",
        "/metrics",
    ] {
        let answer = gate.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.header("www-authenticate").is_empty());
    }
}

#[tokio::test]
async fn discovery_answers_any_origin_with_any_headers() {
    let gate = TestGate::new().await;
    for path in [
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/mcp",
        "/mcp/.well-known/openid-configuration",
        "/.well-known/jwks.json",
    ] {
        let request = gate
            .request("GET", path)
            .header("origin", "https://inspector.example")
            .header("mcp-protocol-version", "1999-01-01")
            .header("authorization", "Bearer nonsense");
        let answer = gate.send(request, "").await;
        let there = !path.ends_with("server/mcp") && !path.starts_with("/mcp");
        assert_eq!(answer.status, if there { 200 } else { 404 }, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        assert!(answer.header("access-control-allow-credentials").is_empty());
        let preflight = gate
            .request("OPTIONS", path)
            .header("origin", "https://inspector.example")
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "mcp-protocol-version");
        let answer = gate.send(preflight, "").await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("access-control-allow-headers").contains("mcp-protocol-version"), "{path}");
    }
}

#[tokio::test]
async fn discovery_answers_while_everything_else_is_down() {
    let (gate, provider) = TestGate::with_provider(|_| {}).await;
    provider.stop().await;
    gate.app.store().close().await;
    for path in [
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/.well-known/jwks.json",
    ] {
        assert_eq!(gate.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn pages_allow_no_cross_origin_reads() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let request = gate.request("GET", &gate.authorize_path(&client, &[])).header("origin", "https://evil.example");
    let answer = gate.send(request, "").await;
    assert!(answer.header("access-control-allow-origin").is_empty(), "{answer:?}");
}

#[tokio::test]
async fn our_keys_verify_our_tokens_and_hold_no_private_half() {
    let gate = TestGate::new().await;
    let answer = gate.get("/.well-known/jwks.json").await;
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    let key = &answer.json()["keys"][0];
    assert_eq!(
        (key["kty"].as_str(), key["crv"].as_str(), key["use"].as_str()),
        (Some("EC"), Some("P-256"), Some("sig"))
    );
    assert!(key.get("d").is_none());
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    let head = jsonwebtoken::decode_header(&given.access).unwrap();
    assert_eq!(head.kid.as_deref(), key["kid"].as_str());
}

#[tokio::test]
async fn disabled_registration_is_neither_served_nor_announced() {
    let gate = TestGate::with(|config| config.registration.enabled = false).await;
    assert!(gate.get("/.well-known/oauth-authorization-server").await.json().get("registration_endpoint").is_none());
    assert_eq!(gate.post_json("/register", &serde_json::json!({})).await.status, 404);
    assert_eq!(gate.get("/register/c_1").await.status, 404);
}
