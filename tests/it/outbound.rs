//! Control-plane requests: their limits, and what a failure says.

mod untrusted;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::clock::{Clock, Timestamp};
use portcullis::config::{Config, OutboundProxy};
use portcullis::outbound::{FetchError, Fetcher};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::provider::{FakeProvider, Reply};

const SOON: Duration = Duration::from_secs(5);

fn fetcher() -> Fetcher {
    Fetcher::new([])
}

/// Says these bytes on every connection, then waits or closes.
async fn says(bytes: Vec<u8>, close: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _read = stream.read(&mut request).await;
                let _sent = stream.write_all(&bytes).await;
                if !close {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    format!("http://{address}/")
}

fn words<T: std::fmt::Debug>(result: Result<T, FetchError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test]
async fn an_answer_is_returned_with_any_status() {
    let provider = FakeProvider::start(&Clock::manual(Timestamp(0))).await;
    let good = fetcher().get(&format!("{}/certs", provider.issuer()), SOON).await.unwrap();
    assert_eq!(good.status, 200);
    assert!(good.body.starts_with(b"{\"keys\""));
    let bad = fetcher().get(&format!("{}/nothing", provider.issuer()), SOON).await.unwrap();
    assert_eq!(bad.status, 404);
}

#[tokio::test]
async fn ssrf_redirects_are_never_followed() {
    let provider = FakeProvider::start(&Clock::manual(Timestamp(0))).await;
    let target = format!("{}/certs", provider.issuer());
    let url = says(format!("HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n").into(), true).await;
    assert_eq!(fetcher().get(&url, SOON).await.unwrap().status, 302);
    assert_eq!(provider.calls("/certs"), 0);
}

#[tokio::test]
async fn an_answer_larger_than_a_mebibyte_is_refused_with_and_without_a_length() {
    let declared = b"HTTP/1.1 200 OK\r\ncontent-length: 1048577\r\n\r\n".to_vec();
    let result = fetcher().get(&says(declared, false).await, SOON).await;
    assert!(matches!(result, Err(FetchError::TooLarge(1_048_576))), "{result:?}");
    let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n100001\r\n".to_vec();
    chunked.extend(vec![b'a'; 0x10_0001]);
    let result = fetcher().get(&says(chunked, false).await, SOON).await;
    assert!(matches!(result, Err(FetchError::TooLarge(_))), "{result:?}");
    let provider = FakeProvider::start(&Clock::manual(Timestamp(0))).await;
    provider.answer_token(Reply::json(200, &json!("a".repeat(1_048_574))));
    let token = format!("{}/token", provider.issuer());
    let exact = fetcher().post_form(&token, &[], None, SOON).await.unwrap();
    assert_eq!(exact.body.len(), 1_048_576);
}

#[tokio::test]
async fn a_server_that_never_answers_times_out() {
    let short = Duration::from_millis(100);
    let silent = says(Vec::new(), false).await;
    let said = words(fetcher().get(&silent, short).await);
    assert!(said.contains("no answer from 127.0.0.1 within 0.1 s"), "{said}");
    let stuck = says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec(), false).await;
    let said = words(fetcher().get(&stuck, short).await);
    assert!(said.contains("no answer from 127.0.0.1 within 0.1 s"), "{said}");
    let provider = FakeProvider::start(&Clock::manual(Timestamp(0))).await;
    provider.answer_token(Reply::Hang);
    let token = format!("{}/token", provider.issuer());
    assert!(words(fetcher().post_form(&token, &[], None, short).await).contains("within 0.1 s"));
}

#[tokio::test]
async fn a_failed_fetch_names_the_step_and_a_hint() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let said = words(fetcher().get(&format!("http://{closed}/?secret=s3cret"), SOON).await);
    let expected = "127.0.0.1 refuses the connection: nothing listens there: check that the server runs, and that this machine \
                    can reach it under that address; behind a company proxy, set `proxy` in [outbound]";
    assert_eq!(said, expected);

    let plain = says(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), true).await.replace("http:", "https:");
    let said = words(fetcher().get(&plain, SOON).await);
    assert!(said.contains("does not speak TLS") && said.contains("http?"), "{said}");

    let cut = says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec(), true).await;
    let said = words(fetcher().get(&cut, SOON).await);
    assert!(said.contains("broke off"), "{said}");

    let nonsense = says(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), true).await;
    assert!(words(fetcher().get(&nonsense, SOON).await).contains("broke off"));
    assert!(words(fetcher().get("no url?secret=s3cret", SOON).await).starts_with("the address cannot be used"));
}

