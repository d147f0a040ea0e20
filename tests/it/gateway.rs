//! A call through the gate, in process: who may call, what is forwarded, and how the rest is refused.

mod bearer;
mod bodies;
mod connections;
mod cors;
mod ends;
mod framing;
mod groups;
mod headers;
mod listening;
mod redirects;
mod tls;
mod upstream;

use http::Request;
use http_body_util::{BodyExt, StreamBody};
use portcullis::model::grant::EndReason;
use portcullis::model::ids::GrantId;

use crate::support::browser::{Browser, parameter};
use crate::support::gate::{Answer, NOT_LISTENING, TestGate, claims, local_user, tokens, upstream};
use crate::support::log::watch;
use crate::support::raw::RawUpstream;
use crate::support::upstream::{Upstream, answer};

/// A second user, and the password.
const BOB: (&str, &str) = ("bob", "builder");

/// A gate in front of an upstream, with a second path to the same URL.
async fn gate_at(behind: &Upstream) -> TestGate {
    let url = behind.url();
    TestGate::with(|config| {
        config.upstreams =
            vec![upstream(&config.public_url, "mcp", &url), upstream(&config.public_url, "sibling", &url)];
        if let portcullis::config::IdentityKind::Local(users) = &mut config.identities[0].kind {
            users.push(local_user(BOB.0, BOB.1));
        }
    })
    .await
}

/// A gate in front of this URL only.
async fn gate_before(url: &str) -> TestGate {
    TestGate::with(|config| config.upstreams = vec![upstream(&config.public_url, "mcp", url)]).await
}

async fn token(gate: &TestGate) -> String {
    let client = gate.register().await;
    gate.tokens(&client).await.access
}

/// The grant of an access token.
fn grant_of(token: &str) -> GrantId {
    claims(token)["sid"].as_str().unwrap().into()
}

/// Ends the grant of a token as the issuer does: in the store first.
async fn end_grant(gate: &TestGate, token: &str) {
    let (grant, now) = (grant_of(token), gate.clock.now());
    gate.app.store().end_grant(&grant, EndReason::IdentityProvider, now).await.unwrap().expect("it was live");
    gate.app.revocation().note_ended(&grant);
}

async fn with(gate: &TestGate, token: &str, method: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = gate.request(method, "/mcp").header("authorization", format!("Bearer {token}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    gate.send(request, "").await
}

#[tokio::test]
async fn the_upstream_sees_the_caller_and_no_credentials() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let token = token(&gate).await;
    let body = r#"{ "jsonrpc":"2.0","id":1 , "method":"tools/call","params":{"é":1.50} }"#;
    let request = gate
        .request("POST", "/mcp?a=1&b=%20x")
        .header("authorization", format!("bearer {token}"))
        .header("content-type", "application/json")
        .header("content-length", body.len())
        .header("accept", "application/json, text/event-stream")
        .header("cookie", "session=secret")
        .header("origin", gate.origin())
        .header("x-forwarded-user", "root")
        .header("X_Forwarded_User", "root")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-portcullis-client", "forged")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-param-region", "=?base64?w6k=?=")
        .header("x-custom", "stays");
    let answer = gate.send(request, body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = behind.last();
    assert_eq!((seen.method.as_str(), seen.uri.as_str()), ("POST", "/backend?a=1&b=%20x"));
    assert_eq!(seen.body, body.as_bytes());
    let mut headers: Vec<_> = seen
        .headers
        .iter()
        .map(|(name, value)| {
            let value = match name.as_str() {
                "x-request-id" | "x-portcullis-client" | "host" => "[…]",
                _ => value.to_str().unwrap(),
            };
            format!("{name}: {value}")
        })
        .collect();
    headers.sort();
    insta::assert_snapshot!(headers.join("\n"), @r"
    accept: application/json, text/event-stream
    content-length: 71
    content-type: application/json
    host: […]
    mcp-method: tools/call
    mcp-param-region: =?base64?w6k=?=
    mcp-protocol-version: 2026-07-28
    x-custom: stays
    x-forwarded-email: alice@example.com
    x-forwarded-for: 127.0.0.1
    x-forwarded-groups: engineering
    x-forwarded-host: 127.0.0.1:6749
    x-forwarded-preferred-username: alice
    x-forwarded-proto: http
    x-forwarded-user: local|alice
    x-portcullis-client: […]
    x-portcullis-identity: local
    x-portcullis-scopes: mcp:access
    x-request-id: […]
    ");
    assert_eq!(seen.header("host"), Some(behind.address.to_string().as_str()));
    assert_eq!(seen.header("x-request-id"), Some(answer.header("x-request-id")));
}

#[tokio::test]
async fn a_clients_forwarding_headers_are_ignored() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let token = token(&gate).await;
    let says = [
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "host=evil.example;proto=https"),
        ("x-request-id", "q_forged"),
    ];
    assert_eq!(with(&gate, &token, "POST", &says).await.status, 200);
    let seen = behind.last();
    let told = ["x-forwarded-host", "x-forwarded-proto", "forwarded"].map(|name| seen.header(name));
    assert_eq!(told, [Some("127.0.0.1:6749"), Some("http"), None]);
    let ids: Vec<_> = seen.headers.get_all("x-request-id").iter().collect();
    assert!(ids.len() == 1 && ids[0] != "q_forged", "{ids:?}");
    let refused = with(&gate, "nonsense", "POST", &says).await;
    assert!(refused.header("www-authenticate").contains("=\"http://127.0.0.1:6749/.well-known/"), "{refused:?}");
}

