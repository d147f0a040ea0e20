//! What must agree between sections: addresses, proxies, memory.

use std::net::{IpAddr, SocketAddr};

use http::Uri;
use url::{Host, Url};

use super::problem::Mistake;
use super::reading::{Reading, Section};
use super::sections::Sections;
use super::upstream::UpstreamSettings;
use super::{ConfiguredClient, Device, Limits, PublicUrl, Server};

/// Warns when clients that use `public_url` do not reach `listen`.
pub(super) fn check_way_in(public_url: &PublicUrl, server: &Server, sections: &Sections, reading: &mut Reading<'_>) {
    if public_url.is_https() {
        check_proxies(server, sections, reading);
        return;
    }
    let at = Section::new(&sections.top, String::new()).at("public_url");
    let port = Url::parse(public_url.as_str()).ok().and_then(|url| url.port_or_known_default());
    if !server.listen.ip().is_loopback() {
        let mistake = Mistake::new("leads to this machine only, while server.listen takes connections from elsewhere");
        let hint = "correct in a container whose port is published on 127.0.0.1; otherwise write the https URL that clients use";
        reading.warn(&at, mistake.hint(hint));
    } else if port != Some(server.listen.port()) {
        let mistake = Mistake::new(format!("has another port than server.listen, which is {}", server.listen));
        reading.warn(&at, mistake.hint("use the same port in both"));
    }
}

/// Checks that memory for bodies holds several bodies of the largest size.
pub(super) fn check_memory(server: &Server, limits: &Limits, sections: &Sections, reading: &mut Reading<'_>) {
    let largest = server.inspect_limit;
    if limits.body_memory.is_some_and(|memory| memory / 4 < largest) {
        let mistake = Mistake::new(format!("is less than four bodies of server.inspect_limit, {largest} bytes each"));
        reading.error(&sections.table("limits").at("body_memory"), mistake.hint("raise it, or lower inspect_limit"));
    }
    if limits.body_memory_per_user.is_some_and(|memory| memory < largest) {
        let mistake = Mistake::new(format!("is less than one body of server.inspect_limit, {largest} bytes"));
        let at = sections.table("limits").at("body_memory_per_user");
        reading.error(&at, mistake.hint("raise it, or lower inspect_limit"));
    }
}

/// Warns when device authorization is on for no one, or a client needs it while it is off.
pub(super) fn check_device(
    device: Device,
    clients: &[ConfiguredClient],
    sections: &Sections,
    reading: &mut Reading<'_>,
) {
    let has_client = clients.iter().any(|client| client.device);
    if device.enabled && !device.registered_clients && !has_client {
        let mistake = Mistake::new("no client may use device authorization");
        let hint = "add device = true to a [[client]], or registered_clients = true here";
        reading.warn(&sections.table("device").at("enabled"), mistake.hint(hint));
    }
    if !device.enabled && has_client {
        let mistake = Mistake::new("is false, but a [[client]] has device = true");
        reading.warn(&sections.table("device").at("enabled"), mistake.hint("set it to true, or remove device there"));
    }
}

/// Warns when TLS ends at a proxy that is not trusted: all clients would share its address.
fn check_proxies(server: &Server, sections: &Sections, reading: &mut Reading<'_>) {
    let section = sections.table("server");
    if server.trusted_proxies.is_empty() && !section.has("trusted_proxies") {
        let mistake = Mistake::new(
            "is empty, but TLS ends at a proxy: all clients share its address, and the limits of one address",
        );
        let hint = "name that proxy's address or network: trusted_proxies = [\"127.0.0.1\"]; [] when it sends no \
             X-Forwarded-For";
        reading.warn(&section.at("trusted_proxies"), mistake.hint(hint));
    }
}

/// Refuses an upstream URL that is one of our own listeners: requests would loop.
pub(super) fn check_ways_out(
    ours: Option<&Url>,
    server: Option<&Server>,
    upstreams: &[(Section<'_>, UpstreamSettings)],
    reading: &mut Reading<'_>,
) {
    let listeners = server.map_or([None, None], |server| [Some(server.listen), server.operations]);
    for (section, settings) in upstreams {
        let url = settings.reach.url();
        let is_public = ours.is_some_and(|ours| is_at(url, ours));
        if is_public || listeners.into_iter().flatten().any(|listener| reaches(url, listener)) {
            let mistake = Mistake::new("leads back to this program").hint("write where the MCP server itself listens");
            reading.error(&section.at("url"), mistake);
        }
    }
}

/// Whether a URL has our public host and port: the proxy in front would send the request back to us.
fn is_at(url: &Uri, ours: &Url) -> bool {
    let Ok(url) = Url::parse(&url.to_string()) else { return false };
    url.host() == ours.host() && url.port_or_known_default() == ours.port_or_known_default()
}

/// Whether a URL leads to this listener.
pub(crate) fn reaches(url: &Uri, listener: SocketAddr) -> bool {
    let Ok(url) = Url::parse(&url.to_string()) else { return false };
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        Some(Host::Domain("localhost")) if listener.is_ipv6() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        Some(Host::Domain("localhost")) => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        _ => return false,
    };
    let takes_all = listener.ip().is_unspecified() && (address.is_loopback() || address.is_unspecified());
    url.port_or_known_default() == Some(listener.port()) && (address == listener.ip() || takes_all)
}

#[cfg(test)]
mod tests {
    use super::reaches;

    #[test]
    fn an_upstream_url_of_our_own_listener_is_recognized() {
        let is = |url: &str, listener: &str| reaches(&url.parse().unwrap(), listener.parse().unwrap());
        assert!(is("http://127.0.0.1:8080/mcp", "127.0.0.1:8080"));
        assert!(is("http://localhost:8080/mcp", "127.0.0.1:8080"));
        assert!(is("http://localhost:8080/mcp", "[::1]:8080"));
        assert!(is("http://localhost:8080/mcp", "0.0.0.0:8080"));
        assert!(is("http://127.0.0.1/mcp", "0.0.0.0:80"));
        assert!(!is("http://127.0.0.1:8081/mcp", "127.0.0.1:8080"));
        assert!(!is("http://127.0.0.2:8080/mcp", "127.0.0.1:8080"));
        assert!(!is("http://10.0.0.1:8080/mcp", "0.0.0.0:8080"));
        assert!(!is("http://mcp:8080/mcp", "0.0.0.0:8080"));
    }
}
