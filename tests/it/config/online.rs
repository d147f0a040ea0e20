//! `portcullis check --online`: MCP servers and identity providers as they really fail.

use insta::assert_snapshot;
use portcullis::cli::Outcome;
use portcullis::clock::Clock;
use serde_json::json;

use super::{Operator, Printed};
use crate::support::provider::{CLIENT_SECRET, FakeProvider, Reply};
use crate::support::upstream::{Upstream, answer};

const AGENT_SECRET: &str = "a-secret-of-thirty-two-characters";

/// What `check --online` prints about this upstream and this provider.
fn look(url: &str, issuer: &str, secret: &str) -> Printed {
    look_with("", url, issuer, secret)
}

/// The same, with more keys of the upstream.
fn look_with(keys: &str, url: &str, issuer: &str, secret: &str) -> Printed {
    run(&["check", "--online"], keys, url, issuer, secret)
}

/// Runs the command on a thread of its own, while both keep serving.
fn run(command: &[&str], keys: &str, url: &str, issuer: &str, secret: &str) -> Printed {
    run_as(Operator::new().with("SECRET", secret), command, &configuration(keys, url, issuer))
}

fn configuration(keys: &str, url: &str, issuer: &str) -> String {
    format!(
        "public_url = \"https://mcp.example.com\"\n[storage]\nurl = \"sqlite:portcullis.db\"\n\
         [secrets]\nkeys = [{{ file = \"portcullis.key\" }}]\n\
         [[identity]]\nid = \"keycloak\"\nkind = \"keycloak\"\nissuer = \"{issuer}\"\nclient_id = \"portcullis\"\n\
         client_secret = {{ env = \"SECRET\" }}\n[[upstream]]\nid = \"expenses\"\npath = \"/mcp\"\nurl = \"{url}\"\n{keys}"
    )
}

/// Runs the command with this file, with an operator who has the provider's secret or not.
fn run_as(operator: Operator, command: &[&str], text: &str) -> Printed {
    let operator = operator.with("UPSTREAM_KEY", "Bearer k").with("AGENT_SECRET", AGENT_SECRET);
    let file = operator.path("portcullis.toml").display().to_string();
    std::fs::write(&file, text).unwrap();
    let arguments = [command, &["--config", &file]].concat();
    std::thread::scope(|scope| scope.spawn(|| operator.run(&arguments)).join().unwrap())
}

async fn provider() -> FakeProvider {
    FakeProvider::start(&Clock::system()).await
}

