//! Clients whose id is the URL of a document (Client ID Metadata Documents): the whole way, and what is refused.

mod age;
mod limits;
mod refusals;
mod revocation;
mod shapes;
mod ssrf;

use portcullis::app::{App, Outside};
use portcullis::secret::{base64url, random};
use serde_json::{Value, json};

use crate::support::browser::{Browser, Form, location, parameter};
use crate::support::database::{by_hand, number};
use crate::support::documents::{DocumentHost, Reply};
use crate::support::gate::{Answer, REDIRECT_URI, TestClient, TestGate, VERIFIER, WORKS, claims, tokens};
use crate::support::provider::{TestAlgorithm, TestKey};
use crate::support::statements::{of, reads, reads_of};

const PATH: &str = "/client.json";

fn document() -> Value {
    json!({"client_name": "Document client", "redirect_uris": [REDIRECT_URI, "https://client.example/callback"]})
}

/// A host with one client, and a gate that trusts it.
async fn published() -> (DocumentHost, TestClient, TestGate) {
    let host = DocumentHost::start().await;
    let client = host.publish(PATH, document());
    let gate = host.gate().await;
    (host, client, gate)
}

async fn authorize(gate: &TestGate, client: &TestClient) -> Answer {
    gate.get(&gate.authorize_path(client, &[])).await
}

/// The page of a document that cannot be used, without the id of its request.
fn refused(answer: &Answer) -> String {
    assert_eq!((answer.status, answer.header("location")), (400, ""), "{answer:?}");
    assert!(answer.body.contains("invalid_client: the metadata document of this client_id"), "{answer:?}");
    answer.body.replace(answer.header("x-request-id"), "")
}

/// Every row of documents that are kept.
async fn kept(gate: &TestGate) -> i64 {
    number(&gate.config.storage, "SELECT count(*) FROM client_documents").await
}

/// The same gate within another world.
async fn within(gate: &mut TestGate, outside: Outside) {
    gate.app = App::build_within(gate.config.clone(), gate.clock.clone(), outside).await.unwrap().into();
    gate.app.adopt().await.unwrap();
}

#[tokio::test]
async fn a_client_with_a_document_signs_in_refreshes_and_calls() {
    let (host, client, gate) = published().await;
    let given = gate.tokens(&client).await;
    assert_eq!(claims(&given.access)["client_id"], client.id.as_str());
    assert_eq!(gate.call(&given.access).await.status, WORKS);
    let again = tokens(&gate.refresh(&client, &given.refresh).await);
    assert_eq!(gate.call(&again.access).await.status, WORKS);
    assert_eq!(host.calls(PATH), 1, "one fetch for all of it");
    let call = host.last_call();
    assert_eq!(call["accept"], "application/json");
    assert!(call["user-agent"].to_str().unwrap().starts_with("portcullis/"));
    for header in ["cookie", "authorization", "referer", "accept-encoding", "origin", "forwarded", "x-forwarded-for"] {
        assert!(!call.contains_key(header), "{header}");
    }
}

#[tokio::test]
async fn metadata_documents_are_advertised_only_where_they_are_read() {
    for enabled in [true, false] {
        let gate = TestGate::with(|config| config.client_documents.enabled = enabled).await;
        for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
            let metadata = gate.get(path).await.json();
            let expected = if enabled { json!(true) } else { Value::Null };
            assert_eq!(metadata["client_id_metadata_document_supported"], expected, "{path}");
            let methods = metadata["token_endpoint_auth_methods_supported"].as_array().unwrap().clone();
            assert!(methods.contains(&json!("none")), "clients look for it beside");
        }
    }
}

#[tokio::test]
async fn nothing_is_stored_before_a_user_has_signed_in_for_the_client() {
    let (host, client, gate) = published().await;
    let mut browser = Browser::default();
    let form = gate.consent_form(&mut browser, &client, &[]).await;
    let approved = browser.submit(&gate, &form.with("decision", "approve").with("identity", "local")).await;
    assert_eq!(kept(&gate).await, 0, "a flood costs no disk");
    let page = browser.get(&gate, &location(&approved)).await;
    let filled_in = Form::on(&page.body).with("username", "alice").with("password", "wonderland");
    let url = location(&browser.submit(&gate, &filled_in).await);
    assert_eq!(kept(&gate).await, 1);
    let twin = gate.twin().await;
    let redeemed = twin.redeem(&client, &parameter(&url, "code").unwrap()).await;
    assert_eq!(redeemed.status, 200, "another process has the document from the store: {redeemed:?}");
    assert_eq!(host.calls(PATH), 1);
}

