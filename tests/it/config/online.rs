//! `portcullis check --online`: MCP servers and identity providers as they really fail.

use insta::assert_snapshot;
use portcullis::cli::Outcome;
use portcullis::clock::Clock;
use serde_json::json;

use super::{Operator, Printed};
use crate::support::provider::{CLIENT_SECRET, FakeProvider};
use crate::support::upstream::{Upstream, answer};

/// What is said of this upstream and this provider.
fn look(url: &str, issuer: &str, secret: &str) -> Printed {
    look_with("", url, issuer, secret)
}

/// The same, with more keys of the upstream; on a thread of its own, while both go on.
fn look_with(keys: &str, url: &str, issuer: &str, secret: &str) -> Printed {
    let operator = Operator::new().with("SECRET", secret).with("UPSTREAM_KEY", "Bearer k");
    let text = format!(
        "public_url = \"https://mcp.example.com\"\n[storage]\nurl = \"sqlite:portcullis.db\"\n\
         [secrets]\nkeys = [{{ file = \"portcullis.key\" }}]\n\
         [[identity]]\nid = \"keycloak\"\nkind = \"keycloak\"\nissuer = \"{issuer}\"\nclient_id = \"portcullis\"\n\
         client_secret = {{ env = \"SECRET\" }}\n[[upstream]]\nid = \"expenses\"\npath = \"/mcp\"\nurl = \"{url}\"\n{keys}"
    );
    let file = operator.path("portcullis.toml").display().to_string();
    std::fs::write(&file, text).unwrap();
    let command = || operator.run(&["check", "--online", "--config", &file]);
    std::thread::scope(|scope| scope.spawn(command).join().unwrap())
}

async fn provider() -> FakeProvider {
    FakeProvider::start(&Clock::system()).await
}

