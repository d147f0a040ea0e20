//! Whether a request was meant for us.
//!
//! Defends against DNS rebinding: a page whose own name was made to lead here sends that name as `Host`.

use http::header::HOST;
use http::{HeaderValue, Request};

use crate::config::{Config, PublicUrl};
use crate::telemetry::excerpt;
use crate::wire::Rejection;

/// Our host names.
pub(super) struct Hosts {
    public_url: PublicUrl,
    /// Without the default port.
    allowed: Vec<String>,
}

impl Hosts {
    pub(super) fn new(config: &Config) -> Self {
        let public_url = config.public_url.clone();
        let own = public_url.authorities().chain(config.server.allowed_hosts.iter().map(AsRef::as_ref));
        let allowed = own.map(|host| public_url.without_default_port(host).to_owned()).collect();
        Self { public_url, allowed }
    }

    /// Checks `Host` and `:authority` (RFC 9110 7.2, RFC 9112 3.2).
    ///
    /// # Errors
    /// When they name no host, several, or one that is not ours.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), Rejection> {
        let mut named = request.headers().get_all(HOST).iter();
        let header = named.next();
        if named.next().is_some() {
            return Err(Rejection::NoSingleHost);
        }
        let header = match header.map(HeaderValue::to_str) {
            Some(Ok(text)) => Some(self.public_url.without_default_port(text)),
            Some(Err(_)) => return Err(Rejection::NoSingleHost),
            None => None,
        };
        let authority = request.uri().authority();
        let authority = authority.map(|authority| self.public_url.without_default_port(authority.as_str()));
        let host = match (authority, header) {
            (Some(authority), Some(header)) if !authority.eq_ignore_ascii_case(header) => {
                return Err(Rejection::NoSingleHost);
            }
            (Some(host), _) | (None, Some(host)) => host,
            (None, None) => return Err(Rejection::NoSingleHost),
        };
        let ours = self.allowed.iter().any(|own| own.eq_ignore_ascii_case(host));
        if ours { Ok(()) } else { Err(Rejection::WrongHost(cause(host))) }
    }
}

/// Words for the log.
fn cause(host: &str) -> String {
    let host = excerpt(host);
    format!("host {host:?} is neither public_url's nor in server.allowed_hosts")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::Hosts;
    use crate::config::PublicUrl;
    use crate::wire::Rejection;

    fn check(uri: &str, hosts: &[&str]) -> u16 {
        let ours = Hosts {
            public_url: PublicUrl::parse("https://mcp.example.com").unwrap(),
            allowed: vec!["mcp.example.com".to_owned(), "internal:8080".to_owned()],
        };
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        match ours.check(&request.body(()).unwrap()) {
            Ok(()) => 200,
            Err(Rejection::NoSingleHost) => 400,
            Err(Rejection::WrongHost(_)) => 421,
            Err(_) => unreachable!("not about the host"),
        }
    }

    #[test]
    fn only_our_own_names_are_answered() {
        assert_eq!(check("/mcp", &["mcp.example.com"]), 200);
        assert_eq!(check("/mcp", &["MCP.example.com:443"]), 200);
        assert_eq!(check("/mcp", &["internal:8080"]), 200);
        assert_eq!(check("/mcp", &["mcp.example.com:8443"]), 421);
        assert_eq!(check("/mcp", &["evil.example"]), 421);
        assert_eq!(check("/mcp", &["mcp.example.com.evil.example"]), 421);
        assert_eq!(check("/mcp", &[]), 400);
        assert_eq!(check("/mcp", &["mcp.example.com", "evil.example"]), 400);
        assert_eq!(check("https://mcp.example.com/mcp", &[]), 200);
        assert_eq!(check("https://mcp.example.com/mcp", &["mcp.example.com:443"]), 200);
        assert_eq!(check("https://mcp.example.com/mcp", &["evil.example"]), 400);
        assert_eq!(check("https://evil.example/mcp", &["evil.example"]), 421);
    }
}