#[tokio::test]
async fn upstream_answers_pass_unchanged() {
    for (status, kind, body) in [
        (
            400,
            "application/json",
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"x","data":{"supported":[]}}}"#,
        ),
        (404, "application/json", r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}"#),
        (405, "text/plain", "Method Not Allowed"),
        (202, "application/json", ""),
        (200, "text/event-stream", ": hello\r\nid: 1\r\n\r\ndata: a\r\ndata: b\n\nretry: 5\n\ndata:\n\n"),
    ] {
        let behind = Upstream::start(move |_| {
            answer(
                status,
                &[
                    ("content-type", kind),
                    ("x-own", "stays"),
                    ("set-cookie", "a=b"),
                    ("access-control-allow-origin", "*"),
                ],
                body,
            )
        })
        .await;
        let gate = gate_at(&behind).await;
        let token = token(&gate).await;
        let came = gate.call(&token).await;
        assert_eq!((came.status, came.body.as_str()), (status, body));
        assert_eq!((came.header("content-type"), came.header("x-own")), (kind, "stays"));
        assert!(came.header("set-cookie").is_empty() && came.header("access-control-allow-origin").is_empty());
        assert_eq!(came.header("x-accel-buffering"), if kind == "text/event-stream" { "no" } else { "" });
    }
}

#[tokio::test]
async fn a_session_can_be_used_only_by_the_user_who_opened_it() {
    let behind = Upstream::start(|seen| {
        let known = seen.header("mcp-session-id").unwrap_or("").to_owned();
        answer(200, &[("content-type", "application/json"), ("Mcp-Session-Id", "up.stream"), ("x-seen", &known)], "{}")
    })
    .await;
    let gate = gate_at(&behind).await;
    let client = gate.register().await;
    let alice = gate.tokens(&client).await.access;
    let place = gate.sign_in_as(BOB, &mut Browser::default(), &client, &[]).await;
    let bob = tokens(&gate.redeem(&client, &parameter(&place, "code").unwrap()).await).access;
    let opened = gate.call(&alice).await;
    let session = opened.header("mcp-session-id").to_owned();
    assert!(session.starts_with("up.stream.") && session.len() > 40, "{session}");
    for method in ["POST", "GET", "DELETE"] {
        let hers = with(&gate, &alice, method, &[("mcp-session-id", &session)]).await;
        assert_eq!((hers.status, hers.header("x-seen")), (200, "up.stream"), "{method}");
        let before = behind.count();
        for (token, id) in [(&bob, session.as_str()), (&alice, "up.stream"), (&alice, "up.stream.forged")] {
            let stolen = with(&gate, token, method, &[("mcp-session-id", id)]).await;
            assert_eq!(stolen.status, 404, "{method} {id}");
            assert!(stolen.header("www-authenticate").is_empty());
        }
        assert_eq!(behind.count(), before);
    }
    let again = gate.tokens(&client).await.access;
    assert_eq!(
        with(&gate, &again, "POST", &[("mcp-session-id", &session)]).await.status,
        200,
        "the same user, another token"
    );
}

