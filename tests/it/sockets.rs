//! What only real connections show: request smuggling, protocols, streams, disconnects, and graceful shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::gate::{Given, TestClient, TestGate, upstream};
use crate::support::raw::{OK, SSE};

const SOON: Duration = Duration::from_secs(10);
const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#;

/// A listening gate, and tokens to call through it.
struct Bench {
    gate: TestGate,
    address: SocketAddr,
    client: TestClient,
    given: Given,
}

impl Bench {
    async fn at(url: &str) -> Self {
        let gate = TestGate::with(|config| {
            config.upstreams = vec![upstream(&config.public_url, "mcp", url)];
        })
        .await;
        let address = gate.listen().await;
        let client = gate.register().await;
        let given = gate.tokens(&client).await;
        Self { gate, address, client, given }
    }

    fn head(&self, method: &str, extra: &str) -> String {
        format!(
            "{method} /mcp HTTP/1.1\r\nHost: 127.0.0.1:6749\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n{extra}\r\n",
            self.given.access
        )
    }

    fn call(&self) -> String {
        format!("{}{CALL}", self.head("POST", &format!("Content-Length: {}\r\n", CALL.len())))
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One call on a connection of its own; the status line of its answer.
    async fn status(&self) -> String {
        let mut connection = self.connect().await;
        connection.write_all(self.call().as_bytes()).await.unwrap();
        read_head(&mut connection).await.lines().next().unwrap_or_default().to_owned()
    }
}

/// Reads an answer's head.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match timeout(SOON, stream.read(&mut byte)).await.expect("an answer in time") {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// Reads until the peer closes.
async fn read_all(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    timeout(SOON, stream.read_to_end(&mut all)).await.expect("the connection ends").ok();
    String::from_utf8_lossy(&all).into_owned()
}

/// What a raw upstream does with each connection.
async fn raw_upstream<F, Fut>(serve: F) -> (String, Arc<AtomicUsize>)
where
    F: Fn(TcpStream, usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, count.fetch_add(1, Ordering::SeqCst)));
        }
    });
    (url, connections)
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => seen.extend_from_slice(&buffer[..count]),
        }
        let text = String::from_utf8_lossy(&seen).into_owned();
        let chunked = text.to_ascii_lowercase().contains("transfer-encoding: chunked");
        if text.ends_with(CALL)
            || (chunked && text.ends_with("0\r\n\r\n"))
            || (text.starts_with("GET") && text.ends_with("\r\n\r\n"))
            || (text.contains("content-length: 0\r\n") && text.ends_with("\r\n\r\n"))
        {
            return Some(text);
        }
    }
}

