//! From the sections to the whole, and what no section can judge alone.

use std::net::{IpAddr, SocketAddr};

use http::Uri;
use serde::Deserialize;
use url::{Host, Url};

use super::id::Seen;
use super::identity::IdentityKind;
use super::problem::{Mistake, Place};
use super::reading::{Reading, Section};
use super::sections::Sections;
use super::upstream::{Taken, UpstreamSettings};
use super::{
    Config, ConfiguredClient, Identity, Limits, Outbound, OutboundProxy, PublicUrl, Registration, Server, Upstream,
    client, identity, lifetimes, limits, log, pages, proxy, registration, secrets, server, storage, tokens, upstream,
};
use crate::oauth::redirect_uri::is_loopback;

/// The keys that stand in no section.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    public_url: Option<String>,
    ca_file: Option<String>,
}

/// Reads and judges everything. What is missing from the answer is among the problems.
pub(super) fn read(sections: &Sections, reading: &mut Reading<'_>) -> Option<Config> {
    let Top { public_url, named: ours, outbound } = top(sections, reading);
    let server = table(sections, "server", server::read, reading);
    let log = table(sections, "log", log::read, reading);
    let limits = table(sections, "limits", limits::read, reading);
    let storage = table(sections, "storage", storage::read, reading);
    let secrets = table(sections, "secrets", secrets::read, reading);
    let lifetimes = table(sections, "lifetimes", lifetimes::read, reading);
    let tokens = table(sections, "tokens", tokens::read, reading);
    let registration = table(sections, "registration", registration::read, reading);
    let pages = table(sections, "pages", pages::read, reading);
    let identities = identities(sections, public_url.as_ref(), reading);
    let proxy = proxy(sections, &identities, reading);
    let settings = upstreams(sections, reading);
    let clients = clients(sections, registration.as_ref(), reading);
    let listens = !reading.is_refused(&sections.table("server").at("listen"));
    let listening = server.as_ref().filter(|_| listens);
    if let (Some(public_url), Some(server)) = (&public_url, listening) {
        check_way_in(public_url, server, sections, reading);
    }
    check_ways_out(ours.as_ref(), listening, &settings, reading);
    if let (Some(server), Some(limits)) = (&server, &limits) {
        check_memory(server, limits, sections, reading);
    }
    let public_url = public_url?;
    let upstreams = named(&public_url, settings, reading);
    Some(Config {
        public_url,
        server: server?,
        log: log?,
        limits: limits?,
        storage: storage?,
        secrets: secrets?,
        lifetimes: lifetimes?,
        tokens: tokens?,
        registration: registration?,
        pages: pages?,
        outbound: Outbound { proxy: proxy?, ..outbound? },
        identities,
        upstreams,
        clients,
    })
}

fn table<T>(
    sections: &Sections,
    name: &'static str,
    read: fn(&Section<'_>, &mut Reading<'_>) -> Option<T>,
    reading: &mut Reading<'_>,
) -> Option<T> {
    if sections.is_misshapen(name) { None } else { read(&sections.table(name), reading) }
}

/// What the keys that stand in no section say.
#[derive(Default)]
struct Top {
    public_url: Option<PublicUrl>,
    /// Host and port of `public_url`, also where it is wrong in other respects.
    named: Option<Url>,
    outbound: Option<Outbound>,
}

fn top(sections: &Sections, reading: &mut Reading<'_>) -> Top {
    const EXAMPLE: &str =
        "write public_url = \"https://mcp.example.com\": it is permanent, clients keep it with their credentials";
    let section = Section::new(&sections.top, String::new());
    let Some(written) = reading.shape::<Written>(&section) else { return Top::default() };
    let at = section.at("public_url");
    let named = written.public_url.as_deref().and_then(named_origin);
    let public_url = match written.public_url.as_deref().map(PublicUrl::check) {
        Some(Ok(public_url)) => Some(public_url),
        Some(Err(wrong)) => {
            for why in wrong {
                reading.error(&at, Mistake::new(why.to_string()));
            }
            None
        }
        None if sections.is_misshapen("public_url") => None,
        None => {
            reading.error(&at, Mistake::new("is missing").hint(EXAMPLE));
            None
        }
    };
    let ca_file = reading.ca_file(&section, written.ca_file);
    Top { public_url, named, outbound: Some(Outbound { ca_file, proxy: OutboundProxy::Off }) }
}

/// Host and port that a `public_url` names. One that must be https is taken for that.
fn named_origin(text: &str) -> Option<Url> {
    let mut url = Url::parse(text).ok().filter(Url::has_host)?;
    if url.scheme() == "http" && !is_loopback(&url) {
        url.set_scheme("https").ok()?;
    }
    Some(url)
}

fn proxy(sections: &Sections, identities: &[Identity], reading: &mut Reading<'_>) -> Option<OutboundProxy> {
    let proxy = table(sections, "outbound", proxy::read, reading);
    if identities.iter().any(|identity| matches!(identity.kind, IdentityKind::Oidc(_))) {
        proxy::warn_of_unused(&sections.table("outbound"), reading);
    }
    proxy
}

