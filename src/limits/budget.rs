//! How what a process has is divided: descriptors, requests before we know whose they are, memory for bodies.
//!
//! | pool | of what | shared out by |
//! |---|---|---|
//! | `connections` | descriptors of clients | address |
//! | `requests` | requests whose user is not known, or that have none | address |
//! | `known` | the same with a token that was verified before, when `requests` has no place for them | token |
//! | `calls` | calls to upstreams, each with a descriptor | user |
//! | `strangers`, `users` | bytes of bodies that are held in memory | address, user |
//! | `operations` | connections of health checks, out of the reserved files | nobody: the longest waiting makes room |
//!
//! Bytes are two pools: strangers must not take what calls with a token need. The turns of the one database writer are given
//! by `storage`, which stands below.

use std::sync::Arc;

use super::machine::Machine;
use super::pool::{Holder, Pool, Share, Shortage};
use super::{ClientAddress, Room};
use crate::config::{Config, Limits};
use crate::secret::Sha256;

/// Files that are neither connections nor calls: the database, the log, listeners, providers, health checks.
const RESERVED: u64 = 128;
/// The most connections, and the most calls, whatever the machine has.
const MOST: u64 = 16_384;
/// Connections to `/live` and `/ready`: out of the reserved files, so that health is told while clients take all others.
const OPERATIONS: usize = 32;
/// The most requests at once before their user is known.
const MOST_REQUESTS: u64 = 4096;
/// What one connection may take of the machine's memory: a head that is being read, what a peer sent and nobody read.
const PER_CONNECTION: u64 = 256 * 1024;
const MIB: u64 = 1024 * 1024;
/// The least and the most memory for bodies unless the operator says otherwise.
const BODIES: (u64, u64) = (16 * MIB, 256 * MIB);
/// A request's head up to this size is part of what a request takes anyway.
const SMALL_HEAD: usize = 8 * 1024;

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
    strangers: Pool,
    users: Pool,
}

impl Budget {
    /// Asks the machine what there is.
    #[must_use]
    pub(crate) fn new(config: &Config) -> Self {
        let (largest, upstreams) = (config.server.inspect_limit, config.upstreams.len());
        let budget = Self::divide(Machine::read(), &config.limits, largest, upstreams);
        let Self { connections, calls, requests, known, strangers, users, .. } = &budget;
        tracing::info!(
            connections = connections.size(),
            connections_per_address = connections.share(),
            requests = requests.size() + known.size(),
            requests_per_address = requests.share(),
            calls = calls.size(),
            calls_per_user = calls.share(),
            body_memory = strangers.size() + users.size(),
            body_memory_per_address = strangers.share(),
            body_memory_per_user = users.share(),
            waiting_writes = config.limits.waiting_writes,
            "limits"
        );
        budget
    }

    /// `largest` is the largest body that is collected.
    fn divide(machine: Machine, limits: &Limits, largest: usize, upstreams: usize) -> Self {
        let files = machine.files.saturating_sub(RESERVED);
        // an eighth is left for idle connections to upstreams, and for those that are just being closed
        let connections = (files / 2).min(machine.memory / PER_CONNECTION).clamp(16, MOST);
        let calls = (files / 8).saturating_mul(3).clamp(12, MOST);
        let connections = at_most(limits.connections, connections, "connections");
        let calls = at_most(limits.calls, calls, "calls");
        let suits = whole((machine.memory / PER_CONNECTION).clamp(512, MOST_REQUESTS));
        let requests = limits.requests.unwrap_or(suits);
        let known = (requests / 4).max(1);
        let requests = requests.saturating_sub(known).max(1);
        let idle = whole((files / 8).clamp(4, 1024)) / upstreams.max(1);
        let (strangers, users) = divide_memory(machine, limits, largest);
        Self {
            connections: Pool::new(connections, limits.connections_per_address.min(connections / 2)),
            operations: Pool::new(OPERATIONS, OPERATIONS / 2),
            calls: Pool::new(calls, limits.calls_per_user.min((calls / 4).max(1))),
            idle_per_upstream: idle.max(1),
            requests: Pool::new(requests, limits.requests_per_address.min(requests / 2).max(1)),
            known: Pool::new(known, (known / 16).max(1)),
            strangers,
            users,
        }
    }

