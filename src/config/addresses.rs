//! Addresses, networks, origins and hosts, as the keys of `[server]` take them.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use url::Url;

use super::problem::Mistake;
use super::quantity::Scalar;

pub(super) fn address(text: &str) -> Result<SocketAddr, Mistake> {
    text.trim().parse().ok().ok_or_else(no_address)
}

fn no_address() -> Mistake {
    Mistake::new("must be an IP address and a port")
        .hint("\"127.0.0.1:8080\" for this machine only, \"0.0.0.0:8080\" or \"[::]:8080\" for everyone")
}

pub(super) fn operations_address(written: &Scalar) -> Result<Option<SocketAddr>, Mistake> {
    match written {
        off if off.is_off() => Ok(None),
        Scalar::Text(text) => address(text).map(Some),
        Scalar::Number(_) | Scalar::Boolean(_) => Err(no_address()),
    }
}

/// Whether two listeners use the same port of the same interface.
pub(super) fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_interface = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && same_interface
}

pub(super) fn network(text: &str) -> Result<IpNet, Mistake> {
    let text = text.trim();
    text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok().ok_or_else(|| {
        Mistake::new("must be a network or an address").hint("for example \"10.0.0.0/8\" or \"192.0.2.7\"")
    })
}

/// Parses an origin in the form that browsers send (RFC 6454 6.2).
pub(super) fn origin(text: &str) -> Result<String, Mistake> {
    let wrong = || {
        Mistake::new("is not an origin in the form that browsers send")
            .hint("scheme, host and port only: \"https://app.example.com\"; \"*\" means every origin")
    };
    let as_sent = |url: &Url| match url.scheme() {
        "http" | "https" => Some(url.origin().ascii_serialization()),
        scheme => url.host_str().filter(|host| !host.is_empty()).map(|host| format!("{scheme}://{host}")),
    };
    let sent = Url::parse(text).ok().filter(|_| !text.contains('*')).and_then(|url| as_sent(&url));
    let normal = text == "*" || sent.is_some_and(|sent| sent == text);
    if normal { Ok(text.to_owned()) } else { Err(wrong()) }
}

/// Parses a `Host` value, and normalizes it as `inbound` does with received ones.
pub(super) fn host(text: &str) -> Result<String, Mistake> {
    let wrong = || {
        Mistake::new("is not a host")
            .hint("a name or address, and a port unless it is the scheme's own: \"mcp.internal:8443\"")
    };
    let text = text.trim();
    let plain = !text.is_empty() && !text.contains(['*', '/', '@', '?', '#', '\\', '%']);
    let url =
        Url::parse(&format!("http://{text}/")).ok().filter(|_| plain && !text.ends_with(':')).ok_or_else(wrong)?;
    let name = url.host_str().ok_or_else(wrong)?;
    Ok(match url.port() {
        Some(port) if port != 443 => format!("{name}:{port}"),
        _ => name.to_owned(),
    })
}

/// Parses a host name without a port; it matches every port.
pub(super) fn host_name(text: &str) -> Result<String, Mistake> {
    let name = host(text)?;
    if name.contains(':') {
        let hint = "a name: \"portcullis\", \"portcullis.internal\"; IP addresses are always answered";
        return Err(Mistake::new("is not a plain host name").hint(hint));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::{collide, host, host_name, network, origin};

    #[test]
    fn an_origin_has_the_form_that_browsers_send() {
        for good in
            ["*", "https://a.example", "http://localhost:5173", "https://a.example:8443", "chrome-extension://abc"]
        {
            assert_eq!(origin(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "null",
            "a.example",
            "https://",
            "https://a.example/",
            "https://a.example:443",
            "HTTPS://a.example",
            "https://A.example",
            "https://a.example/x",
            "https://u@a.example",
            "https://*.a.example",
            "https://a.example?x",
            "data:x",
            "x://",
            "x://a/",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_configured_host_is_normalized_like_a_received_one() {
        for (written, folded) in [
            ("MCP.Example.com", "mcp.example.com"),
            ("mcp.internal:8443", "mcp.internal:8443"),
            ("mcp.internal:443", "mcp.internal"),
            ("mcp.internal:80", "mcp.internal"),
            ("127.0.0.1:6749", "127.0.0.1:6749"),
            ("[::1]:6749", "[::1]:6749"),
        ] {
            assert_eq!(host(written).as_deref(), Ok(folded), "{written}");
        }
        for bad in ["", "*", "*.a", "https://a", "a/b", "a@b", "a?b", "a:", "a:b", "a:99999", "a b", "a%2eb", "::1"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_operations_host_has_no_port() {
        assert_eq!(host_name("Portcullis.internal").as_deref(), Ok("portcullis.internal"));
        for bad in ["portcullis:9090", "[::1]", "*", "http://portcullis", ""] {
            assert!(host_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_trusted_proxy_is_a_network_or_an_address() {
        for (written, read) in [("10.0.0.0/8", "10.0.0.0/8"), ("192.0.2.7", "192.0.2.7/32"), ("fd00::1", "fd00::1/128")]
        {
            assert_eq!(network(written).unwrap().to_string(), read);
        }
        assert!(network("proxy").is_err() && network("10.0.0.0/33").is_err() && network("").is_err());
    }

    #[test]
    fn listeners_on_the_same_port_and_interface_collide() {
        let collides = |a: &str, b: &str| collide(a.parse().unwrap(), b.parse().unwrap());
        assert!(
            collides("127.0.0.1:1", "127.0.0.1:1")
                && collides("0.0.0.0:1", "127.0.0.1:1")
                && collides("127.0.0.1:1", "[::]:1")
        );
        assert!(!collides("127.0.0.1:1", "127.0.0.1:2") && !collides("127.0.0.1:1", "127.0.0.2:1"));
        assert!(!collides("127.0.0.1:0", "127.0.0.1:0"));
    }
}