async fn polite(mut stream: TcpStream, _number: usize) {
    while read_request(&mut stream).await.is_some() {
        stream.write_all(OK.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn request_smuggling_two_framings_are_never_two_requests() {
    let seen = Arc::new(AtomicUsize::new(0));
    let requests = Arc::clone(&seen);
    let (url, _) = raw_upstream(move |mut stream, _| {
        let requests = Arc::clone(&requests);
        async move {
            while read_request(&mut stream).await.is_some() {
                requests.fetch_add(1, Ordering::SeqCst);
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let bench = Bench::at(&url).await;
    let smuggled = format!("0\r\n\r\n{}", bench.call());
    for (framing, status, reached) in [
        // the request does not say that the connection ends: it does all the same (RFC 9112 6.1)
        (format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", smuggled.len()), "200 OK", 1),
        (format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", smuggled.len()), "200 OK", 1),
    ] {
        seen.store(0, Ordering::SeqCst);
        let mut connection = bench.connect().await;
        let head = bench.head("POST", &framing);
        connection.write_all(format!("{head}{smuggled}").as_bytes()).await.unwrap();
        let answers = read_all(&mut connection).await;
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "one request has one answer: {answers}");
        assert!(answers.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{framing}: {answers}");
        assert_eq!(seen.load(Ordering::SeqCst), reached, "requests that reached the upstream: {framing}");
    }
}

#[tokio::test]
async fn request_smuggling_ambiguous_framing_is_refused_at_every_path() {
    let (url, reached) = raw_upstream(polite).await;
    let bench = Bench::at(&url).await;
    let codings = ["gzip, chunked", "chunked, chunked", "chunked\r\nTransfer-Encoding: chunked"];
    for path in ["/token", "/register", "/consent", "/.well-known/jwks.json", "/nowhere", "/mcp"] {
        for (coding, host) in codings.iter().flat_map(|coding| [(coding, "127.0.0.1:6749"), (coding, "evil.example")]) {
            let authorization = format!("Authorization: Bearer {}\r\n", bench.given.access);
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}Transfer-Encoding: {coding}\r\n\r\n");
            let mut connection = bench.connect().await;
            connection.write_all(format!("{head}0\r\n\r\n{}", bench.call()).as_bytes()).await.unwrap();
            let answers = read_all(&mut connection).await;
            assert!(answers.starts_with("HTTP/1.1 400 "), "{path} {coding}: {answers}");
            assert!(answers.contains("\r\nconnection: close\r\n"), "{path} {coding}: {answers}");
            assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{path} {coding}: {answers}");
            let words = match path {
                "/mcp" => {
                    r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"a Transfer-Encoding that is not"#
                }
                "/consent" => "The end of the request body is ambiguous.",
                _ => r#"{"error":"invalid_request","error_description":"a Transfer-Encoding that is not"#,
            };
            assert!(answers.contains(words), "{path} {coding}: {answers}");
        }
    }
    assert_eq!(reached.load(Ordering::SeqCst), 0);
    let mut connection = bench.connect().await;
    let head = bench.head("POST", "Transfer-Encoding: Chunked\r\nConnection: close\r\n");
    let body = format!("{:x}\r\n{CALL}\r\n0\r\n\r\n", CALL.len());
    connection.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    assert!(read_all(&mut connection).await.starts_with("HTTP/1.1 200 "), "a single `chunked` is accepted");
}

#[tokio::test]
async fn events_pass_immediately_and_unchanged_and_a_disconnect_cancels_the_request() {
    let (tell, mut told) = mpsc::unbounded_channel::<&str>();
    let (go, gone) = tokio::sync::watch::channel(false);
    let (url, _) = raw_upstream(move |mut stream, _| {
        let (tell, mut go) = (tell.clone(), gone.clone());
        async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(SSE.as_bytes()).await.unwrap();
            stream.write_all(b"1a\r\n: hello\r\nid: 1\r\n\r\ndata: a\n\r\n").await.unwrap();
            go.changed().await.unwrap();
            stream.write_all(b"6\r\ndata:\n\r\n").await.unwrap();
            let mut end = [0];
            assert!(matches!(stream.read(&mut end).await, Ok(0) | Err(_)));
            tell.send("gone").unwrap();
        }
    })
    .await;
    let bench = Bench::at(&url).await;
    let mut connection = bench.connect().await;
    connection.write_all(bench.call().as_bytes()).await.unwrap();
    let head = read_head(&mut connection).await;
    assert!(head.contains("text/event-stream") && head.contains("x-accel-buffering: no"), "{head}");
    let mut first = [0; 4 + 26 + 2];
    timeout(SOON, connection.read_exact(&mut first)).await.expect("the first event comes at once").unwrap();
    assert_eq!(&first, b"1A\r\n: hello\r\nid: 1\r\n\r\ndata: a\n\r\n");
    go.send(true).unwrap();
    let mut second = [0; 3 + 6 + 2];
    timeout(SOON, connection.read_exact(&mut second)).await.expect("and the second").unwrap();
    drop(connection);
    assert_eq!(timeout(SOON, told.recv()).await.expect("the upstream notices"), Some("gone"));
}

#[tokio::test]
async fn the_end_of_a_grant_ends_open_streams_and_refuses_calls_on_kept_connections() {
    let (url, _) = raw_upstream(|mut stream, _| async move {
        while let Some(request) = read_request(&mut stream).await {
            if request.starts_with("GET") {
                stream.write_all(SSE.as_bytes()).await.unwrap();
                stream.write_all(b"6\r\ndata:\n\r\n").await.unwrap();
            } else {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let bench = Bench::at(&url).await;
    let mut stream = bench.connect().await;
    stream.write_all(bench.head("GET", "").as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200"));
    let mut keep_alive = bench.connect().await;
    keep_alive.write_all(bench.call().as_bytes()).await.unwrap();
    assert!(read_head(&mut keep_alive).await.starts_with("HTTP/1.1 200"));
    let mut body = [0; 2];
    keep_alive.read_exact(&mut body).await.unwrap();

    let next = bench.gate.refresh(&bench.client, &bench.given.refresh).await;
    assert_eq!(next.status, 200);
    bench.gate.clock.advance(Duration::from_secs(31));
    assert_eq!(bench.gate.refresh(&bench.client, &bench.given.refresh).await.error(), "invalid_grant");

    let mut rest = Vec::new();
    let ended = async {
        while !rest.ends_with(b"0\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).await.unwrap(), 1, "the stream ends cleanly");
            rest.push(byte[0]);
        }
    };
    timeout(Duration::from_secs(1), ended).await.expect("the stream ends within a second");
    keep_alive.write_all(bench.call().as_bytes()).await.unwrap();
    assert!(read_head(&mut keep_alive).await.starts_with("HTTP/1.1 401"));
}

#[tokio::test]
async fn a_broken_request_body_is_400_and_not_the_upstreams_fault() {
    let (url, _) = raw_upstream(polite).await;
    let bench = Bench::at(&url).await;
    let mut connection = bench.connect().await;
    let head = bench.head("POST", "Transfer-Encoding: chunked\r\n");
    connection.write_all(format!("{head}5\r\nhello\r\nnonsense\r\n").as_bytes()).await.unwrap();
    let answer = read_head(&mut connection).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(bench.status().await.contains(" 200 "));
}

#[tokio::test]
async fn a_request_head_that_is_too_large_is_431() {
    let (url, _) = raw_upstream(polite).await;
    let bench = Bench::at(&url).await;
    let large = format!("X-Large: {}\r\n", "x".repeat(70_000));
    let fields =
        |count: usize, value: &str| (0..count).map(|n| format!("X-{n}: {value}\r\n")).collect::<Vec<_>>().concat();
    let many = fields(101, "1");
    for extra in [large, many] {
        let mut connection = bench.connect().await;
        let head = bench.head("GET", &extra);
        connection.write_all(head.as_bytes()).await.ok();
        let answer = read_head(&mut connection).await;
        // while more than fits is still being written, the answer may be lost to the reset
        assert!(answer.starts_with("HTTP/1.1 431") || (answer.is_empty() && extra.len() > 65_536), "{answer}");
    }
    let fits = fields(90, &"y".repeat(600));
    let mut connection = bench.connect().await;
    connection.write_all(bench.head("GET", &fits).as_bytes()).await.unwrap();
    assert!(read_head(&mut connection).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn many_calls_share_one_cleartext_http_2_connection() {
    let (url, _) = raw_upstream(polite).await;
    let bench = Bench::at(&url).await;
    let io = hyper_util::rt::TokioIo::new(bench.connect().await);
    let (sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let calls = (0..20).map(|_| {
        let mut sender = sender.clone();
        let request = http::Request::post("http://127.0.0.1:6749/mcp")
            .header("authorization", format!("Bearer {}", bench.given.access))
            .header("content-type", "application/json")
            .body(http_body_util::Full::new(bytes::Bytes::from_static(CALL.as_bytes())))
            .unwrap();
        async move { sender.send_request(request).await.unwrap().status().as_u16() }
    });
    assert!(join_all(calls).await.iter().all(|status| *status == 200));
    let mut many = http::Request::get("http://127.0.0.1:6749/mcp");
    for number in 0..101 {
        many = many.header(format!("x-{number}"), "1");
    }
    let many = many.body(http_body_util::Full::new(bytes::Bytes::new())).unwrap();
    assert_eq!(sender.clone().send_request(many).await.unwrap().status(), 431);
}

#[tokio::test]
async fn a_method_that_begins_like_the_http_2_preface_is_answered_in_http_1() {
    let (url, _) = raw_upstream(polite).await;
    let bench = Bench::at(&url).await;
    for method in ["PROPFIND", "PROPPATCH", "PR", "PRI", "P", "PRI*"] {
        let mut connection = bench.connect().await;
        connection.write_all(bench.head(method, "Content-Length: 0\r\n").as_bytes()).await.unwrap();
        let answer = read_head(&mut connection).await;
        assert!(
            answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, POST, DELETE"),
            "{method}: {answer}"
        );
    }
    let mut connection = bench.connect().await;
    connection.write_all(b"PRI * HTTP/1.1\r\nHost: 127.0.0.1:6749\r\n\r\n").await.unwrap();
    let answer = read_head(&mut connection).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn graceful_shutdown_ends_streams_cleanly_at_its_deadline() {
    let (url, _) = raw_upstream(|mut stream, _| async move {
        read_request(&mut stream).await.unwrap();
        stream.write_all(SSE.as_bytes()).await.unwrap();
        let mut end = [0];
        let _ = stream.read(&mut end).await;
    })
    .await;
    let bench = Bench::at(&url).await;
    let mut stream = bench.connect().await;
    stream.write_all(bench.head("GET", "").as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200"));
    let drain = bench.gate.app.drain().clone();
    assert!(drain.is_ready());
    drain.run(Duration::from_millis(100)).await;
    assert!(!drain.is_ready());
    assert!(read_all(&mut stream).await.ends_with("0\r\n\r\n"), "the stream ended cleanly");
    assert!(
        TcpStream::connect(bench.address).await.is_err() || {
            let mut late = TcpStream::connect(bench.address).await.unwrap();
            read_all(&mut late).await.is_empty()
        }
    );
}
