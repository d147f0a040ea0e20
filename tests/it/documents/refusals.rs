//! Documents, and ids, that make no client. A stranger is told the same of each.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{PATH, authorize, document, kept, published, refused};
use crate::support::documents::{DocumentHost, Reply};
use crate::support::gate::{REDIRECT_URI, TestClient};
use crate::support::log::watch;

fn client(id: &str) -> TestClient {
    TestClient { id: id.to_owned(), redirect_uri: REDIRECT_URI.to_owned() }
}

#[tokio::test]
async fn an_id_that_is_no_url_in_normal_form_is_refused_before_anything_is_fetched() {
    let (host, good, gate) = published().await;
    let page = refused(&authorize(&gate, &client(&host.url("/none"))).await);
    for id in [
        host.url(""),
        host.url("/"),
        host.url("/a/../client.json"),
        host.url("/%2e%2e/client.json"),
        host.url("/./client.json"),
        host.url("/client.json#f"),
        host.url("/client.json").replace("https://", "https://u@"),
        host.url("/client.json").replace("https://", "https://u:p@"),
        host.url("/client.json").replace("127.0.0.1", "127.1"),
        host.url("/client.json").replace("127.0.0.1", "2130706433"),
        host.url("/client.json").replace("127.0.0.1", "[::ffff:127.0.0.1]"),
        host.url("/client.json").replace("127.0.0.1", "LOCALHOST"),
        host.url(&format!("/{}", "a".repeat(500))),
        "https://".to_owned(),
        "https://client.example:443/a".to_owned(),
    ] {
        let calls = host.all_calls();
        assert_eq!(refused(&authorize(&gate, &client(&id)).await), page, "{id}");
        let refusal = gate.redeem(&client(&id), "pcc_x").await;
        assert_eq!((refusal.status, refusal.error().as_str()), (401, "invalid_client"), "{id}");
        assert_eq!(host.all_calls(), calls, "{id}");
    }
    for unknown in
        [host.url("/client.json").replace("https", "http"), host.url("/client.json").replace("https", "HTTPS")]
    {
        let answer = authorize(&gate, &client(&unknown)).await;
        assert!(answer.status == 400 && answer.body.contains("is not registered here"), "{unknown}: {answer:?}");
    }
    assert_eq!(host.calls(PATH), 0);
    assert_eq!(authorize(&gate, &good).await.status, 200);
}

/// What a host may answer that makes no client, with words of the operator's log.
fn bad_replies(host: &DocumentHost) -> Vec<(Reply, &'static str)> {
    let good = host.reply(PATH);
    let with = |member: &str, value: Value| {
        let mut document: Value = serde_json::from_slice(&good.body).unwrap();
        document[member] = value;
        Reply::json(&document)
    };
    let padded = |bytes: usize| {
        let mut reply = good.clone();
        reply.body.resize(bytes, b' ');
        reply
    };
    let bomb = Reply { body: vec![0x1f, 0x8b, 0x08, 0], ..good.clone() }.with("content-encoding", "gzip");
    vec![
        (Reply::status(301).with("location", &host.url("/target.json")), "answers 301"),
        (Reply::status(302).with("location", &host.url("/target.json")), "answers 302"),
        (Reply::status(307).with("location", &host.url("/target.json")), "answers 307"),
        (Reply { status: 201, ..good.clone() }, "answers 201"),
        (Reply { status: 206, ..good.clone() }, "answers 206"),
        (Reply { status: 304, ..good.clone() }, "answers 304"),
        (Reply { status: 403, ..good.clone() }, "answers 403"),
        (Reply { status: 404, ..good.clone() }, "answers 404"),
        (Reply { status: 410, ..good.clone() }, "answers 410"),
        (Reply { status: 500, ..good.clone() }, "answers 500"),
        (Reply::of("text/html", "<html>"), "its type is not application/json"),
        (Reply::of("text/plain", good.body.clone()), "its type is not application/json"),
        (Reply { headers: Vec::new(), ..good.clone() }, "its type is not application/json"),
        (Reply::of("application/json", "<html>"), "it is not a JSON object"),
        (Reply::of("application/json", ""), "it is not a JSON object"),
        (Reply::of("application/json", "[]"), "it is not a JSON object"),
        (Reply::of("application/json", vec![0xff, 0xfe]), "it is not UTF-8"),
        (Reply::of("application/json", "[".repeat(5000)), "it is not a JSON object"),
        (padded(5 * 1024 + 1), "larger than 5120 bytes"),
        (padded(6 * 1024), "larger than 5120 bytes"),
        (bomb, "sends a compressed document"),
        (with("client_id", json!(host.url("/other.json"))), "is not the URL that it was fetched from"),
        (with("client_id", Value::Null), "is not the URL that it was fetched from"),
        (with("client_name", Value::Null), "its client_name is missing"),
        (with("redirect_uris", json!([])), "redirect_uris is missing"),
        (with("redirect_uris", json!(["http://evil.example/cb"])), "is neither https, nor http on a loopback address"),
        (with("redirect_uris", json!(["javascript:alert(1)"])), "is neither https, nor http on a loopback address"),
        (with("client_secret", json!("s3cret-that-is-public")), "it has a client secret"),
        (with("token_endpoint_auth_method", json!("client_secret_basic")), "a method that needs one"),
        (with("token_endpoint_auth_method", json!("private_key_jwt")), "nor private_key_jwt with keys"),
        (with("token_endpoint_auth_method", json!("tls_client_auth")), "it offers neither"),
    ]
}

