//! How much each pool gets on machines of several sizes, and who gets in when one is full.

use std::net::Ipv4Addr;

use super::{Budget, MIB, Machine, Shortage};
use crate::config::Limits;
use crate::secret::Sha256;
use crate::telemetry::metrics::Metrics;
use crate::wire::ClientAddress;

const GIB: u64 = 1024 * MIB;

fn budget(files: u64, memory: u64, limits: &Limits) -> Budget {
    Budget::divide(Machine { files, memory }, limits, 1024 * 1024, 1, &Metrics::default().limits)
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
    assert_eq!(large.unauthenticated.size() + large.users.size(), 256 << 20);
    let small = budget(u64::MAX, GIB / 4, &Limits::default());
    assert_eq!(small.connections.size(), 1024);
    assert_eq!(small.unauthenticated.size() + small.users.size(), 32 << 20);
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
    assert_eq!((set.unauthenticated.size(), set.unauthenticated.share()), (2 << 20, 600 << 10));
    assert_eq!((set.users.size(), set.users.share()), (6 << 20, 2 << 20));
}

#[test]
fn every_share_is_at_least_one_and_at_most_half_of_its_pool() {
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
    assert_eq!((greedy.unauthenticated.share(), greedy.users.share()), (1 << 20, 3 << 20));
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
fn large_heads_of_unknown_are_memory_too() {
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
    assert_eq!((budget.unauthenticated.state(), budget.requests.state()), ((1 << 20, 0), (3072, 0)));
}
