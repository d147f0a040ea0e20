//! Who can make us fetch, how often, and how many at once.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::{PATH, authorize, document, published, refused};
use crate::support::documents::{DocumentHost, Reply};
use crate::support::gate::{Answer, REDIRECT_URI, TestClient, TestGate, tokens};

fn client(id: String) -> TestClient {
    TestClient { id, redirect_uri: REDIRECT_URI.to_owned() }
}

async fn authorize_from(gate: &TestGate, client: &TestClient, address: &str) -> Answer {
    let address: IpAddr = address.parse().unwrap();
    gate.send_from(address, gate.request("GET", &gate.authorize_path(client, &[])), "").await
}

#[tokio::test]
async fn a_dead_url_rests_for_ten_seconds() {
    let (host, client, gate) = published().await;
    let good = host.reply(PATH);
    for reply in [Reply::status(500), Reply::status(404), Reply::of("application/json", "{}")] {
        host.answer(PATH, reply);
        let before = host.calls(PATH);
        for _ in 0..3 {
            refused(&authorize(&gate, &client).await);
        }
        gate.clock.advance(Duration::from_millis(9_999));
        refused(&authorize(&gate, &client).await);
        assert_eq!(host.calls(PATH), before + 1);
        gate.clock.advance(Duration::from_millis(1));
    }
    host.answer(PATH, good);
    assert_eq!(authorize(&gate, &client).await.status, 200);
}

#[tokio::test]
async fn an_address_makes_us_fetch_a_limited_number_of_documents_and_the_known_ones_still_serve() {
    let (host, known, gate) = published().await;
    let given = gate.tokens(&known).await;
    let seen = host.publish("/seen.json", document());
    assert_eq!(authorize(&gate, &seen).await.status, 200);
    for n in 0..118 {
        refused(&authorize(&gate, &client(host.url(&format!("/{n}.json")))).await);
    }
    let calls = host.all_calls();
    let limited = authorize(&gate, &client(host.url("/one-more.json"))).await;
    assert_eq!(limited.status, 429, "{limited:?}");
    assert_eq!(limited.header("retry-after"), "30");
    let at_token = gate.redeem(&client(host.url("/two-more.json")), "pcc_x").await;
    assert_eq!((at_token.status, at_token.error().as_str()), (429, "temporarily_unavailable"));
    assert_eq!(host.all_calls(), calls);
    // ten more in five minutes, and they are used up
    gate.clock.advance(Duration::from_mins(5));
    for n in 0..10 {
        refused(&authorize(&gate, &client(host.url(&format!("/more-{n}.json")))).await);
    }
    assert_eq!(authorize(&gate, &seen).await.status, 200, "the last good document serves");
    assert_eq!(host.calls("/seen.json"), 1);
    let before = host.calls(PATH);
    assert_eq!(authorize(&gate, &known).await.status, 200);
    assert_eq!(host.calls(PATH), before + 1, "one that is stored is renewed");
    tokens(&gate.refresh(&known, &given.refresh).await);
    let elsewhere = authorize_from(&gate, &client(host.url("/one-more.json")), "192.0.2.1").await;
    assert_eq!(elsewhere.status, 400, "another address has its own count: {elsewhere:?}");
}

#[tokio::test]
async fn a_host_is_asked_for_a_limited_number_of_unknown_documents_by_all_addresses_together() {
    let (host, known, gate) = published().await;
    gate.tokens(&known).await;
    for n in 0..599 {
        let from = format!("192.0.2.{}", n % 200);
        let answer = authorize_from(&gate, &client(host.url(&format!("/{n}.json"))), &from).await;
        assert_eq!(answer.status, 400, "{n}: {answer:?}");
    }
    let one_more = client(host.url("/one-more.json"));
    assert_eq!(authorize_from(&gate, &one_more, "203.0.113.1").await.status, 429);
    let other_host = host.publish_at("localhost", "/other.json", document());
    assert_eq!(authorize_from(&gate, &other_host, "203.0.113.1").await.status, 200, "another host has its own count");
    gate.clock.advance(Duration::from_mins(5));
    let before = host.calls(PATH);
    assert_eq!(authorize_from(&gate, &known, "203.0.113.1").await.status, 200);
    assert_eq!(host.calls(PATH), before + 1, "what was good before is renewed");
}

#[tokio::test]
async fn more_documents_than_are_fetched_at_once_are_refused_and_not_queued() {
    let host = DocumentHost::start().await;
    let gate = host.gate().await;
    let release = host.hold();
    let clients: Vec<_> = (0..100).map(|n| client(host.publish(&format!("/{n}.json"), document()).id)).collect();
    let mut answers: FuturesUnordered<_> = clients.iter().map(|client| authorize(&gate, client)).collect();
    for _ in 0..36 {
        refused(&answers.next().await.unwrap());
    }
    drop(release);
    let rest: Vec<_> = answers.collect().await;
    let good = rest.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((good, host.all_calls()), (64, 64));
}
