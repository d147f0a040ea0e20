//! Metrics: what a scrape shows after real requests, that it is OpenMetrics, and that no stranger can make it grow.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::bench::Bench;
use crate::support::browser::Browser;
use crate::support::gate::{NOT_LISTENING, TestGate, tokens, upstream};
use crate::support::raw::{RawUpstream, SSE};

/// The samples of a scrape, each under its name and labels as they are written.
struct Scrape {
    families: BTreeSet<String>,
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    async fn of(gate: &TestGate) -> Self {
        Self::parse(&gate.app.metrics().await)
    }

    /// Reads a scrape by the rules of OpenMetrics 1.0: each sample belongs to the family before it and has the suffix of its
    /// type, counters are `_total`, a unit is the end of its family's name, buckets add up.
    fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
        let (mut families, mut samples) = (BTreeSet::new(), BTreeMap::new());
        let (mut family, mut kind) = ("", "");
        for line in body.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let [keyword, name, rest] = comment.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
                match keyword {
                    "HELP" => assert!(families.insert(name.to_owned()), "{name} stands twice"),
                    "TYPE" => kind = rest,
                    "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                    _ => panic!("{line}"),
                }
                assert!(families.contains(name) && name.starts_with("portcullis_"), "{line}");
                family = families.get(name).map(|_| name).unwrap();
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let name = series.split('{').next().unwrap();
            let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} is not of {family}"));
            let suffixes: &[&str] = match kind {
                "counter" => &["_total"],
                "gauge" => &[""],
                "histogram" => &["_bucket", "_sum", "_count"],
                "info" => &["_info"],
                _ => panic!("{kind}"),
            };
            assert!(suffixes.contains(&suffix), "{line} is no {kind}");
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{series} stands twice");
        }
        Self { families, samples }
    }

    /// The value of a series without the prefix of all.
    fn value(&self, series: &str) -> Option<f64> {
        self.samples.get(&format!("portcullis_{series}")).copied()
    }

    fn assert_has(&self, expected: &[(&str, u32)]) {
        for (series, value) in expected {
            assert_eq!(self.value(series), Some(f64::from(*value)), "{series}: {:#?}", self.samples);
        }
    }
}

#[tokio::test]
async fn a_scrape_shows_what_a_sign_in_a_refresh_and_calls_were() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    let refreshed = tokens(&gate.refresh(&client, &given.refresh).await);
    assert_eq!(gate.refresh(&client, &given.refresh).await.status, 200, "a retry");
    for token in [&refreshed.access, &refreshed.access, &refreshed.access, "not.a.token"] {
        gate.call(token).await;
    }
    gate.send(gate.request("GET", "/mcp"), "").await;
    gate.redeem(&client, "no-code").await;
    gate.send_password(("alice", "wrong"), &mut Browser::default(), &client, &[]).await;
    let scrape = Scrape::of(&gate).await;
    scrape.assert_has(&[
        ("registrations_total{outcome=\"created\"}", 1),
        ("sign_ins_total{identity=\"local\",outcome=\"signed_in\"}", 1),
        ("sign_ins_total{identity=\"local\",outcome=\"wrong_password\"}", 1),
        ("grants_begun_total{identity=\"local\"}", 1),
        ("refreshes_total{outcome=\"rotated\"}", 1),
        ("refreshes_total{outcome=\"repeated\"}", 1),
        ("token_errors_total{error=\"invalid_grant\"}", 1),
        ("token_checks_total{result=\"verified\"}", 1),
        ("token_checks_total{result=\"cached\"}", 2),
        ("token_checks_total{result=\"refused\"}", 1),
        ("cached_tokens", 1),
        ("refusals_total{upstream=\"mcp\",reason=\"invalid_token\"}", 1),
        ("refusals_total{upstream=\"mcp\",reason=\"no_token\"}", 1),
        ("upstream_duration_seconds_count{upstream=\"mcp\"}", 3),
        ("upstream_failures_total{upstream=\"mcp\"}", 0),
        ("requests_total{route=\"/mcp\",status=\"200\"}", 3),
        ("requests_total{route=\"/mcp\",status=\"401\"}", 2),
        ("requests_total{route=\"/token\",status=\"200\"}", 3),
        ("requests_total{route=\"/token\",status=\"400\"}", 1),
        ("requests_total{route=\"/register\",status=\"201\"}", 1),
        ("request_duration_seconds_count{route=\"/mcp\"}", 5),
        ("requests_in_flight", 0),
        ("store_failures_total{call=\"write\"}", 0),
        ("ready", 1),
        ("degraded", 0),
    ]);
    for call in ["read", "write"] {
        assert!(scrape.value(&format!("store_call_duration_seconds_count{{call=\"{call}\"}}")) > Some(3.0));
    }
    assert!(scrape.families.len() >= 20, "{:?}", scrape.families);
}

