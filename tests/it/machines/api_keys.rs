//! API keys at the gateway.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderName;
use http_body_util::{BodyExt, Empty};
use portcullis::config::{ApiKeys, Config};
use portcullis::model::api_key::{NEVER, NewApiKey};
use portcullis::model::grant::EndReason;
use portcullis::model::ids::GrantId;
use portcullis::oauth::scope::ScopeSet;
use portcullis::secret::{ApiKey, Token};
use portcullis::storage::GrantFilter;

use super::add_upstream;
use crate::engines::also_on_postgres;
use crate::support::gate::{Answer, TestGate, WORKS, reach};
use crate::support::log::watch;
use crate::support::raw::{RawUpstream, SSE};
use crate::support::statements;

also_on_postgres! {
    a_revoked_key_is_refused_in_every_process_and_its_stream_ends,
}

const BODY: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;

/// A gate whose first upstream takes keys everywhere.
async fn gate() -> TestGate {
    TestGate::with(take_everywhere).await
}

fn take_everywhere(config: &mut Config) {
    config.upstreams[0].settings.api_keys = ApiKeys {
        bearer: true,
        headers: vec![HeaderName::from_static("x-api-key"), HeaderName::from_static("x-functions-key")],
        parameters: vec!["code".to_owned()],
    };
}

struct Made {
    id: GrantId,
    text: String,
}

/// Makes a key for an upstream.
async fn key_for(gate: &TestGate, upstream: usize, expires_in: Option<Duration>) -> Made {
    let now = gate.clock.now();
    let upstream = &gate.config.upstreams[upstream];
    let new = NewApiKey {
        name: "nightly".to_owned(),
        owner: Some("ops".to_owned()),
        resource: upstream.audience().to_owned(),
        scope: upstream.settings.scopes.required.clone(),
        expires_at: expires_in.map_or(NEVER, |lasts| now + lasts),
    };
    let key = Token::<ApiKey>::generate();
    let grant = gate.app.store().insert_api_key(&new, &key.sha256(), now).await.unwrap();
    Made { id: grant.id, text: key.expose().to_owned() }
}

async fn key(gate: &TestGate) -> Made {
    key_for(gate, 0, None).await
}

/// A call with these headers.
async fn call(gate: &TestGate, path: &str, headers: &[(&str, &str)]) -> Answer {
    call_from(gate, IpAddr::from([127, 0, 0, 1]), path, headers).await
}

async fn call_from(gate: &TestGate, peer: IpAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request =
        gate.request("POST", path).header("content-type", "application/json").header("content-length", BODY.len());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    gate.send_from(peer, request, BODY).await
}

