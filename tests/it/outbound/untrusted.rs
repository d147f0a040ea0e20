//! Documents that strangers name: which addresses are called for them, and what a stranger learns of it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis::clock::{Clock, Timestamp};
use portcullis::outbound::{LookUp, UntrustedFetchError, UntrustedFetcher};
use tokio::net::TcpListener;

use crate::support::provider::FakeProvider;

const MOST: usize = 5 * 1024;

/// A resolver that gives these answers one after another, the last one for ever, and counts.
struct Names {
    asked: Arc<AtomicUsize>,
    look_up: LookUp,
}

fn names(answers: &[&[&str]]) -> Names {
    let answers: Vec<Vec<IpAddr>> =
        answers.iter().map(|answer| answer.iter().map(|address| address.parse().unwrap()).collect()).collect();
    let asked = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&asked);
    let look_up: LookUp = Arc::new(move |_name| {
        let at = counter.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        let answer = answers[at].clone();
        Box::pin(async move { if answer.is_empty() { Err(io::Error::other("no such name")) } else { Ok(answer) } })
    });
    Names { asked, look_up }
}

/// A listener on loopback, and how many connections it got.
async fn trap() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, caught) = (listener.local_addr().unwrap().port(), Arc::<AtomicUsize>::default());
    let counter = Arc::clone(&caught);
    tokio::spawn(async move {
        loop {
            let connection = listener.accept().await;
            counter.fetch_add(1, Ordering::SeqCst);
            drop(connection);
        }
    });
    (port, caught)
}

async fn refused(strangers: &UntrustedFetcher, url: &str) -> UntrustedFetchError {
    strangers.get(url, MOST).await.err().unwrap_or_else(|| panic!("{url} was fetched"))
}

