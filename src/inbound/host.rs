//! Whether a request was meant for us: a `Host` that is not ours is a rebound name, or a proxy that does not pass it on.

use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};

use super::plain;
use crate::config::{Config, PublicUrl};
use crate::gateway::Body;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::telemetry::Cause;
use crate::wire::accept;

/// The names that we answer to.
pub(super) struct Hosts {
    public_url: PublicUrl,
    /// Without the default port.
    allowed: Vec<String>,
}

/// A request that was not meant for us.
pub(super) enum WrongHost {
    /// None, several, or two that differ.
    Malformed,
    /// Not one of ours.
    Misdirected(String),
}

impl Hosts {
    pub(super) fn new(config: &Config) -> Self {
        let public_url = config.public_url.clone();
        let own = public_url.authorities().chain(config.server.allowed_hosts.iter().map(AsRef::as_ref));
        let allowed = own.map(|host| public_url.without_default_port(host).to_owned()).collect();
        Self { public_url, allowed }
    }

    /// Judges `Host` and `:authority` (RFC 9110 7.2, RFC 9112 3.2).
    pub(super) fn judge<B>(&self, request: &Request<B>) -> Result<(), WrongHost> {
        let mut named = request.headers().get_all(HOST).iter();
        let header = named.next();
        if named.next().is_some() {
            return Err(WrongHost::Malformed);
        }
        let header = match header.map(HeaderValue::to_str) {
            Some(Ok(text)) => Some(self.public_url.without_default_port(text)),
            Some(Err(_)) => return Err(WrongHost::Malformed),
            None => None,
        };
        let authority = request.uri().authority();
        let authority = authority.map(|authority| self.public_url.without_default_port(authority.as_str()));
        let host = match (authority, header) {
            (Some(authority), Some(header)) if !authority.eq_ignore_ascii_case(header) => {
                return Err(WrongHost::Malformed);
            }
            (Some(host), _) | (None, Some(host)) => host,
            (None, None) => return Err(WrongHost::Malformed),
        };
        let ours = self.allowed.iter().any(|own| own.eq_ignore_ascii_case(host));
        if ours { Ok(()) } else { Err(WrongHost::Misdirected(host.to_owned())) }
    }
}

impl Hosts {
    /// The answer to a request that was not meant for us, away from the paths of upstreams.
    pub(super) fn refuse(&self, wrong: &WrongHost, headers: &HeaderMap) -> Response<Body> {
        let Some(cause) = wrong.cause() else {
            return plain(StatusCode::BAD_REQUEST, "The request must name one host.\n");
        };
        let mut response = if wants_json(headers) {
            let words = format!("this host name is not one of ours: use {}", self.public_url);
            let error = OAuthError::new(ErrorCode::InvalidRequest, words);
            let mut response = plain(StatusCode::MISDIRECTED_REQUEST, serde_json::to_vec(&error).unwrap_or_default());
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        } else {
            let text = format!(
                "This host name is not one of ours: use {}. A proxy in front must pass the Host header on; other names go \
                 into allowed_hosts.\n",
                self.public_url
            );
            plain(StatusCode::MISDIRECTED_REQUEST, text)
        };
        response.extensions_mut().insert(Cause(cause));
        response
    }
}

impl WrongHost {
    /// Words for the log, when it is not ours.
    pub(super) fn cause(&self) -> Option<String> {
        let Self::Misdirected(host) = self else { return None };
        let host: String = host.chars().take(100).collect();
        Some(format!("host {host:?} is neither public_url's nor in server.allowed_hosts"))
    }
}

/// Whether a program asks, rather than a browser: it names JSON, and prefers it to HTML.
fn wants_json(headers: &HeaderMap) -> bool {
    accept::weight_of("application/json", headers) > accept::weight_of("text/html", headers)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::{Hosts, WrongHost, wants_json};
    use crate::config::PublicUrl;

    fn judge(uri: &str, hosts: &[&str]) -> u16 {
        let ours = Hosts {
            public_url: PublicUrl::parse("https://mcp.example.com").unwrap(),
            allowed: vec!["mcp.example.com".to_owned(), "internal:8080".to_owned()],
        };
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        match ours.judge(&request.body(()).unwrap()) {
            Ok(()) => 200,
            Err(WrongHost::Malformed) => 400,
            Err(WrongHost::Misdirected(_)) => 421,
        }
    }

    #[test]
    fn only_our_own_names_are_answered() {
        assert_eq!(judge("/mcp", &["mcp.example.com"]), 200);
        assert_eq!(judge("/mcp", &["MCP.example.com:443"]), 200);
        assert_eq!(judge("/mcp", &["internal:8080"]), 200);
        assert_eq!(judge("/mcp", &["mcp.example.com:8443"]), 421);
        assert_eq!(judge("/mcp", &["evil.example"]), 421);
        assert_eq!(judge("/mcp", &["mcp.example.com.evil.example"]), 421);
        assert_eq!(judge("/mcp", &[]), 400);
        assert_eq!(judge("/mcp", &["mcp.example.com", "evil.example"]), 400);
        assert_eq!(judge("https://mcp.example.com/mcp", &[]), 200);
        assert_eq!(judge("https://mcp.example.com/mcp", &["mcp.example.com:443"]), 200);
        assert_eq!(judge("https://mcp.example.com/mcp", &["evil.example"]), 400);
        assert_eq!(judge("https://evil.example/mcp", &["evil.example"]), 421);
    }

    #[test]
    fn a_program_is_told_from_a_browser_by_what_it_accepts() {
        let wants =
            |accept: &str| wants_json(&http::HeaderMap::from_iter([(http::header::ACCEPT, accept.parse().unwrap())]));
        assert!(wants("application/json") && wants("text/plain, Application/JSON;q=0.9, */*"));
        assert!(wants("text/html;q=0.5, application/json"), "HTML is its second choice");
        assert!(!wants("text/html,application/xhtml+xml,application/json;q=0.9") && !wants("*/*") && !wants(""));
        assert!(!wants("application/json;q=0") && !wants("application/json, text/html"));
    }
}
