//! What ends a call from outside: the end of its grant, its age, and shutdown; and how many may be open.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use portcullis::app::Body;
use portcullis::config::RefreshTokens;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{end_grant, gate_before, token};
use crate::support::gate::{TestGate, WORKS, upstream};
use crate::support::log::watch;
use crate::support::raw::{OK, RawUpstream, SSE};

/// A GET, whose answer is a stream.
async fn open(gate: &TestGate, token: &str) -> Response<Body> {
    let request = gate.request("GET", "/mcp").header("authorization", format!("Bearer {token}"));
    gate.app.handle(request.body(Empty::<bytes::Bytes>::new()).unwrap(), "127.0.0.1:5000".parse().unwrap()).await
}

/// A call that is not JSON, so its body is streamed and not read here.
async fn upload(gate: &TestGate, token: &str) -> Response<Body> {
    let request = gate.request("POST", "/mcp").header("authorization", format!("Bearer {token}"));
    let body = Full::new(bytes::Bytes::from_static(br#"{"jsonrpc":"2.0","id":7,"method":"x"}"#));
    gate.app.handle(request.body(body).unwrap(), "127.0.0.1:5000".parse().unwrap()).await
}

#[tokio::test]
async fn a_waiting_call_ends_with_its_grant() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let (answer, ()) = tokio::join!(gate.call(&good), async {
        let wire = behind.asked().await;
        end_grant(&gate, &good).await;
        wire.closed().await;
    });
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(
        answer
            .header("www-authenticate")
            .starts_with("Bearer error=\"invalid_token\", scope=\"mcp:access\", resource_metadata=")
    );
    assert_eq!(answer.json()["id"], 7);
}

/// A call whose body never arrives; adds a permit when its body is first awaited.
fn bodiless(
    gate: &TestGate,
    token: &str,
    waited_for: Arc<Semaphore>,
) -> Request<impl http_body::Body<Data = Bytes, Error = Infallible> + Send + Unpin + use<>> {
    let body = stream::poll_fn(move |_| {
        waited_for.add_permits(1);
        Poll::<Option<Result<Frame<Bytes>, Infallible>>>::Pending
    });
    gate.request("POST", "/mcp")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("content-length", "10")
        .body(StreamBody::new(body))
        .unwrap()
}

#[tokio::test]
async fn a_call_whose_body_is_arriving_ends_with_its_grant() {
    let gate = TestGate::new().await;
    let good = token(&gate).await;
    let waited_for = Arc::new(Semaphore::new(0));
    let request = bodiless(&gate, &good, Arc::clone(&waited_for));
    let (answer, ()) = tokio::join!(gate.app.handle(request, "127.0.0.1:5000".parse().unwrap()), async {
        waited_for.acquire().await.unwrap().forget();
        end_grant(&gate, &good).await;
    });
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn a_call_whose_body_is_arriving_at_shutdown_is_503_and_was_not_forwarded() {
    let gate = TestGate::new().await;
    let good = token(&gate).await;
    let waited_for = Arc::new(Semaphore::new(0));
    let request = bodiless(&gate, &good, Arc::clone(&waited_for));
    let (answer, ()) = tokio::join!(gate.app.handle(request, "127.0.0.1:5000".parse().unwrap()), async {
        waited_for.acquire().await.unwrap().forget();
        gate.app.drain().run(Duration::ZERO).await;
    });
    assert_eq!(answer.status(), 503);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let said = String::from_utf8_lossy(&body);
    assert!(said.contains("the gateway is shutting down; the call was not forwarded"), "{said}");
}

#[tokio::test]
async fn a_call_that_exceeds_max_stream_age_while_its_body_arrives_is_503_and_logged() {
    let gate = TestGate::with(|config| config.server.max_stream_age = Some(Duration::from_secs(5))).await;
    let good = token(&gate).await;
    let waited_for = Arc::new(Semaphore::new(0));
    let request = bodiless(&gate, &good, Arc::clone(&waited_for));
    let (lines, _guard) = watch();
    let (answer, ()) = tokio::join!(gate.app.handle(request, "127.0.0.1:5000".parse().unwrap()), async {
        waited_for.acquire().await.unwrap().forget();
        tokio::time::pause();
    });
    assert_eq!(answer.status(), 503);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let said = String::from_utf8_lossy(&body);
    assert!(said.contains("max_stream_age") && said.contains("it was not forwarded"), "{said}");
    assert!(lines.text().contains("it reached max_stream_age"), "{}", lines.text());
}

#[tokio::test]
async fn open_calls_of_one_user_are_limited_across_grants() {
    const SHARE: usize = 16;
    // one user may have a quarter of all calls
    let gate = TestGate::with(|config| config.limits.calls = Some(4 * SHARE)).await;
    let (one, other) = (token(&gate).await, token(&gate).await);
    for known in [&one, &other] {
        assert_eq!(gate.call(known).await.status, WORKS);
    }
    // both tokens are cached: from here on no call waits for another thread, and time stands still for the silent bodies
    tokio::time::pause();
    let waited_for = Arc::new(Semaphore::new(0));
    let mut open = tokio::task::JoinSet::new();
    for _ in 0..SHARE {
        let (app, request) = (gate.app.clone(), bodiless(&gate, &one, Arc::clone(&waited_for)));
        open.spawn(async move { app.handle(request, "127.0.0.1:5000".parse().unwrap()).await });
    }
    waited_for.acquire_many(u32::try_from(SHARE).unwrap()).await.unwrap().forget();
    let refused = gate.call(&other).await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (429, "5"),
        "another grant is the same user: {refused:?}"
    );
    open.shutdown().await;
    tokio::time::resume();
    assert_eq!(gate.call(&other).await.status, WORKS);
}

#[tokio::test]
async fn the_end_of_another_grant_does_not_touch_a_waiting_call() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let (good, other) = (token(&gate).await, token(&gate).await);
    let (answer, _wire) = tokio::join!(gate.call(&good), async {
        let mut wire = behind.asked().await;
        end_grant(&gate, &other).await;
        tokio::task::yield_now().await;
        wire.send(OK).await;
        wire
    });
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_streamed_call_ends_with_its_grant_and_its_error_has_no_id() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let (answer, ()) = tokio::join!(upload(&gate, &good), async {
        let wire = behind.asked().await;
        end_grant(&gate, &good).await;
        wire.closed().await;
    });
    assert_eq!(answer.status(), 401);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["id"], Value::Null);
}

