//! `[limits]`: how much of the machine all clients may use, and how much a single address or user.
//!
//! Defends against: denial of service by exhausted connections, memory or database writes.

use serde::Deserialize;

use super::problem::Mistake;
use super::quantity::Scalar;
use super::reading::{Reading, Section};

/// Upper bounds. `None` is derived from the machine at start: open files, memory, control group.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Client connections.
    pub connections: Option<usize>,
    /// Client connections per address (IPv6: /64).
    pub connections_per_address: usize,
    /// Requests in progress whose user is not known.
    pub requests: Option<usize>,
    /// The same, per address.
    pub requests_per_address: usize,
    /// Calls to upstreams in progress.
    pub calls: Option<usize>,
    /// Calls in progress per user.
    pub calls_per_user: usize,
    /// Bytes of request bodies in memory.
    pub body_memory: Option<usize>,
    /// The same, per address while the user is not known.
    pub body_memory_per_address: Option<usize>,
    /// The same, per user.
    pub body_memory_per_user: Option<usize>,
    /// Unauthenticated writes of each kind that may wait for the database.
    pub waiting_writes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: None,
            connections_per_address: 1024,
            requests: None,
            requests_per_address: 256,
            calls: None,
            calls_per_user: 1024,
            body_memory: None,
            body_memory_per_address: None,
            body_memory_per_user: None,
            waiting_writes: 256,
        }
    }
}

/// The minimum of `body_memory`, in bytes: unauthenticated forms get a part of it.
const LEAST_MEMORY: u64 = 4 * 1024 * 1024;
/// The minimum share of it, in bytes: twice a head and a form of the largest accepted size.
const LEAST_SHARE: u64 = 256 * 1024;
/// The minimum of a count: with fewer, one slow client could block all others.
const FEWEST: u32 = 4;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    connections: Option<u32>,
    connections_per_address: Option<u32>,
    requests: Option<u32>,
    requests_per_address: Option<u32>,
    calls: Option<u32>,
    calls_per_user: Option<u32>,
    body_memory: Option<Scalar>,
    body_memory_per_address: Option<Scalar>,
    body_memory_per_user: Option<Scalar>,
    waiting_writes: Option<u32>,
}

/// Reads the section.
pub(super) fn read(section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Limits> {
    let written: Written = reading.shape(section)?;
    let default = Limits::default();
    let mut number = |key: &str, written: Option<u32>| reading.keep(&section.at(key), count(written?));
    let connections = number("connections", written.connections);
    let connections_per_address = number("connections_per_address", written.connections_per_address);
    let requests = number("requests", written.requests);
    let requests_per_address = number("requests_per_address", written.requests_per_address);
    let calls = number("calls", written.calls);
    let calls_per_user = number("calls_per_user", written.calls_per_user);
    let waiting_writes = number("waiting_writes", written.waiting_writes);
    let mut size = |key: &str, written: Option<Scalar>, read: fn(&Scalar) -> Result<usize, Mistake>| {
        reading.keep(&section.at(key), read(&written?))
    };
    Some(Limits {
        connections,
        connections_per_address: connections_per_address.unwrap_or(default.connections_per_address),
        requests,
        requests_per_address: requests_per_address.unwrap_or(default.requests_per_address),
        calls,
        calls_per_user: calls_per_user.unwrap_or(default.calls_per_user),
        body_memory: size("body_memory", written.body_memory, memory),
        body_memory_per_address: size("body_memory_per_address", written.body_memory_per_address, share),
        body_memory_per_user: size("body_memory_per_user", written.body_memory_per_user, share),
        waiting_writes: waiting_writes.unwrap_or(default.waiting_writes),
    })
}

fn count(written: u32) -> Result<usize, Mistake> {
    if written < FEWEST {
        let mistake = Mistake::new(format!("must be at least {FEWEST}"));
        return Err(
            mistake.hint("leave it out for a default that suits this machine; the log shows the number at start")
        );
    }
    usize::try_from(written).map_err(|_too_large| Mistake::new("is more than this machine can count"))
}

fn memory(written: &Scalar) -> Result<usize, Mistake> {
    let bytes = written.bytes()?;
    if bytes < LEAST_MEMORY {
        return Err(Mistake::new("is less than 4MiB").hint("leave it out for an eighth of the memory, up to 256MiB"));
    }
    usize::try_from(bytes).map_err(|_too_large| Mistake::new("is more than this machine can hold"))
}

fn share(written: &Scalar) -> Result<usize, Mistake> {
    let bytes = written.bytes()?;
    if bytes < LEAST_SHARE {
        let mistake = Mistake::new("is less than 256KiB");
        return Err(mistake.hint("leave it out for a share of body_memory; the log shows the number at start"));
    }
    usize::try_from(bytes).map_err(|_too_large| Mistake::new("is more than this machine can hold"))
}