#[tokio::test]
async fn an_untrusted_certificate_is_reported_with_the_setting() {
    let provider = FakeProvider::start_tls(&Clock::manual(Timestamp(0))).await;
    let url = format!("{}/certs", provider.issuer());
    let said = words(fetcher().get(&url, SOON).await);
    assert!(said.contains("signed by an authority that is not trusted here") && said.contains("`ca_file`"), "{said}");
    let trusting = Fetcher::new(&provider.ca_file());
    assert_eq!(trusting.get(&url, SOON).await.unwrap().status, 200);
    let other_name = url.replace("127.0.0.1", "127.0.0.2");
    let listener = TcpListener::bind(("127.0.0.2", provider.address().port())).await.unwrap();
    let upstream = provider.address();
    tokio::spawn(async move {
        let (mut from, _) = listener.accept().await.unwrap();
        let mut to = tokio::net::TcpStream::connect(upstream).await.unwrap();
        tokio::io::copy_bidirectional(&mut from, &mut to).await.ok();
    });
    let said = words(trusting.get(&other_name, SOON).await);
    assert!(said.contains("is for another name"), "{said}");
}

/// A proxy that writes down what it is asked, answers CONNECT with `status`, and leads to `target` whatever is asked for.
async fn proxy(status: &'static str, target: Option<std::net::SocketAddr>) -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let asked = Arc::<Mutex<String>>::default();
    let memory = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let memory = Arc::clone(&memory);
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let length = from.read(&mut request).await.unwrap();
                memory.lock().unwrap().push_str(&String::from_utf8_lossy(&request[..length]));
                from.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await.unwrap();
                if let Some(target) = target {
                    let mut to = tokio::net::TcpStream::connect(target).await.unwrap();
                    tokio::io::copy_bidirectional(&mut from, &mut to).await.ok();
                }
            });
        }
    });
    (place, asked)
}

/// The setting that a file with `proxy = "env"` and this proxy in the environment makes.
fn setting(place: &str) -> OutboundProxy {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("portcullis.toml");
    let text = "public_url = \"http://127.0.0.1:8080\"\n[outbound]\nproxy = \"env\"\n[storage]\nurl = \"sqlite:x.db\"\n\
                [secrets]\nkeys = [{ env = \"ROOT\" }]\n[[identity]]\nid = \"k\"\nkind = \"oidc\"\n\
                issuer = \"https://sso.example.com\"\nclient_id = \"x\"\n[[upstream]]\nid = \"a\"\npath = \"/mcp\"\n\
                url = \"http://127.0.0.1:1/mcp\"\n";
    std::fs::write(&file, text).unwrap();
    let url = format!("http://user:s3cret@{place}");
    let environment = [
        ("ROOT", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("HTTPS_PROXY", url.as_str()),
        ("HTTP_PROXY", url.as_str()),
    ];
    let environment = environment.map(|(name, text)| (name.to_owned(), text.to_owned()));
    Config::load(&file, environment).unwrap_or_else(|problems| panic!("{problems}")).config.outbound.proxy
}

/// `user:s3cret`, as a proxy is told.
const PROXY_CREDENTIALS: &str = "Basic dXNlcjpzM2NyZXQ=";

#[tokio::test]
async fn providers_are_called_through_the_proxy_and_only_it_sees_its_password() {
    let provider = FakeProvider::start_tls(&Clock::manual(Timestamp(0))).await;
    let (place, asked) = proxy("200 OK", Some(provider.address())).await;
    let through = Fetcher::through(&provider.ca_file(), &setting(&place));
    // the certificate is for another name, which is known only when TLS went through the tunnel
    let said = words(through.get("https://sso.example.com/certs", SOON).await);
    assert!(said.contains("the certificate of sso.example.com is for another name"), "{said}");
    let heard = asked.lock().unwrap().clone();
    assert!(heard.starts_with("CONNECT sso.example.com:443 HTTP/1.1\r\n"), "{heard}");
    assert!(heard.contains(PROXY_CREDENTIALS), "{heard}");

    let plain = through.get("http://sso.example.com/certs", SOON).await.unwrap();
    assert_eq!(plain.status, 200);
    let heard = asked.lock().unwrap().clone();
    assert!(heard.contains("GET http://sso.example.com/certs HTTP/1.1\r\n"), "{heard}");
}

#[tokio::test]
async fn loopback_is_called_without_the_proxy() {
    let provider = FakeProvider::start(&Clock::manual(Timestamp(0))).await;
    let (place, asked) = proxy("502 Bad Gateway", None).await;
    let through = Fetcher::through(&[], &setting(&place));
    assert_eq!(through.get(&format!("{}/certs", provider.issuer()), SOON).await.unwrap().status, 200);
    assert_eq!(asked.lock().unwrap().as_str(), "");
}

#[tokio::test]
async fn a_failing_proxy_is_reported_without_its_password() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let through = Fetcher::through(&[], &setting(&closed));
    let said = words(through.get("https://sso.example.com/certs?secret=s3cret", SOON).await);
    let expected = format!(
        "sso.example.com cannot be reached through the proxy {closed}: it refuses the connection: check `proxy` in [outbound]; \
         `no_proxy` there names what is called directly"
    );
    assert_eq!(said, expected);

    let (place, _) = proxy("407 Proxy Authentication Required", None).await;
    let through = Fetcher::through(&[], &setting(&place));
    let said = words(through.get("https://sso.example.com/certs", SOON).await);
    assert!(
        said.contains(&format!("through the proxy {place}: ")) && said.contains("authorization required"),
        "{said}"
    );
    assert!(!said.contains("s3cret"));
}