#[tokio::test]
async fn a_waiting_call_at_shutdown_is_503_with_its_id() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let (answer, ()) = tokio::join!(gate.call(&good), async {
        let wire = behind.asked().await;
        gate.app.drain().run(Duration::ZERO).await;
        wire.closed().await;
    });
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"), "{answer:?}");
    assert!(answer.header("www-authenticate").is_empty());
    let mut error = answer.json();
    error["error"]["data"]["request_id"] = json!("[id]");
    insta::assert_json_snapshot!(error, @r#"
    {
      "error": {
        "code": -32603,
        "data": {
          "request_id": "[id]"
        },
        "message": "the gateway is shutting down before the MCP server (Server mcp) has answered; the call may or may not have been carried out"
      },
      "id": 7,
      "jsonrpc": "2.0"
    }
    "#);
}

#[tokio::test]
async fn a_waiting_call_ends_when_its_grant_expires() {
    let behind = RawUpstream::start().await;
    let url = behind.url();
    let gate = TestGate::with(|config| {
        config.upstreams = vec![upstream(&config.public_url, "mcp", &url)];
        config.lifetimes.access_token = Duration::from_mins(1);
        config.tokens.refresh = RefreshTokens::Asked;
    })
    .await;
    let good = token(&gate).await;
    let (answer, _wire) = tokio::join!(gate.call(&good), async {
        let wire = behind.asked().await;
        // from here on time passes whenever all tasks are idle
        tokio::time::pause();
        wire
    });
    assert_eq!(answer.status, 401, "{answer:?}");
}