#[tokio::test]
async fn the_consent_page_names_the_host_of_the_client_and_that_of_its_redirect_uri() {
    let host = DocumentHost::start().await;
    let gate = host.gate().await;
    let claude = json!({"client_name": "Claude", "redirect_uris": ["https://evil.example/cb", REDIRECT_URI]});
    let client = host.publish(PATH, claude);
    let page = authorize(&gate, &client).await;
    let publisher = format!("127.0.0.1:{}", host.port());
    assert!(
        page.body.contains(&format!("is described at <bdi dir=\"ltr\" class=\"claim\">{publisher}</bdi>")),
        "{page:?}"
    );
    assert!(page.body.contains("<bdi dir=\"ltr\">evil.example</bdi>"), "{page:?}");
    assert!(page.body.contains("Nobody has checked that name") && page.body.contains("class=\"caution\""), "{page:?}");
    assert!(page.body.contains("it is not where the application is described"), "{page:?}");
    let loopback = TestClient { redirect_uri: REDIRECT_URI.to_owned(), ..client };
    let page = authorize(&gate, &loopback).await;
    assert!(page.body.contains("a program on this computer"), "{page:?}");
    let warning = format!(
        "any program here can call itself <bdi>Claude</bdi>, and <bdi dir=\"ltr\">{publisher}</bdi> cannot prevent that"
    );
    assert!(page.body.contains(&warning), "{page:?}");
}

#[tokio::test]
async fn a_hostile_document_puts_neither_markup_nor_a_picture_on_the_consent_page() {
    let host = DocumentHost::start().await;
    let gate = host.gate().await;
    let hostile = r#""><script>alert(1)</script><img src=x>"#;
    let document = json!({
        "client_name": format!("{hostile}\u{202e} ✓"), "redirect_uris": [REDIRECT_URI], "client_uri": hostile,
        "logo_uri": host.url("/logo.png"), "tos_uri": hostile, "policy_uri": hostile, "scope": hostile,
    });
    let page = authorize(&gate, &host.publish(PATH, document)).await;
    assert_eq!(page.status, 200);
    for absent in ["<script>", "<img", "logo.png", "\u{202e}", "✓"] {
        assert!(!page.body.contains(absent), "{absent}: {page:?}");
    }
    assert_eq!(host.calls("/logo.png"), 0);
}

#[tokio::test]
async fn a_document_alone_does_not_make_us_redirect_before_consent() {
    let (_host, client, gate) = published().await;
    let remote = TestClient { redirect_uri: "https://client.example/callback".to_owned(), ..client.clone() };
    let answer = gate.get(&gate.authorize_path(&remote, &[("code_challenge", "")])).await;
    assert_eq!((answer.status, answer.header("location")), (400, ""), "an open redirector: {answer:?}");
    let missing = gate.get(&gate.authorize_path(&client, &[("redirect_uri", "")])).await;
    assert_eq!(missing.status, 400, "{missing:?}");
    let host = DocumentHost::start().await;
    let gate = host.gate().await;
    let single = host.publish(PATH, json!({"client_name": "One", "redirect_uris": [REDIRECT_URI]}));
    let answer = gate.get(&gate.authorize_path(&single, &[("redirect_uri", "")])).await;
    assert!(answer.body.contains("must be sent, with its port"), "{answer:?}");
}

#[tokio::test]
async fn a_redirect_uri_that_is_not_in_the_document_is_refused() {
    let (_host, client, gate) = published().await;
    for (uri, status) in [
        ("http://127.0.0.1:1/callback", 200),
        ("https://client.example/callback", 200),
        ("http://127.0.0.1:33418/other", 400),
        ("http://localhost:33418/callback", 400),
        ("https://client.example/callback/", 400),
        ("https://client.example/callback?x", 400),
        ("https://evil.example/callback", 400),
    ] {
        let answer = gate.get(&gate.authorize_path(&client, &[("redirect_uri", uri)])).await;
        assert_eq!((answer.status, answer.header("location")), (status, ""), "{uri}");
    }
}

#[tokio::test]
async fn each_request_looks_its_document_up_once_and_in_the_store_only_when_it_is_not_in_memory() {
    let (_host, client, gate) = published().await;
    let (page, statements) = of(authorize(&gate, &client)).await;
    assert_eq!(page.status, 200);
    assert_eq!((reads_of("client_documents", &statements), statements.len()), (1, 2), "{statements:#?}");
    let (_, statements) = of(authorize(&gate, &client)).await;
    assert_eq!(statements.len(), 1, "whether it is disabled: {statements:#?}");
    let given = gate.tokens(&client).await;
    let (_, statements) = of(gate.refresh(&client, &given.refresh)).await;
    assert_eq!((reads_of("client_documents", &statements), reads(&statements).count()), (0, 3), "{statements:#?}");
    let gate = gate.restart().await;
    let refresh = tokens(&gate.refresh(&client, &given.refresh).await).refresh;
    let (_, statements) = of(gate.refresh(&client, &refresh)).await;
    assert_eq!(reads_of("client_documents", &statements), 0, "{statements:#?}");
}