#[tokio::test]
async fn a_scrape_shows_failing_providers_upstreams_and_stores_and_why_grants_end() {
    let mut bench =
        Bench::with(|config| config.upstreams = vec![upstream(&config.public_url, "mcp", NOT_LISTENING)]).await;
    let first = bench.tokens().await;
    assert_eq!(bench.gate.call(&first.access).await.status, 502);
    let second = tokens(&bench.gate.refresh(&bench.client, &first.refresh).await);
    let up = "provider_up{identity=\"keycloak\"}";
    Scrape::of(&bench.gate).await.assert_has(&[
        (up, 1),
        ("provider_calls_total{identity=\"keycloak\",call=\"discovery\",outcome=\"answered\"}", 1),
        ("provider_calls_total{identity=\"keycloak\",call=\"jwks\",outcome=\"answered\"}", 1),
        ("provider_calls_total{identity=\"keycloak\",call=\"token\",outcome=\"answered\"}", 2),
        ("provider_call_duration_seconds_count{identity=\"keycloak\",call=\"token\"}", 2),
        ("upstream_failures_total{upstream=\"mcp\"}", 1),
        ("degraded", 1),
    ]);
    bench.provider.stop().await;
    assert_eq!(bench.gate.refresh(&bench.client, &second.refresh).await.status, 503);
    bench.gate.clock.advance(Duration::from_secs(30));
    bench.gate.refresh(&bench.client, &first.refresh).await;
    bench.gate.settle().await;
    Scrape::of(&bench.gate).await.assert_has(&[
        (up, 0),
        ("provider_calls_total{identity=\"keycloak\",call=\"token\",outcome=\"failed\"}", 1),
        ("provider_calls_total{identity=\"keycloak\",call=\"revocation\",outcome=\"failed\"}", 1),
        ("refreshes_total{outcome=\"unavailable\"}", 1),
        ("refreshes_total{outcome=\"refused\"}", 1),
        ("token_errors_total{error=\"temporarily_unavailable\"}", 1),
        ("grants_ended_total{reason=\"refresh_token_replayed\"}", 1),
    ]);
    bench.gate.app.store().close().await;
    assert_eq!(bench.gate.refresh(&bench.client, &second.refresh).await.status, 503);
    let scrape = Scrape::of(&bench.gate).await;
    assert!(scrape.value("store_failures_total{call=\"read\"}") >= Some(1.0), "{:#?}", scrape.samples);
}

#[tokio::test]
async fn a_denied_sign_in_counts_by_who_denied_it() {
    let mut bench = Bench::new().await;
    let form = bench.gate.consent_form(&mut bench.browser, &bench.client, &[]).await;
    bench.browser.submit(&bench.gate, &form.with("decision", "deny")).await;
    for error in ["access_denied", "server_error"] {
        let url = bench.approve().await;
        let error = bench.error(&url, error);
        bench.back(&error).await;
    }
    Scrape::of(&bench.gate).await.assert_has(&[
        ("sign_ins_total{identity=\"\",outcome=\"denied\"}", 1),
        ("sign_ins_total{identity=\"keycloak\",outcome=\"denied\"}", 1),
        ("sign_ins_total{identity=\"keycloak\",outcome=\"failed\"}", 1),
    ]);
}

fn listening(gate: &TestGate, token: &str) -> Request<Empty<Bytes>> {
    let request = gate.request("GET", "/mcp").header("authorization", format!("Bearer {token}"));
    request.header("accept", "text/event-stream").body(Empty::new()).unwrap()
}

#[tokio::test]
async fn an_open_stream_is_a_stream_and_a_request_in_flight_until_it_ends() {
    let behind = RawUpstream::start().await;
    let url = behind.url();
    let gate = TestGate::with(|config| {
        config.upstreams = vec![upstream(&config.public_url, "mcp", &url)];
        config.limits.calls_per_user = 1;
    })
    .await;
    let good = gate.tokens(&gate.register().await).await.access;
    for is_early in [true, false] {
        let peer = "127.0.0.1:5000".parse().unwrap();
        let (answer, mut wire) = tokio::join!(gate.app.handle(listening(&gate, &good), peer), async {
            let mut wire = behind.asked().await;
            if !is_early {
                wire.send(SSE).await;
            }
            wire
        });
        if is_early {
            wire.send(SSE).await;
        }
        let mut body = answer.into_body();
        wire.send("6\r\ndata:\n\r\n").await;
        body.frame().await.unwrap().unwrap();
        assert_eq!(gate.call(&good).await.status, 429);
        Scrape::of(&gate).await.assert_has(&[("open_streams{upstream=\"mcp\"}", 1), ("requests_in_flight", 1)]);
        drop(body);
        Scrape::of(&gate).await.assert_has(&[("open_streams{upstream=\"mcp\"}", 0), ("requests_in_flight", 0)]);
    }
    Scrape::of(&gate).await.assert_has(&[
        ("limited_total{limit=\"calls_per_user\"}", 2),
        ("refusals_total{upstream=\"mcp\",reason=\"too_many_calls\"}", 2),
    ]);
}

