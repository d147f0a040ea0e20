//! Who gets in, who is stopped, and what stopping one costs another.

use std::net::Ipv6Addr;
use std::time::Duration;

use super::{Local, PasswordCheck, decoy_hash, hash_password, random_password, verify};
use crate::clock::{Clock, Timestamp};
use crate::config::{Lifetimes, LocalUser, Registration};
use crate::identity::RenewError;
use crate::limits::Limits;
use crate::secret::SecretText;
use crate::telemetry::metrics::Metrics;
use crate::wire::ClientAddress;

/// `correct horse`, hashed with m=64,t=1,p=1: the tests are about who gets in, not about how slow it is.
fn cheap_hash(password: &str) -> SecretText {
    use argon2::password_hash::PasswordHasher;
    use argon2::password_hash::phc::PasswordHash;
    let params = argon2::Params::new(64, 1, 1, None).unwrap();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let hash: PasswordHash = argon2.hash_password_with_salt(password.as_bytes(), b"0123456789abcdef").unwrap();
    hash.to_string().into()
}

fn alice() -> LocalUser {
    LocalUser {
        id: "u_1".to_owned(),
        username: "alice".to_owned(),
        password_hash: cheap_hash("correct horse"),
        name: Some("Alice".to_owned()),
        email: Some("alice@example.com".to_owned()),
        groups: vec!["eng".to_owned()],
    }
}

/// Local users, and what counts their tries.
struct Counted {
    local: Local,
    limits: Limits,
}

impl Counted {
    fn new(users: &[LocalUser], clock: &Clock) -> Self {
        let counted = Metrics::default().limits;
        let limits = Limits::new(&Registration::default(), &Lifetimes::default(), clock, counted);
        Self { local: Local::new(&"demo".into(), users), limits }
    }
}

fn local() -> (Counted, Clock) {
    let clock = Clock::manual(Timestamp(1_800_000_000));
    (Counted::new(&[alice()], &clock), clock)
}

/// The address of a place with a name of at most eight bytes: each has a /64 of its own.
fn address(place: &str) -> ClientAddress {
    let network = place.bytes().fold(0, |network, byte| network << 8 | u128::from(byte));
    ClientAddress(Ipv6Addr::from_bits(network << 64 | 1).into())
}

async fn check(counted: &Counted, username: &str, password: &str, place: &str) -> PasswordCheck {
    counted.local.check(&counted.limits, username, password.to_owned().into(), address(place)).await
}

#[tokio::test]
async fn the_right_password_of_the_right_user_alone_signs_in() {
    let (local, _clock) = local();
    let PasswordCheck::Right(signed_in) = check(&local, "alice", "correct horse", "a").await else { panic!() };
    assert_eq!(signed_in.key, "u_1");
    assert_eq!(signed_in.user.preferred_username.as_deref(), Some("alice"));
    assert_eq!(signed_in.user.groups, ["eng"]);
    assert!(signed_in.renewable && signed_in.token.is_none());
    for (username, password) in [
        ("alice", "wrong"),
        ("alice", ""),
        ("Alice", "correct horse"),
        ("bob", "correct horse"),
        ("u_1", "correct horse"),
    ] {
        assert!(matches!(check(&local, username, password, "a").await, PasswordCheck::Wrong), "{username}");
    }
}

async fn guess(local: &Counted, username: &str, addresses: impl Iterator<Item = String>) -> usize {
    let mut checked = 0;
    for address in addresses {
        checked += usize::from(matches!(check(local, username, "guess", &address).await, PasswordCheck::Wrong));
    }
    checked
}

fn from_one(address: &str, times: usize) -> impl Iterator<Item = String> {
    std::iter::repeat_n(address.to_owned(), times)
}

#[tokio::test]
async fn guessing_a_users_password_ends_for_an_hour_and_locks_the_user_out_nowhere_else() {
    let (local, clock) = local();
    for username in ["alice", "mallory"] {
        assert_eq!(guess(&local, username, from_one("a", 40)).await, 30, "{username}");
    }
    assert!(matches!(check(&local, "alice", "correct horse", "a").await, PasswordCheck::Limited(_)));
    assert!(matches!(check(&local, "alice", "correct horse", "b").await, PasswordCheck::Right(_)));
    assert!(matches!(check(&local, "bob", "x", "a").await, PasswordCheck::Wrong));
    clock.advance(Duration::from_hours(1));
    assert!(matches!(check(&local, "alice", "correct horse", "a").await, PasswordCheck::Right(_)));
}

