//! How registered clients read, update and delete themselves (RFC 7592), and attacks on it.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::engines::also_on_postgres;
use crate::support::browser::{Browser, location};
use crate::support::database;
use crate::support::gate::{Answer, Given, REDIRECT_URI, TestClient, TestGate, VERIFIER, WORKS, as_alice, tokens};
use crate::support::provider::{TestAlgorithm, TestKey};

also_on_postgres! {
    of_concurrent_updates_with_one_token_one_succeeds,
    a_deleted_clients_tokens_end_at_once_in_every_process,
    a_sign_in_that_is_under_way_gives_a_deleted_client_nothing,
}

/// A registered client and what it was given.
#[derive(Clone)]
struct Managed {
    id: String,
    secret: String,
    token: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Registers a client with a secret.
async fn register(gate: &TestGate, name: &str) -> Managed {
    let metadata = json!({"client_name": name, "redirect_uris": [REDIRECT_URI],
        "token_endpoint_auth_method": "client_secret_post"});
    let answer = gate.post_json("/register", &metadata).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let json = answer.json();
    Managed {
        id: text(&json["client_id"]),
        secret: text(&json["client_secret"]),
        token: text(&json["registration_access_token"]),
    }
}

/// A request to a registration, from an address.
async fn manage_from(gate: &TestGate, from: &str, (method, id, token): (&str, &str, &str), body: &Value) -> Answer {
    let mut request = gate.request(method, &format!("/register/{id}"));
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    if method == "PUT" {
        request = request.header("content-type", "application/json");
    }
    gate.send_from(from.parse::<IpAddr>().unwrap(), request, body).await
}

async fn manage(gate: &TestGate, (method, id, token): (&str, &str, &str), body: &Value) -> Answer {
    manage_from(gate, "127.0.0.1", (method, id, token), body).await
}

async fn read(gate: &TestGate, client: &Managed) -> Answer {
    manage(gate, ("GET", &client.id, &client.token), &Value::Null).await
}

/// Updates, with this beside the id and the redirect URI.
async fn update(gate: &TestGate, client: &Managed, more: &Value) -> Answer {
    let mut body = json!({"client_id": client.id, "redirect_uris": [REDIRECT_URI]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    manage(gate, ("PUT", &client.id, &client.token), &body).await
}

/// Redeems a fresh code with the client's secret.
async fn given(gate: &TestGate, client: &Managed) -> Given {
    let known = TestClient { id: client.id.clone(), redirect_uri: REDIRECT_URI.to_owned() };
    let code = gate.code(&known).await;
    tokens(&with_secret(gate, client, &[("grant_type", "authorization_code"), ("code", &code)]).await)
}

async fn with_secret(gate: &TestGate, client: &Managed, more: &[(&str, &str)]) -> Answer {
    let mut fields =
        vec![("client_id", client.id.as_str()), ("client_secret", &client.secret), ("code_verifier", VERIFIER)];
    fields.extend(more);
    gate.post_form("/token", &fields).await
}

#[tokio::test]
async fn a_client_with_a_secret_reads_what_is_known_of_it() {
    let gate = TestGate::new().await;
    let client = register(&gate, "Chat").await;
    let answer = read(&gate, &client).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"));
    let mut json = answer.json();
    assert_eq!(json["registration_client_uri"], json!(format!("{}/register/{}", gate.origin(), client.id)));
    assert_eq!(json["registration_access_token"], json!(client.token), "RFC 7592 3 requires it");
    for variable in ["client_id", "registration_client_uri", "registration_access_token"] {
        json[variable] = json!(format!("[{variable}]"));
    }
    insta::assert_json_snapshot!(json, @r#"
    {
      "client_id": "[client_id]",
      "client_id_issued_at": 1800000000,
      "client_name": "Chat",
      "client_secret_expires_at": 0,
      "grant_types": [
        "authorization_code",
        "refresh_token"
      ],
      "redirect_uris": [
        "http://127.0.0.1/callback"
      ],
      "registration_access_token": "[registration_access_token]",
      "registration_client_uri": "[registration_client_uri]",
      "response_types": [
        "code"
      ],
      "scope": "mcp:access",
      "token_endpoint_auth_method": "client_secret_post"
    }
    "#);
}

#[tokio::test]
async fn clients_that_share_an_id_get_no_registration_access_token() {
    let gate = TestGate::new().await;
    let answer = gate.post_json("/register", &json!({"redirect_uris": [REDIRECT_URI]})).await.json();
    assert!(answer.get("registration_access_token").is_none() && answer.get("registration_client_uri").is_none());
    let id = text(&answer["client_id"]);
    assert_eq!(manage(&gate, ("DELETE", &id, "pcm_x"), &Value::Null).await.status, 401);
    assert_eq!(manage(&gate, ("DELETE", &id, ""), &Value::Null).await.status, 401);
}

#[tokio::test]
async fn wrong_tokens_have_one_answer_whether_or_not_the_client_exists() {
    let gate = TestGate::new().await;
    let (client, other) = (register(&gate, "A").await, register(&gate, "B").await);
    let stranger = portcullis::secret::Token::<portcullis::secret::Management>::generate();
    let mut answers = Vec::new();
    for (id, token) in [
        (client.id.as_str(), other.token.as_str()),
        (&client.id, stranger.expose()),
        (&client.id, "pcm_x"),
        (&client.id, &client.secret),
        ("c_unknown", &client.token),
        ("c_unknown", stranger.expose()),
        ("chat", "pcm_x"),
        ("%ff", &client.token),
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let body = if method == "PUT" { json!({"client_id": id}) } else { Value::Null };
            let answer = manage_from(&gate, "198.51.100.1", (method, id, token), &body).await;
            let headers: Vec<_> = answer
                .headers
                .iter()
                .filter(|(name, _)| *name != "x-request-id")
                .map(|(name, value)| format!("{name}: {value:?}"))
                .collect();
            answers.push((answer.status, headers, answer.body));
        }
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    let (status, headers, body) = &answers[0];
    assert_eq!(*status, 401);
    assert!(headers.iter().any(|header| header.contains("www-authenticate") && header.contains("invalid_token")));
    assert!(headers.iter().any(|header| header.contains("no-store")) && body.contains("invalid_token"), "{body}");
    assert_eq!(read(&gate, &client).await.status, 200, "and nothing was changed");

    let bare = manage(&gate, ("GET", &client.id, ""), &Value::Null).await;
    assert_eq!((bare.status, bare.header("www-authenticate")), (401, "Bearer realm=\"register\""));
    let basic = gate.request("GET", &format!("/register/{}", client.id)).header("authorization", "Basic YTpi");
    assert_eq!(gate.send(basic, "").await.status, 401);
}

#[tokio::test]
async fn guesses_of_a_registration_access_token_are_rate_limited_and_the_right_one_is_accepted() {
    let gate = TestGate::new().await;
    let client = register(&gate, "A").await;
    for number in 0..30 {
        let guess = manage(&gate, ("GET", &client.id, &format!("pcm_{number}")), &Value::Null).await;
        assert_eq!(guess.status, 401, "{number}");
    }
    let guess = manage(&gate, ("GET", &client.id, "pcm_30"), &Value::Null).await;
    assert_eq!((guess.status, guess.error().as_str()), (429, "temporarily_unavailable"));
    assert_eq!(read(&gate, &client).await.status, 200);
    assert_eq!(manage_from(&gate, "198.51.100.1", ("GET", &client.id, "pcm_x"), &Value::Null).await.status, 401);
}

#[tokio::test]
async fn an_update_replaces_the_metadata_and_the_token_and_keeps_id_and_secret() {
    let gate = TestGate::new().await;
    let client = register(&gate, "Before").await;
    gate.clock.advance(Duration::from_mins(5));
    let more = json!({"client_name": "After", "redirect_uris": ["https://chat.example/cb"], "client_secret": client.secret,
        "grant_types": ["authorization_code"], "token_endpoint_auth_method": "client_secret_basic"});
    let answer = update(&gate, &client, &more).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{answer:?}");
    let json = answer.json();
    assert_eq!((&json["client_id"], &json["client_name"]), (&json!(client.id), &json!("After")));
    assert_eq!(json["client_id_issued_at"], json!(1_800_000_000));
    assert_eq!(json["redirect_uris"], json!(["https://chat.example/cb"]));
    assert_eq!(json["grant_types"], json!(["authorization_code"]));
    assert_eq!(json["token_endpoint_auth_method"], "client_secret_basic");
    assert!(json.get("client_secret").is_none(), "it stays as it is: {json}");
    let new = Managed { token: text(&json["registration_access_token"]), ..client.clone() };
    assert_ne!(new.token, client.token);
    assert_eq!(read(&gate, &client).await.status, 401, "the old token is worth nothing");
    assert_eq!(read(&gate, &new).await.json()["client_name"], "After");
    let refused = with_secret(&gate, &new, &[("grant_type", "authorization_code"), ("code", "pcc_x")]).await;
    assert_eq!(refused.error(), "invalid_grant", "the secret is still the right one");
    let other = TestClient { id: client.id.clone(), redirect_uri: REDIRECT_URI.to_owned() };
    assert_eq!(gate.get(&gate.authorize_path(&other, &[])).await.status, 400, "the old redirect URI is gone");
}

#[tokio::test]
async fn an_update_obeys_the_rules_of_a_registration_and_cannot_choose_what_is_assigned() {
    let gate = TestGate::new().await;
    let client = register(&gate, "A").await;
    let jwks = json!({"keys": [TestKey::new(TestAlgorithm::Es256, "k").jwk()]});
    for (more, code) in [
        (json!({"client_id": "c_other"}), "invalid_client_metadata"),
        (json!({"client_id": null}), "invalid_client_metadata"),
        (json!({"registration_access_token": client.token}), "invalid_client_metadata"),
        (json!({"registration_client_uri": "https://evil.example/"}), "invalid_client_metadata"),
        (json!({"client_secret_expires_at": 0}), "invalid_client_metadata"),
        (json!({"client_id_issued_at": 1}), "invalid_client_metadata"),
        (json!({"client_secret": "of-my-own-choice-of-my-own-choice"}), "invalid_client_metadata"),
        (json!({"token_endpoint_auth_method": "none"}), "invalid_client_metadata"),
        (json!({"token_endpoint_auth_method": "private_key_jwt"}), "invalid_client_metadata"),
        (json!({"jwks": jwks, "jwks_uri": "https://a.example/jwks"}), "invalid_client_metadata"),
        (json!({"software_statement": "x.y.z"}), "unapproved_software_statement"),
        (json!({"redirect_uris": ["http://evil.example/"]}), "invalid_redirect_uri"),
        (json!({"redirect_uris": []}), "invalid_redirect_uri"),
    ] {
        let answer = update(&gate, &client, &more).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, code), "{more}: {answer:?}");
    }
    let request = gate
        .request("PUT", &format!("/register/{}", client.id))
        .header("authorization", format!("Bearer {}", client.token))
        .header("content-type", "text/plain");
    assert_eq!(gate.send(request, "{}").await.status, 400);
    assert_eq!(read(&gate, &client).await.json()["client_name"], "A", "nothing was changed");
}

#[tokio::test]
async fn an_update_moves_a_client_from_a_secret_to_keys_and_back() {
    let gate = TestGate::new().await;
    let client = register(&gate, "A").await;
    let jwks = json!({"keys": [TestKey::new(TestAlgorithm::Es256, "k").jwk()]});
    let keys = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks});
    let json = update(&gate, &client, &keys).await.json();
    assert_eq!(json["jwks"]["keys"].as_array().map(Vec::len), Some(1), "{json}");
    assert!(json.get("client_secret").is_none() && json.get("client_secret_expires_at").is_none());
    let signer = Managed { token: text(&json["registration_access_token"]), ..client.clone() };
    let redemption = [("grant_type", "authorization_code"), ("code", "pcc_x")];
    assert_eq!(with_secret(&gate, &signer, &redemption).await.error(), "invalid_client", "the secret is worth nothing");

