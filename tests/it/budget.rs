//! Limits on requests, calls, files and memory (denial of service): every address and every user has a share, what exceeds
//! it is refused early, and everything is released.

use std::convert::Infallible;
use std::mem::size_of_val;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis::app::Body;
use portcullis::config::IdentityKind;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::browser::{Browser, parameter};
use crate::support::gate::{Answer, NOT_LISTENING, TestGate, local_user, tokens, upstream};
use crate::support::log;
use crate::support::raw::{OK, RawUpstream, Wire};
use crate::support::upstream::Upstream;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const SOON: Duration = Duration::from_secs(10);
const MIB: usize = 1024 * 1024;
const ADDRESS: &str = "203.0.113.7";
const OTHER_ADDRESS: &str = "203.0.113.8";
const FORM: &str = "application/x-www-form-urlencoded";

/// A body that stalls after its first bytes, for ever (slowloris).
struct Silent {
    begins: Option<Bytes>,
    declares: u64,
}

impl Silent {
    fn new(declares: u64) -> Self {
        Self { begins: None, declares }
    }

    fn after(begins: Vec<u8>, declares: u64) -> Self {
        Self { begins: Some(begins.into()), declares }
    }
}

impl HttpBody for Silent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.begins.take().map_or(Poll::Pending, |data| Poll::Ready(Some(Ok(Frame::data(data)))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.declares)
    }
}

/// A request in flight, aborted when this is dropped.
struct Pending(JoinHandle<Response<Body>>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Pending {
    fn send<B>(gate: &TestGate, peer: &str, request: Request<B>) -> Self
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let (app, peer): (_, IpAddr) = (gate.app.clone(), peer.parse().unwrap());
        Self(tokio::spawn(async move { app.handle(request, SocketAddr::from((peer, 50_000))).await }))
    }

    /// Aborts it and waits until everything that it held is released.
    async fn give_up(mut self) {
        self.0.abort();
        (&mut self.0).await.ok();
    }

    async fn answer(mut self) -> Answer {
        let response = timeout(SOON, &mut self.0).await.expect("an answer in time").unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }
}

fn silent_form(gate: &TestGate, path: &str) -> Request<Silent> {
    gate.request("POST", path).header("content-type", FORM).body(Silent::new(100)).unwrap()
}

/// A user's call whose body declares this many bytes.
fn call(gate: &TestGate, token: &str, declares: usize) -> http::request::Builder {
    gate.request("POST", "/mcp")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("content-length", declares)
}

fn silent_call(gate: &TestGate, token: &str, declares: usize) -> Request<Silent> {
    call(gate, token, declares).body(Silent::after(vec![b'['; declares / 2], declares as u64)).unwrap()
}

fn get(gate: &TestGate, token: &str) -> Request<Empty<Bytes>> {
    let request = gate.request("GET", "/mcp").header("authorization", format!("Bearer {token}"));
    request.body(Empty::new()).unwrap()
}

/// A message with an id, of exactly this size.
fn message(size: usize) -> String {
    let message =
        |pad: usize| json!({"jsonrpc": "2.0", "id": 7, "method": "x", "params": {"pad": "x".repeat(pad)}}).to_string();
    message(size - message(0).len())
}

/// A gate in front of `url` with this many users.
async fn gate_before(url: &str, users: usize, change: impl FnOnce(&mut portcullis::config::Config)) -> TestGate {
    let url = url.to_owned();
    TestGate::with(move |config| {
        config.upstreams = vec![upstream(&config.public_url, "mcp", &url)];
        if let IdentityKind::Local(all) = &mut config.identities[0].kind {
            all.extend((0..users).map(|number| local_user(&format!("user{number}"), "secret")));
        }
        change(config);
    })
    .await
}

async fn token_of(gate: &TestGate, user: &str) -> String {
    let client = gate.register().await;
    let place = gate.sign_in_as((user, "secret"), &mut Browser::default(), &client, &[]).await;
    tokens(&gate.redeem(&client, &parameter(&place, "code").unwrap()).await).access
}

