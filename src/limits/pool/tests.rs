//! Shares under single holders, many holders, and waiting ones.

use std::net::Ipv6Addr;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::{Holder, Pool, Settings, Share, Shortage};
use crate::telemetry::metrics::Metrics;
use crate::wire::ClientAddress;

const PATIENCE: Duration = Duration::from_secs(5);

fn user(name: &str) -> Holder {
    Holder::User(name.into())
}

fn all(pool: &Pool, holder: &Holder) -> Vec<Share> {
    std::iter::from_fn(|| pool.take(holder.clone(), 1).ok()).collect()
}

#[test]
fn one_holder_gets_its_share_and_at_most_half_of_the_pool() {
    let pool = Pool::of(1000, 100);
    let held = all(&pool, &user("a"));
    assert_eq!(held.len(), 100);
    assert_eq!(pool.take(user("a"), 1).err(), Some(Shortage::Share));
    assert!(pool.take(user("b"), 1).is_ok());
    assert_eq!(all(&Pool::of(16, 100), &user("a")).len(), 8);
}

#[test]
fn many_greedy_holders_leave_room_for_a_newcomer() {
    let pool = Pool::of(4096, 256);
    let hogs: Vec<_> = (0..60).map(|number| user(&number.to_string())).collect();
    let mut held = Vec::new();
    let round = || hogs.iter().filter_map(|hog| pool.take(hog.clone(), 1).ok()).collect::<Vec<_>>();
    loop {
        let taken = round();
        if taken.is_empty() {
            break;
        }
        held.extend(taken);
    }
    assert_eq!(pool.take(hogs[0].clone(), 1).err(), Some(Shortage::Pool));
    assert!(all(&pool, &user("newcomer")).len() >= 30, "{} are left", pool.state().0);
}

#[test]
fn a_refusal_is_counted_under_the_setting_that_was_used_up() {
    let metrics = Metrics::default();
    let pool = Pool::new(4, 1, Settings { size: "calls", share: "calls_per_user" }, metrics.limits.clone());
    for shortage in [Shortage::Share, Shortage::Pool, Shortage::Share] {
        pool.count_refusal(shortage);
    }
    let scraped = metrics.encode();
    for line in [r#"limited_total{limit="calls"} 1"#, r#"limited_total{limit="calls_per_user"} 2"#] {
        assert!(scraped.contains(line), "{line}: {scraped}");
    }
}

#[test]
fn everything_is_given_back_and_no_holder_is_remembered() {
    let pool = Pool::of(100, 50);
    let mut share = pool.take(user("a"), 10).unwrap();
    share.grow(5).unwrap();
    assert_eq!((pool.state(), share.amount()), ((85, 1), 15));
    assert_eq!(share.grow(40), Err(Shortage::Share));
    assert_eq!((pool.state(), share.amount()), ((85, 1), 15), "a refusal takes nothing");
    share.shrink(3);
    assert_eq!((pool.state(), share.amount()), ((97, 1), 3));
    drop(share);
    let panics = || {
        let _share = pool.take(user("a"), 50).unwrap();
        panic!("while it holds something");
    };
    assert!(std::panic::catch_unwind(AssertUnwindSafe(panics)).is_err());
    assert_eq!(pool.state(), (100, 0));
}

#[tokio::test]
async fn a_share_without_a_holder_is_not_assigned_to_a_holder_that_has_enough() {
    let pool = Pool::of(16, 2);
    let next = async || {
        let mut share = pool.next().await.unwrap();
        pool.assign(&mut share, user("a")).map(|()| share)
    };
    let held = (next().await.unwrap(), next().await.unwrap());
    assert_eq!(next().await.err(), Some(Shortage::Share));
    assert_eq!(pool.state(), (14, 1), "the refused one is free again");
    drop(held);
    assert_eq!(pool.state(), (16, 0));
}

#[test]
fn trusted_peers_leave_a_quarter_of_the_pool_to_all_others() {
    let pool = Pool::of(448, 224);
    let trusted = all(&pool, &Holder::Trusted);
    assert_eq!(trusted.len(), 336);
    assert_eq!(pool.take(Holder::Trusted, 1).err(), Some(Shortage::Share));
    assert_eq!(all(&pool, &user("a")).len(), 56);
}

#[test]
fn all_networks_of_one_ipv6_site_together_leave_most_of_the_pool() {
    let network = |site: u16, number: u16| {
        Holder::from(ClientAddress(Ipv6Addr::from([0x2001, 0xdb8, site, number, 0, 0, 0, 1]).into()))
    };
    let pool = Pool::of(4096, 256);
    let first = (0..5000).filter_map(|number| pool.take(network(1, number), 1).ok()).collect::<Vec<_>>();
    assert_eq!(first.len(), 1024, "2,000 networks that each come once are not 2,000 newcomers");
    assert_eq!(pool.take(network(1, 9999), 1).err(), Some(Shortage::Share));
    assert!(pool.take(network(2, 0), 1).is_ok(), "another site");
    assert!(pool.take(user("a"), 1).is_ok());
    drop(first);
    assert_eq!(pool.state(), (4096, 0));
    assert_eq!(all(&Pool::of(448, 224), &network(1, 0)).len(), 224, "one network alone has its whole share");
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_a_share_or_by_its_time_limit_and_an_abandoned_one_leaves_nothing_behind() {
    let pool = Pool::of(2, 2);
    let held = (pool.take(user("a"), 1).unwrap(), pool.take(user("b"), 1).unwrap());
    let began = Instant::now();
    assert_eq!(pool.wait(user("c"), 1, PATIENCE).await.err(), Some(Shortage::Pool));
    assert_eq!(began.elapsed(), PATIENCE);
    let given_up = tokio::time::timeout(PATIENCE / 2, pool.wait(user("c"), 1, PATIENCE)).await;
    assert!(given_up.is_err());
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.wait(user("c"), 1, PATIENCE).await.is_ok() }
    });
    tokio::time::sleep(PATIENCE / 2).await;
    drop(held);
    assert!(waiting.await.unwrap());
    assert_eq!(pool.state(), (2, 0));
}

proptest! {
    #[test]
    fn nothing_is_lost_and_nothing_given_twice(steps in prop::collection::vec((0..4_usize, 0..40_usize), 0..100)) {
        let pool = Pool::of(100, 60);
        let mut shares: Vec<Share> = Vec::new();
        for (kind, amount) in steps {
            match kind {
                0 => shares.extend(pool.take(user(&(amount % 3).to_string()), amount).ok()),
                1 => drop(shares.first_mut().map(|share| share.grow(amount))),
                2 => drop(shares.last_mut().map(|share| share.shrink(amount))),
                _ => drop(shares.pop()),
            }
            let held: usize = shares.iter().map(Share::amount).sum();
            prop_assert_eq!(pool.state().0 + held, 100);
        }
        shares.clear();
        prop_assert_eq!(pool.state(), (100, 0));
    }
}