async fn revoke(gate: &TestGate, key: &GrantId) {
    let now = gate.clock.now();
    gate.app.store().end_grants(std::slice::from_ref(key), EndReason::Operator, now).await.unwrap();
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

#[tokio::test]
async fn a_key_opens_its_upstream_wherever_it_may_be_sent_and_never_travels_on() {
    let gate = gate().await;
    let Made { id, text } = key(&gate).await;
    let as_bearer = bearer(&text);
    let in_query = format!("/mcp?a=1&code={text}&b=%20");
    for (path, headers) in [
        ("/mcp", vec![("authorization", as_bearer.as_str())]),
        ("/mcp", vec![("x-api-key", text.as_str())]),
        ("/mcp", vec![("X-Functions-Key", text.as_str())]),
        (in_query.as_str(), vec![]),
    ] {
        let answer = call(&gate, path, &headers).await;
        assert_eq!(answer.status, WORKS, "{path} {headers:?} {answer:?}");
        let seen = gate.behind.last();
        assert!(!format!("{seen:?}").contains(&text), "{path} {headers:?}");
        assert_eq!(seen.header("x-forwarded-user"), Some(format!("key|{id}").as_str()));
        assert_eq!(seen.header("x-portcullis-identity"), Some("key"));
        assert!(seen.header("x-forwarded-email").is_none());
    }
    assert_eq!(gate.behind.last().uri, "/backend?a=1&b=%20");
}

#[tokio::test]
async fn a_key_header_is_dropped_in_every_spelling_also_beside_a_token() {
    let gate = gate().await;
    let client = gate.register().await;
    let token = bearer(&gate.tokens(&client).await.access);
    let answer = call(&gate, "/mcp", &[("authorization", &token), ("x_api_key", "of-the-upstream")]).await;
    assert_eq!(answer.status, WORKS, "{answer:?}");
    assert!(gate.behind.last().headers.keys().all(|name| !name.as_str().contains("key")));
}

#[tokio::test]
async fn two_credentials_in_one_request_are_refused() {
    let gate = gate().await;
    let (one, other) = (key(&gate).await.text, key(&gate).await.text);
    let as_bearer = bearer(&one);
    for (path, headers) in [
        ("/mcp", vec![("authorization", as_bearer.as_str()), ("x-api-key", other.as_str())]),
        ("/mcp", vec![("x-api-key", one.as_str()), ("x-api-key", one.as_str())]),
        ("/mcp", vec![("x-api-key", one.as_str()), ("x-functions-key", other.as_str())]),
        (&format!("/mcp?code={one}"), vec![("x-api-key", other.as_str())]),
        (&format!("/mcp?code={one}&code={one}"), vec![]),
    ] {
        assert_eq!(call(&gate, path, &headers).await.status, 400, "{path} {headers:?}");
    }
    assert_eq!(gate.behind.count(), 0);
}

#[tokio::test]
async fn where_keys_are_off_none_is_looked_at_and_the_challenge_is_the_usual_one() {
    let gate = TestGate::new().await;
    let text = key(&gate).await.text;
    let (answer, ran) = statements::of(call(&gate, "/mcp", &[("authorization", &bearer(&text))])).await;
    assert_eq!((answer.status, ran.len()), (401, 0), "{ran:?}");
    assert_eq!(
        answer.header("www-authenticate"),
        format!(
            "Bearer error=\"invalid_token\", scope=\"mcp:access\", resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\", \
             error_description=\"the access token is not valid\"",
            gate.origin()
        )
    );
    let (answer, ran) = statements::of(call(&gate, "/mcp", &[("x-api-key", &text)])).await;
    assert_eq!((answer.status, ran.len()), (401, 0), "{ran:?}");
    for query in [format!("?code={text}"), format!("?a=1;k={text}"), format!("?k=%70ck_{}&pck_", &text[4..])] {
        let refused = call(&gate, &format!("/mcp{query}"), &[]).await;
        assert_eq!(refused.status, 400, "{query} {refused:?}");
        let client = gate.register().await;
        let token = bearer(&gate.tokens(&client).await.access);
        assert_eq!(call(&gate, &format!("/mcp{query}"), &[("authorization", &token)]).await.status, 400);
    }
    assert_eq!(gate.behind.count(), 0);
}

#[tokio::test]
async fn a_key_in_a_query_is_in_no_log_and_in_no_answer() {
    let gate = gate().await;
    let (lines, _guard) = watch();
    let good = key(&gate).await.text;
    let unknown = Token::<ApiKey>::generate().expose().to_owned();
    for text in [&good, &unknown, &good[..30].to_owned()] {
        let answer = call(&gate, &format!("/mcp?code={text}&a=1"), &[]).await;
        let said = format!("{answer:?}");
        assert!(!said.contains(text.as_str()), "{said}");
    }
    let refused = call(&gate, &format!("/mcp?a=1&code={unknown}"), &[]).await;
    assert!(refused.header("www-authenticate").contains("/mcp?a=1\""), "{refused:?}");
    let said = lines.text();
    assert!(said.contains("/mcp") && !said.contains("pck_"), "{said}");
    assert!(!gate.app.metrics().await.contains("pck_"));
}

#[tokio::test]
async fn a_key_opens_no_other_upstream_and_nothing_after_its_expiry() {
    let gate = TestGate::with(|config| {
        add_upstream(config, "other");
        take_everywhere(config);
        config.upstreams[1].settings.api_keys.bearer = true;
    })
    .await;
    let first = key_for(&gate, 0, Some(Duration::from_hours(2))).await.text;
    assert_eq!(call(&gate, "/other", &[("authorization", &bearer(&first))]).await.status, 401);
    assert_eq!(call(&gate, "/mcp", &[("x-api-key", &first)]).await.status, WORKS);
    gate.clock.advance(Duration::from_secs(2 * 3600 - 1));
    assert_eq!(call(&gate, "/mcp", &[("x-api-key", &first)]).await.status, WORKS);
    gate.clock.advance(Duration::from_secs(1));
    for _ in 0..2 {
        assert_eq!(call(&gate, "/mcp", &[("x-api-key", &first)]).await.status, 401);
        gate.clock.advance(Duration::from_hours(1));
        gate.app.issuer().expire().await;
    }
    let gate = gate.restart().await;
    assert_eq!(call(&gate, "/mcp", &[("x-api-key", &first)]).await.status, 401);
}

#[tokio::test]
async fn a_key_without_the_scopes_of_its_upstream_is_403() {
    let gate = gate().await;
    let made = key(&gate).await;
    assert_eq!(call(&gate, "/mcp", &[("x-api-key", &made.text)]).await.status, WORKS);
    let gate = gate
        .restart_with(|config| {
            config.upstreams[0].settings.scopes.required = ScopeSet::parse("mcp:access more").unwrap();
        })
        .await;
    let denied = call(&gate, "/mcp", &[("x-api-key", &made.text)]).await;
    assert_eq!(denied.status, 403, "{denied:?}");
}

#[tokio::test]
async fn a_revoked_key_is_refused_in_every_process_and_its_stream_ends() {
    let behind = RawUpstream::start().await;
    let gate = TestGate::with(|config| {
        take_everywhere(config);
        reach(&mut config.upstreams[0]).url = behind.url().parse().unwrap();
    })
    .await;
    let twin = gate.twin().await;
    let made = key(&gate).await;
    let request = twin.request("GET", "/mcp").header("x-api-key", &made.text);
    let (response, wire) = tokio::join!(
        twin.app.handle(request.body(Empty::<Bytes>::new()).unwrap(), "127.0.0.1:5000".parse().unwrap()),
        async {
            let mut wire = behind.asked().await;
            wire.send(SSE).await;
            wire
        }
    );
    assert_eq!(response.status(), 200);
    revoke(&gate, &made.id).await;
    twin.app.revocation().read_feed(twin.app.store()).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(2), response.into_body().collect()).await;
    assert!(ended.is_ok(), "the stream is still open");
    wire.closed().await;
    gate.app.revocation().read_feed(gate.app.store()).await.unwrap();
    for gate in [&gate, &twin] {
        assert_eq!(call(gate, "/mcp", &[("x-api-key", &made.text)]).await.status, 401);
        let (_, ran) = statements::of(call(gate, "/mcp", &[("x-api-key", &made.text)])).await;
        assert_eq!(ran.len(), 0, "a key that has ended is remembered: {ran:?}");
    }
}

