//! People whom we know by ourselves: argon2id hashes, checked on the blocking pool behind a semaphore.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use data_encoding::BASE32_NOPAD;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::config::LocalUser;
use crate::identity::{RenewError, Renewed, SignedIn};
use crate::limits::Limiter;
use crate::model::user::User;
use crate::secret::{SecretText, random};

/// Wrong passwords for one user in an hour; a right one begins anew.
const PER_USER: NonZeroU32 = NonZeroU32::new(30).unwrap();
/// Passwords from one address in an hour: a class room may sit behind one.
const PER_ADDRESS: NonZeroU32 = NonZeroU32::new(1000).unwrap();
/// How long a password waits for its turn.
const WAIT: Duration = Duration::from_secs(5);

/// The local users.
pub struct Local {
    users: Vec<Record>,
    /// A hash that no password has, as costly as the costliest real one: what an unknown user's password is checked with.
    nobody: SecretText,
    per_user: Limiter,
    per_address: Limiter,
    turns: Arc<Semaphore>,
}

struct Record {
    user: LocalUser,
    /// How often the user signed in: part of the limiter's key, so that wrong passwords count since the last right one.
    signed_in: AtomicU64,
}

/// The answer to a password.
#[derive(Debug)]
pub enum PasswordCheck {
    /// It is the user's.
    Right(SignedIn),
    /// User or password is wrong; it took the same time.
    Wrong,
    /// Too many are being checked, or too many were wrong for this user or address.
    Busy,
}

impl Local {
    pub(super) fn new(users: &[LocalUser], clock: &Clock) -> Self {
        let nobody = nobodys_hash(users);
        let users = users.iter().map(|user| Record { user: user.clone(), signed_in: AtomicU64::new(0) }).collect();
        let turns = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            users,
            nobody,
            per_user: Limiter::per_hour(PER_USER, clock),
            per_address: Limiter::per_hour(PER_ADDRESS, clock),
            turns: Arc::new(Semaphore::new(turns)),
        }
    }

    /// Checks a password typed by somebody at `address`.
    pub async fn check(&self, username: &str, password: SecretText, address: &str) -> PasswordCheck {
        let record = self.users.iter().find(|record| record.user.username == username);
        let signed_in = record.map_or(0, |record| record.signed_in.load(Ordering::Relaxed));
        let allowed =
            self.per_address.check(address).is_ok() && self.per_user.check(&format!("{signed_in} {username}")).is_ok();
        if !allowed {
            return PasswordCheck::Busy;
        }
        let hash = record.map_or(&self.nobody, |record| &record.user.password_hash).clone();
        let turn = tokio::time::timeout(WAIT, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return PasswordCheck::Busy };
        let verified = tokio::task::spawn_blocking(move || {
            // The turn ends when the work does, even if whoever asked has gone away.
            let _turn = turn;
            verify(&password, &hash)
        });
        match (verified.await, record) {
            (Ok(true), Some(record)) => {
                record.signed_in.fetch_add(1, Ordering::Relaxed);
                PasswordCheck::Right(signed_in_as(&record.user))
            }
            (Ok(_), _) => PasswordCheck::Wrong,
            (Err(_), _) => PasswordCheck::Busy,
        }
    }

    /// Whether the user of this key still exists, and what it is today.
    pub(super) fn renew(&self, key: &str) -> Result<Renewed, RenewError> {
        let record = self.users.iter().find(|record| record.user.id == key);
        let user = record.map(|record| user(&record.user));
        match user {
            Some(user) => Ok(Renewed { token: None, user: Some(user) }),
            None => Err(RenewError::Ended("the user is not in the configuration any more".to_owned())),
        }
    }
}

fn signed_in_as(local: &LocalUser) -> SignedIn {
    SignedIn { key: local.id.clone(), user: user(local), token: None, renewable: true }
}

fn user(local: &LocalUser) -> User {
    User {
        name: local.name.clone(),
        preferred_username: Some(local.username.clone()),
        email: local.email.clone(),
        groups: local.groups.clone(),
    }
}

fn verify(password: &SecretText, hash: &SecretText) -> bool {
    PasswordHash::new(hash.expose())
        .is_ok_and(|hash| Argon2::default().verify_password(password.expose().as_bytes(), &hash).is_ok())
}

