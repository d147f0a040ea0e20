//! How the resources of a process are divided: descriptors, requests whose user is not known yet, memory for bodies.
//!
//! | pool | of what | shared out by |
//! |---|---|---|
//! | `connections` | descriptors of clients | address |
//! | `requests` | requests whose user is not known, or that have none | address |
//! | `known` | the same with a token that was verified before, when `requests` has no place for them | token |
//! | `calls` | calls to upstreams, each with a descriptor | user |
//! | `unauthenticated`, `users` | bytes of bodies that are held in memory | address, user |
//! | `operations` | connections of health checks, out of the reserved files | no one: the one that is idle longest makes room |
//!
//! Memory is two pools, so that unauthenticated callers cannot take what calls with a token need. `storage` gives out the
//! turns of the one database writer.

use std::sync::Arc;

use super::body::Room;
use super::machine::Machine;
use super::pool::{Holder, Pool, Settings, Share, Shortage};
use crate::config::{self, Config};
use crate::secret::Sha256;
use crate::telemetry::metrics;
use crate::wire::ClientAddress;

/// Files that are neither connections nor calls: the database, the log, listeners, providers, health checks.
const RESERVED: u64 = 128;
/// The most connections, and the most calls, whatever the machine has.
const MOST: u64 = 16_384;
/// Connections to `/live` and `/ready`: from the reserved files, so that health checks work when clients take all
/// others.
const OPERATIONS: usize = 32;
/// The most requests at once before their user is known.
const MOST_REQUESTS: u64 = 4096;
/// What one connection may take of the machine's memory: a head that is being read, and bytes that arrived unread.
const PER_CONNECTION: u64 = 256 * 1024;
const MIB: u64 = 1024 * 1024;
/// The least and the most memory for bodies unless the operator says otherwise.
const BODIES: (u64, u64) = (16 * MIB, 256 * MIB);
/// A request's head up to this size is part of what a request takes anyway.
const SMALL_HEAD: usize = 8 * 1024;

const CONNECTIONS: Settings = Settings { size: "connections", share: "connections_per_address" };
const OF_OPERATIONS: Settings =
    Settings { size: "operations_connections", share: "operations_connections_per_address" };
const CALLS: Settings = Settings { size: "calls", share: "calls_per_user" };
const REQUESTS: Settings = Settings { size: "requests", share: "requests_per_address" };
const UNAUTHENTICATED_BODIES: Settings = Settings { size: "body_memory", share: "body_memory_per_address" };
const BODIES_OF_USERS: Settings = Settings { size: "body_memory", share: "body_memory_per_user" };

/// What a process has. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Budget {
    pub(crate) connections: Pool,
    pub(crate) operations: Pool,
    pub(crate) calls: Pool,
    /// The most idle connections to one upstream: their descriptors belong to no call.
    pub(crate) idle_per_upstream: usize,
    requests: Pool,
    known: Pool,
    unauthenticated: Pool,
    users: Pool,
}

impl Budget {
    /// Asks the machine what there is.
    #[must_use]
    pub(crate) fn new(config: &Config, refusals: &metrics::Limits) -> Self {
        let (largest, upstreams) = (config.server.inspect_limit, config.upstreams.len());
        let budget = Self::divide(Machine::read(), &config.limits, largest, upstreams, refusals);
        let Self { connections, calls, requests, known, unauthenticated, users, .. } = &budget;
        tracing::info!(
            connections = connections.size(),
            connections_per_address = connections.share(),
            requests = requests.size() + known.size(),
            requests_per_address = requests.share(),
            calls = calls.size(),
            calls_per_user = calls.share(),
            body_memory = unauthenticated.size() + users.size(),
            body_memory_per_address = unauthenticated.share(),
            body_memory_per_user = users.share(),
            waiting_writes = config.limits.waiting_writes,
            "limits"
        );
        budget
    }

