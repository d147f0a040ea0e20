//! `[server]`: the two listeners, and whom they believe.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use url::Url;

use super::problem::Mistake;
use super::quantity::Scalar;
use super::reading::{Reading, Section};

/// The listeners.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Health; loopback by default.
    pub operations: Option<SocketAddr>,
    /// Names that health is asked under, besides IP addresses and `localhost`.
    pub operations_hosts: Vec<String>,
    /// Whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Browser origins that may call upstreams, besides `public_url`; `*` means any.
    pub allowed_origins: Vec<String>,
    /// Whether any loopback origin may too (`dev`).
    pub loopback_origins: bool,
    /// `Host` values besides `public_url`'s, in lower case without the default port.
    pub allowed_hosts: Vec<String>,
    /// The largest JSON body that is collected before it is forwarded, in bytes.
    pub inspect_limit: usize,
    /// When a stream is ended whatever happens on it; off unless set.
    pub max_stream_age: Option<Duration>,
    /// When a feed of ended grants that fails turns into 503; off unless set.
    pub revocation_staleness: Option<Duration>,
    /// How long streams may go on after SIGTERM.
    pub drain: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            operations: Some(SocketAddr::from(([127, 0, 0, 1], 9090))),
            operations_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            allowed_origins: Vec::new(),
            loopback_origins: false,
            allowed_hosts: Vec::new(),
            inspect_limit: 1024 * 1024,
            max_stream_age: None,
            revocation_staleness: None,
            drain: Duration::from_secs(25),
        }
    }
}

/// The largest body that may be held in memory for one request.
const LARGEST_INSPECTED: u64 = 64 * 1024 * 1024;
/// Whoever asks for a shutdown has somebody who kills what does not end.
const LONGEST_DRAIN: Duration = Duration::from_hours(1);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    listen: Option<String>,
    operations: Option<Scalar>,
    operations_hosts: Option<Vec<String>>,
    trusted_proxies: Option<Vec<String>>,
    allowed_origins: Option<Vec<String>>,
    allowed_hosts: Option<Vec<String>>,
    inspect_limit: Option<Scalar>,
    max_stream_age: Option<Scalar>,
    revocation_staleness: Option<Scalar>,
    drain: Option<Scalar>,
}

/// Reads the section.
pub(super) fn read(section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Server> {
    let written: Written = reading.shape(section)?;
    let mut server = Server::default();
    if let Some(listen) = written.listen {
        server.listen = reading.keep(&section.at("listen"), address(&listen)).unwrap_or(server.listen);
    }
    if let Some(operations) = written.operations {
        server.operations = reading.keep(&section.at("operations"), operations_address(&operations)).flatten();
    }
    let listens = !reading.is_invented(&section.at("listen"));
    if listens && server.operations.is_some_and(|operations| collide(server.listen, operations)) {
        let mistake = Mistake::new("is the address of listen too").hint("give it another port, or write \"off\"");
        reading.error(&section.at("operations"), mistake);
    }
    let everyone = |text: &String| network(text).is_ok_and(|network| network.prefix_len() == 0);
    if let Some(index) = written.trusted_proxies.iter().flatten().position(everyone) {
        let mistake = Mistake::new("trusts everyone to say where they come from");
        reading.warn(&section.item("trusted_proxies", index), mistake.hint("name the network of your proxies only"));
    }
    server.operations_hosts = list(section, "operations_hosts", written.operations_hosts, host_name, reading);
    server.trusted_proxies = list(section, "trusted_proxies", written.trusted_proxies, network, reading);
    server.allowed_origins = list(section, "allowed_origins", written.allowed_origins, origin, reading);
    server.allowed_hosts = list(section, "allowed_hosts", written.allowed_hosts, host, reading);
    if let Some(limit) = written.inspect_limit {
        server.inspect_limit = reading.keep(&section.at("inspect_limit"), inspect_limit(&limit)).unwrap_or_default();
    }
    server.max_stream_age = switchable(section, "max_stream_age", written.max_stream_age, reading);
    server.revocation_staleness = switchable(section, "revocation_staleness", written.revocation_staleness, reading);
    if let Some(drain) = written.drain {
        let drain = drain.duration().and_then(|drain| {
            if drain > LONGEST_DRAIN { Err(Mistake::new("is too long: at most 1h")) } else { Ok(drain) }
        });
        server.drain = reading.keep(&section.at("drain"), drain).unwrap_or_default();
    }
    Some(server)
}

fn list<T>(
    section: &Section<'_>,
    key: &str,
    written: Option<Vec<String>>,
    parse: fn(&str) -> Result<T, Mistake>,
    reading: &mut Reading<'_>,
) -> Vec<T> {
    let texts = written.unwrap_or_default();
    let parsed =
        texts.iter().enumerate().filter_map(|(index, text)| reading.keep(&section.item(key, index), parse(text)));
    parsed.collect()
}

fn address(text: &str) -> Result<SocketAddr, Mistake> {
    text.trim().parse().ok().ok_or_else(no_address)
}

fn no_address() -> Mistake {
    Mistake::new("must be an IP address and a port")
        .hint("\"127.0.0.1:8080\" for this machine only, \"0.0.0.0:8080\" or \"[::]:8080\" for everyone")
}

fn operations_address(written: &Scalar) -> Result<Option<SocketAddr>, Mistake> {
    match written {
        off if off.is_off() => Ok(None),
        Scalar::Text(text) => address(text).map(Some),
        Scalar::Number(_) | Scalar::Boolean(_) => Err(no_address()),
    }
}

/// Whether two listeners want the same port of the same interface.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_interface = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && same_interface
}

