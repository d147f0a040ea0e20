//! Dynamic client registration, as real clients use it and as attackers would.

use std::net::IpAddr;
use std::time::Duration;

use portcullis::secret::Sha256;
use serde_json::{Value, json};

use crate::engines::also_on_postgres;
use crate::support::database;
use crate::support::gate::{TestGate, upstream};

also_on_postgres! {
    public_clients_with_the_same_metadata_share_an_id_whatever_their_ports,
    redirect_uris_are_echoed_as_written_and_two_spellings_are_one_client,
    repeated_registrations_of_one_client_are_answered_and_rarely_written,
    an_unused_client_expires_and_a_used_one_stays,
}

const DAY: Duration = Duration::from_hours(24);

fn without_id(mut answer: Value) -> Value {
    let id = answer["client_id"].take();
    assert!(id.as_str().unwrap().starts_with("c_"), "{id}");
    answer["client_id"] = json!("[client_id]");
    if answer.get("client_secret").is_some() {
        answer["client_secret"] = json!("[client_secret]");
    }
    answer
}

#[tokio::test]
async fn a_registration_response_states_everything_that_was_assigned() {
    let gate = TestGate::new().await;
    let answer = gate
        .post_json(
            "/register",
            &json!({
                "client_name": "Cursor",
                "redirect_uris": [
                    "cursor://anysphere.cursor-mcp/oauth/callback",
                    "https://www.cursor.com/agents/mcp/oauth/callback",
                    "http://localhost:8787/callback",
                    "http://evil.example/callback",
                ],
                "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
                "response_types": ["code"],
                "token_endpoint_auth_method": "none",
                "application_type": "native",
                "scope": "",
                "software_id": "whatever", "jwks": null, "contacts": [],
            }),
        )
        .await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("cache-control"), "no-store");
    insta::assert_json_snapshot!(without_id(answer.json()), @r#"
    {
      "application_type": "native",
      "client_id": "[client_id]",
      "client_id_issued_at": 1800000000,
      "client_name": "Cursor",
      "grant_types": [
        "authorization_code",
        "refresh_token"
      ],
      "redirect_uris": [
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "https://www.cursor.com/agents/mcp/oauth/callback",
        "http://localhost:8787/callback"
      ],
      "response_types": [
        "code"
      ],
      "scope": "mcp:access",
      "token_endpoint_auth_method": "none"
    }
    "#);
}

#[tokio::test]
async fn a_redirect_uri_alone_is_enough_to_register() {
    let gate = TestGate::new().await;
    let answer = gate.post_json("/register", &json!({"redirect_uris": ["http://127.0.0.1/cb"]})).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["token_endpoint_auth_method"], "none");
    assert_eq!(answer.json()["grant_types"], json!(["authorization_code", "refresh_token"]));
    assert!(answer.json().get("client_name").is_none() && answer.json().get("application_type").is_none());
    let web = json!({"redirect_uris": ["http://127.0.0.1/cb"], "application_type": "web"});
    let answer = gate.post_json("/register", &web).await;
    assert_eq!((answer.status, &answer.json()["application_type"]), (201, &json!("web")), "it enforces nothing");
}

#[tokio::test]
async fn public_clients_with_the_same_metadata_share_an_id_whatever_their_ports() {
    let gate = TestGate::new().await;
    let register = |port: u16, name: &str| {
        let body = json!({"client_name": name, "redirect_uris": [format!("http://127.0.0.1:{port}/cb")]});
        let gate = &gate;
        async move { gate.post_json("/register", &body).await.json() }
    };
    let (first, second) = (register(1111, "A").await, register(2222, "A").await);
    assert_eq!(first["client_id"], second["client_id"]);
    assert_eq!(second["redirect_uris"], json!(["http://127.0.0.1:2222/cb"]));
    assert_ne!(first["client_id"], register(1111, "B").await["client_id"]);
}

