//! Which receivers of codes the consent page warns about (phishing).

use portcullis::config::ConfiguredClient;
use portcullis::oauth::client_metadata::AuthMethod;

use crate::support::browser::{Browser, parameter};
use crate::support::gate::{TestClient, TestGate};

#[tokio::test]
async fn only_receivers_on_the_operators_lists_are_shown_without_a_warning() {
    let gate = TestGate::with(|config| {
        config.clients.push(ConfiguredClient {
            device: false,
            client_id: "chat".to_owned(),
            name: Some("Company chat".to_owned()),
            redirect_uris: vec!["https://chat.example.com/cb".to_owned(), "com.example.chat:/cb".to_owned()],
            client_secret: None,
            keys: None,
            auth_method: AuthMethod::None,
            machine: None,
            dpop_bound: false,
            introspects: Vec::new(),
        });
    })
    .await;
    let warned = async |client: &TestClient| {
        let page = Browser::default().get(&gate, &gate.authorize_path(client, &[])).await;
        assert_eq!(page.status, 200, "{page:?}");
        page.body.contains("class=\"caution\"")
    };
    for (uri, expected) in [
        ("https://claude.ai/api/mcp/auth_callback", false),
        ("https://chat.example.com/cb", false),
        ("https://chat.example.com/another", true),
        ("https://vscode.dev/redirect", false),
        ("https://vscode.dev/redirect?url=vscode://evil.extension/", true),
        ("https://claude.ai/another", true),
        ("http://127.0.0.1:1234/callback", false),
        ("cursor://anysphere.cursor-mcp/oauth/callback", false),
        ("https://claude.ai.evil.example/cb", true),
        ("https://claude.ai:8443/cb", true),
        ("https://evil.example/claude.ai", true),
        ("com.example.chat:/cb", true),
    ] {
        let client = gate.register_as(&serde_json::json!({"client_name": "Chat", "redirect_uris": [uri]})).await;
        assert_eq!(warned(&client).await, expected, "{uri}");
    }
    for redirect_uri in ["https://chat.example.com/cb", "com.example.chat:/cb"].map(str::to_owned) {
        assert!(!warned(&TestClient { id: "chat".to_owned(), redirect_uri }).await);
    }
}

#[tokio::test]
async fn a_receiver_does_not_become_known_by_signing_in() {
    let gate = TestGate::new().await;
    let client = gate.register_as(&serde_json::json!({"redirect_uris": ["https://evil.example/cb"]})).await;
    for _ in 0..2 {
        let mut browser = Browser::default();
        let page = browser.get(&gate, &gate.authorize_path(&client, &[])).await;
        assert!(page.body.contains("class=\"caution\""), "{page:?}");
        let url = gate.sign_in(&mut browser, &client, &[]).await;
        assert!(parameter(&url, "code").is_some(), "{url}");
    }
}