    /// Lets a request in whose user is not known yet, with a head of this size.
    ///
    /// # Errors
    /// When its address has too many already, or all addresses together have.
    pub(crate) fn admit(&self, address: ClientAddress, head: usize) -> Result<Admission, Shortage> {
        let holder = Holder::from(address);
        let large = if head > SMALL_HEAD { Some(self.strangers.take(holder.clone(), head)?) } else { None };
        Ok(Admission(Some((self.requests.take(holder, 1)?, large))))
    }

    /// Lets a request in that [`Self::admit`] refuses, with a token that was verified before: strangers must not turn away
    /// what they cannot send.
    ///
    /// # Errors
    /// When there are too many of this token already, or of all such tokens together.
    pub(crate) fn admit_known(&self, token: Sha256, head: usize) -> Result<Admission, Shortage> {
        let holder = Holder::Token(token);
        let large = if head > SMALL_HEAD { Some(self.users.take(holder.clone(), head)?) } else { None };
        Ok(Admission(Some((self.known.take(holder, 1)?, large))))
    }

    /// Memory for a body that a stranger sends.
    pub(crate) fn room_of_address(&self, address: ClientAddress) -> Room {
        Room { pool: self.strangers.clone(), holder: address.into() }
    }

    /// Memory for a body that a user sends.
    pub(crate) fn room_of_user(&self, subject: &Arc<str>) -> Room {
        Room { pool: self.users.clone(), holder: Holder::User(Arc::clone(subject)) }
    }
}

/// A request's place among those of its address.
pub(crate) struct Admission(Option<(Share, Option<Share>)>);

impl Admission {
    /// From here on the request counts otherwise.
    pub(crate) fn leave(&mut self) {
        self.0 = None;
    }

    /// Whether it still counts among those of its address.
    pub(crate) const fn is_held(&self) -> bool {
        self.0.is_some()
    }
}

/// Memory for bodies, divided between strangers and users. No address and no user gets more than half of its part.
fn divide_memory(machine: Machine, limits: &Limits, largest: usize) -> (Pool, Pool) {
    let bodies = limits.body_memory.unwrap_or_else(|| {
        let (least, most) = BODIES;
        whole((machine.memory / 8).clamp(least, most)).max(largest.saturating_mul(8))
    });
    let strangers = bodies / 4;
    let users = bodies - strangers;
    let per_address = limits.body_memory_per_address.unwrap_or(strangers / 4).min(strangers / 2);
    let per_user = limits.body_memory_per_user.unwrap_or(users / 4).min(users / 2).max(largest);
    (Pool::new(strangers, per_address), Pool::new(users, per_user))
}

/// What the operator wants, as far as the machine has it.
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
mod tests {
    use std::net::Ipv4Addr;

    use super::{Budget, MIB, Machine, Shortage};
    use crate::config::Limits;
    use crate::limits::ClientAddress;
    use crate::secret::Sha256;

    const GIB: u64 = 1024 * MIB;

    fn budget(files: u64, memory: u64, limits: &Limits) -> Budget {
        Budget::divide(Machine { files, memory }, limits, 1024 * 1024, 1)
    }

    #[test]
    fn all_descriptors_together_are_never_more_than_the_system_allows() {
        for files in [256, 512, 1024, 4096, 20_000, 1 << 20] {
            let budget = budget(files, 64 * GIB, &Limits::default());
            let taken = budget.connections.size() + budget.calls.size() + budget.idle_per_upstream;
            assert!(taken as u64 + super::RESERVED <= files, "{files}: {taken}");
        }
    }

    #[test]
    fn one_user_never_takes_every_descriptor_of_a_small_process() {
        let budget = budget(1024, 4 * GIB, &Limits::default());
        assert_eq!((budget.connections.size(), budget.connections.share()), (448, 224));
        assert_eq!((budget.calls.size(), budget.calls.share()), (336, 84));
    }