#[tokio::test]
async fn a_user_who_signs_in_elsewhere_gives_a_guesser_no_new_tries() {
    let (local, _clock) = local();
    assert_eq!(guess(&local, "alice", from_one("a", 30)).await, 30);
    assert!(matches!(check(&local, "alice", "correct horse", "b").await, PasswordCheck::Right(_)));
    assert_eq!(guess(&local, "alice", from_one("a", 1)).await, 0);
}

#[tokio::test]
async fn guessing_from_many_places_ends_and_the_user_gets_in_from_where_one_did_before() {
    let (local, _clock) = local();
    assert!(matches!(check(&local, "alice", "correct horse", "home").await, PasswordCheck::Right(_)));
    let places = || (0..1100).map(|place| format!("{place}"));
    assert_eq!(guess(&local, "alice", places()).await, 999, "one was the right one's");
    assert_eq!(guess(&local, "mallory", places()).await, 1000);
    assert!(matches!(check(&local, "alice", "correct horse", "new").await, PasswordCheck::Limited(_)));
    assert!(matches!(check(&local, "alice", "correct horse", "home").await, PasswordCheck::Right(_)));
}

#[tokio::test]
async fn the_places_of_a_user_do_not_grow_without_end() {
    let (local, _clock) = local();
    for place in 0..250 {
        assert!(matches!(check(&local, "alice", "correct horse", &place.to_string()).await, PasswordCheck::Right(_)));
    }
    assert!(local.local.users[0].addresses().len() <= 100);
}

#[tokio::test]
async fn signing_in_often_is_no_guessing() {
    let (local, _clock) = local();
    for _ in 0..100 {
        assert!(matches!(check(&local, "alice", "correct horse", "a").await, PasswordCheck::Right(_)));
    }
}

#[tokio::test]
async fn an_address_that_tries_many_users_is_stopped() {
    let (local, _clock) = local();
    let mut busy = 0;
    for guess in 0..1010 {
        let answer = check(&local, &format!("user{guess}"), "x", "a").await;
        busy += usize::from(matches!(answer, PasswordCheck::Limited(_)));
    }
    assert_eq!(busy, 10);
    assert!(matches!(check(&local, "alice", "correct horse", "b").await, PasswordCheck::Right(_)));
}

#[tokio::test]
async fn a_class_room_behind_one_address_can_sign_in_at_once() {
    let hash = cheap_hash("pw");
    let name = |number: usize| format!("student{number}");
    let users: Vec<_> = (0..80)
        .map(|number| LocalUser { id: name(number), username: name(number), password_hash: hash.clone(), ..alice() })
        .collect();
    let local = std::sync::Arc::new(Counted::new(&users, &Clock::system()));
    let all = (0..80).map(|number| {
        let local = std::sync::Arc::clone(&local);
        tokio::spawn(async move { check(&local, &name(number), "pw", "a").await })
    });
    for one in all.collect::<Vec<_>>() {
        assert!(matches!(one.await.unwrap(), PasswordCheck::Right(_)));
    }
}

#[test]
fn an_unknown_users_password_costs_what_the_costliest_real_one_does() {
    let (mut slow, mut other) = (alice(), alice());
    slow.password_hash = hash_password(&"x".to_owned().into());
    other.password_hash = "not a hash".to_owned().into();
    let decoy = decoy_hash(&[alice(), slow, other]);
    assert!(decoy.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", decoy.expose());
    assert!(!verify(&"x".to_owned().into(), &decoy));
    assert!(decoy_hash(&[]).expose().starts_with("$argon2id$"));
}

#[test]
fn a_hash_is_salted_and_verifies() {
    let password: SecretText = random_password();
    let (one, two) = (hash_password(&password), hash_password(&password));
    assert_ne!(one.expose(), two.expose());
    assert!(verify(&password, &one) && verify(&password, &two));
    assert!(!verify(&random_password(), &one));
    assert!(!verify(&password, &"$argon2id$v=19$m=64".to_owned().into()));
}

#[test]
fn a_random_password_can_be_read_out() {
    let password = random_password();
    let groups: Vec<_> = password.expose().split('-').map(str::len).collect();
    assert_eq!(groups, [4, 4, 4, 4]);
    assert!(password.expose().bytes().all(|b| b == b'-' || b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b)));
    assert_ne!(password.expose(), random_password().expose());
}

#[test]
fn a_user_who_left_the_configuration_is_not_renewed() {
    let (local, _clock) = local();
    assert_eq!(local.local.renew("u_1").unwrap().user.unwrap().name.as_deref(), Some("Alice"));
    assert!(matches!(local.local.renew("alice"), Err(RenewError::Ended(_))));
}