#[tokio::test]
async fn ssrf_names_of_inner_addresses_are_refused_without_revealing_them() {
    let (port, caught) = trap().await;
    let url = format!("https://client.example:{port}/metadata");
    for (addresses, reason) in [
        (&["127.0.0.1"][..], "127.0.0.1 is loopback"),
        (&["10.1.2.3"], "10.1.2.3 is private"),
        (&["169.254.169.254"], "169.254.169.254 is link-local"),
        (&["fd00:ec2::254"], "fd00:ec2::254 is unique local"),
        (&["::ffff:127.0.0.1"], "is an IPv4 address in IPv6"),
        (&["1.1.1.1", "127.0.0.1"], "127.0.0.1 is loopback"),
        (&["127.0.0.1", "1.1.1.1"], "127.0.0.1 is loopback"),
    ] {
        let strangers = UntrustedFetcher::resolving_with(names(&[addresses]).look_up, [], false);
        let error = refused(&strangers, &url).await;
        let operator = error.diagnosis().to_string();
        assert!(operator.contains("client.example") && operator.contains(reason), "{addresses:?}: {operator}");
        let nowhere = UntrustedFetcher::resolving_with(names(&[&[]]).look_up, [], false);
        let unknown = refused(&nowhere, &url).await;
        assert!(unknown.diagnosis().to_string().contains("cannot be resolved"), "{unknown:?}");
        assert_eq!((error.to_string(), error.is_refused()), (unknown.to_string(), unknown.is_refused()));
        assert!(!error.to_string().contains(char::is_numeric), "{error}");
    }
    assert_eq!(caught.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn ssrf_inner_addresses_are_refused_in_every_notation() {
    let (port, caught) = trap().await;
    let strangers = UntrustedFetcher::new([], false);
    for host in [
        "127.0.0.1",
        "[::1]",
        "[::ffff:7f00:1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "localhost",
        "LOCALHOST",
    ] {
        refused(&strangers, &format!("https://{host}:{port}/")).await;
    }
    assert_eq!(caught.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn only_a_plain_https_url_is_fetched() {
    let names = names(&[&["127.0.0.1"]]);
    let strangers = UntrustedFetcher::resolving_with(names.look_up, [], true);
    for url in [
        "http://client.example/",
        "ftp://client.example/",
        "file:///etc/passwd",
        "https://user@client.example/",
        "https://user:secret@client.example/",
        "https://client.example/#fragment",
        "https://client.example",
        "https://CLIENT.example/",
        "https://client.example:443/",
        "https://client.example/a/../b",
        "https://client.example/\\evil",
        "https:client.example/",
        " https://client.example/",
        "https://client.example/\n",
        "no url",
        "",
    ] {
        let error = refused(&strangers, url).await;
        assert!(error.is_refused() && !error.diagnosis().to_string().contains("secret"), "{url:?}: {error:?}");
    }
    assert_eq!(names.asked.load(Ordering::SeqCst), 0, "nothing was resolved");
}

#[tokio::test]
async fn dns_rebinding_the_checked_address_is_the_dialled_one() {
    let provider = FakeProvider::start_tls(&Clock::manual(Timestamp(0))).await;
    let url = format!("{}/certs", provider.issuer()).replace("127.0.0.1", "localhost");
    // DNS rebinding: a second look-up gets another answer
    let names = names(&[&["127.0.0.1"], &["10.1.2.3"]]);
    let strangers = UntrustedFetcher::resolving_with(Arc::clone(&names.look_up), &provider.ca_file(), true);
    let document = strangers.get(&url, MOST).await.unwrap();
    assert!(document.body.starts_with(b"{\"keys\"") && document.headers["content-type"] == "application/json");
    assert_eq!(names.asked.load(Ordering::SeqCst), 1);
    let call = provider.last_call("/certs");
    for header in ["authorization", "cookie", "referer", "proxy-authorization"] {
        assert!(!call.headers.contains_key(header), "{header}");
    }
    // no connection is kept: the next call resolves and checks anew
    let error = refused(&strangers, &url).await;
    assert!(error.diagnosis().to_string().contains("10.1.2.3 is private"), "{error:?}");
    assert_eq!(provider.calls("/certs"), 1);
}

#[tokio::test]
async fn only_status_200_and_a_small_body_make_a_document() {
    let provider = FakeProvider::start_tls(&Clock::manual(Timestamp(0))).await;
    let strangers = UntrustedFetcher::resolving_with(names(&[&["127.0.0.1"]]).look_up, &provider.ca_file(), true);
    let at = |path: &str| format!("{}{path}", provider.issuer()).replace("127.0.0.1", "localhost");
    let redirect = refused(&strangers, &at("/auth?redirect_uri=https%3A%2F%2Fevil.example%2F&state=x")).await;
    assert!(redirect.is_refused() && redirect.diagnosis().to_string().contains("302"), "{redirect:?}");
    let absent = refused(&strangers, &at("/none")).await;
    assert!(absent.is_refused() && absent.diagnosis().to_string().contains("404"), "{absent:?}");
    let large = strangers.get(&at("/certs"), 100).await.unwrap_err();
    assert!(large.is_refused() && large.diagnosis().to_string().contains("larger than 100 bytes"), "{large:?}");
    let untrusting = UntrustedFetcher::resolving_with(names(&[&["127.0.0.1"]]).look_up, [], true);
    let error = refused(&untrusting, &at("/certs")).await;
    assert!(!error.is_refused() && error.diagnosis().to_string().contains("not trusted"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_of_a_document_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let strangers = UntrustedFetcher::resolving_with(names(&[&["127.0.0.1"]]).look_up, [], true);
    let began = tokio::time::Instant::now();
    let error = refused(&strangers, &url).await;
    assert!(error.diagnosis().to_string().contains("within 3 s"), "{error:?}");
    assert!(began.elapsed().as_secs() <= 5);
}

#[tokio::test]
async fn names_that_are_never_resolved_take_a_limited_number_of_look_ups() {
    let running = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&running);
    let look_up: LookUp = Arc::new(move |_name| {
        counter.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::pending())
    });
    let strangers = UntrustedFetcher::resolving_with(look_up, [], true);
    for _ in 0..3 {
        let url = "https://client.example/metadata";
        let calls = (0..50).map(|_| tokio::time::timeout(Duration::from_millis(50), strangers.get(url, MOST)));
        futures_util::future::join_all(calls).await;
    }
    // the machine's resolver cannot be cancelled: a caller that left does not make room for another look-up
    assert_eq!(running.load(Ordering::SeqCst), 32);
}

#[tokio::test]
async fn a_document_that_is_gone_is_told_from_one_that_is_refused() {
    let provider = FakeProvider::start_tls(&Clock::manual(Timestamp(0))).await;
    let strangers = UntrustedFetcher::resolving_with(names(&[&["127.0.0.1"]]).look_up, &provider.ca_file(), true);
    let at = |path: &str| format!("{}{path}", provider.issuer()).replace("127.0.0.1", "localhost");
    let gone = refused(&strangers, &at("/none")).await;
    assert!(gone.is_gone() && gone.is_refused());
    let large = strangers.get(&at("/certs"), 100).await.unwrap_err();
    assert!(!large.is_gone() && large.is_refused());
}