/// What is said of an upstream that answers a bare GET so, without its address.
async fn of_an_upstream(
    status: u16,
    headers: &[(&'static str, &'static str)],
    body: &'static str,
) -> (Outcome, String) {
    let headers = headers.to_vec();
    let behind = Upstream::start(move |_| answer(status, &headers, body)).await;
    let provider = provider().await;
    let Printed { outcome, err, .. } = look(&behind.url(), &provider.issuer(), CLIENT_SECRET);
    (outcome, err.replace(&behind.address.to_string(), "HOST"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_answers_as_it_should_is_fine_and_leaves_nothing_behind() {
    let (behind, provider) = (Upstream::polite().await, provider().await);
    let printed = look(&behind.url(), &provider.issuer(), CLIENT_SECRET);
    assert_eq!((printed.outcome, printed.err.as_str()), (Outcome::Done, ""));
    assert!(printed.out.starts_with("portcullis.toml: ok\n"), "{}", printed.out);
    assert_eq!((behind.count(), provider.calls("/token")), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_cannot_be_right_is_an_error_with_its_mend() {
    let (outcome, words) = of_an_upstream(404, &[], "").await;
    assert_eq!(outcome, Outcome::Failed);
    assert_snapshot!(words, @r#"
    portcullis.toml: error: upstream "expenses": url: answers 404
        mend: check the path; MCP servers usually listen at /mcp
    portcullis.toml: 1 error
    "#);
    assert_snapshot!(of_an_upstream(401, &[], "").await.1, @r#"
    portcullis.toml: error: upstream "expenses": url: asks for credentials itself
        mend: switch its own authentication off, or configure what it wants in `headers` of [[upstream]]
    portcullis.toml: 1 error
    "#);
    assert_snapshot!(of_an_upstream(307, &[("location", "http://127.0.0.1:8420/mcp/")], "").await.1, @r#"
    portcullis.toml: error: upstream "expenses": url: redirects to "http://127.0.0.1:8420/mcp/"
        mend: give the URL that it redirects to
    portcullis.toml: 1 error
    "#);
    assert_snapshot!(of_an_upstream(421, &[], "Invalid Host header").await.1, @r#"
    portcullis.toml: error: upstream "expenses": url: answers 421: it does not know the name "HOST"
        mend: add that name to those that your MCP server allows, or set `host` of [[upstream]] to one that it answers to
    portcullis.toml: 1 error
    "#);
    let endpoint = "event: endpoint\ndata: /messages/?session_id=1\n\n";
    assert_snapshot!(of_an_upstream(200, &[("content-type", "text/event-stream")], endpoint).await.1, @r#"
    portcullis.toml: error: upstream "expenses": url: speaks HTTP+SSE, which is not in this version
        mend: start your MCP server with Streamable HTTP; it then usually listens at /mcp
    portcullis.toml: 1 error
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_is_asked_by_the_name_and_with_the_headers_that_calls_will_have() {
    let behind = Upstream::start(|seen| match (seen.header("host"), seen.header("authorization")) {
        (Some("mcp.internal"), Some("Bearer k")) => answer(405, &[], ""),
        (Some("mcp.internal"), _) => answer(401, &[], ""),
        _ => answer(421, &[], ""),
    })
    .await;
    let provider = provider().await;
    let say = |keys: &str| {
        let printed = look_with(keys, &behind.url(), &provider.issuer(), CLIENT_SECRET);
        printed.err.lines().next().unwrap_or_default().replace(&behind.address.to_string(), "HOST")
    };
    assert_eq!(say("host = \"mcp.internal\"\nheaders = { authorization = { env = \"UPSTREAM_KEY\" } }\n"), "");
    assert_snapshot!(say("host = \"mcp.internal\"\n"), @r#"portcullis.toml: error: upstream "expenses": url: asks for credentials itself"#);
    assert_snapshot!(say("host = \"mcp.local\"\n"), @r#"portcullis.toml: error: upstream "expenses": url: answers 421: it does not know the name "mcp.local""#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_may_be_right_is_a_warning() {
    let (outcome, words) = of_an_upstream(403, &[], "forbidden").await;
    assert_eq!(outcome, Outcome::Done);
    assert_snapshot!(words, @r#"
    portcullis.toml: warning: upstream "expenses": url: answers 403: it may not know the name "HOST"
        mend: add that name to those that your MCP server allows, or set `host` of [[upstream]] to one that it answers to
    portcullis.toml: 1 warning
    "#);
    let (outcome, words) = of_an_upstream(200, &[("content-type", "text/html")], "<html>").await;
    assert_eq!(outcome, Outcome::Done);
    assert!(words.contains("warning: upstream \"expenses\": url: answers with a web page"), "{words}");
    for status in [400, 405, 406, 500] {
        assert_eq!(of_an_upstream(status, &[], "").await, (Outcome::Done, String::new()), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_redirects_each_call_on_its_own_origin_is_a_warning() {
    for status in [307, 308] {
        let behind = Upstream::start(move |seen| match seen.uri.as_str() {
            "/backend" => answer(status, &[("location", "/backend/?key=secret")], ""),
            "/gone" => answer(status, &[("location", "/nowhere")], ""),
            "/nowhere" => answer(404, &[], ""),
            _ => answer(406, &[], ""),
        })
        .await;
        let provider = provider().await;
        let printed = look(&behind.url(), &provider.issuer(), CLIENT_SECRET);
        assert_eq!(printed.outcome, Outcome::Done);
        let said = "portcullis.toml: warning: upstream \"expenses\": url: redirects each call to \"/backend/\"\n    \
                    mend: write `url` with that path\nportcullis.toml: 1 warning\n";
        assert_eq!(printed.err, said);
        let gone = behind.url().replace("/backend", "/gone");
        let printed = look(&gone, &provider.issuer(), CLIENT_SECRET);
        assert_eq!(printed.outcome, Outcome::Failed);
        assert!(printed.err.contains("url: answers 404\n"), "{}", printed.err);
        assert!(printed.err.contains("url: redirects each call to \"/nowhere\"\n"), "{}", printed.err);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_and_a_provider_that_are_dead_are_both_named() {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (dead, gone) = (free(), free());
    let printed = look(&format!("http://{dead}/mcp"), &format!("http://{gone}/realms/mcp"), CLIENT_SECRET);
    assert_eq!(printed.outcome, Outcome::Failed);
    let words = printed.err.replace(&dead.to_string(), "DEAD").replace(&gone.to_string(), "GONE");
    assert_snapshot!(words, @r#"
    portcullis.toml: error: identity "keycloak": the discovery document of identity keycloak at http://GONE/realms/mcp/.well-known/openid-configuration: 127.0.0.1 refuses the connection: nothing listens there
    portcullis.toml: error: upstream "expenses": url: cannot be reached: DEAD refuses the connection: nothing listens there
        mend: start your MCP server first, and check host and port
    portcullis.toml: 2 errors
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_client_secret_is_found_without_a_user() {
    let (behind, provider) = (Upstream::polite().await, provider().await);
    let printed = look(&behind.url(), &provider.issuer(), "wrong-Secret");
    assert_eq!(printed.outcome, Outcome::Failed);
    assert!(!printed.err.contains("wrong-Secret"), "{}", printed.err);
    assert_snapshot!(printed.err, @r#"
    portcullis.toml: error: identity "keycloak": the token endpoint of identity keycloak answers 401 unauthorized_client (Invalid client or Invalid client credentials): check `client_id` and `client_secret` of identity keycloak (in Keycloak: the client's tab Credentials; is the client enabled, with client authentication and standard flow on?)
    portcullis.toml: 1 error
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_calls_itself_otherwise_is_found() {
    let (behind, provider) = (Upstream::polite().await, provider().await);
    provider.edit_discovery(|document| document["issuer"] = json!("https://sso.example.com/realms/other"));
    let printed = look(&behind.url(), &provider.issuer(), CLIENT_SECRET);
    assert_eq!(printed.outcome, Outcome::Failed);
    assert_snapshot!(printed.err.replace(&provider.address().to_string(), "HOST"), @r#"
    portcullis.toml: error: identity "keycloak": the discovery document of identity keycloak at http://HOST/realms/mcp/.well-known/openid-configuration: it names the issuer "https://sso.example.com/realms/other", the configuration names "http://HOST/realms/mcp": Keycloak without --hostname names itself after the Host header it is reached by: start it with --hostname=URL, and with --hostname-backchannel-dynamic=true when it is reached under two names
    portcullis.toml: 1 error
    "#);
}