#[tokio::test]
async fn a_requested_client_secret_is_issued_once_and_only_its_hash_is_stored() {
    let gate = TestGate::new().await;
    let body = json!({"redirect_uris": ["https://a.example/cb"], "token_endpoint_auth_method": "client_secret_post"});
    let (first, second) =
        (gate.post_json("/register", &body).await.json(), gate.post_json("/register", &body).await.json());
    assert_ne!(first["client_id"], second["client_id"]);
    assert_eq!(first["client_secret_expires_at"], 0);
    let secret = first["client_secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("pcs_"));
    let path = database::file(&gate.config.storage).to_owned();
    gate.app.close().await;
    for file in [path.clone(), path.with_extension("db-wal")] {
        let bytes = std::fs::read(&file).unwrap_or_default();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{}", file.display());
    }
}

#[tokio::test]
async fn a_registration_without_an_allowed_redirect_uri_is_refused_with_a_description() {
    let gate = TestGate::new().await;
    let many: Vec<_> = (0..11).map(|n| format!("https://a.example/{n}")).collect();
    let long_uri = format!("https://a.example/{}", "x".repeat(512));
    for (body, code) in [
        (json!({"redirect_uris": ["http://evil.example/"]}), "invalid_redirect_uri"),
        (json!({"redirect_uris": []}), "invalid_redirect_uri"),
        (json!({"redirect_uris": ["https://a.example/#f"]}), "invalid_redirect_uri"),
        (json!({"redirect_uris": ["javascript:alert(1)"]}), "invalid_redirect_uri"),
        (json!({"redirect_uris": many}), "invalid_redirect_uri"),
        (json!({"redirect_uris": [long_uri]}), "invalid_redirect_uri"),
        (json!({"redirect_uris": "https://a.example/"}), "invalid_redirect_uri"),
        (json!({"redirect_uris": null}), "invalid_redirect_uri"),
        (json!({"redirect_uris": [7, null, {}]}), "invalid_redirect_uri"),
        (json!({"redirect_uris": ["https://*.a.example/"]}), "invalid_redirect_uri"),
        (json!({"redirect_uris": ["https://claude.ai./api/mcp/auth_callback"]}), "invalid_redirect_uri"),
        (json!({"client_name": "no redirect URI"}), "invalid_redirect_uri"),
        (json!("text"), "invalid_client_metadata"),
        (json!(null), "invalid_client_metadata"),
        (json!([]), "invalid_client_metadata"),
    ] {
        let answer = gate.post_json("/register", &body).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, code), "{body} {answer:?}");
        assert!(!answer.json()["error_description"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn optional_members_never_fail_a_registration_and_the_response_states_what_was_stored() {
    let gate = TestGate::new().await;
    for (member, value, stored, left) in [
        ("client_name", json!("x".repeat(300)), "client_name", json!("x".repeat(100))),
        ("client_name", json!("Claude \u{2713}\n"), "client_name", json!("Claude")),
        ("client_name", json!("Cl\u{ad}au\u{202e}de 👩\u{200d}💻"), "client_name", json!("Claude 👩\u{200d}💻")),
        ("client_name", json!("نرم\u{200c}افزار"), "client_name", json!("نرم\u{200c}افزار")),
        ("client_name", json!("\u{200b}"), "client_name", json!(null)),
        ("client_name", json!(["x"]), "client_name", json!(null)),
        ("client_uri", json!(7), "client_uri", json!(null)),
        ("contacts", json!("x"), "contacts", json!(null)),
        ("jwks", json!(null), "jwks", json!(null)),
        ("scope", json!(["mcp:access"]), "scope", json!("mcp:access")),
        ("scope", json!("a\"b"), "scope", json!("mcp:access")),
        ("token_endpoint_auth_method", json!("private_key_jwt"), "token_endpoint_auth_method", json!("none")),
        ("token_endpoint_auth_method", json!({}), "token_endpoint_auth_method", json!("none")),
        ("grant_types", json!("refresh_token"), "grant_types", json!(["authorization_code", "refresh_token"])),
        ("grant_types", json!(["client_credentials"]), "grant_types", json!(["authorization_code"])),
        ("response_types", json!(["token"]), "response_types", json!(["code"])),
        ("application_type", json!("console"), "application_type", json!(null)),
    ] {
        let mut body = json!({"redirect_uris": ["https://a.example/"]});
        body[member] = value.clone();
        let answer = gate.post_json("/register", &body).await;
        assert_eq!(answer.status, 201, "{member} {value}: {answer:?}");
        let said = answer.json().get(stored).cloned().unwrap_or(Value::Null);
        assert_eq!(said, left, "{member} {value}");
        let id = answer.json()["client_id"].as_str().unwrap().into();
        let client = gate.app.store().client(&id).await.unwrap().unwrap();
        if stored == "client_name" {
            assert_eq!(json!(client.name), left);
        }
    }
}

#[tokio::test]
async fn a_software_statement_is_refused_in_words() {
    let gate = TestGate::new().await;
    let body = json!({"redirect_uris": ["https://a.example/"], "software_statement": "e30.e30.x"});
    let answer = gate.post_json("/register", &body).await;
    assert_eq!((answer.status, answer.error().as_str()), (400, "unapproved_software_statement"), "{answer:?}");
    assert!(answer.body.contains("register without software_statement"), "{answer:?}");
    let null = json!({"redirect_uris": ["https://a.example/"], "software_statement": null});
    assert_eq!(gate.post_json("/register", &null).await.status, 201);
}

#[tokio::test]
async fn where_initial_access_tokens_exist_one_is_needed_to_register() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let gate = TestGate::with(|config| {
        config.registration.initial_access_tokens =
            ["another-token-another-token-another", TOKEN].map(|token| Sha256::of(token.as_bytes())).to_vec();
    })
    .await;
    let metadata = gate.get("/.well-known/oauth-authorization-server").await.json();
    assert!(metadata.get("registration_endpoint").is_none(), "clients in general have no token");
    let register = |authorization: Option<String>| {
        let mut request = gate.request("POST", "/register").header("content-type", "application/json");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let body = json!({"redirect_uris": ["https://a.example/"]}).to_string();
        let gate = &gate;
        async move { gate.send(request, body).await }
    };
    let bare = register(None).await;
    assert_eq!((bare.status, bare.error().as_str()), (401, "invalid_token"));
    assert_eq!(
        (bare.header("www-authenticate"), bare.header("cache-control")),
        ("Bearer realm=\"register\"", "no-store")
    );
    assert_eq!(register(Some(format!("bearer {TOKEN}"))).await.status, 201);
    let wrong = |number: usize| match number % 4 {
        0 => format!("Bearer {}", TOKEN.to_uppercase()),
        1 => format!("Basic {TOKEN}"),
        2 => "Bearer".to_owned(),
        _ => format!("Bearer {TOKEN}x"),
    };
    for number in 0..30 {
        let answer = register(Some(wrong(number))).await;
        assert_eq!(answer.status, 401, "{number}");
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""), "{answer:?}");
    }
    assert_eq!(register(Some(wrong(0))).await.status, 429);
    assert_eq!(register(Some(format!("Bearer {TOKEN}"))).await.status, 201, "the right one is accepted");
}