#[tokio::test]
async fn a_client_of_a_document_cannot_claim_the_token_of_another_one() {
    let (host, client, gate) = published().await;
    let other = host.publish("/other.json", document());
    let given = gate.tokens(&client).await;
    let stolen = gate.refresh(&other, &given.refresh).await;
    assert_eq!((stolen.status, stolen.error().as_str()), (400, "invalid_grant"));
    let code = gate.code(&client).await;
    assert_eq!(gate.redeem(&other, &code).await.error(), "invalid_grant");
    assert_eq!(gate.redeem(&client, &code).await.status, 200);
    let with_secret = gate
        .post_form("/token", &[("grant_type", "refresh_token"), ("client_id", &client.id), ("client_secret", "x")])
        .await;
    assert_eq!((with_secret.status, with_secret.error().as_str()), (401, "invalid_client"));
}

#[tokio::test]
async fn a_client_with_keys_signs_and_gets_no_token_without_an_assertion() {
    let host = DocumentHost::start().await;
    let gate = host.gate().await;
    let key = TestKey::new(TestAlgorithm::Es256, "k1");
    host.answer("/keys", Reply::json(&json!({"keys": [key.jwk()]})));
    let methods = ("token_endpoint_auth_methods_supported", json!(["none", "private_key_jwt"]));
    for (n, keys) in
        [("jwks", json!({"keys": [key.jwk()]})), ("jwks_uri", json!(host.url("/keys")))].into_iter().enumerate()
    {
        let mut document = document();
        for (member, value) in [methods.clone(), keys] {
            document[member] = value;
        }
        let client = host.publish(&format!("/signing-{n}.json"), document);
        let code = gate.code(&client).await;
        let bare = gate.redeem(&client, &code).await;
        assert_eq!((bare.status, bare.error().as_str()), (401, "invalid_client"), "it offers none, too, and must sign");
        let given = tokens(&redeem_signed(&gate, &client, &key, &code).await);
        let bare = gate.refresh(&client, &given.refresh).await;
        assert_eq!((bare.status, bare.error().as_str()), (401, "invalid_client"));
        let another = TestKey::new(TestAlgorithm::Es256, "k1");
        let forged = redeem_signed(&gate, &client, &another, &code).await;
        assert_eq!((forged.status, forged.error().as_str()), (401, "invalid_client"));
    }
    assert_eq!(host.calls("/keys"), 1);
}

/// Redeems a code with an assertion that this key signs.
async fn redeem_signed(gate: &TestGate, client: &TestClient, key: &TestKey, code: &str) -> Answer {
    let now = gate.clock.now().0;
    let claims = json!({
        "iss": client.id, "sub": client.id, "aud": gate.origin(), "jti": base64url(&random::<16>()), "exp": now + 60,
    });
    let assertion = key.jws(&json!({"alg": key.algorithm_name(), "kid": key.kid()}), &claims);
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", &client.id),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &assertion),
        ("code", code),
        ("redirect_uri", &client.redirect_uri),
        ("code_verifier", VERIFIER),
    ];
    gate.post_form("/token", &form).await
}

#[tokio::test]
async fn a_client_with_a_document_that_the_operator_disabled_gets_nothing() {
    let (host, client, gate) = published().await;
    let given = gate.tokens(&client).await;
    by_hand(&gate.config.storage, &format!("INSERT INTO disabled_clients VALUES ('{}', 1)", client.id)).await;
    let page = authorize(&gate, &client).await;
    assert!(page.status == 403 || page.status == 400, "{page:?}");
    assert!(page.body.contains("This application is not allowed here"), "{page:?}");
    assert_eq!(gate.refresh(&client, &given.refresh).await.error(), "invalid_client");
    assert_eq!(host.calls(PATH), 1);
}

#[tokio::test]
async fn nothing_is_fetched_for_a_disabled_client_and_lists_know_it() {
    let (host, client, gate) = published().await;
    let (store, id, now) =
        (gate.app.store(), portcullis::model::ids::ClientId::from(client.id.as_str()), gate.clock.now());
    assert!(store.disable_client(&id, now).await.unwrap());
    assert_eq!(authorize(&gate, &client).await.status, 403);
    assert_eq!(host.calls(PATH), 0, "its document is not fetched");
    assert_eq!(store.list_disabled_only(None, 10).await.unwrap(), std::slice::from_ref(&id));
    assert!(store.enable_client(&id).await.unwrap());
    gate.tokens(&client).await;
    let listed = store.list_documents(None, now, 10).await.unwrap();
    assert!(
        listed.len() == 1 && listed[0].id == id && !listed[0].disabled && listed[0].use_of.grants == 1,
        "{listed:?}"
    );
    assert!(store.disable_client(&id, now).await.unwrap());
    assert!(store.listed_document(&id, now).await.unwrap().unwrap().disabled);
    assert_eq!(store.list_disabled_only(None, 10).await.unwrap(), []);
}