fn identities(sections: &Sections, public_url: Option<&PublicUrl>, reading: &mut Reading<'_>) -> Vec<Identity> {
    let (mut seen, mut names) = (Seen::default(), Seen::default());
    let (mut identities, mut count) = (Vec::new(), 0);
    for section in sections.list("identity") {
        count += 1;
        let Some(identity) = identity::read(&section, &mut seen, reading) else { continue };
        let ours = |settings: &super::OidcSettings| public_url.is_some_and(|ours| settings.issuer == ours.as_str());
        if matches!(&identity.kind, IdentityKind::Oidc(settings) if ours(settings)) {
            let mistake = Mistake::new("is public_url: we would ask ourselves who the user is");
            reading.error(&section.at("issuer"), mistake.hint("write the identity provider's issuer"));
        }
        let at = section.at("name");
        if let Err(before) = names.once(&identity.name, &at.place) {
            let mistake = Mistake::new(format!("is the same as in {before}: people cannot tell the buttons apart"));
            reading.warn(&at, mistake.hint("give each identity provider a name of its own"));
        }
        identities.push(identity);
    }
    if count == 0 && !sections.is_misshapen("identity") {
        let mistake = Mistake::new("there is no identity provider").hint("add [[identity]]: it signs people in");
        reading.error_at(Place::File, "identity", mistake);
    }
    identities
}

fn upstreams<'a>(sections: &'a Sections, reading: &mut Reading<'_>) -> Vec<(Section<'a>, UpstreamSettings)> {
    let mut taken = Taken::default();
    let (mut all, mut count) = (Vec::new(), 0);
    for section in sections.list("upstream") {
        count += 1;
        let settings = upstream::read(&section, &mut taken, reading);
        all.extend(settings.map(|settings| (section, settings)));
    }
    if count == 0 && !sections.is_misshapen("upstream") {
        let mistake = Mistake::new("there is no MCP server to protect").hint("add [[upstream]] with id, path and url");
        reading.error_at(Place::File, "upstream", mistake);
    }
    all
}

/// Gives every upstream its URLs.
fn named(
    public_url: &PublicUrl,
    settings: Vec<(Section<'_>, UpstreamSettings)>,
    reading: &mut Reading<'_>,
) -> Vec<Upstream> {
    let named = settings.into_iter().filter_map(|(section, settings)| {
        let (at, upstream) = (section.at("path"), Upstream::new(public_url, settings));
        if upstream.is_none() && !reading.is_refused(&at) {
            reading.error(&at, Mistake::new("makes no URL with public_url"));
        }
        upstream
    });
    named.collect()
}

fn clients(
    sections: &Sections,
    registration: Option<&Registration>,
    reading: &mut Reading<'_>,
) -> Vec<ConfiguredClient> {
    let policy = registration.map(|registration| registration.redirect_policy.clone()).unwrap_or_default();
    let mut seen = Seen::default();
    let clients: Vec<_> =
        sections.list("client").filter_map(|section| client::read(&section, &policy, &mut seen, reading)).collect();
    if registration.is_some_and(|registration| !registration.enabled) && sections.list("client").next().is_none() {
        let mistake = Mistake::new("no client can ever connect: none is configured, and none may register");
        reading.warn(
            &sections.table("registration").at("enabled"),
            mistake.hint("add [[client]], or leave registration on"),
        );
    }
    clients
}

/// Whether clients that follow `public_url` arrive at `listen`.
fn check_way_in(public_url: &PublicUrl, server: &Server, sections: &Sections, reading: &mut Reading<'_>) {
    if public_url.is_https() {
        check_proxies(server, sections, reading);
        return;
    }
    let at = Section::new(&sections.top, String::new()).at("public_url");
    let port = Url::parse(public_url.as_str()).ok().and_then(|url| url.port_or_known_default());
    if !server.listen.ip().is_loopback() {
        let mistake = Mistake::new("leads to this machine only, while server.listen takes connections from elsewhere");
        let hint =
            "right in a container whose port is published on 127.0.0.1; else write the https URL that clients use";
        reading.warn(&at, mistake.hint(hint));
    } else if port != Some(server.listen.port()) {
        let mistake = Mistake::new(format!("leads to another port than server.listen, which is {}", server.listen));
        reading.warn(&at, mistake.hint("write the same port into both"));
    }
}

/// Whether the largest body that is collected fits, and leaves room for others.
fn check_memory(server: &Server, limits: &Limits, sections: &Sections, reading: &mut Reading<'_>) {
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

/// TLS ends at a proxy in front. One that is not trusted gives all clients its own address.
fn check_proxies(server: &Server, sections: &Sections, reading: &mut Reading<'_>) {
    let section = sections.table("server");
    if server.trusted_proxies.is_empty() && !section.has("trusted_proxies") {
        let mistake = Mistake::new(
            "is empty, but TLS ends at a proxy: all clients have its address, and share what one address may do",
        );
        let hint = "name that proxy's address or network: trusted_proxies = [\"127.0.0.1\"]; [] when it sends no \
             X-Forwarded-For";
        reading.warn(&section.at("trusted_proxies"), mistake.hint(hint));
    }
}

/// Whether an upstream is ourselves: a request would go round for ever.
fn check_ways_out(
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

/// Whether a URL has our public host and port, whatever its path: the proxy in front of us brings it back to us.
fn is_at(url: &Uri, ours: &Url) -> bool {
    let Ok(url) = Url::parse(&url.to_string()) else { return false };
    url.host() == ours.host() && url.port_or_known_default() == ours.port_or_known_default()
}

/// Whether a URL leads to a listener of ours.
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
    fn we_know_our_own_address_under_its_names() {
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
