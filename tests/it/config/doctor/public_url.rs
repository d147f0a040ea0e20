//! Our own public URL: a gateway that runs, and what else may answer there. Real proxies are in `tests/e2e/proxy`.

use std::sync::Arc;

use portcullis::app::App;
use portcullis::clock::Clock;
use portcullis::config::Config;
use serde_json::Value;
use tokio::net::TcpListener;

use super::{Operator, file, ids, keycloak, mcp, operator, read, run};
use crate::support::gate::TestGate;
use crate::support::provider::FakeProvider;
use crate::support::upstream::{Answer, Seen, Upstream, answer};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// The findings when this answers at the public URL.
async fn found_where(script: impl Fn(&Seen, &str) -> Answer + Send + Sync + 'static) -> Vec<Value> {
    let front = Upstream::start(move |seen| {
        let origin = format!("http://{}", seen.header("host").unwrap_or_default());
        script(seen, &origin)
    })
    .await;
    found_at(&operator(), &format!("http://{}", front.address)).await
}

async fn found_at(operator: &Operator, public_url: &str) -> Vec<Value> {
    let (behind, provider) = (mcp().await, FakeProvider::start(&Clock::system()).await);
    let text = file(public_url, &keycloak(&provider.issuer(), ""), &format!("url = \"{}\"", behind.url()));
    read(&run(operator, &text, &["--json"]))
}

/// A gateway of this file, served on a port of its own.
async fn serving(operator: &Operator) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let public_url = format!("http://{}", listener.local_addr().unwrap());
    let (behind, provider) = (mcp().await, FakeProvider::start(&Clock::system()).await);
    let text = file(&public_url, &keycloak(&provider.issuer(), ""), &format!("url = \"{}\"", behind.url()));
    let path = operator.path("portcullis.toml");
    std::fs::write(&path, text).unwrap();
    let config = Config::load(&path, operator.environment.clone()).unwrap().config;
    let app = App::build(Arc::new(config), Clock::system()).await.unwrap();
    tokio::spawn(app.serve(listener));
    public_url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_gateway_of_this_file_is_well() {
    let operator = operator();
    let public_url = serving(&operator).await;
    assert_eq!(found_at(&operator, &public_url).await, [Value::Null; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_with_other_root_keys_cannot_be_examined() {
    let public_url = serving(&operator()).await;
    let other = operator();
    other.write_secret("portcullis.key", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n");
    assert_eq!(ids(&found_at(&other, &public_url).await), ["public_url.not_examined"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_else_answers_at_the_public_url_is_found() {
    assert_eq!(ids(&found_at(&operator(), "http://127.0.0.1:1").await), ["public_url.unreachable"]);
    let found = found_where(|_, _| answer(421, &[], "")).await;
    assert_eq!(ids(&found), ["public_url.host"]);
    let found = found_where(|_, _| answer(301, &[("location", "https://mcp.example.com/")], "")).await;
    assert_eq!(ids(&found), ["public_url.redirects"]);
    for status in [200, 404, 502] {
        let found = found_where(move |_, _| answer(status, &[("content-type", "text/html")], "<html>")).await;
        assert_eq!(ids(&found), ["public_url.answer"], "{status}");
    }
    let found = found_where(|_, _| answer(200, JSON, r#"{"issuer":"https://mcp.example.com"}"#)).await;
    assert_eq!(ids(&found), ["public_url.issuer"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_that_a_proxy_drops_is_found() {
    for (status, challenge, expected) in [
        (401, "Bearer resource_metadata=\"x\"", &["public_url.not_examined"][..]),
        (401, "Basic", &["public_url.challenge", "public_url.not_examined"]),
        (200, "Bearer resource_metadata=\"x\"", &["public_url.challenge", "public_url.not_examined"]),
    ] {
        let found = found_where(move |seen, origin| match seen.uri.as_str() {
            "/.well-known/oauth-authorization-server" => answer(200, JSON, &format!("{{\"issuer\":\"{origin}\"}}")),
            "/mcp" => answer(status, &[("www-authenticate", challenge)], ""),
            _ => answer(404, &[], ""),
        })
        .await;
        assert_eq!(ids(&found), expected, "{status} {challenge}");
    }
}

#[tokio::test]
async fn without_a_pass_there_is_nothing_at_the_path_of_the_doctor() {
    let gate = TestGate::new().await;
    let nowhere = gate.get("/.well-known/nothing-of-ours").await;
    for pass in ["", "x", "1800000000.AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let request = gate.request("GET", "/.well-known/portcullis-doctor").header("x-portcullis-doctor", pass);
        let answer = gate.send(request, "").await;
        assert_eq!((answer.status, &answer.body), (nowhere.status, &nowhere.body), "{pass}");
        assert_eq!(answer.headers.keys().collect::<Vec<_>>(), nowhere.headers.keys().collect::<Vec<_>>());
    }
}
