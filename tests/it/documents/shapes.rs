//! Documents in the shapes that real clients publish, written for these tests.

use serde_json::{Value, json};

use super::{PATH, redeem_signed};
use crate::support::documents::{DocumentHost, Reply};
use crate::support::gate::{TestClient, tokens};
use crate::support::provider::{TestAlgorithm, TestKey};

/// A client, its document without `client_id`, and a redirect URI as it sends it.
type Shape = (&'static str, Value, &'static str);

fn assistants() -> Vec<Shape> {
    let both = json!(["authorization_code", "refresh_token"]);
    vec![
        (
            "a hosted assistant that lists a grant of its enterprise edition",
            json!({
                "client_name": "Assistant", "client_uri": "https://assistant.example",
                "logo_uri": "https://assistant.example/logo.png",
                "redirect_uris": ["https://assistant.example/api/mcp/auth_callback"],
                "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
                "response_types": ["code"], "token_endpoint_auth_method": "none",
            }),
            "https://assistant.example/api/mcp/auth_callback",
        ),
        (
            "a terminal program with loopback addresses without ports",
            json!({
                "client_name": "Terminal assistant", "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"],
                "grant_types": both, "response_types": ["code"], "token_endpoint_auth_method": "none",
            }),
            "http://localhost:54321/callback",
        ),
        (
            "a desktop application with a scheme of its own that is on the list",
            json!({
                "client_name": "Desktop assistant",
                "redirect_uris": ["http://127.0.0.1/callback", "claude://claude.ai/mcp-auth-callback/sdk", "unlisted://x/y"],
            }),
            "claude://claude.ai/mcp-auth-callback/sdk",
        ),
        (
            "a hosted chat that offers keys in the singular, and also none in the plural",
            json!({
                "client_name": "Chat", "redirect_uris": ["https://chat.example/connector/oauth/abc123"],
                "grant_types": both, "response_types": ["code"], "application_type": "web",
                "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "RS256",
                "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
                "jwks_uri": "https://chat.example/oauth/jwks.json",
            }),
            "https://chat.example/connector/oauth/abc123",
        ),
    ]
}

fn programs() -> Vec<Shape> {
    let both = json!(["authorization_code", "refresh_token"]);
    vec![
        (
            "an editor with a web callback and loopback addresses with and without a port",
            json!({
                "client_name": "Editor", "client_uri": "https://editor.example/product", "grant_types": [
                    "authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
                "response_types": ["code"], "token_endpoint_auth_method": "none", "application_type": "native",
                "redirect_uris": ["https://editor.example/redirect", "http://127.0.0.1/", "http://127.0.0.1:33418/"],
            }),
            "http://127.0.0.1:50111/",
        ),
        (
            "an agent with every loopback spelling",
            json!({
                "client_name": "agent",
                "redirect_uris": [
                    "http://127.0.0.1/oauth_callback", "http://localhost/oauth_callback", "http://[::1]/oauth_callback"],
                "grant_types": both, "response_types": ["code"], "token_endpoint_auth_method": "none",
            }),
            "http://[::1]:40123/oauth_callback",
        ),
        (
            "an editor that publishes next to nothing",
            json!({"client_name": "Small editor", "redirect_uris": ["http://127.0.0.1/callback"]}),
            "http://127.0.0.1:41999/callback",
        ),
        (
            "a document with nulls, empty texts and wrong types in optional members",
            json!({
                "client_name": "Odd", "redirect_uris": ["http://127.0.0.1/callback"], "scope": "", "contacts": "support",
                "logo_uri": null, "grant_types": "authorization_code", "jwks": [], "software_id": 7,
            }),
            "http://127.0.0.1:1234/callback",
        ),
    ]
}

#[tokio::test]
async fn documents_of_every_known_shape_make_clients_that_sign_in_and_refresh() {
    let host = DocumentHost::start().await;
    let gate = host.gate().await;
    let key = TestKey::new(TestAlgorithm::Rs256, "chat-key");
    host.answer("/oauth/jwks.json", Reply::json(&json!({"keys": [key.jwk()]})));
    for (shape, mut document, redirect_uri) in assistants().into_iter().chain(programs()) {
        let signs = document.get("jwks_uri").is_some();
        if signs {
            document["jwks_uri"] = json!(host.url("/oauth/jwks.json"));
        }
        let id = host.publish(PATH, document).id;
        let client = TestClient { id, redirect_uri: redirect_uri.to_owned() };
        gate.clock.advance(std::time::Duration::from_mins(5));
        let page = gate.get(&gate.authorize_path(&client, &[])).await;
        assert_eq!(page.status, 200, "{shape}: {page:?}");
        if redirect_uri.starts_with("claude:") {
            // its answer is a page on the way to the application
            continue;
        }
        if signs {
            let code = gate.code(&client).await;
            tokens(&redeem_signed(&gate, &client, &key, &code).await);
            continue;
        }
        let given = gate.tokens(&client).await;
        assert!(!given.refresh.is_empty(), "{shape}");
        tokens(&gate.refresh(&client, &given.refresh).await);
    }
}

#[tokio::test]
async fn a_document_may_have_any_json_type_and_the_largest_size() {
    let host = DocumentHost::start().await;
    let gate = host.gate().await;
    for (n, kind) in
        ["application/json; charset=utf-8", "application/oauth-client+json", "APPLICATION/JSON"].into_iter().enumerate()
    {
        let path = format!("/{n}.json");
        let client = host.publish(&path, super::document());
        let mut reply = host.reply(&path);
        reply.headers = vec![("content-type", kind.to_owned())];
        reply.body.resize(5 * 1024, b' ');
        host.answer(&path, reply);
        assert_eq!(super::authorize(&gate, &client).await.status, 200, "{kind}");
    }
}
