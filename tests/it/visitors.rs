//! Browsers at addresses that are meant for programs.

use portcullis::config::Config;

use crate::support::gate::{Answer, TestGate, upstream};

const CHROMIUM: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
/// What MCP clients send, and what other programs do.
const PROGRAMS: [&str; 5] = ["application/json, text/event-stream", "text/event-stream", "application/json", "*/*", ""];

async fn open(gate: &TestGate, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request =
        headers.iter().fold(gate.request("GET", path), |request, (name, value)| request.header(*name, *value));
    gate.send(request, "").await
}

async fn in_browser(gate: &TestGate, path: &str) -> Answer {
    let headers = [("accept", CHROMIUM), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    open(gate, path, &headers).await
}

fn is_page(answer: &Answer) -> bool {
    let page = answer.header("content-type").starts_with("text/html");
    assert_eq!(page, answer.header("content-security-policy").starts_with("default-src 'none'"), "{answer:?}");
    assert_eq!(page, answer.body.starts_with("<!doctype html>"), "{answer:?}");
    page
}

fn with_wiki(config: &mut Config) {
    config.upstreams.push(upstream(&config.public_url, "wiki", "http://127.0.0.1:9/mcp"));
}

#[tokio::test]
async fn a_browser_at_an_upstreams_path_gets_a_page_with_the_same_status_and_challenge() {
    let gate = TestGate::with(with_wiki).await;
    for (path, name) in
        [("/mcp", "Server mcp"), ("/mcp/", "Server mcp"), ("/wiki", "Server wiki"), ("/wiki?a=b", "Server wiki")]
    {
        let program = open(&gate, path, &[("accept", PROGRAMS[0])]).await;
        let person = in_browser(&gate, path).await;
        assert!(is_page(&person) && !is_page(&program));
        assert_eq!((person.status, program.status), (401, 401));
        for name in ["www-authenticate", "x-content-type-options"] {
            assert_eq!(person.headers.get_all(name).iter().count(), 1, "{name}");
        }
        assert_eq!(person.header("www-authenticate"), program.header("www-authenticate"), "{path}");
        assert!(!person.header("x-request-id").is_empty() && person.header("cache-control") == "no-store");
        assert!(person.body.contains(&format!("<bdi>{name}</bdi> is an MCP server")), "{path}: {person:?}");
    }
}

#[tokio::test]
async fn programs_never_get_a_page() {
    let gate = TestGate::new().await;
    for accept in PROGRAMS {
        for path in ["/mcp", "/", "/nothing", "/mcp/below"] {
            let answer = open(&gate, path, &[("accept", accept)]).await;
            assert!(!is_page(&answer), "{path} {accept}: {answer:?}");
            if path == "/mcp" {
                assert_eq!(answer.status, 401);
                assert_eq!(answer.json()["error"]["message"], "authorization is required");
            } else {
                assert_eq!((answer.status, answer.header("content-type")), (404, "text/plain; charset=utf-8"));
                assert_eq!(answer.body, "Nothing here. MCP servers have their own paths on this host.\n");
            }
        }
    }
    for (mode, dest) in [("cors", "empty"), ("navigate", "iframe"), ("no-cors", "image")] {
        let fetch = [("accept", CHROMIUM), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
        assert!(!is_page(&open(&gate, "/mcp", &fetch).await), "{mode} {dest}");
    }
    let with_token = [("accept", CHROMIUM), ("authorization", "Bearer x")];
    let refused = open(&gate, "/mcp", &with_token).await;
    assert!(!is_page(&refused) && refused.header("www-authenticate").contains("invalid_token"), "{refused:?}");
    for method in ["POST", "DELETE", "PUT"] {
        let answer = gate.send(gate.request(method, "/mcp").header("accept", CHROMIUM), "").await;
        assert!(!is_page(&answer), "{method}: {answer:?}");
    }
    assert!(!is_page(&open(&gate, "/.well-known/nothing", &[("accept", CHROMIUM)]).await));
}

#[tokio::test]
async fn other_refusals_at_an_upstreams_path_are_never_a_page() {
    let gate = TestGate::new().await;
    for (path, status) in [("/mcp?access_token=x", 400), ("/mcp", 403)] {
        let mut headers = vec![("accept", CHROMIUM)];
        headers.extend((status == 403).then_some(("origin", "https://evil.example")));
        let answer = open(&gate, path, &headers).await;
        assert!(answer.status == status && !is_page(&answer), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn browsers_get_pages_at_the_root_and_at_unknown_paths_without_an_echo_of_the_path() {
    let gate = TestGate::with(with_wiki).await;
    let front = in_browser(&gate, "/").await;
    assert!(is_page(&front) && front.status == 404, "{front:?}");
    assert!(front.body.contains("http://127.0.0.1:6749/PATH"), "{front:?}");
    for path in ["/nothing", "/mcp/below", "/callbac/keycloak", "/%3Cscript%3E?a=%3Cscript%3E"] {
        let nothing = in_browser(&gate, path).await;
        assert!(is_page(&nothing) && nothing.status == 404, "{path}: {nothing:?}");
        assert!(nothing.body.contains("<h1>There is nothing at this address</h1>"), "{path}");
        assert!(
            !nothing.body.contains("cript%3E")
                && !nothing.body.contains("<script")
                && !nothing.body.contains("callbac"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_front_page_lists_upstreams_only_if_configured() {
    for list_upstreams in [false, true] {
        let gate = TestGate::with(|config| {
            with_wiki(config);
            config.pages.list_upstreams = list_upstreams;
        })
        .await;
        let front = in_browser(&gate, "/").await;
        let nothing = in_browser(&gate, "/nothing").await;
        for told in ["Server mcp", "Server wiki", "http://127.0.0.1:6749/wiki"] {
            assert_eq!(front.body.contains(told), list_upstreams, "{told}");
            assert!(!nothing.body.contains(told), "{told}");
        }
    }
}
