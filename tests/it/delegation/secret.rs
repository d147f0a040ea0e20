//! A fixed credential.

use http::HeaderValue;
use portcullis::config::CredentialSource;

use super::{give, give_in};
use crate::support::gate::{TestGate, WORKS};

fn secret(text: &'static str) -> CredentialSource {
    CredentialSource::Secret(HeaderValue::from_static(text))
}

#[tokio::test]
async fn a_fixed_credential_reaches_the_server_in_its_header_and_a_client_cannot_replace_it() {
    for (header, value) in [("authorization", "Bearer the-secret"), ("x-service-key", "the-secret")] {
        let gate = TestGate::with(|config| give_in(config, header, secret(value))).await;
        let client = gate.register().await;
        let given = gate.tokens(&client).await;
        let body = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;
        for spelling in ["x-service-key", "X_Service_Key", "x-service_key"] {
            let request = gate.request("POST", "/mcp").header("authorization", format!("Bearer {}", given.access));
            let request = request.header("content-type", "application/json").header("content-length", body.len());
            assert_eq!(gate.send(request.header(spelling, "the client's own"), body).await.status, WORKS);
            let seen = gate.behind.last();
            assert_eq!(seen.header(header), Some(value), "{spelling}");
            if header == "x-service-key" {
                let spoofed = seen.headers.iter().any(|(_, value)| value == "the client's own");
                assert!(!spoofed, "{spelling}: {:?}", seen.headers);
                assert_eq!(seen.header("authorization"), None);
            }
        }
    }
}

#[tokio::test]
async fn a_refused_secret_is_a_502_that_names_delegation_and_is_not_tried_again() {
    let behind = crate::support::upstream::Upstream::start(|_| crate::support::upstream::answer(401, &[], "")).await;
    let gate = TestGate::with(|config| {
        give(config, secret("Bearer the-secret"));
        crate::support::gate::reach(&mut config.upstreams[0]).url = behind.url().parse().unwrap();
    })
    .await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    let refused = gate.call(&given.access).await;
    assert_eq!((refused.status, behind.count()), (502, 1), "{refused:?}");
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("refused the credential"), "{refused:?}");
    assert!(refused.headers.get("www-authenticate").is_none() && !refused.body.contains("the-secret"));
}
