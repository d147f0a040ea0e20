//! Response smuggling: answers whose length can be read in two ways (RFC 9112 6.3), byte by byte.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{gate_before, token};
use crate::support::gate::TestGate;
use crate::support::log::watch;
use crate::support::raw::{OK, RawUpstream, Wire};

/// Calls over a real connection, on which the length frames the answer; the whole answer.
async fn over_the_wire(gate: &TestGate, token: &str) -> String {
    let mut connection = TcpStream::connect(gate.listen().await).await.unwrap();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:6749\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

/// One call that the upstream answers with `words`: the answer, and the upstream's end of the connection.
async fn answered(behind: &RawUpstream, gate: &TestGate, token: &str, words: &str) -> (String, Wire) {
    tokio::join!(over_the_wire(gate, token), async {
        let mut wire = behind.asked().await;
        wire.send(words).await;
        wire
    })
}

/// The bytes of a chunked body.
fn unchunked(answer: &str) -> String {
    let (_, mut rest) = answer.split_once("\r\n\r\n").unwrap();
    let mut body = String::new();
    while let Some((size, more)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        body.push_str(&more[..size]);
        rest = &more[size + 2..];
    }
    body
}

#[tokio::test]
async fn response_smuggling_an_answer_with_two_framings_is_read_as_chunked_and_ends_its_connection() {
    for length in [0, 5, 500] {
        let behind = RawUpstream::start().await;
        let gate = gate_before(&behind.url()).await;
        let good = token(&gate).await;
        let words = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n\
             a\r\n{{\"id\": 7,\"\r\nb\r\nresult\":{{}}}}\r\n0\r\n\r\n"
        );
        let (answer, wire) = answered(&behind, &gate, &good, &words).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(!answer.to_ascii_lowercase().contains("content-length"), "{answer}");
        assert_eq!(unchunked(&answer), "{\"id\": 7,\"result\":{}}", "declared {length}");
        wire.closed().await;
        let (next, _another) = answered(&behind, &gate, &good, OK).await;
        assert!(next.ends_with("{}"), "{next}");
    }
}

#[tokio::test]
async fn response_smuggling_bytes_after_an_answer_are_discarded() {
    let smuggled = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 6\r\n\r\n\"evil\"";
    for first in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        OK,
        "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let behind = RawUpstream::start().await;
        let gate = gate_before(&behind.url()).await;
        let good = token(&gate).await;
        let (answer, _wire) = answered(&behind, &gate, &good, &format!("{first}{smuggled}")).await;
        assert!(!answer.contains("evil"), "{answer}");
        let (next, _another) = answered(&behind, &gate, &good, OK).await;
        assert!(next.ends_with("{}"), "after {first:?}: {next}");
    }
}

#[tokio::test]
async fn an_answer_with_ambiguous_framing_is_502_with_the_cause() {
    for (framing, cause) in [
        ("Content-Length: 2\r\nContent-Length: 3", "content-length"),
        ("Content-Length: 2, 3", "content-length"),
        ("Content-Length: +2", "content-length"),
        ("Transfer-Encoding: gzip, chunked", "its Transfer-Encoding is another than"),
        ("Transfer-Encoding: identity\r\nContent-Length: 2", "its Transfer-Encoding is another than"),
        ("Transfer-Encoding: xchunked", "its Transfer-Encoding is another than"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "its Transfer-Encoding is another than"),
    ] {
        let behind = RawUpstream::start().await;
        let gate = gate_before(&behind.url()).await;
        let good = token(&gate).await;
        let (lines, _guard) = watch();
        let (answer, wire) = tokio::join!(gate.call(&good), async {
            let mut wire = behind.asked().await;
            wire.send(&format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{{}}")).await;
            wire
        });
        assert_eq!((answer.status, &answer.json()["id"]), (502, &serde_json::json!(7)), "{framing}");
        assert!(lines.text().to_ascii_lowercase().contains(&cause.to_ascii_lowercase()), "{framing}: {}", lines.text());
        wire.closed().await;
    }
}

#[tokio::test]
async fn an_unusual_spelling_of_one_length_is_normalized() {
    for framing in ["Content-Length: 2\r\nContent-Length: 2", "Content-Length: 2, 2", "Content-Length: 002"] {
        let behind = RawUpstream::start().await;
        let gate = gate_before(&behind.url()).await;
        let good = token(&gate).await;
        let words = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{framing}\r\n\r\n{{}}");
        let (answer, _wire) = answered(&behind, &gate, &good, &words).await;
        let lengths: Vec<_> =
            answer.lines().filter(|line| line.to_ascii_lowercase().starts_with("content-length")).collect();
        assert_eq!(lengths.len(), 1, "{answer}");
        assert!(lengths[0].ends_with(": 2") && answer.ends_with("{}"), "{answer}");
    }
}

#[tokio::test]
async fn a_truncated_answer_is_not_passed_on_as_complete() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let cut = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"id\"";
    let (answer, ()) = tokio::join!(over_the_wire(&gate, &good), async {
        let mut wire = behind.asked().await;
        wire.send(cut).await;
    });
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_ascii_lowercase().contains("content-length: 9") && body.len() < 9, "{answer}");
}

#[tokio::test]
async fn response_trailers_do_not_pass() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url()).await;
    let good = token(&gate).await;
    let words = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTrailer: Set-Cookie\r\nTransfer-Encoding: chunked\r\n\r\n\
                 2\r\n{}\r\n0\r\nSet-Cookie: a=b\r\n\r\n";
    let request = gate.request("POST", "/mcp").header("authorization", format!("Bearer {good}"));
    let request = request.body(Full::new(Bytes::from_static(b"{}"))).unwrap();
    // in process: HTTP/1.1 would lose them by itself, HTTP/2 would not
    let (response, _wire) = tokio::join!(gate.app.handle(request, "127.0.0.1:5000".parse().unwrap()), async {
        let mut wire = behind.asked().await;
        wire.send(words).await;
        wire
    });
    let answer = response.into_body().collect().await.unwrap();
    assert!(answer.trailers().is_none(), "{:?}", answer.trailers());
    assert_eq!(answer.to_bytes(), "{}");
}
