//! Headers in both directions through the whole gate (header spoofing).

use portcullis::config::{Config, RequestHeaders};

use super::{gate_at, token, with};
use crate::support::gate::{TestGate, upstream};
use crate::support::log::watch;
use crate::support::upstream::{Upstream, answer};

/// What these lines of `[[upstream]]` mean, with this environment.
pub(super) fn request_headers(lines: &str, environment: &[(&str, &str)]) -> RequestHeaders {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("portcullis.toml");
    let rest = "[storage]\nurl = \"sqlite:x.db\"\n[secrets]\nkeys = [{ env = \"ROOT\" }]\n[[identity]]\nid = \"k\"\n\
                kind = \"oidc\"\nissuer = \"https://sso.example.com\"\nclient_id = \"x\"\n[[upstream]]\nid = \"a\"\n\
                path = \"/mcp\"\nurl = \"http://127.0.0.1:1/mcp\"\n";
    std::fs::write(&file, format!("public_url = \"http://127.0.0.1:8080\"\n{rest}{lines}\n")).unwrap();
    let root = ("ROOT", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let environment = environment.iter().chain([&root]).map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let config = Config::load(&file, environment).unwrap_or_else(|problems| panic!("{problems}")).config;
    config.upstreams[0].settings.request_headers.clone()
}

/// A gate whose upstream has these settings.
pub(super) async fn gate_with(behind: &Upstream, lines: &str, environment: &[(&str, &str)]) -> TestGate {
    let (url, told) = (behind.url(), request_headers(lines, environment));
    TestGate::with(|config| {
        let mut settings = upstream(&config.public_url, "mcp", &url).settings;
        settings.request_headers = told;
        config.upstreams = vec![portcullis::config::Upstream::new(&config.public_url, settings).unwrap()];
    })
    .await
}

#[tokio::test]
async fn identity_and_override_headers_of_other_proxies_are_dropped() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let token = token(&gate).await;
    let says = [
        ("proxy", "http://evil.example"),
        ("x-original-url", "/admin"),
        ("x-rewrite-url", "/admin"),
        ("x-http-method-override", "DELETE"),
        ("x-middleware-subrequest", "middleware"),
        ("cf-access-authenticated-user-email", "root@example.com"),
        ("X_WebAuth_User", "root"),
        ("true-client-ip", "1.2.3.4"),
        ("x-ssl-client-s-dn", "CN=root"),
        ("x-custom", "stays"),
    ];
    assert_eq!(with(&gate, &token, "POST", &says).await.status, 200);
    let seen = behind.last();
    let left: Vec<_> = says.iter().filter(|(name, _)| seen.headers.contains_key(*name)).collect();
    assert_eq!(left, [&("x-custom", "stays")]);
}

#[tokio::test]
async fn drop_headers_and_keep_headers_change_what_is_forwarded() {
    let behind = Upstream::polite().await;
    let lines = "drop_headers = [\"x-tenant-*\"]\nkeep_headers = [\"Cf-Access-Jwt-Assertion\"]";
    let gate = gate_with(&behind, lines, &[]).await;
    let token = token(&gate).await;
    let says = [
        ("x-tenant-id", "1"),
        ("cf-access-jwt-assertion", "from-the-proxy"),
        ("cf_access_jwt_assertion", "forged"),
        ("cf-access-authenticated-user-email", "forged"),
        ("x-forwarded-user", "forged"),
    ];
    assert_eq!(with(&gate, &token, "POST", &says).await.status, 200);
    let seen = behind.last();
    let told = says.map(|(name, _)| seen.header(name));
    assert_eq!(told, [None, Some("from-the-proxy"), None, None, Some("local|alice")]);
}

#[tokio::test]
async fn configured_upstream_headers_replace_those_of_the_client() {
    let behind = Upstream::start(|seen| match seen.header("authorization") {
        Some("Bearer s3cret-key") => answer(200, &[("content-type", "application/json")], "{}"),
        _ => answer(401, &[], "who are you?"),
    })
    .await;
    let lines = "headers = { authorization = { env = \"KEY\" }, X-Functions-Key = { env = \"FUNCTIONS\" } }";
    let environment = [("KEY", "Bearer s3cret-key"), ("FUNCTIONS", "s3cret-function")];
    let gate = gate_with(&behind, lines, &environment).await;
    let token = token(&gate).await;
    let (lines, _guard) = watch();
    let says = [("x-functions-key", "mine"), ("X_Functions_Key", "mine"), ("x.functions.key", "mine")];
    let answered = with(&gate, &token, "POST", &says).await;
    assert_eq!(answered.status, 200, "{answered:?}");
    let seen = behind.last();
    assert_eq!(seen.headers.get_all("x-functions-key").iter().collect::<Vec<_>>(), ["s3cret-function"]);
    assert_eq!(seen.headers.get_all("authorization").iter().count(), 1);
    assert_eq!((seen.header("x_functions_key"), seen.header("x.functions.key")), (None, None));
    assert!(!lines.text().contains("s3cret"), "{}", lines.text());
}