#[tokio::test]
async fn a_hostile_request_id_does_not_corrupt_our_error() {
    let gate = gate_before(NOT_LISTENING).await;
    let good = token(&gate).await;
    for body in [r#"{"id":{"a":1}}"#, r#"[{"id":1}]"#, "junk", r#"{"id":1,"id":2}"#, "\u{0}", r#"{"id":"</script>"}"#] {
        let answer = gate.call_with("/mcp", &good, body).await;
        assert_eq!(answer.status, 502);
        assert!(answer.json()["id"].is_null() || answer.json()["id"].is_string(), "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn request_trailers_do_not_pass() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    let mut trailers = http::HeaderMap::new();
    for name in
        ["x-forwarded-user", "x_forwarded_user", "x-portcullis-scopes", "authorization", "content-length", "x-checksum"]
    {
        trailers.insert(http::HeaderName::try_from(name).unwrap(), http::HeaderValue::from_static("root"));
    }
    let frames = [
        Ok::<_, std::convert::Infallible>(http_body::Frame::data(bytes::Bytes::from_static(b"{}"))),
        Ok(http_body::Frame::trailers(trailers)),
    ];
    let request = gate
        .request("POST", "/mcp")
        .header("authorization", format!("Bearer {good}"))
        .header("transfer-encoding", "chunked")
        .header("te", "trailers")
        .header("trailer", "x-checksum")
        .body(StreamBody::new(futures_util::stream::iter(frames)))
        .unwrap();
    let response = gate.app.handle(request, "127.0.0.1:5000".parse().unwrap()).await;
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap();
    let seen = behind.last();
    assert_eq!(seen.body, "{}");
    assert!(seen.trailers.is_none() && seen.header("trailer").is_none(), "{seen:?}");
    assert_eq!(seen.header("x-forwarded-user"), Some("local|alice"));
}

#[tokio::test]
async fn request_smuggling_two_framings_are_refused() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    let answer = with(&gate, &good, "POST", &[("content-length", "5"), ("transfer-encoding", "chunked")]).await;
    assert_eq!((answer.status, answer.header("connection")), (400, "close"));
    assert_eq!(behind.count(), 0);
}

#[tokio::test]
async fn request_smuggling_any_transfer_coding_but_one_chunked_is_refused() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    let codings: [&[&str]; 7] = [
        &["gzip, chunked"],
        &["chunked, chunked"],
        &["chunked", "chunked"],
        &["gzip", "chunked"],
        &["identity"],
        &["chunked;q=1"],
        &[""],
    ];
    for codings in codings {
        let headers: Vec<_> = codings.iter().map(|coding| ("transfer-encoding", *coding)).collect();
        let answer = with(&gate, &good, "POST", &headers).await;
        assert_eq!((answer.status, answer.header("connection")), (400, "close"), "{codings:?}");
    }
    assert_eq!(behind.count(), 0);
    assert_eq!(with(&gate, &good, "POST", &[("transfer-encoding", "Chunked")]).await.status, 200);
}

#[tokio::test]
async fn only_get_post_and_delete_pass() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    for method in ["PUT", "PATCH", "TRACE", "CONNECT", "PROPFIND", "HEAD", "OPTIONS"] {
        let answer = with(&gate, &good, method, &[]).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, POST, DELETE"), "{method}");
    }
    assert_eq!(behind.count(), 0);
}

#[tokio::test]
async fn a_body_on_get_or_delete_is_refused() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    let smuggled = "POST /backend HTTP/1.1\r\nHost: x\r\nX-Forwarded-User: local|bob\r\n\r\n";
    for method in ["GET", "DELETE"] {
        let request = gate
            .request(method, "/mcp")
            .header("authorization", format!("Bearer {good}"))
            .header("content-length", smuggled.len());
        let answer = gate.send(request, smuggled).await;
        assert_eq!((answer.status, answer.header("connection")), (400, "close"), "{method}");
    }
    let after_semicolon =
        gate.request("POST", "/mcp?a=1;access_token=x").header("authorization", format!("Bearer {good}"));
    assert_eq!(gate.send(after_semicolon, "").await.status, 400);
    assert_eq!(behind.count(), 0);
}