fn network(text: &str) -> Result<IpNet, Mistake> {
    let text = text.trim();
    text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok().ok_or_else(|| {
        Mistake::new("must be a network or an address").hint("for example \"10.0.0.0/8\" or \"192.0.2.7\"")
    })
}

/// An origin exactly as browsers send it (RFC 6454 6.2).
fn origin(text: &str) -> Result<String, Mistake> {
    let wrong = || {
        Mistake::new("is no origin as browsers send it")
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

/// A `Host` value, folded as `inbound` folds what it receives.
fn host(text: &str) -> Result<String, Mistake> {
    let wrong = || {
        Mistake::new("is no host")
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

/// A name without a port, under whatever port it is called.
fn host_name(text: &str) -> Result<String, Mistake> {
    let name = host(text)?;
    if name.contains(':') {
        let hint = "a name: \"portcullis\", \"portcullis.internal\"; IP addresses are always answered";
        return Err(Mistake::new("is more than a name").hint(hint));
    }
    Ok(name)
}

fn inspect_limit(written: &Scalar) -> Result<usize, Mistake> {
    let bytes = written.bytes()?;
    if !(1024..=LARGEST_INSPECTED).contains(&bytes) {
        return Err(Mistake::new("must lie between 1KiB and 64MiB"));
    }
    usize::try_from(bytes).ok().ok_or_else(|| Mistake::new("is more than this machine can hold"))
}

/// A duration that is off unless set.
fn switchable(
    section: &Section<'_>,
    key: &str,
    written: Option<Scalar>,
    reading: &mut Reading<'_>,
) -> Option<Duration> {
    let written = written.filter(|written| !written.is_off())?;
    let duration = written.duration().map_err(|mistake| mistake.hint("a duration such as \"1h\", or \"off\""));
    let duration = duration.and_then(|duration| {
        let nothing = || Mistake::new("must be longer than nothing").hint("\"off\" switches it off");
        if duration.is_zero() { Err(nothing()) } else { Ok(duration) }
    });
    reading.keep(&section.at(key), duration)
}

#[cfg(test)]
mod tests {
    use super::{collide, host, host_name, network, origin};

    #[test]
    fn an_origin_is_what_browsers_send() {
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
    fn a_host_is_folded_as_a_request_is() {
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
    fn a_name_for_operations_has_no_port() {
        assert_eq!(host_name("Portcullis.internal").as_deref(), Ok("portcullis.internal"));
        for bad in ["portcullis:9090", "[::1]", "*", "http://portcullis", ""] {
            assert!(host_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_proxy_is_a_network_or_one_address() {
        for (written, read) in [("10.0.0.0/8", "10.0.0.0/8"), ("192.0.2.7", "192.0.2.7/32"), ("fd00::1", "fd00::1/128")]
        {
            assert_eq!(network(written).unwrap().to_string(), read);
        }
        assert!(network("proxy").is_err() && network("10.0.0.0/33").is_err() && network("").is_err());
    }

    #[test]
    fn two_listeners_never_want_one_port() {
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