    #[test]
    fn defaults_follow_the_machine_and_settings_only_lower_what_it_has() {
        let large = budget(u64::MAX, 64 * GIB, &Limits::default());
        assert_eq!((large.connections.size(), large.connections.share()), (16_384, 1024));
        assert_eq!((large.calls.size(), large.calls.share()), (16_384, 1024));
        assert_eq!((large.requests.size(), large.requests.share()), (3072, 256));
        assert_eq!((large.known.size(), large.known.share()), (1024, 64));
        assert_eq!(large.strangers.size() + large.users.size(), 256 << 20);
        let small = budget(u64::MAX, GIB / 4, &Limits::default());
        assert_eq!(small.connections.size(), 1024);
        assert_eq!(small.strangers.size() + small.users.size(), 32 << 20);
        let limits = Limits {
            connections: Some(100),
            connections_per_address: 10,
            requests: Some(200),
            requests_per_address: 20,
            calls: Some(1 << 20),
            calls_per_user: 5,
            body_memory: Some(8 << 20),
            body_memory_per_address: Some(600 << 10),
            body_memory_per_user: Some(2 << 20),
            ..Limits::default()
        };
        let set = budget(1024, 4 * GIB, &limits);
        assert_eq!((set.connections.size(), set.connections.share()), (100, 10));
        assert_eq!((set.calls.size(), set.calls.share()), (336, 5), "there are no more");
        assert_eq!((set.requests.size(), set.requests.share()), (150, 20));
        assert_eq!((set.known.size(), set.known.share()), (50, 3));
        assert_eq!((set.strangers.size(), set.strangers.share()), (2 << 20, 600 << 10));
        assert_eq!((set.users.size(), set.users.share()), (6 << 20, 2 << 20));
    }

    #[test]
    fn no_share_is_more_than_half_of_what_there_is_and_none_is_nothing() {
        let set = |limits: Limits| budget(1024, 4 * GIB, &limits);
        let few = set(Limits { requests: Some(4), ..Limits::default() });
        assert_eq!((few.requests.size(), few.requests.share()), (3, 1));
        assert_eq!((few.known.size(), few.known.share()), (1, 1));
        let greedy = set(Limits {
            requests: Some(1000),
            requests_per_address: 10_000,
            body_memory: Some(8 << 20),
            body_memory_per_address: Some(1 << 30),
            body_memory_per_user: Some(1 << 30),
            ..Limits::default()
        });
        assert_eq!((greedy.requests.size(), greedy.requests.share()), (750, 375));
        assert_eq!((greedy.strangers.share(), greedy.users.share()), (1 << 20, 3 << 20));
    }

    #[test]
    fn about_a_hundred_addresses_are_needed_to_take_all_requests_and_known_tokens_keep_theirs() {
        let budget = budget(u64::MAX, 64 * GIB, &Limits::default());
        let address = |number: usize| ClientAddress(Ipv4Addr::from_bits(u32::try_from(number).unwrap()).into());
        let fill = |addresses: usize| {
            let mut held = Vec::new();
            loop {
                let before = held.len();
                held.extend((0..addresses).filter_map(|number| budget.admit(address(number), 500).ok()));
                if held.len() == before {
                    return held;
                }
            }
        };
        let held = fill(15);
        assert_eq!(budget.requests.state().0, 3072 / 16, "as much as each of them has");
        assert!(budget.admit(address(1000), 500).is_ok(), "one that has none yet is let in");
        drop(held);
        let _held = fill(54);
        let one_each = (1000..).map_while(|number| budget.admit(address(number), 500).ok()).collect::<Vec<_>>();
        assert_eq!(budget.requests.state().0, 0);
        assert!((50..60).contains(&one_each.len()), "{}", one_each.len());
        assert!(budget.admit_known(Sha256::of(b"a token"), 500).is_ok(), "but for tokens that were seen before");
    }

    #[test]
    fn large_heads_of_strangers_are_memory_too() {
        let budget = budget(1024, 4 * GIB, &Limits { body_memory: Some(4 << 20), ..Limits::default() });
        let address = ClientAddress("203.0.113.7".parse().unwrap());
        let mut admitted = Vec::new();
        let refused = loop {
            match budget.admit(address, 64 * 1024) {
                Ok(admission) => admitted.push(admission),
                Err(shortage) => break shortage,
            }
        };
        assert_eq!((refused, admitted.len()), (Shortage::Share, 4));
        assert!(budget.admit(ClientAddress("203.0.113.8".parse().unwrap()), 64 * 1024).is_ok());
        assert!(budget.admit(address, 2000).is_ok(), "a small head is no memory of its own");
        admitted.clear();
        assert_eq!((budget.strangers.state(), budget.requests.state()), ((1 << 20, 0), (3072, 0)));
    }
}
