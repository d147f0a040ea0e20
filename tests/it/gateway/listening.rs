//! Event streams: when they open, keep-alive comments, and how they end.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use portcullis::app::Body;
use tokio::time::Instant;

use super::connections::before_a_restart;
use super::{end_grant, gate_before, token};
use crate::support::gate::{TestGate, upstream};
use crate::support::log::watch;
use crate::support::raw::{RawUpstream, SSE, Wire};

fn listen(gate: &TestGate, token: &str) -> Request<Empty<Bytes>> {
    let request = gate.request("GET", "/mcp").header("authorization", format!("Bearer {token}"));
    let request = request.header("accept", "application/json, Text/Event-Stream").header("accept-encoding", "gzip");
    request.body(Empty::new()).unwrap()
}

/// Opens a stream whose upstream got the request and has not answered; also returns that request.
async fn opened_early(gate: &TestGate, behind: &RawUpstream, token: &str) -> (Response<Body>, Wire, String) {
    let peer = "127.0.0.1:5000".parse().unwrap();
    let (answer, (wire, asked)) = tokio::join!(gate.app.handle(listen(gate, token), peer), async {
        let mut wire = behind.accept().await;
        let asked = wire.request().await;
        (wire, asked)
    });
    (answer, wire, asked)
}

async fn text(body: &mut Body) -> Option<String> {
    let data = body.frame().await?.unwrap().into_data().unwrap();
    Some(String::from_utf8(data.to_vec()).unwrap())
}

#[tokio::test]
async fn a_get_stream_opens_after_a_second_without_the_upstreams_head() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let began = Instant::now();
    let (answer, mut wire, asked) = opened_early(&gate, &behind, &good).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(3), "{took:?}");
    assert!(!asked.contains("accept-encoding"), "a coded answer could not be joined: {asked}");
    let header = |name: &str| answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    assert_eq!(answer.status(), 200);
    assert_eq!(
        ["content-type", "cache-control", "x-accel-buffering", "mcp-session-id"].map(header),
        ["text/event-stream", "no-store", "no", ""]
    );
    let mut body = answer.into_body();
    assert_eq!(text(&mut body).await.unwrap(), ":\n\n");
    wire.send(&SSE.replace("\r\n\r\n", "\r\nMcp-Session-Id: inner\r\nSet-Cookie: a=b\r\n\r\n")).await;
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        wire.send(&format!("{:x}\r\n{event}\r\n", event.len())).await;
        assert_eq!(text(&mut body).await.unwrap(), event);
    }
    wire.send("0\r\n\r\n").await;
    assert!(text(&mut body).await.is_none());
}

#[tokio::test]
async fn an_upstream_head_within_a_second_is_passed_on() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    for (says, status) in [
        ("HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\nContent-Length: 0\r\n\r\n", 405),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404),
        (SSE, 200),
    ] {
        let (answer, _wire) =
            tokio::join!(gate.app.handle(listen(&gate, &good), "127.0.0.1:5000".parse().unwrap()), async {
                let mut wire = behind.asked().await;
                wire.send(says).await;
                wire
            });
        assert_eq!(answer.status().as_u16(), status);
    }
}

#[tokio::test]
async fn a_late_answer_that_is_no_stream_becomes_a_comment_and_delays_the_reconnect() {
    const JSON: &str = "Content-Type: application/json\r\n";
    for (says, comment, log) in [
        ("HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n".to_owned(), "answered 405", "answered 405"),
        ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned(), "answered 401", "its own authentication"),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned(), "answered 403", "`host`"),
        ("HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n".to_owned(), "answered 409", "answered 409"),
        ("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_owned(), "answered 500", "answered 500"),
        (format!("HTTP/1.1 200 OK\r\n{JSON}Content-Length: 8\r\n\r\n{{\"id\":1}}"), "answered 200", "answered 200"),
        (
            SSE.replace("\r\n\r\n", "\r\nContent-Encoding: gzip\r\n\r\n"),
            "a compressed stream",
            "a content coding that was not asked for",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://inner.example/\r\n\r\n".to_owned(),
            "sent an invalid response",
            "inner.example",
        ),
        (String::new(), "sent an invalid response", "broke off"),
    ] {
        let behind = RawUpstream::start().await;
        let gate = gate_before(&behind.url()).await;
        let good = token(&gate).await;
        let (lines, _guard) = watch();
        let (answer, mut wire, _) = opened_early(&gate, &behind, &good).await;
        let mut body = answer.into_body();
        assert_eq!(text(&mut body).await.unwrap(), ":\n\n");
        wire.send(&says).await;
        drop(wire);
        let words = text(&mut body).await.unwrap();
        assert!(words.starts_with(": the MCP server behind the gateway ") && words.contains(comment), "{words}");
        assert!(words.ends_with("\nretry: 5000\n\n") && !words.contains("inner"), "{words}");
        assert!(lines.text().contains(log) && lines.text().contains("upstream=\"mcp\""), "{}", lines.text());
        tokio::time::pause();
        let began = Instant::now();
        while let Some(more) = text(&mut body).await {
            assert_eq!(more, ":\n\n");
        }
        assert_eq!(began.elapsed().as_secs(), 30, "a client that comes back at once does not spin");
        tokio::time::resume();
    }
}

/// Opens a stream whose upstream cannot be reached yet; its body, after the first comment.
async fn opened_unconnected(gate: &TestGate) -> Body {
    let good = token(gate).await;
    let began = Instant::now();
    let answer = gate.app.handle(listen(gate, &good), "127.0.0.1:5000".parse().unwrap()).await;
    let took = began.elapsed();
    assert_eq!(answer.status(), 200);
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(2), "{took:?}");
    let mut body = answer.into_body();
    assert_eq!(text(&mut body).await.unwrap(), ":\n\n");
    body
}