#[tokio::test]
async fn a_configured_credential_that_the_upstream_refuses_is_named_as_the_cause() {
    let behind = Upstream::start(|_| answer(401, &[("www-authenticate", "Bearer")], "no")).await;
    let gate = gate_with(&behind, "headers = { authorization = { env = \"KEY\" } }", &[("KEY", "Bearer s3cret")]).await;
    let token = token(&gate).await;
    let (lines, _guard) = watch();
    let answered = gate.call(&token).await;
    assert_eq!((answered.status, answered.header("www-authenticate")), (502, ""));
    assert!(answered.body.contains("refused the credential that is configured for it"), "{answered:?}");
    let text = lines.text();
    assert!(text.contains("it refused what is configured for it in headers (authorization)"), "{text}");
    assert!(!text.contains("s3cret") && !answered.body.contains("s3cret"));
}

#[tokio::test]
async fn a_repeated_single_value_header_is_refused_before_forwarding() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let token = token(&gate).await;
    for says in [
        [("content-type", "application/json"), ("content-type", "text/plain")],
        [("mcp-session-id", "a"), ("mcp-session-id", "b")],
        [("mcp-protocol-version", "2025-11-25"), ("mcp-protocol-version", "2026-07-28")],
        [("mcp-method", "tools/list"), ("mcp-method", "tools/call")],
        [("mcp-name", "a"), ("mcp-name", "a")],
        [("mcp-param-region", "eu"), ("mcp-param-region", "us")],
        [("last-event-id", "1"), ("last-event-id", "2")],
        [("content-type", "text/plain, application/json"), ("accept", "*/*")],
    ] {
        let answered = with(&gate, &token, "POST", &says).await;
        assert_eq!((answered.status, answered.header("connection")), (400, "close"), "{says:?}");
    }
    assert_eq!(behind.count(), 0);
    let many = [("accept", "application/json"), ("accept", "text/event-stream"), ("mcp-name", "a")];
    assert_eq!(with(&gate, &token, "POST", &many).await.status, 200);
}

#[tokio::test]
async fn answer_headers_that_command_proxies_or_the_origin_are_dropped() {
    let orders = [
        ("x-accel-redirect", "/protected/secrets"),
        ("x-accel-expires", "3600"),
        ("x-accel-buffering", "yes"),
        ("X_Accel_Redirect", "/protected/secrets"),
        ("x-sendfile", "/etc/passwd"),
        ("x-lighttpd-send-file", "/etc/passwd"),
        ("nel", "{}"),
        ("report-to", "{}"),
        ("reporting-endpoints", "a=\"https://evil.example\""),
        ("accept-ch", "Sec-CH-UA-Model"),
        ("critical-ch", "Sec-CH-UA-Model"),
        ("surrogate-control", "max-age=3600"),
        ("cdn-cache-control", "public"),
        ("cloudflare-cdn-cache-control", "public"),
        ("clear-site-data", "\"*\""),
        ("strict-transport-security", "max-age=1"),
        ("alt-svc", "h3=\"evil.example:443\""),
        ("service-worker-allowed", "/"),
        ("set-login", "logged-in"),
        ("x-envoy-immediate-health-check-fail", "1"),
    ];
    for (kind, buffering) in [("application/json", ""), ("text/event-stream", "no")] {
        let behind = Upstream::start(move |_| {
            let mut headers = orders.to_vec();
            headers.extend([
                ("content-type", kind),
                ("cache-control", "public, max-age=60, s-maxage=600"),
                ("x-own", "stays"),
            ]);
            answer(200, &headers, "{}")
        })
        .await;
        let gate = gate_at(&behind).await;
        let answered = gate.call(&token(&gate).await).await;
        assert_eq!((answered.status, answered.header("x-own")), (200, "stays"));
        let passed: Vec<_> =
            orders.iter().map(|(name, _)| *name).filter(|name| answered.headers.contains_key(*name)).collect();
        assert_eq!(passed, if buffering.is_empty() { vec![] } else { vec!["x-accel-buffering"] });
        assert_eq!(answered.header("x-accel-buffering"), buffering);
        assert_eq!(answered.header("cache-control"), "private, max-age=60");
        assert_eq!(answered.header("vary"), "authorization");
    }
}

#[tokio::test]
async fn an_answer_without_cache_control_gets_no_store() {
    let behind = Upstream::polite().await;
    let gate = gate_at(&behind).await;
    let answered = gate.call(&token(&gate).await).await;
    assert_eq!((answered.header("cache-control"), answered.header("vary")), ("no-store", ""));
}

#[tokio::test]
async fn a_malformed_upstream_session_id_is_502_with_the_cause() {
    let odd = "caf\u{e9}";
    let cases: [(&[(&str, &str)], &str); 2] = [
        (&[("mcp-session-id", odd)], "sent other characters than visible ASCII in Mcp-Session-Id"),
        (&[("mcp-session-id", "a"), ("mcp-session-id", "b")], "sent several ids in Mcp-Session-Id"),
    ];
    for (headers, cause) in cases {
        let headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let behind = Upstream::start(move |_| {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            answer(200, &headers, "{}")
        })
        .await;
        let gate = gate_at(&behind).await;
        let token = token(&gate).await;
        let (lines, _guard) = watch();
        let answered = gate.call(&token).await;
        assert_eq!((answered.status, answered.headers.contains_key("mcp-session-id")), (502, false), "{answered:?}");
        assert!(lines.text().contains(cause), "{}", lines.text());
    }
}
