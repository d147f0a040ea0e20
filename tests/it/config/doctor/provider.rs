//! OpenID Connect providers, as far as a real Keycloak does not show it: `tests/e2e/keycloak/test_doctor.py` has that.

use portcullis::clock::Clock;
use serde_json::{Value, json};

use super::{file, findings_of, ids, keycloak, mcp, operator};
use crate::support::provider::{FakeProvider, OfflineRefusal, Reply};
use crate::support::upstream::{Upstream, answer};

/// The findings about a provider, with these lines of its entry.
async fn found_with(provider: &FakeProvider, more: &str) -> Vec<Value> {
    found_at(&provider.issuer(), more).await
}

async fn found_at(issuer: &str, more: &str) -> Vec<Value> {
    let behind = mcp().await;
    let text = file("http://127.0.0.1:1", &keycloak(issuer, more), &format!("url = \"{}\"", behind.url()));
    findings_of(&operator(), &text)
}

async fn provider() -> FakeProvider {
    FakeProvider::start(&Clock::system()).await
}

type Edit = fn(&mut Value);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_the_metadata_is_found() {
    let edits: [(Edit, &str); 8] = [
        (
            |document| document["issuer"] = json!(format!("{}/", document["issuer"].as_str().unwrap())),
            "provider.issuer",
        ),
        (|document| document["issuer"] = json!("https://sso.example.com/realms/mcp"), "provider.issuer"),
        (|document| document["token_endpoint"] = json!("ftp://sso.example.com/token"), "provider.endpoints"),
        (|document| document["response_types_supported"] = json!(["id_token"]), "provider.code_flow"),
        (|document| document["grant_types_supported"] = json!(["implicit"]), "provider.code_flow"),
        (|document| document["code_challenge_methods_supported"] = json!(["plain"]), "provider.pkce"),
        (|document| document["id_token_signing_alg_values_supported"] = json!(["HS256"]), "provider.signing_algorithm"),
        (
            |document| document["scopes_supported"] = json!(["openid", "profile", "email"]),
            "provider.offline_access_unlisted",
        ),
    ];
    for (edit, id) in edits {
        let provider = provider().await;
        provider.edit_discovery(edit);
        let findings = found_with(&provider, "").await;
        assert_eq!(ids(&findings), [id]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_secret_is_not_sent_where_the_issuer_is_another() {
    let provider = provider().await;
    provider.edit_discovery(|document| document["issuer"] = json!("https://sso.example.com"));
    found_with(&provider, "").await;
    assert_eq!((provider.calls("/token"), provider.calls("/auth"), provider.calls("/certs")), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_behind_the_metadata_is_found() {
    let provider = provider().await;
    assert_eq!(ids(&found_with(&provider, "").await), [""; 0], "it is well");
    provider.edit_jwks(|keys| *keys = json!({"keys": []}));
    assert_eq!(ids(&found_with(&provider, "").await), ["provider.keys_unusable"]);
    provider.edit_jwks(|_| ());
    provider.edit_discovery(|document| document["jwks_uri"] = json!("http://127.0.0.1:1/certs"));
    assert_eq!(ids(&found_with(&provider, "").await), ["provider.keys_unreachable"]);
    provider.edit_discovery(|document| document["authorization_endpoint"] = json!("http://127.0.0.1:1/auth"));
    assert_eq!(ids(&found_with(&provider, "").await), ["provider.authorization_endpoint"]);
    provider.edit_discovery(|document| document["token_endpoint"] = json!("http://127.0.0.1:1/token"));
    assert_eq!(ids(&found_with(&provider, "").await), ["provider.token_endpoint"]);
    provider.edit_discovery(|_| ());
    provider.refuse_offline(Some(OfflineRefusal::AtAuthorize));
    assert_eq!(ids(&found_with(&provider, "").await), ["provider.offline_access"]);
    assert_eq!(ids(&found_with(&provider, "standing = \"session\"").await), [""; 0]);
    provider.refuse_offline(None);
    assert_eq!(ids(&found_with(&provider, "scopes = [\"profile\", \"nope\"]").await), ["provider.scope_unlisted"]);
    for _ in 0..3 {
        provider.answer_token(Reply::json(200, &json!({"access_token": "x"})));
    }
    assert_eq!(ids(&found_with(&provider, "").await), ["provider.accepts_made_up"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_behind_an_unknown_authority_needs_its_ca_file() {
    let provider = FakeProvider::start_tls(&Clock::system()).await;
    let findings = found_with(&provider, "").await;
    assert_eq!(ids(&findings), ["provider.tls"]);
    assert_eq!(findings[0]["key"], "ca_file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_provider_is_found() {
    for (status, headers, body, id) in [
        (404, &[][..], "", "provider.discovery"),
        (502, &[], "", "provider.discovery"),
        (301, &[("location", "https://sso.example.com/")], "", "provider.discovery_redirects"),
        (200, &[("content-type", "text/html")], "<html>", "provider.discovery_document"),
        (200, &[("content-type", "application/json")], "{}", "provider.endpoints"),
    ] {
        let other = Upstream::start(move |_| answer(status, headers, body)).await;
        let findings = found_at(&format!("http://{}/realms/mcp", other.address), "").await;
        assert_eq!(ids(&findings), [id], "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_differ_are_found_with_the_seconds() {
    let now = Clock::system().now().0;
    for (offset, age, expected) in [(-3600, 0, true), (3600, 0, true), (-30, 0, false), (-3600, 3600, false)] {
        let date = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(now + offset).unwrap());
        let (date, kept) = (httpdate::fmt_http_date(date), age.to_string());
        let other = Upstream::start(move |_| answer(404, &[("date", &date), ("age", &kept)], "")).await;
        let findings = found_at(&format!("http://{}/realms/mcp", other.address), "").await;
        let clock = findings.iter().find(|finding| finding["id"] == "provider.clock");
        assert_eq!(clock.is_some(), expected, "{offset} {age}");
        if let Some(clock) = clock {
            let said = clock["message"].as_str().unwrap();
            assert!(
                said.contains(if offset > 0 { "ahead of" } else { "behind" }) && said.contains("36")
                    || said.contains("35"),
                "{said}"
            );
        }
    }
}