#[tokio::test]
async fn redirect_uris_are_echoed_as_written_and_two_spellings_are_one_client() {
    let gate = TestGate::new().await;
    let register = |uri: &'static str| {
        let gate = &gate;
        async move { gate.post_json("/register", &json!({"redirect_uris": [uri]})).await.json() }
    };
    for (one, other) in [
        ("http://127.0.0.1:8000", "http://127.0.0.1:9000/"),
        ("HTTPS://Chat.Example:443/cb", "https://chat.example/cb"),
        ("https://localhost:8443/cb", "https://LOCALHOST/cb"),
    ] {
        let (first, second) = (register(one).await, register(other).await);
        assert_eq!((&first["redirect_uris"][0], &second["redirect_uris"][0]), (&json!(one), &json!(other)));
        assert_eq!(first["client_id"], second["client_id"], "{one}");
    }
}

#[tokio::test]
async fn only_json_registers() {
    let gate = TestGate::new().await;
    let body = json!({"redirect_uris": ["https://a.example/"]}).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded"] {
        let request = gate.request("POST", "/register").header("content-type", kind);
        assert_eq!(gate.send(request, body.clone()).await.status, 400, "{kind}");
    }
}

#[tokio::test]
async fn registrations_from_web_pages_have_a_rate_limit_of_their_own() {
    let gate = TestGate::with(|config| config.registration.per_address_per_hour = 5).await;
    let register = |origin: Option<&'static str>, n: usize| {
        let gate = &gate;
        let body = json!({"client_name": format!("{origin:?} {n}"), "redirect_uris": ["https://a.example/"]});
        let mut request = gate.request("POST", "/register").header("content-type", "application/json");
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        async move { gate.send(request, body.to_string()).await.status }
    };
    for n in 0..5 {
        assert_eq!(register(Some("https://evil.example"), n).await, 201);
    }
    for (n, origin) in ["https://evil.example", "https://a.evil.example", "null"].into_iter().enumerate() {
        assert_eq!(register(Some(origin), 5 + n).await, 429, "{origin}");
    }
    for n in 0..5 {
        assert_eq!(register(None, n).await, 201);
    }
    assert_eq!(register(None, 5).await, 429);
}