#[tokio::test]
async fn a_key_is_read_once_and_then_known() {
    let gate = gate().await;
    let made = key(&gate).await;
    let headers = [("x-api-key", made.text.as_str())];
    let calls = (0..32).map(|_| call(&gate, "/mcp", &headers));
    let (answers, ran) = statements::of(futures_util::future::join_all(calls)).await;
    assert!(answers.iter().all(|answer| answer.status == WORKS));
    assert_eq!((statements::reads_of("api_keys", &ran), ran.len()), (1, 2), "{ran:?}");
    let (_, ran) = statements::of(call(&gate, "/mcp", &[("authorization", &bearer(&made.text))])).await;
    assert_eq!(ran.len(), 0, "{ran:?}");
}

#[tokio::test]
async fn a_flood_of_invented_keys_hardly_reaches_the_store_and_locks_out_no_key_that_is_known() {
    let gate = gate().await;
    let known = key(&gate).await.text;
    assert_eq!(call(&gate, "/mcp", &[("x-api-key", &known)]).await.status, WORKS);
    let flood = async {
        let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
        for _ in 0..2000 {
            let invented = Token::<ApiKey>::generate();
            *statuses.entry(call(&gate, "/mcp", &[("x-api-key", invented.expose())]).await.status).or_default() += 1;
        }
        statuses
    };
    let (statuses, ran) = statements::of(flood).await;
    assert_eq!(ran.len(), 599, "the limit of an address");
    assert_eq!(statuses, [(401, 599), (429, 1401)].into());
    let limited = call(&gate, "/mcp", &[("x-api-key", Token::<ApiKey>::generate().expose())]).await;
    assert!(limited.header("retry-after").parse::<u64>().unwrap() > 0, "{limited:?}");
    assert_eq!(call(&gate, "/mcp", &[("x-api-key", &known)]).await.status, WORKS);
    let fresh = key(&gate).await.text;
    let elsewhere = IpAddr::from([192, 0, 2, 7]);
    assert_eq!(call_from(&gate, elsewhere, "/mcp", &[("x-api-key", &fresh)]).await.status, WORKS);
}

