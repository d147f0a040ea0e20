//! Where web clients receive their codes without a warning on the consent page.
//!
//! Defends against: authorization codes carried away through an open redirect at a host that is on the list.

use url::Url;

use crate::config::problem::Mistake;
use crate::oauth::redirect_uri::RedirectUri;

/// Where well-known clients receive their codes, in the form of `pages.known_hosts`. A fixed list, because an attacker could
/// teach a list that learns from earlier sign-ins; with paths, because an open redirect elsewhere at such a host would carry
/// codes away.
pub(super) const KNOWN_HOSTS: [&str; 7] = [
    "chatgpt.com/connector/oauth/",
    "chatgpt.com/connector_platform_oauth_redirect",
    "claude.ai/api/mcp/auth_callback",
    "claude.com/api/mcp/auth_callback",
    "insiders.vscode.dev/redirect",
    "vscode.dev/redirect",
    "www.cursor.com/agents/mcp/oauth/callback",
];

/// Whether an https URI is on the list. A URI with a query never is, unless its whole host is listed: some servers redirect
/// from a known path to wherever the query says.
pub(super) fn is_known(hosts: &[String], redirect_uri: &RedirectUri) -> bool {
    let uri = redirect_uri.canonical().strip_prefix("https://").unwrap_or_default();
    let host = uri.split(['/', '?']).next().unwrap_or_default();
    hosts.iter().any(|known| {
        if known.ends_with('/') {
            uri.strip_prefix(known.as_str()).is_some_and(is_plain_path)
        } else {
            known == if known.contains('/') { uri } else { host }
        }
    })
}

/// Whether no server can decode the text to a path outside of the listed one.
fn is_plain_path(path: &str) -> bool {
    !path.is_empty() && !path.contains(['%', '?', ';'])
}

/// Checks a host with an optional path, in the normal form of a redirect URI: with a port unless it is 443.
pub(super) fn check_known_host(known: &str) -> Result<(), Mistake> {
    let (host, path) = known.split_once('/').map_or((known, None), |(host, path)| (host, Some(path)));
    let url = format!("https://{host}/{}", path.unwrap_or_default());
    let normal = Url::parse(&url).is_ok_and(|parsed| parsed.as_str() == url && parsed.username().is_empty());
    let whole = !host.is_empty() && path != Some("") && !known.contains(['*', '@', '?', '#', '%']);
    if normal && whole {
        return Ok(());
    }
    Err(Mistake::new("is neither a host nor a host with a path").hint(
        "a name in lower case, a port unless it is 443, perhaps a path: \"chat.example.com\" or \"chat.example.com/callback\"",
    ))
}

#[cfg(test)]
mod tests {
    use super::{KNOWN_HOSTS, check_known_host, is_known};
    use crate::oauth::redirect_uri::RedirectPolicy;

    #[test]
    fn a_known_host_is_in_the_normal_form_of_redirect_uris() {
        let own = ["chat.example.com:8443", "192.0.2.7", "xn--e1afmkfd.example", "chat.example.com/cb", "claude.ai/a/"];
        for good in KNOWN_HOSTS.into_iter().chain(own) {
            assert_eq!(check_known_host(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "*",
            "*.example.com",
            "Claude.ai",
            "https://claude.ai",
            "claude.ai/",
            "claude.ai:443",
            "/callback",
            "claude.ai/a/../b",
            "claude.ai/%63b",
            "claude.ai/cb?x=y",
            "claude.ai/*",
            "a@b",
            "a b",
            "é.example",
        ] {
            assert!(check_known_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_listed_path_matches_exactly_and_a_listed_host_matches_all_its_paths() {
        let is_known = |hosts: &[String], uri: &str| is_known(hosts, &RedirectPolicy::default().parse(uri).unwrap());
        let built_in = KNOWN_HOSTS.map(str::to_owned);
        for uri in [
            "https://claude.ai/api/mcp/auth_callback",
            "HTTPS://Claude.ai:443/api/mcp/auth_callback",
            "https://chatgpt.com/connector_platform_oauth_redirect",
            "https://chatgpt.com/connector/oauth/Ab3_-x",
            "https://vscode.dev/redirect",
            "https://www.cursor.com/agents/mcp/oauth/callback",
        ] {
            assert!(is_known(&built_in, uri), "{uri}");
        }
        for uri in [
            "https://claude.ai/",
            "https://claude.ai/api/mcp/auth_callback/",
            "https://claude.ai/api/mcp/auth_callback2",
            "https://claude.ai/api/mcp/auth_callback?next=https://evil.example",
            "https://claude.ai/logout?to=https://evil.example",
            "https://claude.ai:8443/api/mcp/auth_callback",
            "https://evil.example/claude.ai/api/mcp/auth_callback",
            "https://vscode.dev/redirect?url=vscode://evil.extension/",
            "https://vscode.dev/redirect/mcp/install",
            "https://chatgpt.com/connector/oauth/",
            "https://chatgpt.com/connector/oauth/../../logout",
            "https://chatgpt.com/connector/oauth/..%2f..%2flogout",
            "https://chatgpt.com/connector/oauth/x?to=y",
            "https://chatgpt.com/connector/oauthx",
        ] {
            assert!(RedirectPolicy::default().parse(uri).is_err() || !is_known(&built_in, uri), "{uri}");
        }
        let own = ["chat.example.com".to_owned()];
        assert!(is_known(&own, "https://chat.example.com/any/path?and=query"));
        assert!(!is_known(&own, "https://chat.example.com:8443/"));
        assert!(!is_known(&own, "https://claude.ai/api/mcp/auth_callback"));
    }
}