/// What strangers send, with names that they make up.
async fn odd_requests(gate: &TestGate, name: &str) {
    for path in [
        format!("/{name}"),
        format!("/callback/{name}?state={name}"),
        format!("/sign-in/{name}"),
        format!("/.well-known/{name}"),
        format!("/.well-known/oauth-protected-resource/{name}"),
        format!("/mcp/{name}"),
        format!("/mcp/.well-known/{name}"),
        format!("/authorize?client_id={name}&redirect_uri=https://{name}.example"),
    ] {
        gate.get(&path).await;
        gate.send(gate.request(&name.to_uppercase(), &path), "").await;
    }
    gate.redeem(&crate::support::gate::TestClient { id: name.to_owned(), redirect_uri: name.to_owned() }, name).await;
    gate.post_form("/token", &[("grant_type", name)]).await;
    gate.post_json("/register", &json!({ "redirect_uris": [name] })).await;
    gate.post_json("/register", &json!({ "redirect_uris": [format!("https://{name}.example/")] })).await;
    gate.call(&format!("{name}.x.y")).await;
    gate.send(gate.request("GET", "/mcp").header("origin", format!("https://{name}.example")), "").await;
    gate.send(gate.request(&name.to_uppercase(), "/mcp"), "").await;
    gate.send(Request::builder().uri("/mcp").header("host", format!("{name}.example")), "").await;
}

#[tokio::test]
async fn label_cardinality_cannot_be_grown_by_unauthenticated_requests() {
    let gate = TestGate::new().await;
    let series = async || Scrape::of(&gate).await.samples.into_keys().collect::<BTreeSet<_>>();
    odd_requests(&gate, "first").await;
    let before = series().await;
    for n in 0..10 {
        odd_requests(&gate, &format!("stranger{n}")).await;
    }
    assert_eq!(series().await, before);
    let made_up =
        |series: &&String| series.contains("first") || series.contains("stranger") || series.contains("FIRST");
    assert_eq!(before.iter().find(made_up), None);
}

#[tokio::test]
async fn metrics_are_served_on_the_operations_listener_alone() {
    let operations = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gate = TestGate::with(|config| {
        config.server.listen = "127.0.0.1:0".parse().unwrap();
        config.server.operations = Some(operations);
    })
    .await;
    assert_eq!(gate.get("/metrics").await.status, 404);
    let listeners = gate.app.listen().unwrap();
    let app = gate.app.clone();
    let running = tokio::spawn(async move { app.run(listeners).await });
    let scraped = async {
        loop {
            let mut connection = TcpStream::connect(operations).await.unwrap();
            let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            connection.write_all(request).await.unwrap();
            let mut answer = String::new();
            connection.read_to_string(&mut answer).await.unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
            assert!(head.starts_with("HTTP/1.1 200 ") && head.contains(kind), "{head}");
            let scrape = Scrape::parse(body);
            let feed = "background_runs_total{task=\"revocation_feed\",outcome=\"succeeded\"}";
            let resealing = "background_runs_total{task=\"resealing\",outcome=\"succeeded\"}";
            if scrape.value(feed) >= Some(2.0) && scrape.value(resealing) == Some(1.0) {
                return scrape;
            }
        }
    };
    let scrape = tokio::time::timeout(Duration::from_secs(10), scraped).await.expect("the tasks run");
    scrape.assert_has(&[
        ("connections{listener=\"operations\"}", 1),
        ("connections{listener=\"public\"}", 0),
        ("revocation_feed_age_seconds", 0),
        ("background_success_time_seconds{task=\"revocation_feed\"}", 1_800_000_000),
        ("ready", 1),
    ]);
    gate.app.drain().at_once();
    running.await.unwrap().unwrap();
    Scrape::of(&gate).await.assert_has(&[("ready", 0)]);
}

#[tokio::test]
async fn what_a_rate_limit_refuses_counts_under_the_name_of_the_limit() {
    let gate = TestGate::with(|config| config.registration.per_address_per_hour = 1.try_into().unwrap()).await;
    for (name, status) in [("one", 201), ("two", 429), ("three", 429)] {
        let metadata = json!({ "client_name": name, "redirect_uris": [format!("https://client.example/{name}")] });
        assert_eq!(gate.post_json("/register", &metadata).await.status, status);
    }
    Scrape::of(&gate).await.assert_has(&[
        ("limited_total{limit=\"registrations_per_address_and_host\"}", 2),
        ("registrations_total{outcome=\"created\"}", 1),
        ("registrations_total{outcome=\"limited\"}", 2),
    ]);
}