#[tokio::test]
async fn nothing_below_an_upstreams_path_is_forwarded() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    for path in ["/mcp/x", "/mcp//", "/MCP", "/mcp%2f", "/mcp/..", "//mcp"] {
        assert_eq!(gate.call_at(path, &good).await.status, 404, "{path}");
    }
    assert_eq!(gate.call_at("/mcp/", &good).await.status, 200);
    assert_eq!(behind.last().uri, "/backend");
}

#[tokio::test]
async fn dns_rebinding_another_host_is_421_with_a_hint() {
    let gate = TestGate::new().await;
    let request = Request::builder().method("GET").uri("/.well-known/jwks.json").header("host", "evil.example");
    let answer = gate.send(request, "").await;
    assert_eq!(answer.status, 421);
    assert!(answer.body.contains("allowed_hosts") && answer.body.contains(gate.origin()), "{answer:?}");
    let request = Request::post("/register").header("host", "evil.example").header("accept", "application/json");
    let answer = gate.send(request, "").await;
    assert_eq!((answer.status, answer.error().as_str()), (421, "invalid_request"));
    assert!(answer.json()["error_description"].as_str().unwrap().ends_with(gate.origin()), "{answer:?}");
}

#[tokio::test]
async fn a_call_under_another_host_is_421_and_names_the_url_in_json() {
    let gate = TestGate::new().await;
    for host in ["evil.example", "localhost:6750", "localhost", "127.0.0.2:6749", "localhost.:6749", "a.localhost:6749"]
    {
        for (path, url) in [("/mcp?x=1", "http://127.0.0.1:6749/mcp"), ("/mcp/", "http://127.0.0.1:6749/mcp/")] {
            let answer = gate.send(Request::post(path).header("host", host), r#"{"jsonrpc":"2.0","id":1}"#).await;
            assert_eq!(answer.status, 421, "{host}");
            assert_eq!(answer.header("content-type"), "application/json");
            assert!(answer.header("www-authenticate").is_empty());
            let error = &answer.json()["error"];
            assert!(error["message"].as_str().unwrap().ends_with(&format!("use {url}")), "{answer:?}");
            assert_eq!(error["data"]["request_id"], answer.header("x-request-id"));
            assert!(!answer.body.contains("evil.example"), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn with_a_public_url_localhost_is_another_host() {
    let gate = TestGate::with(|config| {
        config.public_url = portcullis::config::PublicUrl::parse("https://mcp.example.com").unwrap();
        config.upstreams = vec![upstream(&config.public_url, "mcp", "http://127.0.0.1:9/")];
    })
    .await;
    for host in ["localhost", "127.0.0.1", "[::1]", "localhost:443"] {
        assert_eq!(gate.send(Request::post("/mcp").header("host", host), "").await.status, 421, "{host}");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_before_its_answer_is_logged_with_its_address() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let (lines, _guard) = watch();
    tokio::select! {
        answer = gate.call(&good) => panic!("{answer:?}"),
        _wire = behind.asked() => {}
    }
    let text = lines.text();
    let line = text.lines().find(|line| line.contains("request without an answer")).unwrap_or_else(|| panic!("{text}"));
    for part in ["method=POST", "path=\"/mcp\"", "address=127.0.0.1", "the client went away", "request_id=q_"] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(!text.contains(&good));
}

#[tokio::test]
async fn slowloris_a_body_that_never_arrives_is_408() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let good = token(&gate).await;
    assert_eq!(gate.call(&good).await.status, 200);
    let request = gate
        .request("POST", "/mcp")
        .header("authorization", format!("Bearer {good}"))
        .header("content-type", "application/json")
        .header("content-length", "10")
        .body(StreamBody::new(futures_util::stream::pending::<
            Result<http_body::Frame<bytes::Bytes>, std::convert::Infallible>,
        >()))
        .unwrap();
    tokio::time::pause();
    let response = gate.app.handle(request, "127.0.0.1:5000".parse().unwrap()).await;
    assert_eq!(response.status(), 408);
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(behind.count(), 1);
}