#[tokio::test]
async fn a_registration_larger_than_64_kib_is_413() {
    let gate = TestGate::new().await;
    let request = gate.request("POST", "/register").header("content-type", "application/json");
    let answer = gate.send(request, vec![b' '; 12 * 1024 * 1024]).await;
    assert_eq!(answer.status, 413);
    let fits = json!({"redirect_uris": ["https://a.example/"], "pad": "x".repeat(60_000)});
    assert_eq!(gate.post_json("/register", &fits).await.status, 201);
}

#[tokio::test]
async fn registrations_are_rate_limited_per_address() {
    let gate = TestGate::with(|config| config.registration.per_address_per_hour = 5).await;
    let attacker: IpAddr = "2001:db8:1:1::1".parse().unwrap();
    let neighbour: IpAddr = "2001:db8:1:1:ffff::2".parse().unwrap();
    let other: IpAddr = "2001:db8:1:2::1".parse().unwrap();
    let register = |from: IpAddr, n: usize| {
        let gate = &gate;
        let body = json!({"client_name": format!("{n}"), "redirect_uris": ["https://a.example/"]}).to_string();
        let request = gate.request("POST", "/register").header("content-type", "application/json");
        async move { gate.send_from(from, request, body).await }
    };
    for n in 0..5 {
        assert_eq!(register(attacker, n).await.status, 201);
    }
    let refused = register(neighbour, 6).await;
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    assert_eq!(register(other, 7).await.status, 201);
    assert_eq!(register(attacker, 0).await.status, 201, "a known client costs nothing");
    let client = gate.register().await;
    for left_alone in ["/.well-known/oauth-authorization-server", &gate.authorize_path(&client, &[])] {
        let answer = gate.send_from(attacker, gate.request("GET", left_alone), "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let token = gate.request("POST", "/token").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(gate.send_from(attacker, token, "grant_type=refresh_token&client_id=c_x").await.status, 401);
    gate.clock.advance(Duration::from_hours(1));
    assert_eq!(register(attacker, 8).await.status, 201);
}

#[tokio::test]
async fn the_holder_of_an_ipv6_48_registers_four_times_as_many_clients_as_that_of_a_64() {
    let gate = TestGate::with(|config| config.registration.per_address_per_hour = 5).await;
    let register = async |from: &str, n: usize| {
        let body = json!({"client_name": format!("{n}"), "redirect_uris": ["https://a.example/"]}).to_string();
        let request = gate.request("POST", "/register").header("content-type", "application/json");
        gate.send_from(from.parse().unwrap(), request, body).await.status
    };
    let mut registered = 0;
    for n in 0..100 {
        registered += usize::from(register(&format!("2001:db8:1:{n:x}::1"), n).await == 201);
    }
    assert_eq!(registered, 20);
    for (n, other) in ["2001:db8:2::1", "203.0.113.7", "::ffff:203.0.113.8"].into_iter().enumerate() {
        assert_eq!(register(other, 1000 + n).await, 201, "{other}");
    }
}

#[tokio::test]
async fn clients_of_one_host_do_not_use_up_the_registrations_of_another_at_a_shared_address() {
    let gate = TestGate::with(|config| config.registration.per_address_per_hour = 5).await;
    let register = async |uris: &[&str], n: usize| {
        // with a secret, so that each is a new client
        let method = "client_secret_post";
        let body = json!({"client_name": format!("{n}"), "redirect_uris": uris, "token_endpoint_auth_method": method});
        gate.post_json("/register", &body).await
    };
    for n in 0..5 {
        assert_eq!(register(&["https://flood.example/cb"], n).await.status, 201);
    }
    assert_eq!(register(&["https://flood.example/other"], 5).await.status, 429, "another path is the same host");
    let mixed = ["cursor://anysphere.cursor-mcp/oauth/callback", "http://localhost/cb", "https://flood.example/cb"];
    assert_eq!(register(&mixed, 6).await.status, 429, "the host counts wherever it stands");
    assert_eq!(register(&["https://hosted.example/cb"], 7).await.status, 201);
    assert_eq!(register(&["http://127.0.0.1/cb"], 8).await.status, 201, "programs have no host");
    let mut accepted = 7;
    while register(&[&format!("https://invented-{accepted}.example/cb")], accepted).await.status == 201 {
        accepted += 1;
    }
    assert_eq!(accepted, 50, "ten times as many for all hosts: an attacker invents hosts");
    let refused = register(&["https://hosted.example/cb"], 99).await;
    assert_eq!((refused.status, refused.error().as_str()), (429, "temporarily_unavailable"));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn repeated_registrations_of_one_client_are_answered_and_rarely_written() {
    let gate = TestGate::new().await;
    let other = gate.register_named("other").await;
    let body = json!({"client_name": "loop", "redirect_uris": ["https://a.example/"]});
    let first = gate.post_json("/register", &body).await;
    gate.clock.advance(29 * DAY);
    for _ in 0..600 {
        let again = gate.post_json("/register", &body).await;
        assert_eq!((again.status, &again.body), (201, &first.body), "issued when it was first known");
    }
    assert_eq!(gate.register_named("other").await.id, other.id, "answered");
    gate.clock.advance(2 * DAY);
    gate.app.issuer().expire().await;
    let knows = async |id: &str| gate.app.store().client(&id.into()).await.unwrap().is_some();
    assert!(knows(first.json()["client_id"].as_str().unwrap()).await, "one repetition was written");
    assert!(!knows(&other.id).await, "this one was not");
}

#[tokio::test]
async fn an_unused_client_expires_and_a_used_one_stays() {
    let gate = TestGate::new().await;
    let (used, unused) = (gate.register_named("used").await, gate.register_named("unused").await);
    gate.tokens(&used).await;
    gate.clock.advance(3 * DAY);
    gate.app.issuer().expire().await;
    let monday = gate.get(&gate.authorize_path(&unused, &[])).await;
    assert_eq!(monday.status, 200, "it registered on a Friday");
    gate.clock.advance(28 * DAY);
    gate.app.issuer().expire().await;
    assert_eq!(gate.get(&gate.authorize_path(&used, &[])).await.status, 200);
    let gone = gate.get(&gate.authorize_path(&unused, &[])).await;
    assert_eq!(gone.status, 400);
    assert!(gone.header("location").is_empty());
}

#[tokio::test]
async fn registered_scopes_are_checked_against_all_upstreams_together() {
    let gate = TestGate::with(|config| {
        let mut other = upstream(&config.public_url, "other", "http://127.0.0.1:9/");
        other.settings.scopes.required = other.settings.scopes.required.clone().with("other:write");
        config.upstreams.push(other);
    })
    .await;
    let scope = |asked: &'static str| {
        let gate = &gate;
        async move {
            let body = json!({"redirect_uris": ["https://a.example/"], "scope": asked});
            gate.post_json("/register", &body).await.json()["scope"].as_str().unwrap_or("").to_owned()
        }
    };
    assert_eq!(scope("openid other:write nonsense offline_access").await, "offline_access other:write");
    assert_eq!(scope("openid").await, "mcp:access other:write");
}