#[tokio::test]
async fn a_get_stream_opens_while_its_server_restarts_and_events_follow() {
    let (gate, address) = before_a_restart(Some(Duration::from_secs(30))).await;
    let mut body = opened_unconnected(&gate).await;
    let behind = RawUpstream::at(address).await;
    let (event, _wire) = tokio::join!(text(&mut body), async {
        let mut wire = behind.asked().await;
        wire.send(&format!("{SSE}9\r\ndata: 1\n\n\r\n")).await;
        wire
    });
    assert_eq!(event.unwrap(), "data: 1\n\n");
}

#[tokio::test]
async fn a_stream_to_a_dead_server_says_so_in_a_comment_and_ends_after_a_pause() {
    let (gate, _address) = before_a_restart(Some(Duration::from_secs(2))).await;
    let (lines, _guard) = watch();
    let mut body = opened_unconnected(&gate).await;
    assert_eq!(
        text(&mut body).await.unwrap(),
        ": the MCP server behind the gateway cannot be reached\nretry: 5000\n\n"
    );
    assert!(lines.text().contains("cannot be reached: "), "{}", lines.text());
    tokio::time::pause();
    let began = Instant::now();
    while let Some(more) = text(&mut body).await {
        assert_eq!(more, ":\n\n");
    }
    assert_eq!(began.elapsed().as_secs(), 30);
}

#[tokio::test]
async fn a_get_stream_opens_although_the_connection_cannot_be_established() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.tls_url()).await;
    let (mut body, _never_speaks_tls) = tokio::join!(opened_unconnected(&gate), behind.accept());
    let words = text(&mut body).await.unwrap();
    assert!(words.contains("cannot be reached"), "{words}");
}

#[tokio::test]
async fn a_stream_opened_early_ends_with_its_grant_and_cancels_its_request() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let (answer, wire, _) = opened_early(&gate, &behind, &good).await;
    let mut body = answer.into_body();
    assert_eq!(text(&mut body).await.unwrap(), ":\n\n");
    end_grant(&gate, &good).await;
    assert!(text(&mut body).await.is_none());
    drop(body);
    wire.closed().await;
    let (answer, wire, _) = opened_early(&gate, &behind, &token(&gate).await).await;
    drop(answer);
    wire.closed().await;
}

/// Status and session of a POST are known only from the upstream.
#[tokio::test]
async fn a_post_is_never_answered_before_its_upstream() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let (answer, _wire) = tokio::join!(gate.call(&good), async {
        let mut wire = behind.asked().await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        wire.send("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}").await;
        wire
    });
    assert_eq!(answer.status, 404);
}

/// The answer to a POST whose upstream says this, with this setting of `keep_alive`.
async fn answered(keep_alive: Option<u64>, says: &str) -> (Body, Wire) {
    let behind = RawUpstream::start().await;
    let url = behind.url();
    let gate = TestGate::with(|config| {
        let mut upstream = upstream(&config.public_url, "mcp", &url);
        upstream.settings.keep_alive = keep_alive.map(Duration::from_secs);
        config.upstreams = vec![upstream];
    })
    .await;
    let good = token(&gate).await;
    let request = gate.request("POST", "/mcp").header("authorization", format!("Bearer {good}"));
    let request =
        request.header("content-type", "application/json").body(Full::new(Bytes::from_static(b"{}"))).unwrap();
    let (answer, wire) = tokio::join!(gate.app.handle(request, "127.0.0.1:5000".parse().unwrap()), async {
        let mut wire = behind.asked().await;
        wire.send(says).await;
        wire
    });
    (answer.into_body(), wire)
}

#[tokio::test]
async fn silent_event_streams_get_keep_alive_comments_between_events() {
    let (mut body, mut wire) = answered(Some(25), SSE).await;
    wire.send("9\r\ndata: 1\n\n\r\n").await;
    assert_eq!(text(&mut body).await.unwrap(), "data: 1\n\n");
    tokio::time::pause();
    let began = Instant::now();
    for seconds in [25, 50, 75] {
        assert_eq!(text(&mut body).await.unwrap(), ":\n\n");
        // timers count in whole milliseconds
        assert_eq!((began.elapsed().as_millis() + 500) / 1000, seconds);
    }
    tokio::time::resume();
    wire.send("7\r\ndata: 2\r\n").await;
    assert_eq!(text(&mut body).await.unwrap(), "data: 2");
    tokio::time::pause();
    let silent = tokio::time::timeout(Duration::from_hours(1), text(&mut body)).await;
    assert!(silent.is_err(), "half an event is not interrupted: {silent:?}");
}

#[tokio::test]
async fn keep_alive_comments_go_into_uncoded_event_streams_only() {
    for (keep_alive, says) in [
        (None, SSE.to_owned()),
        (Some(25), SSE.replace("text/event-stream", "application/json")),
        (Some(25), SSE.replace("\r\n\r\n", "\r\nContent-Encoding: gzip\r\n\r\n")),
        (Some(25), "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\n".to_owned()),
    ] {
        let (mut body, _wire) = answered(keep_alive, &says).await;
        tokio::time::pause();
        let silent = tokio::time::timeout(Duration::from_mins(10), text(&mut body)).await;
        assert!(silent.is_err(), "{says}: {silent:?}");
        tokio::time::resume();
    }
}