    let json = update(&gate, &signer, &json!({"token_endpoint_auth_method": "client_secret_post"})).await.json();
    let again = Managed { secret: text(&json["client_secret"]), ..signer };
    assert_ne!(again.secret, client.secret);
    assert_eq!(with_secret(&gate, &again, &redemption).await.error(), "invalid_grant");
    assert_eq!(with_secret(&gate, &client, &redemption).await.error(), "invalid_client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_updates_with_one_token_one_succeeds() {
    let gate = TestGate::new().await;
    let twin = gate.twin().await;
    let client = register(&gate, "A").await;
    let updates = (0..16).map(|n| {
        let (gate, client) = (if n % 2 == 0 { &gate } else { &twin }, &client);
        async move { update(gate, client, &json!({"client_name": format!("{n}")})).await.status }
    });
    let mut statuses = futures_util::future::join_all(updates).await;
    statuses.sort_unstable();
    assert_eq!(statuses[0], 200);
    assert!(statuses[1..].iter().all(|status| *status == 401), "{statuses:?}");
}

#[tokio::test]
async fn a_client_that_updates_itself_in_a_loop_is_limited() {
    let gate = TestGate::new().await;
    let mut client = register(&gate, "A").await;
    for number in 0..60 {
        let answer = update(&gate, &client, &json!({})).await;
        assert_eq!(answer.status, 200, "{number}");
        client.token = text(&answer.json()["registration_access_token"]);
    }
    let answer = update(&gate, &client, &json!({})).await;
    assert_eq!((answer.status, answer.error().as_str()), (429, "temporarily_unavailable"));
    assert_eq!(read(&gate, &client).await.status, 200);
}

#[tokio::test]
async fn a_deleted_clients_tokens_end_at_once_in_every_process() {
    let gate = TestGate::new().await;
    let twin = gate.twin().await;
    let (client, other) = (register(&gate, "A").await, register(&gate, "B").await);
    let (its, others) = (given(&gate, &client).await, given(&gate, &other).await);
    for (process, token) in [(&gate, &its), (&twin, &its), (&gate, &others)] {
        assert_eq!(process.call(&token.access).await.status, WORKS);
    }
    let answer = manage(&gate, ("DELETE", &client.id, &client.token), &Value::Null).await;
    assert_eq!((answer.status, answer.body.as_str(), answer.header("cache-control")), (204, "", "no-store"));
    assert_eq!(gate.call(&its.access).await.status, 401);
    twin.app.revocation().read_feed(twin.app.store()).await.unwrap();
    assert_eq!(twin.call(&its.access).await.status, 401);
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", its.refresh.as_str())];
    assert_eq!(with_secret(&gate, &client, &refresh).await.error(), "invalid_client");
    assert_eq!(read(&gate, &client).await.status, 401);
    assert_eq!(manage(&gate, ("DELETE", &client.id, &client.token), &Value::Null).await.status, 401);
    assert_eq!(gate.call(&others.access).await.status, WORKS, "another client's");
    assert_eq!(read(&gate, &other).await.status, 200);
}

#[tokio::test]
async fn a_sign_in_that_is_under_way_gives_a_deleted_client_nothing() {
    let gate = TestGate::new().await;
    let client = register(&gate, "A").await;
    let known = TestClient { id: client.id.clone(), redirect_uri: REDIRECT_URI.to_owned() };
    let mut browser = Browser::default();
    let form = gate.consent_form(&mut browser, &known, &[]).await;
    let approved = browser.submit(&gate, &form.with("decision", "approve").with("identity", "local")).await;
    let page = browser.get(&gate, &location(&approved)).await;
    assert_eq!(manage(&gate, ("DELETE", &client.id, &client.token), &Value::Null).await.status, 204);
    let answer = browser.submit(&gate, &as_alice(&page)).await;
    assert!(answer.header("location").is_empty(), "{answer:?}");
}

#[tokio::test]
async fn only_the_hash_of_a_registration_access_token_is_stored() {
    let gate = TestGate::new().await;
    let client = register(&gate, "A").await;
    assert!(client.token.starts_with("pcm_"));
    let path = database::file(&gate.config.storage).to_owned();
    gate.app.close().await;
    for file in [path.clone(), path.with_extension("db-wal")] {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let holds = bytes.windows(client.token.len()).any(|window| window == client.token.as_bytes());
        assert!(!holds, "{}", file.display());
    }
}