#[tokio::test]
async fn a_document_that_breaks_a_rule_makes_no_client_and_every_stranger_reads_the_same() {
    let (host, client, gate) = published().await;
    host.answer("/target.json", host.reply(PATH));
    let mut pages = Vec::new();
    for (reply, reason) in bad_replies(&host) {
        host.answer(PATH, reply);
        let (lines, guard) = watch();
        let page = authorize(&gate, &client).await;
        drop(guard);
        pages.push(refused(&page));
        assert!(lines.text().contains(reason), "{reason}: {}", lines.text());
        assert!(!lines.text().contains("s3cret-that-is-public"), "{}", lines.text());
        gate.clock.advance(Duration::from_secs(10));
    }
    pages.dedup();
    assert_eq!(pages.len(), 1);
    assert_eq!(host.calls("/target.json"), 0, "no redirect is followed");
    assert_eq!(kept(&gate).await, 0);
    host.publish(PATH, document());
    assert_eq!(authorize(&gate, &client).await.status, 200, "a failure is not kept as a document");
}

#[tokio::test]
async fn a_token_request_of_a_client_whose_document_cannot_be_had_is_told_whether_it_may_try_again() {
    let (host, client, gate) = published().await;
    host.answer(PATH, Reply::status(503));
    let answer = gate.redeem(&client, "pcc_x").await;
    assert_eq!((answer.status, answer.error().as_str()), (503, "temporarily_unavailable"));
    assert!(!answer.body.contains("503") && !answer.body.contains("127.0.0.1"), "{answer:?}");
    gate.clock.advance(Duration::from_secs(10));
    host.answer(PATH, Reply::status(404));
    let answer = gate.redeem(&client, "pcc_x").await;
    assert_eq!((answer.status, answer.error().as_str()), (401, "invalid_client"));
}

#[tokio::test]
async fn a_document_that_comes_slowly_is_given_up() {
    let (host, client, gate) = published().await;
    let slow = Reply { drip: Some(Duration::from_millis(500)), ..host.reply(PATH) };
    host.answer(PATH, slow);
    let (began, (lines, guard)) = (Instant::now(), watch());
    refused(&authorize(&gate, &client).await);
    drop(guard);
    assert!(lines.text().contains("within 5 s"), "{}", lines.text());
    assert!((4..8).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_endless_document_is_cut_off_at_its_limit() {
    let (host, client, gate) = published().await;
    let endless = Reply { drip: Some(Duration::ZERO), ..Reply::of("application/json", vec![b' '; 1_000_000]) };
    host.answer(PATH, endless);
    let (lines, guard) = watch();
    refused(&authorize(&gate, &client).await);
    drop(guard);
    assert!(lines.text().contains("larger than 5120 bytes"), "{}", lines.text());
}

#[tokio::test]
async fn only_listed_hosts_are_called_and_with_documents_off_none() {
    let host = DocumentHost::start().await;
    let client = host.publish(PATH, document());
    let gate = host.gate().await;
    let page = refused(&authorize(&gate, &super::refusals::client(&host.url("/none"))).await);
    let listed = |hosts: &[&str]| Some(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>());
    let gate =
        gate.restart_with(|config| config.client_documents.hosts = listed(&["localhost", "client.example"])).await;
    let calls = host.all_calls();
    let (lines, guard) = watch();
    assert_eq!(refused(&authorize(&gate, &client).await), page);
    drop(guard);
    assert!(lines.text().contains("is not in `hosts` of [client_documents]"), "{}", lines.text());
    assert_eq!(gate.redeem(&client, "pcc_x").await.error(), "invalid_client");
    let named = host.publish_at("localhost", "/named.json", document());
    assert_eq!(authorize(&gate, &named).await.status, 200);
    let gate = gate.restart_with(|config| config.client_documents.enabled = false).await;
    for client in [&client, &named] {
        let answer = authorize(&gate, client).await;
        assert!(answer.status == 400 && answer.body.contains("must connect again"), "it registers then: {answer:?}");
        assert_eq!(gate.redeem(client, "pcc_x").await.error(), "invalid_client");
    }
    assert_eq!(host.all_calls(), calls + 1);
}
