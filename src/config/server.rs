//! `[server]`: the two listeners, and the proxies, hosts and origins that they trust.
//!
//! Defends against: spoofed client addresses, DNS rebinding, cross-origin calls.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::addresses::{address, collide, host, host_name, network, operations_address, origin};
use super::problem::Mistake;
use super::quantity::Scalar;
use super::reading::{Reading, Section};

/// The listeners.
#[derive(Debug, Clone)]
pub struct Server {
    /// The public listener.
    pub listen: SocketAddr,
    /// The operations listener (health, metrics); loopback by default.
    pub operations: Option<SocketAddr>,
    /// `Host` names of the operations listener besides IP addresses and `localhost`.
    pub operations_hosts: Vec<String>,
    /// The proxies whose `X-Forwarded-For` is used.
    pub trusted_proxies: Vec<IpNet>,
    /// Browser origins that may call upstreams besides `public_url`; `*` means any.
    pub allowed_origins: Vec<String>,
    /// Whether every loopback origin may call upstreams (`dev`).
    pub loopback_origins: bool,
    /// `Host` values besides that of `public_url`, in lower case without the default port.
    pub allowed_hosts: Vec<String>,
    /// The largest JSON body that is read whole before it is forwarded, in bytes.
    pub inspect_limit: usize,
    /// The maximum age of a stream; off by default.
    pub max_stream_age: Option<Duration>,
    /// How long the feed of ended grants may fail before calls get 503; off by default.
    pub revocation_staleness: Option<Duration>,
    /// How long requests and streams may continue after SIGTERM.
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

/// The largest `inspect_limit`, in bytes.
const LARGEST_INSPECTED: u64 = 64 * 1024 * 1024;
/// The longest drain: service managers kill a process that takes longer.
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
    let listens = !reading.is_placeholder(&section.at("listen"));
    if listens && server.operations.is_some_and(|operations| collide(server.listen, operations)) {
        let mistake = Mistake::new("is the same address as listen").hint("give it another port, or write \"off\"");
        reading.error(&section.at("operations"), mistake);
    }
    let everyone = |text: &String| network(text).is_ok_and(|network| network.prefix_len() == 0);
    if let Some(index) = written.trusted_proxies.iter().flatten().position(everyone) {
        let mistake = Mistake::new("lets every client choose its own address");
        reading.warn(&section.item("trusted_proxies", index), mistake.hint("list only the networks of your proxies"));
    }
    server.operations_hosts = list(section, "operations_hosts", written.operations_hosts, host_name, reading);
    server.trusted_proxies = list(section, "trusted_proxies", written.trusted_proxies, network, reading);
    server.allowed_origins = list(section, "allowed_origins", written.allowed_origins, origin, reading);
    server.allowed_hosts = list(section, "allowed_hosts", written.allowed_hosts, host, reading);
    if let Some(limit) = written.inspect_limit {
        server.inspect_limit = reading.keep(&section.at("inspect_limit"), inspect_limit(&limit)).unwrap_or_default();
    }
    server.max_stream_age = optional_duration(section, "max_stream_age", written.max_stream_age, reading);
    server.revocation_staleness =
        optional_duration(section, "revocation_staleness", written.revocation_staleness, reading);
    if let Some(drain) = written.drain {
        let drain = drain
            .duration()
            .and_then(|drain| if drain > LONGEST_DRAIN { Err(Mistake::new("must be at most 1h")) } else { Ok(drain) });
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

fn inspect_limit(written: &Scalar) -> Result<usize, Mistake> {
    let bytes = written.bytes()?;
    if !(1024..=LARGEST_INSPECTED).contains(&bytes) {
        return Err(Mistake::new("must be between 1KiB and 64MiB"));
    }
    usize::try_from(bytes).ok().ok_or_else(|| Mistake::new("is more than this machine can hold"))
}

/// A duration that is off by default.
fn optional_duration(
    section: &Section<'_>,
    key: &str,
    written: Option<Scalar>,
    reading: &mut Reading<'_>,
) -> Option<Duration> {
    let written = written.filter(|written| !written.is_off())?;
    let duration = written.duration().map_err(|mistake| mistake.hint("a duration such as \"1h\", or \"off\""));
    let duration = duration.and_then(|duration| {
        let nothing = || Mistake::new("must be longer than 0s").hint("\"off\" switches it off");
        if duration.is_zero() { Err(nothing()) } else { Ok(duration) }
    });
    reading.keep(&section.at(key), duration)
}