async fn from(gate: &TestGate, peer: &str, method: &str, path: &str) -> Answer {
    let request = gate.request(method, path).header("content-type", FORM);
    timeout(SOON, gate.send_from(peer.parse().unwrap(), request, "")).await.expect("an answer at once")
}

#[tokio::test]
async fn an_address_at_its_request_limit_is_refused_early_while_another_is_served() {
    let gate = TestGate::with(|config| config.limits.requests_per_address = 8).await;
    let held: Vec<_> = (0..8).map(|_| Pending::send(&gate, ADDRESS, silent_form(&gate, "/token"))).collect();
    tokio::task::yield_now().await;

    let refused = Pending::send(&gate, ADDRESS, silent_form(&gate, "/token")).answer().await;
    assert_eq!((refused.status, refused.error().as_str()), (503, "temporarily_unavailable"), "{refused:?}");
    assert_eq!((refused.header("retry-after"), refused.header("access-control-allow-origin")), ("5", "*"));
    let page = from(&gate, ADDRESS, "GET", "/authorize").await;
    assert_eq!((page.status, page.header("retry-after")), (503, "5"));
    assert!(page.body.contains("busy") && page.header("content-security-policy").contains("'none'"), "{page:?}");
    let call = from(&gate, ADDRESS, "POST", "/mcp").await;
    assert_eq!((call.status, call.header("retry-after"), &call.json()["id"]), (503, "5", &Value::Null), "{call:?}");
    assert_eq!(call.json()["error"]["data"]["request_id"], call.header("x-request-id"));

    assert_eq!(from(&gate, OTHER_ADDRESS, "POST", "/token").await.status, 400);
    assert_eq!(from(&gate, OTHER_ADDRESS, "POST", "/mcp").await.status, 401);
    drop(held);
    tokio::task::yield_now().await;
    assert_eq!(from(&gate, ADDRESS, "POST", "/token").await.status, 400, "a dropped request no longer counts");
}

#[tokio::test]
async fn unverified_requests_cannot_crowd_out_a_verified_caller_at_the_same_address() {
    let gate = gate_before(NOT_LISTENING, 1, |config| config.limits.requests_per_address = 4).await;
    let good = token_of(&gate, "user0").await;
    let call = async |token: &str| {
        let request = call(&gate, token, message(200).len());
        gate.send_from(ADDRESS.parse().unwrap(), request, message(200)).await.status
    };
    assert_eq!(call(&good).await, 502, "it is verified, and there is no upstream");
    let held: Vec<_> = (0..4).map(|_| Pending::send(&gate, ADDRESS, silent_form(&gate, "/token"))).collect();
    tokio::task::yield_now().await;
    assert_eq!(call("a.stranger.s").await, 503);
    for _ in 0..100 {
        assert_eq!(call(&good).await, 502);
    }
    drop(held);
}

#[tokio::test]
async fn an_ipv6_network_shares_one_request_limit() {
    let gate = TestGate::with(|config| config.limits.requests_per_address = 4).await;
    let send = |host: &str| Pending::send(&gate, &format!("2001:db8::{host}"), silent_form(&gate, "/token"));
    let held = ["1", "2", "3", "4"].map(send);
    tokio::task::yield_now().await;
    assert_eq!(from(&gate, "2001:db8::ffff", "GET", "/authorize").await.status, 503);
    assert_ne!(from(&gate, "2001:db8:0:1::1", "GET", "/authorize").await.status, 503);
    drop(held);
}

#[tokio::test]
async fn a_response_that_is_not_read_still_counts_as_a_request() {
    let gate = TestGate::with(|config| config.limits.requests_per_address = 4).await;
    let peer = SocketAddr::from((ADDRESS.parse::<IpAddr>().unwrap(), 50_000));
    let get = || gate.request("GET", "/authorize").body(Empty::<Bytes>::new()).unwrap();
    let untaken = join_all((0..4).map(|_| gate.app.handle(get(), peer))).await;
    assert!(untaken.iter().all(|page| page.status() == 400));
    assert_eq!(gate.app.handle(get(), peer).await.status(), 503);
    drop(untaken);
    assert_eq!(gate.app.handle(get(), peer).await.status(), 400);
}

