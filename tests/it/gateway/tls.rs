//! Upstreams over TLS.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis::config::CaFile;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{BOB, gate_before, token};
use crate::support::browser::{Browser, parameter};
use crate::support::gate::{TestGate, local_user, reach, tokens, upstream};
use crate::support::log::watch;

/// A server with a self-signed certificate for `localhost`, which answers with the protocol of the request. Its URL, and the
/// file to trust.
async fn server(protocols: &[&[u8]]) -> (String, tempfile::NamedTempFile) {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/backend", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let (io, service) = (TokioIo::new(stream), service_fn(echo));
                let served = if h2 {
                    http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
                } else {
                    http1::Builder::new().serve_connection(io, service).await
                };
                drop(served);
            });
        }
    });
    let ca_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca_file.path(), certified.cert.pem()).unwrap();
    (url, ca_file)
}

/// Answers a GET with a stream that stays open, anything else with what it saw.
async fn echo(request: Request<Incoming>) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let (parts, body) = request.into_parts();
    if parts.method == "GET" {
        let silent = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        return Ok(Response::builder()
            .header("content-type", "text/event-stream")
            .body(silent.boxed_unsync())
            .unwrap());
    }
    let size = body.collect().await.unwrap().to_bytes().len();
    let user = parts.headers["x-forwarded-user"].to_str().unwrap().to_owned();
    let text = format!("{:?} {} {user} {size}", parts.version, parts.uri.path());
    Ok(Response::new(Full::from(text).boxed_unsync()))
}

/// A gate that trusts such a server, with a second user.
async fn gate_trusting(url: &str, ca_file: &tempfile::NamedTempFile) -> TestGate {
    TestGate::with(|config| {
        let mut behind = upstream(&config.public_url, "mcp", url);
        reach(&mut behind).ca_file = Some(CaFile::read(ca_file.path()).unwrap());
        config.upstreams = vec![behind];
        if let portcullis::config::IdentityKind::Local(users) = &mut config.identities[0].kind {
            users.push(local_user(BOB.0, BOB.1));
        }
    })
    .await
}

#[tokio::test]
async fn an_upstream_over_tls_is_called_with_http_1_even_if_it_offers_http_2() {
    for protocols in [&[b"h2".as_slice(), b"http/1.1"][..], &[b"http/1.1"], &[]] {
        let (url, ca_file) = server(protocols).await;
        let gate = gate_trusting(&url, &ca_file).await;
        let answer = gate.call(&token(&gate).await).await;
        assert_eq!(answer.body, "HTTP/1.1 /backend local|alice 46");
    }
}

#[tokio::test]
async fn an_upstream_with_http_2_only_is_502_and_the_log_says_what_to_offer() {
    let (url, ca_file) = server(&[b"h2"]).await;
    let gate = gate_trusting(&url, &ca_file).await;
    let good = token(&gate).await;
    let (lines, _guard) = watch();
    assert_eq!(gate.call(&good).await.status, 502);
    let text = lines.text();
    assert!(text.contains("speaks none of our protocols over TLS: let it offer HTTP/1.1"), "{text}");
}

#[tokio::test]
async fn a_hundred_open_streams_of_one_user_do_not_delay_anothers_call() {
    let (url, ca_file) = server(&[b"h2", b"http/1.1"]).await;
    let gate = gate_trusting(&url, &ca_file).await;
    let client = gate.register().await;
    let alice = gate.tokens(&client).await.access;
    let place = gate.sign_in_as(BOB, &mut Browser::default(), &client, &[]).await;
    let bob = tokens(&gate.redeem(&client, &parameter(&place, "code").unwrap()).await).access;
    let open = (0..100).map(|_| {
        let request = gate.request("GET", "/mcp").header("authorization", format!("Bearer {alice}"));
        let request = request.header("accept", "text/event-stream").body(Empty::<Bytes>::new()).unwrap();
        gate.app.handle(request, "127.0.0.1:5000".parse().unwrap())
    });
    let open = futures_util::future::join_all(open).await;
    assert!(open.iter().all(|stream| stream.status() == 200));
    let answer = tokio::time::timeout(Duration::from_secs(5), gate.call(&bob)).await.expect("an answer in time");
    assert_eq!(answer.body, "HTTP/1.1 /backend local|bob 46");
}

#[tokio::test]
async fn an_untrusted_upstream_certificate_is_502_and_the_log_names_ca_file() {
    let (url, _ca_file) = server(&[]).await;
    let gate = gate_before(&url).await;
    let good = token(&gate).await;
    let (lines, _guard) = watch();
    assert_eq!(gate.call(&good).await.status, 502);
    let text = lines.text();
    assert!(text.contains("upstream mcp cannot be reached: the certificate of localhost:"), "{text}");
    assert!(text.contains("`ca_file`"), "{text}");
}