#[tokio::test]
async fn an_unknown_key_that_comes_again_and_one_with_a_wrong_checksum_cost_no_read() {
    let gate = gate().await;
    let unknown = Token::<ApiKey>::generate();
    let again = async {
        for _ in 0..50 {
            assert_eq!(call(&gate, "/mcp", &[("x-api-key", unknown.expose())]).await.status, 401);
        }
    };
    assert_eq!(statements::of(again).await.1.len(), 1);
    let mistyped = async {
        for n in 0..50 {
            let text = unknown.expose();
            let broken = format!("{}{}", &text[..61], if text.ends_with('a') { 'b' } else { 'a' });
            let broken = if n % 2 == 0 { broken } else { text.to_ascii_uppercase() };
            assert_eq!(call(&gate, "/mcp", &[("x-api-key", &broken)]).await.status, 401);
        }
    };
    assert_eq!(statements::of(mistyped).await.1.len(), 0);
}

#[tokio::test]
async fn the_use_of_a_key_is_noted_once_an_hour() {
    let gate = gate().await;
    let made = key(&gate).await;
    let last_used = async |gate: &TestGate| {
        let listed = gate.app.store().list_api_keys(None, None, gate.clock.now(), 10).await.unwrap();
        assert_eq!((listed[0].name.as_str(), listed[0].owner.as_deref()), ("nightly", Some("ops")));
        listed[0].last_used_at.since(listed[0].created_at)
    };
    assert_eq!(call(&gate, "/mcp", &[("x-api-key", &made.text)]).await.status, WORKS);
    assert_eq!(last_used(&gate).await, Duration::ZERO);
    gate.clock.advance(Duration::from_hours(5));
    let gate = gate.restart().await;
    assert_eq!(call(&gate, "/mcp", &[("x-api-key", &made.text)]).await.status, WORKS);
    let mut tries = 0;
    while last_used(&gate).await != Duration::from_hours(5) {
        tries += 1;
        assert!(tries < 200, "the use is not noted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_key_is_listed_and_ended_as_every_grant_and_a_restart_leaves_it_alone() {
    let gate = gate().await;
    let made = key(&gate).await;
    let gate = gate.restart().await;
    assert_eq!(call(&gate, "/mcp", &[("x-api-key", &made.text)]).await.status, WORKS);
    let filter = GrantFilter { subject: Some(format!("key|{}", made.id)), ..GrantFilter::default() };
    let listed = gate.app.store().list_grants(&filter, None, gate.clock.now(), 10).await.unwrap();
    assert_eq!((listed.len(), &listed[0].id, listed[0].user.name.as_deref()), (1, &made.id, Some("nightly")));
    revoke(&gate, &made.id).await;
    assert!(gate.app.store().list_api_keys(None, None, gate.clock.now(), 10).await.unwrap().is_empty());
    gate.clock.advance(Duration::from_hours(24));
    gate.app.issuer().expire().await;
    assert!(gate.app.store().grant(&made.id).await.unwrap().is_none(), "the dead key is deleted with its grant");
}
