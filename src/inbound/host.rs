//! Whether a request was meant for us: a `Host` that is not ours is a rebound name, or a proxy that does not pass it on.

use http::header::HOST;
use http::{HeaderValue, Request, Response, StatusCode};

use super::plain;
use crate::config::Config;
use crate::gateway::Body;
use crate::telemetry::Cause;

/// The names that we answer to, without the default port.
pub(super) struct Hosts {
    allowed: Vec<String>,
    default_port: &'static str,
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
        let default_port = if config.public_url.is_https() { ":443" } else { ":80" };
        let own =
            std::iter::once(config.public_url.authority()).chain(config.server.allowed_hosts.iter().map(AsRef::as_ref));
        let allowed = own.map(|host| bare(host, default_port).to_owned()).collect();
        Self { allowed, default_port }
    }

    /// Judges `Host` and `:authority` (RFC 9110 7.2, RFC 9112 3.2).
    pub(super) fn judge<B>(&self, request: &Request<B>) -> Result<(), WrongHost> {
        let mut named = request.headers().get_all(HOST).iter();
        let header = named.next();
        if named.next().is_some() {
            return Err(WrongHost::Malformed);
        }
        let header = match header.map(HeaderValue::to_str) {
            Some(Ok(text)) => Some(bare(text, self.default_port)),
            Some(Err(_)) => return Err(WrongHost::Malformed),
            None => None,
        };
        let authority = request.uri().authority().map(|authority| bare(authority.as_str(), self.default_port));
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

fn bare<'a>(host: &'a str, default_port: &str) -> &'a str {
    let host = host.trim();
    host.strip_suffix(default_port).unwrap_or(host)
}

impl WrongHost {
    pub(super) fn response(&self) -> Response<Body> {
        match self {
            Self::Malformed => plain(StatusCode::BAD_REQUEST, "The request must name one host.\n"),
            Self::Misdirected(host) => {
                let text = "This host name is not one of ours. A proxy in front must pass the Host header on; \
                            other names go into allowed_hosts.\n";
                let mut response = plain(StatusCode::MISDIRECTED_REQUEST, text);
                let host: String = host.chars().take(100).collect();
                let cause = format!("host {host:?} is neither public_url's nor in server.allowed_hosts");
                response.extensions_mut().insert(Cause(cause));
                response
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::{Hosts, WrongHost};

    fn judge(uri: &str, hosts: &[&str]) -> u16 {
        let ours =
            Hosts { allowed: vec!["mcp.example.com".to_owned(), "internal:8080".to_owned()], default_port: ":443" };
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
}