/// What `check --online` says about an upstream with this answer to a bare GET; its address is replaced.
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
async fn check_online_accepts_working_servers_after_a_code_and_a_refresh_token_that_it_made_up() {
    let (behind, provider) = (Upstream::polite().await, provider().await);
    let printed = look(&behind.url(), &provider.issuer(), CLIENT_SECRET);
    assert_eq!((printed.outcome, printed.err.as_str()), (Outcome::Done, ""));
    assert!(printed.out.starts_with("portcullis.toml: ok\n"), "{}", printed.out);
    let (_, asked) = printed.out.split_once("\n\n  what was asked").unwrap();
    let asked =
        asked.replace(&behind.address.to_string(), "BEHIND").replace(&provider.address().to_string(), "PROVIDER");
    assert_snapshot!(asked, @r"
    , and what answered
        database           /etc/portcullis/portcullis.db: not made yet, which `serve` does at its first start
        upstream expenses  http://BEHIND/backend: answers as an MCP server may
        identity keycloak  http://PROVIDER/realms/mcp: its metadata, its keys and its token endpoint answer
    ");
    assert_eq!((behind.count(), provider.calls("/token")), (1, 2));
}

/// An issuer of assertions whose keys are there, and the client that may use them.
fn with_issuer(jwks_uri: &str) -> String {
    format!(
        "[[client]]\nclient_id = \"agent\"\nclient_secret = {{ env = \"AGENT_SECRET\" }}\n\
         redirect_uris = [\"https://agent.example/cb\"]\n\
         [[assertion_issuer]]\nid = \"okta\"\nissuer = \"https://example.okta.com\"\njwks_uri = \"{jwks_uri}\"\n\
         clients = [\"agent\"]\nupstreams = [\"expenses\"]\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_online_reads_the_keys_of_assertion_issuers() {
    let (behind, provider, issuer) = (Upstream::polite().await, provider().await, provider().await);
    let good = with_issuer(&format!("{}/certs", issuer.issuer()));
    let printed = look_with(&good, &behind.url(), &provider.issuer(), CLIENT_SECRET);
    assert_eq!((printed.outcome, printed.err.as_str()), (Outcome::Done, ""));
    let line = format!("    assertion_issuer okta  {}/certs: its keys can be read\n", issuer.issuer());
    assert!(printed.out.ends_with(&line), "{}", printed.out);
    assert_eq!((issuer.calls("/certs"), provider.calls("/certs")), (1, 1));

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    issuer.edit_jwks(|keys| *keys = json!({"error": "not a key set"}));
    for (jwks_uri, why) in [
        (format!("http://{free}/certs"), "127.0.0.1 refuses the connection: nothing listens there"),
        (format!("{}/none", issuer.issuer()), "answers 404"),
        (format!("{}/certs", issuer.issuer()), "key set"),
    ] {
        let printed = look_with(&with_issuer(&jwks_uri), &behind.url(), &provider.issuer(), CLIENT_SECRET);
        assert_eq!(printed.outcome, Outcome::Failed, "{jwks_uri}");
        let said =
            "portcullis.toml: error: assertion_issuer \"okta\": jwks_uri: the keys of this issuer cannot be read: ";
        assert!(printed.err.starts_with(said) && printed.err.contains(why), "{}", printed.err);
        assert!(printed.err.contains("hint: its discovery document names jwks_uri"), "{}", printed.err);
        let line = format!("    assertion_issuer okta  {jwks_uri}: failed (see the error above)\n");
        assert!(printed.out.ends_with(&line), "{}", printed.out);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_online_looks_at_the_database_and_plain_check_does_not() {
    let (behind, provider) = (Upstream::polite().await, provider().await);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let operator = || {
        let operator = Operator::new().with("SECRET", CLIENT_SECRET);
        operator.with("PORTCULLIS_STORAGE__URL", &format!("postgres://u:pw-1@{free}/d"))
    };
    let text = configuration("", &behind.url(), &provider.issuer());
    let printed = run_as(operator(), &["check"], &text);
    assert_eq!((printed.outcome, printed.err.as_str()), (Outcome::Done, ""));
    let printed = run_as(operator(), &["check", "--online"], &text);
    assert_eq!(printed.outcome, Outcome::Failed);
    let said = format!("error: storage: url: the database cannot be used: the PostgreSQL database d at {free} ");
    assert!(printed.err.contains(&said) && !printed.err.contains("pw-1"), "{}", printed.err);
    assert!(
        printed.out.contains("    database           storage.url: failed (see the error above)\n"),
        "{}",
        printed.out
    );
    assert!(!printed.out.contains("ok\n") && printed.out.contains("upstream expenses"), "{}", printed.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_online_reports_a_wrong_upstream_as_an_error_with_a_hint() {
    let (outcome, words) = of_an_upstream(404, &[], "").await;
    assert_eq!(outcome, Outcome::Failed);
    assert_snapshot!(words, @r#"
    portcullis.toml: error: upstream "expenses": url: answers 404
        hint: check the path; MCP servers usually listen at /mcp
    portcullis.toml: 1 error
    "#);
    assert_snapshot!(of_an_upstream(401, &[], "").await.1, @r#"
    portcullis.toml: error: upstream "expenses": url: asks for credentials itself
        hint: switch its own authentication off, or configure what it wants in `headers` of [[upstream]]
    portcullis.toml: 1 error
    "#);
    assert_snapshot!(of_an_upstream(307, &[("location", "http://127.0.0.1:8420/mcp/")], "").await.1, @r#"
    portcullis.toml: error: upstream "expenses": url: redirects to "http://127.0.0.1:8420/mcp/"
        hint: give the URL that it redirects to
    portcullis.toml: 1 error
    "#);
    assert_snapshot!(of_an_upstream(421, &[], "Invalid Host header").await.1, @r#"
    portcullis.toml: error: upstream "expenses": url: answers 421: it does not know the name "HOST"
        hint: add that name to those that your MCP server allows, or set `host` of [[upstream]] to one that it answers to
    portcullis.toml: 1 error
    "#);
    let endpoint = "event: endpoint\ndata: /messages/?session_id=1\n\n";
    assert_snapshot!(of_an_upstream(200, &[("content-type", "text/event-stream")], endpoint).await.1, @r#"
    portcullis.toml: error: upstream "expenses": url: speaks HTTP+SSE, which is not supported in this version
        hint: start your MCP server with Streamable HTTP; it then usually listens at /mcp
    portcullis.toml: 1 error
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_online_sends_the_host_and_the_headers_that_calls_send() {
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
async fn check_online_reports_a_doubtful_upstream_as_a_warning() {
    let (outcome, words) = of_an_upstream(403, &[], "forbidden").await;
    assert_eq!(outcome, Outcome::Done);
    assert_snapshot!(words, @r#"
    portcullis.toml: warning: upstream "expenses": url: answers 403: it may not know the name "HOST"
        hint: add that name to those that your MCP server allows, or set `host` of [[upstream]] to one that it answers to
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
async fn check_online_warns_of_an_upstream_that_redirects_each_call() {
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
                    hint: write `url` with that path\nportcullis.toml: 1 warning\n";
        assert_eq!(printed.err, said);
        let gone = behind.url().replace("/backend", "/gone");
        let printed = look(&gone, &provider.issuer(), CLIENT_SECRET);
        assert_eq!(printed.outcome, Outcome::Failed);
        assert!(printed.err.contains("url: answers 404\n"), "{}", printed.err);
        assert!(printed.err.contains("url: redirects each call to \"/nowhere\"\n"), "{}", printed.err);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_online_reports_an_unreachable_upstream_and_provider_in_one_run() {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (dead, gone) = (free(), free());
    let printed = look(&format!("http://{dead}/mcp"), &format!("http://{gone}/realms/mcp"), CLIENT_SECRET);
    assert_eq!(printed.outcome, Outcome::Failed);
    let words = printed.err.replace(&dead.to_string(), "DEAD").replace(&gone.to_string(), "GONE");
    assert_snapshot!(words, @r#"
    portcullis.toml: error: identity "keycloak": the discovery document of identity keycloak at http://GONE/realms/mcp/.well-known/openid-configuration: 127.0.0.1 refuses the connection: nothing listens there
        hint: check that the server runs, and that this machine can reach it under that address; behind a company proxy, set `proxy` in [outbound]
    portcullis.toml: error: upstream "expenses": url: cannot be reached: DEAD refuses the connection: nothing listens there
        hint: start your MCP server first, and check host and port
    portcullis.toml: 2 errors
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_online_finds_a_wrong_client_secret_without_a_sign_in() {
    let (behind, provider) = (Upstream::polite().await, provider().await);
    let printed = look(&behind.url(), &provider.issuer(), "wrong-Secret");
    assert_eq!(printed.outcome, Outcome::Failed);
    assert!(!printed.err.contains("wrong-Secret"), "{}", printed.err);
    assert_snapshot!(printed.err, @r#"
    portcullis.toml: error: identity "keycloak": the token endpoint of identity keycloak answers 401 unauthorized_client (Invalid client or Invalid client credentials)
        hint: check `client_id` and `client_secret` of identity keycloak; Keycloak shows the secret in the client's tab Credentials; the client must be enabled, with client authentication and standard flow on
    portcullis.toml: 1 error
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_online_finds_a_wrong_client_secret_where_the_provider_looks_at_the_code_first() {
    let (behind, provider) = (Upstream::polite().await, provider().await);
    provider.answer_token(Reply::error(400, "invalid_grant", "invalid code"));
    let printed = look(&behind.url(), &provider.issuer(), "wrong-Secret");
    assert_eq!(printed.outcome, Outcome::Failed);
    assert!(printed.err.contains("check `client_id` and `client_secret`"), "{}", printed.err);
}

/// What `check --online` says about this provider, without its address.
async fn problems_of(provider: &FakeProvider) -> String {
    let behind = Upstream::polite().await;
    let printed = look(&behind.url(), &provider.issuer(), CLIENT_SECRET);
    assert_eq!(printed.outcome, Outcome::Failed, "{}", printed.err);
    printed.err.replace(&provider.address().to_string(), "HOST")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_under_another_name_is_reported_and_the_hint_says_what_to_write() {
    let provider = provider().await;
    provider.edit_discovery(|document| document["issuer"] = json!("https://sso.example.com/realms/other"));
    assert_snapshot!(problems_of(&provider).await, @r#"
    portcullis.toml: error: identity "keycloak": the discovery document of identity keycloak at http://HOST/realms/mcp/.well-known/openid-configuration: it names the issuer "https://sso.example.com/realms/other", the configuration names "http://HOST/realms/mcp"
        hint: if that is the provider you mean, set issuer = "https://sso.example.com/realms/other", byte for byte, and discovery = "http://HOST/realms/mcp/.well-known/openid-configuration"; Keycloak without --hostname names itself after the Host header it is reached by: start it with --hostname=URL, and with --hostname-backchannel-dynamic=true when it is reached under two names
    portcullis.toml: 1 error
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_realm_is_reported_and_the_hint_says_how_its_url_is_formed() {
    let (behind, provider) = (Upstream::polite().await, provider().await);
    let issuer = provider.issuer().replace("/realms/mcp", "/realms/none");
    let printed = look(&behind.url(), &issuer, CLIENT_SECRET);
    assert_eq!(printed.outcome, Outcome::Failed);
    assert_snapshot!(printed.err.replace(&provider.address().to_string(), "HOST"), @r#"
    portcullis.toml: error: identity "keycloak": the discovery document of identity keycloak at http://HOST/realms/none/.well-known/openid-configuration: it answers 404
        hint: does the realm exist? `issuer` is https://HOST/realms/NAME; before Keycloak 17, and with --http-relative-path=/auth, it is https://HOST/auth/realms/NAME
    portcullis.toml: 1 error
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_untrusted_certificate_is_reported_and_the_hint_names_ca_file() {
    assert_snapshot!(problems_of(&FakeProvider::start_tls(&Clock::system()).await).await, @r#"
    portcullis.toml: error: identity "keycloak": the discovery document of identity keycloak at https://HOST/realms/mcp/.well-known/openid-configuration: the certificate of 127.0.0.1 is signed by an authority that is not trusted here
        hint: name the certificate of that authority in `ca_file`
    portcullis.toml: 1 error
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreachable_keys_are_reported_with_their_address() {
    let provider = provider().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    provider.edit_discovery(move |document| document["jwks_uri"] = json!(format!("http://{free}/certs")));
    assert_snapshot!(problems_of(&provider).await.replace(&free.to_string(), "GONE"), @r#"
    portcullis.toml: error: identity "keycloak": the key set at http://GONE/certs cannot be read: 127.0.0.1 refuses the connection: nothing listens there
        hint: check that the server runs, and that this machine can reach it under that address; behind a company proxy, set `proxy` in [outbound]
    portcullis.toml: 1 error
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_endpoint_that_is_not_one_is_reported() {
    let provider = provider().await;
    provider.answer_token(Reply::html(404));
    assert_snapshot!(problems_of(&provider).await, @r#"
    portcullis.toml: error: identity "keycloak": the token endpoint of identity keycloak answers 404 without an error code
        hint: check `issuer`, and `discovery` if it is set
    portcullis.toml: 1 error
    "#);
    provider.answer_token(Reply::json(200, &json!({"access_token": "a"})));
    assert_snapshot!(problems_of(&provider).await, @r#"
    portcullis.toml: error: identity "keycloak": identity keycloak accepts a code that it never issued
        hint: do not trust this provider with sign-ins: check `issuer`
    portcullis.toml: 1 error
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_json_keeps_the_hint_apart_from_the_message() {
    let (behind, provider) = (Upstream::polite().await, provider().await);
    provider.stop().await;
    let printed = run(&["check", "--online", "--json"], "", &behind.url(), &provider.issuer(), CLIENT_SECRET);
    let problems: serde_json::Value = serde_json::from_str(&printed.out).unwrap();
    assert_eq!(problems[0]["key"], "identity \"keycloak\"");
    let message = problems[0]["message"].as_str().unwrap();
    assert!(message.ends_with("refuses the connection: nothing listens there"), "{message}");
    assert!(problems[0]["hint"].as_str().unwrap().contains("`proxy` in [outbound]"), "{problems}");
}
