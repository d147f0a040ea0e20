//! What `portcullis dev` says about an upstream before it starts.

use std::path::Path;

use insta::assert_snapshot;
use portcullis::dev::{Dev, DevOptions};

use crate::support::log::watch;
use crate::support::upstream::{Upstream, answer};

/// No test listens on it.
const PORT: u16 = 16_749;

async fn prepare(state_home: &Path, upstream: &str) -> Result<Dev, String> {
    prepare_on(PORT, state_home, upstream).await
}

async fn prepare_on(port: u16, state_home: &Path, upstream: &str) -> Result<Dev, String> {
    let options = DevOptions { port, upstream: Some(upstream.to_owned()), state_home: state_home.to_owned() };
    Dev::prepare(&options).await.map(|(dev, _ports)| dev).map_err(|error| error.to_string())
}

/// What `dev` says about an upstream with this answer to a bare GET.
async fn said(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let headers = headers.to_vec();
    let upstream = Upstream::start(move |_| answer(status, &headers, body)).await;
    let prepared = prepare(directory.path(), &format!("http://{}/mcp", upstream.address)).await;
    let words = prepared.err().unwrap_or_else(|| "fine".to_owned());
    words.replace(&upstream.address.to_string(), "HOST")
}

#[tokio::test]
async fn dev_accepts_whatever_an_mcp_server_may_answer_to_a_bare_get() {
    for status in [200, 202, 400, 403, 405, 406, 415, 500] {
        assert_eq!(said(status, &[("content-type", "application/json")], "{}").await, "fine", "{status}");
    }
    let stream = [("content-type", "text/event-stream")];
    for begin in ["", ": hello\n\n", "event: message\ndata: {}\n\n"] {
        assert_eq!(said(200, &stream, begin).await, "fine", "{begin}");
    }
    assert_eq!(said(200, &[("content-type", "text/html")], "<html>").await, "fine");
}

#[tokio::test]
async fn dev_refuses_a_wrong_upstream_with_a_hint() {
    assert_snapshot!(said(404, &[], "").await, @r#"
    --upstream http://HOST/mcp answers 404
      hint: check the path; MCP servers usually listen at /mcp
    "#);
    assert_snapshot!(said(401, &[], "").await, @r#"
    --upstream http://HOST/mcp asks for credentials itself
      hint: switch its own authentication off, or configure what it wants in `headers` of [[upstream]]
    "#);
    assert_snapshot!(said(307, &[("location", "http://127.0.0.1:8420/mcp/")], "").await, @r#"
    --upstream http://HOST/mcp redirects to "http://127.0.0.1:8420/mcp/"
      hint: give the URL that it redirects to
    "#);
    let endpoint = "event: endpoint\ndata: /messages/?session_id=1\n\n";
    assert_snapshot!(said(200, &[("content-type", "text/event-stream; charset=utf-8")], endpoint).await, @r#"
    --upstream http://HOST/mcp speaks HTTP+SSE, which is not supported in this version
      hint: start your MCP server with Streamable HTTP; it then usually listens at /mcp
    "#);
}

#[tokio::test]
async fn dev_warns_once_of_an_upstream_that_redirects_each_call() {
    let upstream = Upstream::start(|seen| match seen.uri.as_str() {
        "/mcp/" => answer(307, &[("location", "/mcp")], ""),
        _ => answer(406, &[], ""),
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let (lines, _guard) = watch();
    let dev = prepare(directory.path(), &format!("http://{}/mcp/", upstream.address)).await.unwrap();
    assert!(dev.screen.starts_with(concat!("Portcullis ", env!("PORTCULLIS_VERSION"), ", ")), "{}", dev.screen);
    let text = lines.text();
    assert_eq!(text.matches("redirects each call").count(), 1, "{text}");
    assert!(text.contains("--upstream redirects each call to \"/mcp\"") && text.contains("with that path"), "{text}");
}

#[tokio::test]
async fn dev_refuses_an_invalid_or_looping_upstream_before_it_writes_anything() {
    let directory = tempfile::tempdir().unwrap();
    for bad in ["127.0.0.1:8420/mcp", "localhost:8420/mcp", "ftp://a/b", "/mcp", "", "http://", "http://a/mcp?x=1"] {
        let words = prepare(directory.path(), bad).await.err().unwrap();
        assert!(words.starts_with(&format!("--upstream {bad:?} ")) && words.contains("\n  hint: give "), "{words}");
    }
    for ourselves in ["http://127.0.0.1:16749/mcp", "http://localhost:16749/"] {
        let words = prepare(directory.path(), ourselves).await.err().unwrap();
        assert!(words.contains("leads back to this program"), "{words}");
    }
    let words = prepare(directory.path(), "http://u:hunter2@127.0.0.1:8420/mcp").await.err().unwrap();
    assert!(!words.contains("hunter2"), "{words}");
    assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none());
}

#[tokio::test]
async fn dev_leaves_nothing_behind_when_its_upstream_or_its_port_cannot_be_had() {
    let directory = tempfile::tempdir().unwrap();
    let words = prepare(directory.path(), "http://127.0.0.1:9/mcp").await.err().unwrap();
    assert!(words.starts_with("--upstream http://127.0.0.1:9/mcp cannot be reached: "), "{words}");
    let upstream = Upstream::polite().await;
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let words = prepare_on(port, directory.path(), &upstream.url()).await.err().unwrap();
    assert!(words.starts_with(&format!("port {port} is in use by another program\n  hint: stop it")), "{words}");
    assert_eq!(upstream.count(), 0, "the port comes first");
    assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none());
}

#[tokio::test]
async fn a_second_dev_on_a_port_names_the_first_one() {
    let (directory, upstream) = (tempfile::tempdir().unwrap(), Upstream::polite().await);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let options = DevOptions { port, upstream: Some(upstream.url()), state_home: directory.path().to_owned() };
    let running =
        format!("portcullis dev is already running: process {} on http://127.0.0.1:{port}", std::process::id());
    let (_dev, ports) = Dev::prepare(&options).await.unwrap();
    let words = prepare_on(port, directory.path(), &upstream.url()).await.err().unwrap();
    assert!(words.starts_with(&running), "it does not listen yet: {words}");
    let _listeners = ports.listen().unwrap();
    let words = prepare_on(port, directory.path(), &upstream.url()).await.err().unwrap();
    assert!(words.starts_with(&running), "it listens: {words}");
}

#[tokio::test]
async fn an_unusable_state_directory_is_reported_with_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let upstream = Upstream::polite().await;
    let words = prepare(&file, &upstream.url()).await.err().unwrap();
    assert!(words.starts_with(&format!("{}/portcullis/dev-{PORT} cannot be used: ", file.display())), "{words}");
    assert!(
        words.ends_with("hint: make it writable for your user, or set XDG_STATE_HOME to another directory"),
        "{words}"
    );
}