#[tokio::test]
async fn stalled_http_2_streams_are_limited_and_released_by_a_reset() {
    let gate = TestGate::with(|config| {
        config.limits.requests_per_address = 8;
        config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let address = gate.listen().await;
    let connect = async || {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) = http2::handshake::<_, _, Silent>(TokioExecutor::new(), io).await.unwrap();
        (sender, tokio::spawn(connection))
    };
    let form = |client: &str| {
        let request = Request::post("http://127.0.0.1:6749/token").header("content-type", FORM);
        request.header("x-forwarded-for", client).body(Silent::new(100)).unwrap()
    };
    let (mut sender, connection) = connect().await;
    let held: Vec<_> = (0..8).map(|_| tokio::spawn(sender.send_request(form(ADDRESS)))).collect();
    let refused = timeout(SOON, sender.send_request(form(ADDRESS))).await.expect("the ninth is answered").unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"5".parse().unwrap()));
    assert!(
        timeout(Duration::from_millis(50), sender.send_request(form(OTHER_ADDRESS))).await.is_err(),
        "it is admitted and its body awaited"
    );
    assert!(held.iter().all(|stream| !stream.is_finished()));

    held.iter().for_each(JoinHandle::abort);
    drop((sender, connection));
    let freed = async {
        loop {
            let (mut sender, _connection) = connect().await;
            let Ok(answered) = timeout(Duration::from_millis(200), sender.send_request(form(ADDRESS))).await else {
                break;
            };
            assert_eq!(answered.unwrap().status(), 503);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, freed).await.expect("a reset stream no longer counts");
}

#[tokio::test]
async fn a_request_that_is_not_admitted_yet_needs_at_most_a_kibibyte() {
    let gate = TestGate::new().await;
    let peer = SocketAddr::from((ADDRESS.parse::<IpAddr>().unwrap(), 50_000));
    let waiting = gate.app.handle(silent_form(&gate, "/token"), peer);
    assert!(size_of_val(&waiting) <= 1024, "{} bytes", size_of_val(&waiting));
}

#[tokio::test]
async fn a_user_at_the_limit_of_calls_does_not_block_another() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url(), 2, |config| config.limits.calls = Some(16)).await;
    let (one, other) = (token_of(&gate, "user0").await, token_of(&gate, "user1").await);
    let mut held: Vec<(Pending, Wire)> = Vec::new();
    for _ in 0..4 {
        let pending = Pending::send(&gate, ADDRESS, get(&gate, &one));
        held.push((pending, behind.asked().await));
    }
    let refused = gate.call(&one).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "5"), "{refused:?}");
    let served = Pending::send(&gate, ADDRESS, get(&gate, &other));
    behind.asked().await.send(OK).await;
    assert_eq!(served.answer().await.status, 200);

    held.pop().unwrap().0.give_up().await;
    let again = Pending::send(&gate, ADDRESS, get(&gate, &one));
    behind.asked().await.send(OK).await;
    assert_eq!(again.answer().await.status, 200, "a call that its client gave up no longer counts");
}

#[tokio::test]
async fn a_call_waits_for_a_free_slot_and_is_refused_when_none_comes() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url(), 5, |config| config.limits.calls = Some(4)).await;
    let mut given = Vec::new();
    for user in ["user0", "user1", "user2", "user3", "user4"] {
        given.push(token_of(&gate, user).await);
    }
    let mut held = Vec::new();
    for token in &given[..4] {
        let pending = Pending::send(&gate, ADDRESS, get(&gate, token));
        held.push((pending, behind.asked().await));
    }
    let late = Pending::send(&gate, ADDRESS, get(&gate, &given[4]));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(behind.is_left_alone().await);
    held.pop().unwrap().0.give_up().await;
    behind.asked().await.send(OK).await;
    let served = late.answer().await;
    assert_eq!(served.status, 200, "{served:?}");
    drop(served);

    let taken = Pending::send(&gate, ADDRESS, get(&gate, &given[4]));
    let _wire = behind.asked().await;
    tokio::time::pause();
    let refused = gate.call(&given[3]).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "5"), "{refused:?}");
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("can be retried"));
    drop(taken);
}