/// The costliest hash among the users', with salt and output replaced by random bytes.
fn nobodys_hash(users: &[LocalUser]) -> SecretText {
    let costliest =
        users.iter().filter_map(|user| PasswordHash::new(user.password_hash.expose()).ok()).max_by_key(|hash| {
            ["m", "t"].map(|name| u64::from(hash.params.get_decimal(name).unwrap_or(0))).iter().product::<u64>()
        });
    let replaced = costliest.and_then(|mut hash| {
        hash.salt = Some(Salt::new(&random::<16>()).ok()?);
        hash.hash = Some(Output::new(&random::<32>()).ok()?);
        Some(SecretText::from(hash.to_string()))
    });
    replaced.unwrap_or_else(|| hash_password(&random_password()))
}

/// Hashes a password with argon2id and a random salt, as `password_hash` of a user wants it (PHC format). Takes tens of
/// milliseconds.
///
/// # Panics
/// When argon2 refuses its own default parameters.
#[must_use]
pub fn hash_password(password: &SecretText) -> SecretText {
    let hash: Result<PasswordHash, _> =
        Argon2::default().hash_password_with_salt(password.expose().as_bytes(), &random::<16>());
    #[expect(clippy::expect_used, reason = "the parameters are the library's own")]
    let hash = hash.expect("argon2id hashes any password");
    hash.to_string().into()
}

/// A password that nobody guesses (80 random bits) and that can be read out: `abcd-efgh-2345-ijkl`, without 0, 1, 8 and 9.
#[must_use]
pub fn random_password() -> SecretText {
    let mut text = BASE32_NOPAD.encode(&random::<10>());
    text.make_ascii_lowercase();
    for at in [12, 8, 4] {
        text.insert(at, '-');
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Local, PasswordCheck, hash_password, nobodys_hash, random_password, verify};
    use crate::clock::{Clock, Timestamp};
    use crate::config::LocalUser;
    use crate::identity::RenewError;
    use crate::secret::SecretText;

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

    fn local() -> (Local, Clock) {
        let clock = Clock::manual(Timestamp(1_800_000_000));
        (Local::new(&[alice()], &clock), clock)
    }

    async fn check(local: &Local, username: &str, password: &str, address: &str) -> PasswordCheck {
        local.check(username, password.to_owned().into(), address).await
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

    #[tokio::test]
    async fn guessing_a_users_password_ends_for_an_hour_and_harms_no_other_user() {
        let (local, clock) = local();
        for _ in 0..30 {
            assert!(matches!(check(&local, "alice", "guess", "a").await, PasswordCheck::Wrong));
        }
        assert!(matches!(check(&local, "alice", "correct horse", "b").await, PasswordCheck::Busy));
        assert!(matches!(check(&local, "bob", "x", "a").await, PasswordCheck::Wrong));
        clock.advance(Duration::from_hours(1));
        assert!(matches!(check(&local, "alice", "correct horse", "b").await, PasswordCheck::Right(_)));
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
            busy += usize::from(matches!(answer, PasswordCheck::Busy));
        }
        assert_eq!(busy, 10);
        assert!(matches!(check(&local, "alice", "correct horse", "b").await, PasswordCheck::Right(_)));
    }

    #[tokio::test]
    async fn a_class_room_behind_one_address_can_sign_in_at_once() {
        let hash = cheap_hash("pw");
        let name = |seat: usize| format!("student{seat}");
        let users: Vec<_> = (0..80)
            .map(|seat| LocalUser { id: name(seat), username: name(seat), password_hash: hash.clone(), ..alice() })
            .collect();
        let local = std::sync::Arc::new(Local::new(&users, &Clock::system()));
        let all = (0..80).map(|seat| {
            let local = std::sync::Arc::clone(&local);
            tokio::spawn(async move { check(&local, &name(seat), "pw", "a").await })
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
        let nobody = nobodys_hash(&[alice(), slow, other]);
        assert!(nobody.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", nobody.expose());
        assert!(!verify(&"x".to_owned().into(), &nobody));
        assert!(nobodys_hash(&[]).expose().starts_with("$argon2id$"));
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
        assert_eq!(local.renew("u_1").unwrap().user.unwrap().name.as_deref(), Some("Alice"));
        assert!(matches!(local.renew("alice"), Err(RenewError::Ended(_))));
    }
}