#[tokio::test]
async fn a_call_that_exceeds_max_stream_age_before_its_answer_is_504() {
    let behind = RawUpstream::start().await;
    let url = behind.url();
    let gate = TestGate::with(|config| {
        config.upstreams = vec![upstream(&config.public_url, "mcp", &url)];
        config.server.max_stream_age = Some(Duration::from_mins(1));
    })
    .await;
    let good = token(&gate).await;
    let (answer, _wire) = tokio::join!(open(&gate, &good), async {
        let wire = behind.asked().await;
        tokio::time::pause();
        wire
    });
    assert_eq!(answer.status(), 504);
}

#[tokio::test]
async fn an_answer_cut_off_by_revocation_ends_with_an_error_and_not_cleanly() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n",
    ] {
        let behind = RawUpstream::start().await;
        let gate = gate_before(&behind.url()).await;
        let good = token(&gate).await;
        let (answer, mut wire) = tokio::join!(open(&gate, &good), async {
            let mut wire = behind.asked().await;
            wire.send(head).await;
            wire
        });
        let mut body = answer.into_body();
        wire.send("[1,").await;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "[1,");
        end_grant(&gate, &good).await;
        let broken = body.frame().await.expect("it does not end as if it were whole").unwrap_err();
        assert_eq!(broken.to_string(), "the token's grant has ended");
        drop(body);
        wire.closed().await;
    }
}

#[tokio::test]
async fn an_open_stream_outlives_its_access_token_and_a_new_call_is_refused() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let (answer, mut wire) = tokio::join!(open(&gate, &good), async {
        let mut wire = behind.asked().await;
        wire.send(SSE).await;
        wire
    });
    let two_hours = Duration::from_hours(2);
    tokio::time::pause();
    tokio::time::advance(two_hours).await;
    tokio::time::resume();
    gate.clock.advance(two_hours);
    assert_eq!(gate.call(&good).await.status, 401);
    wire.send("6\r\ndata:\n\r\n").await;
    assert_eq!(after_comments(&mut answer.into_body()).await.unwrap(), "data:\n");
}

/// The next bytes of a stream after our keep-alive comments; `None` when it ends cleanly.
async fn after_comments(body: &mut Body) -> Option<Bytes> {
    loop {
        let data = body.frame().await?.unwrap().into_data().unwrap();
        if data != ":\n\n" {
            return Some(data);
        }
    }
}

#[tokio::test]
async fn an_event_stream_ends_cleanly_with_its_grant_and_at_shutdown() {
    for down in [false, true] {
        let behind = RawUpstream::start().await;
        let gate = gate_before(&behind.url()).await;
        let good = token(&gate).await;
        let (answer, mut wire) = tokio::join!(open(&gate, &good), async {
            let mut wire = behind.asked().await;
            wire.send(SSE).await;
            wire
        });
        let mut body = answer.into_body();
        wire.send("6\r\ndata:\n\r\n").await;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data:\n");
        if down {
            gate.app.drain().at_once();
        } else {
            end_grant(&gate, &good).await;
        }
        assert!(body.frame().await.is_none());
        drop(body);
        wire.closed().await;
    }
}

#[tokio::test]
async fn a_silent_stream_ends_at_max_stream_age_and_with_its_grant() {
    for (max_stream_age, access_token) in [(Some(60), 3600), (None, 60)] {
        let behind = RawUpstream::start().await;
        let url = behind.url();
        let gate = TestGate::with(|config| {
            config.upstreams = vec![upstream(&config.public_url, "mcp", &url)];
            config.server.max_stream_age = max_stream_age.map(Duration::from_secs);
            config.lifetimes.access_token = Duration::from_secs(access_token);
            config.tokens.refresh = RefreshTokens::Asked;
        })
        .await;
        let good = token(&gate).await;
        let (answer, wire) = tokio::join!(open(&gate, &good), async {
            let mut wire = behind.asked().await;
            wire.send(SSE).await;
            wire
        });
        let mut body = answer.into_body();
        tokio::time::pause();
        let began = tokio::time::Instant::now();
        let end = tokio::time::timeout(Duration::from_hours(1), after_comments(&mut body)).await.expect("it ends");
        assert!(end.is_none(), "it ends cleanly");
        assert_eq!(began.elapsed().as_secs().div_ceil(60), 1);
        tokio::time::resume();
        drop(body);
        wire.closed().await;
    }
}