/// Tells a process that it is the child.
const CHILD: &str = "PORTCULLIS_TEST_FILES";

#[test]
fn one_user_cannot_use_up_the_file_descriptors() {
    #[expect(clippy::disallowed_methods, reason = "this is how a test tells its own child")]
    if std::env::var_os(CHILD).is_none() {
        let name = "budget::one_user_cannot_use_up_the_file_descriptors";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output =
            child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").stdout(Stdio::piped()).output().unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    let few = rustix::process::Rlimit { current: Some(256), maximum: Some(256) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let behind = RawUpstream::start().await;
        let gate = gate_before(&behind.url(), 2, |_| {}).await;
        let (one, other) = (token_of(&gate, "user0").await, token_of(&gate, "user1").await);
        let mut held: Vec<(Pending, Wire)> = Vec::new();
        let refused = loop {
            let mut pending = Pending::send(&gate, ADDRESS, get(&gate, &one));
            tokio::select! {
                wire = behind.asked() => held.push((pending, wire)),
                answered = &mut pending.0 => break answered.unwrap(),
            }
        };
        assert_eq!((refused.status().as_u16(), held.len()), (429, 12));
        let address = gate.listen().await;
        let _stays = TcpStream::connect(address).await.unwrap();
        let served = Pending::send(&gate, ADDRESS, get(&gate, &other));
        behind.asked().await.send(OK).await;
        assert_eq!(served.answer().await.status, 200);
    });
}

#[tokio::test]
async fn body_memory_is_released_however_a_request_ends() {
    let behind = Upstream::polite().await;
    // three quarters are for users, and one user may have one body of 1 MiB
    let gate = gate_before(&behind.url(), 1, |config| config.limits.body_memory = Some(4 * MIB)).await;
    let token = token_of(&gate, "user0").await;
    let works = async |after: &str| {
        let answer = gate.call_with("/mcp", &token, message(MIB)).await;
        assert_eq!(answer.status, 200, "after {after}: {answer:?}");
    };
    works("nothing").await;

    let held = Pending::send(&gate, ADDRESS, silent_call(&gate, &token, MIB));
    tokio::task::yield_now().await;
    let refused = gate.call_with("/mcp", &token, message(MIB)).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "5"), "{refused:?}");
    held.give_up().await;
    works("a client that went away").await;

    let breaks = stream::iter([Ok(Frame::data(Bytes::from(vec![b'['; MIB / 2]))), Err("broken")]);
    let breaks = call(&gate, &token, MIB).body(StreamBody::new(breaks)).unwrap();
    assert_eq!(Pending::send(&gate, ADDRESS, breaks).answer().await.status, 400);
    works("a broken body").await;

    let other = gate.request("POST", "/mcp").header("authorization", format!("Bearer {token}"));
    assert_eq!(gate.send(other.header("content-type", "text/plain"), vec![b'x'; 2 * MIB]).await.status, 200);
    works("a body that was not collected").await;

    let slow = Pending::send(&gate, ADDRESS, silent_call(&gate, &token, MIB));
    tokio::task::yield_now().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(16)).await;
    tokio::time::resume();
    assert_eq!(slow.answer().await.status, 408);
    works("a slow body").await;
}

