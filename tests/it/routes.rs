//! Every route of ours with every method, and odd paths.

use std::collections::BTreeSet;

use portcullis::oauth::paths::{RESERVED, ROUTES, route_of};

use crate::support::gate::{TestGate, resource_server};

const METHODS: [&str; 9] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "FOO"];

/// What each route allows; those of the one upstream come last.
const ALLOWED: [(&str, &str); 27] = [
    ("/.well-known/oauth-protected-resource", "GET,HEAD"),
    ("/.well-known/oauth-protected-resource/{*path}", "GET,HEAD"),
    ("/.well-known/oauth-authorization-server", "GET,HEAD"),
    ("/.well-known/openid-configuration", "GET,HEAD"),
    ("/.well-known/jwks.json", "GET,HEAD"),
    ("/.well-known/portcullis-doctor", "GET,HEAD"),
    ("/.well-known/{*rest}", "GET,HEAD"),
    ("/token", "POST"),
    ("/revoke", "POST"),
    ("/introspect", "POST"),
    ("/register", "POST"),
    ("/register/{client_id}", "GET,HEAD,PUT,DELETE"),
    ("/back-channel-logout/{identity}", "POST"),
    ("/authorize", "GET,HEAD"),
    ("/consent", "POST"),
    ("/callback/{identity}", "GET,HEAD"),
    ("/sign-in/{identity}", "GET,HEAD,POST"),
    ("/account", "GET,HEAD"),
    ("/account/sign-in", "POST"),
    ("/account/end", "GET,HEAD,POST"),
    ("/account/forget", "POST"),
    ("/account/sign-out", "POST"),
    ("/device", "GET,HEAD,POST"),
    ("/device/answer", "POST"),
    ("/device_authorization", "POST"),
    ("/mcp/.well-known/oauth-protected-resource", "GET,HEAD"),
    ("/mcp/.well-known/{*rest}", "GET,HEAD"),
];

/// A path that a route serves.
fn concrete(route: &str) -> String {
    route
        .replace("{*path}", "mcp")
        .replace("{*rest}", "anything")
        .replace("{identity}", "local")
        .replace("{client_id}", "c_1")
}

/// A gate at which every route is served.
async fn gate() -> TestGate {
    TestGate::with(|config| {
        config.device.enabled = true;
        config.clients.push(resource_server("server", &["mcp"]));
    })
    .await
}

#[test]
fn the_methods_of_every_route_in_the_table_are_tested() {
    let tried: BTreeSet<&str> = ALLOWED.iter().map(|(route, _)| *route).collect();
    let ours: BTreeSet<&str> = ROUTES.iter().copied().collect();
    let of_the_upstream: BTreeSet<&str> = tried.iter().copied().filter(|route| route.starts_with("/mcp/")).collect();
    assert_eq!(tried, ours.union(&of_the_upstream).copied().collect());
}

#[test]
fn the_router_takes_its_paths_from_the_table_alone() {
    let router = include_str!("../../src/web/mod.rs");
    let from_the_table = [".route(route.path(), ", ".route(&format!(\"{}{}\", upstream.settings.path, route.path()), "];
    let derived: usize = from_the_table.iter().map(|call| router.matches(call).count()).sum();
    assert_eq!(router.matches(".route(").count(), derived, "a path is spelt out");
    for route in ROUTES {
        assert!(!router.contains(&format!("\"{route}\"")), "{route} is spelt a second time");
    }
}

#[tokio::test]
async fn every_route_answers_its_own_methods_and_405_to_others() {
    let gate = gate().await;
    for (route, allowed) in ALLOWED {
        let path = concrete(route);
        let programs = ["/token", "/revoke", "/register", "/register/{client_id}"];
        let program = programs.contains(&route) || path.contains("/.well-known/");
        let servers = ["/introspect", "/device_authorization", "/back-channel-logout/{identity}"];
        let page = !program && !servers.contains(&route);
        for method in METHODS {
            let answer = gate.send(gate.request(method, &path), "").await;
            let context = format!("{method} {path}: {answer:?}");
            match method {
                "OPTIONS" if program => assert_eq!(answer.status, 200, "{context}"),
                _ if allowed.split(',').any(|name| name == method) => assert!(answer.status < 405, "{context}"),
                _ => {
                    assert_eq!((answer.status, answer.header("allow")), (405, allowed), "{context}");
                    let words = answer.body.contains("Connect from the application again");
                    assert_eq!(words, page && method != "HEAD", "{context}");
                }
            }
            assert!(!answer.body.contains("Nothing here"), "the router does not know it: {context}");
            let html = answer.header("content-type").starts_with("text/html");
            // a browser that is sent on gets the headers of a page, too
            let to_browser = html || answer.status == 303;
            assert_eq!(to_browser, !answer.header("content-security-policy").is_empty(), "{context}");
            assert_eq!(answer.header("access-control-allow-origin"), if program { "*" } else { "" }, "{context}");
        }
    }
}

#[test]
fn no_upstream_can_take_a_path_of_the_operations_listener() {
    let operations = include_str!("../../src/inbound/operations.rs");
    let paths: Vec<_> =
        operations.lines().filter_map(|line| line.trim().strip_prefix("\"/")?.split_once("\" => ")).collect();
    assert!(paths.len() >= 2, "{paths:?}");
    for (path, _answer) in paths {
        assert!(RESERVED.contains(&format!("/{path}").as_str()), "/{path} is not reserved");
    }
}

#[tokio::test]
async fn the_table_knows_the_route_of_a_path_exactly_if_the_router_does() {
    let gate = gate().await;
    let served = ROUTES.iter().map(|route| concrete(route));
    let below = served.clone().map(|path| format!("{path}/below"));
    let closed = served.clone().map(|path| format!("{path}/"));
    let odd = ["/", "/tokens", "/Token", "/callback", "/callback//", "/callback/%ff", "/.well-known", "/.well-known//"];
    for path in served.chain(below).chain(closed).chain(odd.map(str::to_owned)) {
        let answer = gate.get(&path).await;
        let known = !answer.body.contains("Nothing here");
        assert_eq!(route_of(&path).is_some(), known, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn odd_paths_are_404_or_an_error_page() {
    let gate = TestGate::new().await;
    for path in ["/callback/%ff", "/callback/%00", "/callback/a%2fb", "/callback/unknown", "/sign-in/%ff", "/sign-in/x"]
    {
        let answer = gate.get(path).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.body.contains("This request does not belong to a sign-in"), "{path}: {answer:?}");
    }
    for path in [
        "/callback/",
        "/sign-in/",
        "/authorize/",
        "/token/",
        "//authorize",
        "/./authorize",
        "/%61uthorize",
        "/authorize%00",
        "/.well-known/%ff",
        "/.well-known/../authorize",
        "/MCP",
        "/mcp%2f",
    ] {
        assert_eq!(gate.get(path).await.status, 404, "{path}");
    }
}