    /// `largest` is the largest body that is collected, `upstreams` how many share the idle connections.
    fn divide(
        machine: Machine,
        limits: &config::Limits,
        largest: usize,
        upstreams: usize,
        refusals: &metrics::Limits,
    ) -> Self {
        let pool = |size, share, settings| Pool::new(size, share, settings, refusals.clone());
        let files = machine.files.saturating_sub(RESERVED);
        // an eighth is left for idle connections to upstreams, and for those that are just being closed
        let connections = (files / 2).min(machine.memory / PER_CONNECTION).clamp(16, MOST);
        let calls = (files / 8).saturating_mul(3).clamp(12, MOST);
        let connections = at_most(limits.connections, connections, "connections");
        let calls = at_most(limits.calls, calls, "calls");
        let default = whole((machine.memory / PER_CONNECTION).clamp(512, MOST_REQUESTS));
        let requests = limits.requests.unwrap_or(default);
        let known = (requests / 4).max(1);
        let requests = requests.saturating_sub(known).max(1);
        let idle = whole((files / 8).clamp(4, 1024)) / upstreams.max(1);
        let (unauthenticated, users) = divide_memory(machine, limits, largest);
        let unauthenticated = pool(unauthenticated.size, unauthenticated.share, UNAUTHENTICATED_BODIES);
        let users = pool(users.size, users.share, BODIES_OF_USERS);
        Self {
            connections: pool(connections, limits.connections_per_address.min(connections / 2), CONNECTIONS),
            operations: pool(OPERATIONS, OPERATIONS / 2, OF_OPERATIONS),
            calls: pool(calls, limits.calls_per_user.min((calls / 4).max(1)), CALLS),
            idle_per_upstream: idle.max(1),
            requests: pool(requests, limits.requests_per_address.min(requests / 2).max(1), REQUESTS),
            known: pool(known, (known / 16).max(1), REQUESTS),
            unauthenticated,
            users,
        }
    }

    /// Admits a request whose user is not known yet, with a head of this size.
    ///
    /// # Errors
    /// When its address has too many already, or all addresses together have.
    pub(crate) fn admit(&self, address: ClientAddress, head: usize) -> Result<Admission, Shortage> {
        let holder = Holder::from(address);
        let large = if head > SMALL_HEAD { Some(self.unauthenticated.take(holder.clone(), head)?) } else { None };
        Ok(Admission(Some((self.requests.take(holder, 1)?, large))))
    }

    /// Admits a request that [`Self::admit`] refuses, because its token was verified before: a flood of unauthenticated
    /// callers, who have no such token, must not lock users out.
    ///
    /// # Errors
    /// When there are too many of this token already, or of all such tokens together.
    pub(crate) fn admit_known(&self, token: Sha256, head: usize) -> Result<Admission, Shortage> {
        let holder = Holder::Token(token);
        let large = if head > SMALL_HEAD { Some(self.users.take(holder.clone(), head)?) } else { None };
        Ok(Admission(Some((self.known.take(holder, 1)?, large))))
    }

    /// Counts that a request was refused that neither [`Self::admit`] nor [`Self::admit_known`] admitted.
    pub(crate) fn count_refusal(&self, shortage: Shortage) {
        self.requests.count_refusal(shortage);
    }

    /// Memory for a body that an unauthenticated caller sends.
    pub(crate) fn room_of_address(&self, address: ClientAddress) -> Room {
        Room { pool: self.unauthenticated.clone(), holder: address.into() }
    }

    /// Memory for a body that a user sends.
    pub(crate) fn room_of_user(&self, subject: &Arc<str>) -> Room {
        Room { pool: self.users.clone(), holder: Holder::User(Arc::clone(subject)) }
    }
}

/// A request's place among those of its address.
pub(crate) struct Admission(Option<(Share, Option<Share>)>);

impl Admission {
    /// Stops counting the request here: from now on its user's limits apply.
    pub(crate) fn leave(&mut self) {
        self.0 = None;
    }

    /// Whether it still counts among those of its address.
    pub(crate) const fn is_held(&self) -> bool {
        self.0.is_some()
    }
}

/// A part of the memory for bodies, and what one holder may have of it, in bytes.
struct Memory {
    size: usize,
    share: usize,
}

/// Memory for bodies, divided between unauthenticated callers and users. No address and no user gets more than half of its
/// part, but a user always enough for the largest body.
fn divide_memory(machine: Machine, limits: &config::Limits, largest: usize) -> (Memory, Memory) {
    let bodies = limits.body_memory.unwrap_or_else(|| {
        let (least, most) = BODIES;
        whole((machine.memory / 8).clamp(least, most)).max(largest.saturating_mul(8))
    });
    let unauthenticated = bodies / 4;
    let users = bodies - unauthenticated;
    let per_address = limits.body_memory_per_address.unwrap_or(unauthenticated / 4).min(unauthenticated / 2);
    let per_user = limits.body_memory_per_user.unwrap_or(users / 4).min(users / 2).max(largest);
    (Memory { size: unauthenticated, share: per_address }, Memory { size: users, share: per_user })
}

/// What the operator wants, or as much of it as the machine has.
fn at_most(wanted: Option<usize>, there_is: u64, name: &str) -> usize {
    let there_is = whole(there_is);
    match wanted {
        Some(wanted) if wanted > there_is => {
            tracing::warn!("limits.{name} = {wanted} is more than this machine allows: {there_is}; raise ulimit -n");
            there_is
        }
        Some(wanted) => wanted,
        None => there_is,
    }
}

fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