#[tokio::test]
async fn shares_of_body_memory_are_settings_and_the_log_names_the_exhausted_one() {
    let (lines, _guard) = log::watch();
    let behind = Upstream::polite().await;
    let gate = gate_before(&behind.url(), 1, |config| {
        config.limits.requests = Some(800);
        config.limits.body_memory = Some(16 * MIB);
        config.limits.body_memory_per_address = Some(256 * 1024);
        config.limits.body_memory_per_user = Some(2 * MIB);
    })
    .await;
    let told = lines.text();
    for number in [
        "requests=800",
        "body_memory=16777216",
        "body_memory_per_address=262144",
        "body_memory_per_user=2097152",
        "waiting_writes=256",
    ] {
        assert!(told.contains(&format!(" {number} ")) || told.contains(&format!(" {number}\n")), "{number}: {told}");
    }

    let token = token_of(&gate, "user0").await;
    let calls = [0; 2].map(|_| Pending::send(&gate, ADDRESS, silent_call(&gate, &token, MIB)));
    let form = || gate.request("POST", "/token").header("content-type", FORM).body(Silent::new(64 * 1024)).unwrap();
    let forms = [0; 4].map(|_| Pending::send(&gate, ADDRESS, form()));
    tokio::task::yield_now().await;
    assert_eq!(gate.call_with("/mcp", &token, message(MIB)).await.status, 503);
    assert_eq!(Pending::send(&gate, ADDRESS, form()).answer().await.status, 503);
    assert!(calls.iter().chain(&forms).all(|pending| !pending.0.is_finished()));
    for setting in ["limits.body_memory_per_user", "limits.body_memory_per_address"] {
        assert!(lines.text().contains(&format!("({setting}) is in use")), "{setting}: {}", lines.text());
    }
}

#[tokio::test]
async fn a_slow_tool_does_not_keep_the_body_memory_of_its_call() {
    let behind = RawUpstream::start().await;
    let gate = gate_before(&behind.url(), 1, |config| config.limits.body_memory = Some(4 * MIB)).await;
    let token = token_of(&gate, "user0").await;
    let body = message(MIB);
    let send = || {
        let request = call(&gate, &token, MIB).body(Full::new(Bytes::from(body.clone()))).unwrap();
        Pending::send(&gate, ADDRESS, request)
    };
    let slow = send();
    let mut thinks = behind.asked().await;
    let next = send();
    let mut answers = behind.asked().await;
    answers.send(OK).await;
    assert_eq!(next.answer().await.status, 200, "the first body was sent on");
    thinks.send("nonsense\r\n\r\n").await;
    let failed = slow.answer().await;
    assert_eq!((failed.status, &failed.json()["id"]), (502, &json!(7)), "its id is still known");
}

#[tokio::test]
async fn many_concurrent_large_calls_stay_within_the_memory_budget() {
    let behind = Upstream::polite().await;
    let gate = gate_before(&behind.url(), 4, |config| config.limits.body_memory = Some(16 * MIB)).await;
    let mut given = Vec::new();
    for user in ["user0", "user1", "user2", "user3"] {
        given.push(token_of(&gate, user).await);
    }
    let flood: Vec<_> =
        (0..250).map(|number| Pending::send(&gate, ADDRESS, silent_call(&gate, &given[number % 4], MIB))).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (answered, held): (Vec<_>, Vec<_>) = flood.into_iter().partition(|pending| pending.0.is_finished());
    assert!((8..=12).contains(&held.len()), "{} bodies of 1 MiB in 12 MiB for users", held.len());
    for refused in join_all(answered.into_iter().map(Pending::answer)).await {
        assert!(matches!(refused.status, 429 | 503) && refused.header("retry-after") == "5", "{refused:?}");
    }
    drop(held);
    tokio::task::yield_now().await;
    assert_eq!(gate.call_with("/mcp", &given[0], message(MIB)).await.status, 200);
}

#[tokio::test]
async fn forms_without_authentication_cannot_use_the_memory_of_calls() {
    let behind = Upstream::polite().await;
    let gate = gate_before(&behind.url(), 1, |config| config.limits.body_memory = Some(4 * MIB)).await;
    let token = token_of(&gate, "user0").await;
    let form = || gate.request("POST", "/token").header("content-type", FORM).body(Silent::new(64 * 1024)).unwrap();
    let mut held: Vec<_> =
        (0..64).map(|number| Pending::send(&gate, &format!("198.51.100.{}", number / 4), form())).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    held.retain(|pending| !pending.0.is_finished());
    let refused = Pending::send(&gate, ADDRESS, form()).answer().await;
    assert_eq!((refused.status, refused.error().as_str()), (503, "temporarily_unavailable"), "{refused:?}");
    assert_eq!(refused.header("retry-after"), "5");
    assert_eq!(gate.call_with("/mcp", &token, message(MIB)).await.status, 200);
    drop(held);
}
