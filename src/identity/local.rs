//! Local users: argon2id hashes, checked on the blocking pool behind a semaphore.
//!
//! Defends against brute force (limits by user and address), lockout of a user by others (a limit by user alone would allow
//! it), and user enumeration (an unknown user costs the same time).

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use data_encoding::BASE32_NOPAD;
use tokio::sync::Semaphore;

use super::exchange::{ProviderSession, RenewError, Renewed, SignedIn};
use crate::config::LocalUser;
use crate::limits::{Key, Limit, Limited, Limits, Part};
use crate::model::ids::IdentityId;
use crate::model::user::User;
use crate::secret::{SecretText, random};
use crate::wire::ClientAddress;

/// How many addresses of one user are remembered. One more, and all are forgotten, which costs no sign-in.
const MAX_ADDRESSES: usize = 100;
/// How long a password waits for its turn.
const WAIT: Duration = Duration::from_secs(5);

/// The local users.
pub struct Local {
    id: IdentityId,
    users: Vec<Record>,
    /// A hash that no password has, as costly as the costliest real one: an unknown user's password is checked against it.
    decoy: SecretText,
    turns: Arc<Semaphore>,
}

struct Record {
    user: LocalUser,
    /// How often the user signed in from a network. It is part of the limit's key, so that wrong passwords are counted since
    /// the last right one from there.
    signed_in: Mutex<HashMap<IpAddr, u64>>,
}

impl Record {
    fn signed_in_from(&self, address: ClientAddress) -> u64 {
        self.addresses().get(&address.network()).copied().unwrap_or_default()
    }

    fn note_sign_in(&self, address: ClientAddress) {
        let (network, mut addresses) = (address.network(), self.addresses());
        if addresses.len() >= MAX_ADDRESSES && !addresses.contains_key(&network) {
            addresses.clear();
        }
        *addresses.entry(network).or_default() += 1;
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, u64>> {
        self.signed_in.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to a password.
#[derive(Debug)]
pub(crate) enum PasswordCheck {
    /// It is the user's.
    Right(Box<SignedIn>),
    /// User or password is wrong; it took the same time.
    Wrong,
    /// Too many are being checked.
    Busy,
    /// Too many came for this user, or from this address.
    Limited(Limited),
}

impl Local {
    pub(super) fn new(id: &IdentityId, users: &[LocalUser]) -> Self {
        let decoy = decoy_hash(users);
        let users = users.iter().map(|user| Record { user: user.clone(), signed_in: Mutex::default() }).collect();
        let turns = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self { id: id.clone(), users, decoy, turns: Arc::new(Semaphore::new(turns)) }
    }

    /// Checks a password that was typed at `address`.
    pub(crate) async fn check(
        &self,
        limits: &Limits,
        username: &str,
        password: SecretText,
        address: ClientAddress,
    ) -> PasswordCheck {
        let record = self.users.iter().find(|record| record.user.username == username);
        if let Err(limited) = self.count(limits, record, username, address).await {
            return PasswordCheck::Limited(limited);
        }
        let hash = record.map_or(&self.decoy, |record| &record.user.password_hash).clone();
        let turn = tokio::time::timeout(WAIT, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return PasswordCheck::Busy };
        let verified = tokio::task::spawn_blocking(move || {
            // the permit is held until the work is done, even if the caller has gone away
            let _turn = turn;
            verify(&password, &hash)
        });
        match (verified.await, record) {
            (Ok(true), Some(record)) => {
                record.note_sign_in(address);
                PasswordCheck::Right(Box::new(signed_in_as(&record.user)))
            }
            (Ok(_), _) => PasswordCheck::Wrong,
            (Err(_), _) => PasswordCheck::Busy,
        }
    }

    /// Counts a try. An unknown user is counted as a known one is: the answers do not tell them apart.
    async fn count(
        &self,
        limits: &Limits,
        record: Option<&Record>,
        username: &str,
        address: ClientAddress,
    ) -> Result<(), Limited> {
        let before = record.map_or(0, |record| record.signed_in_from(address));
        let (identity, user, from) = (Part::Identity(&self.id), Part::User(username), Part::Address(address));
        limits.check(Limit::PasswordsPerAddress, &Key::of(&[from])).await?;
        let at_this_address = Key::of(&[identity, user, from, Part::SignIns(before)]);
        limits.check(Limit::PasswordsPerUserAndAddress, &at_this_address).await?;
        if before == 0 {
            limits.check(Limit::PasswordsPerUser, &Key::of(&[identity, user])).await?;
        }
        Ok(())
    }

    /// Whether the user of this key still exists, and what it is today.
    pub(super) fn renew(&self, key: &str) -> Result<Renewed, RenewError> {
        let record = self.users.iter().find(|record| record.user.id == key);
        let user = record.map(|record| user(&record.user));
        match user {
            Some(user) => Ok(Renewed { token: None, user: Some(user), access: None }),
            None => Err(RenewError::Ended("the user is not in the configuration any more".to_owned())),
        }
    }
}

fn signed_in_as(local: &LocalUser) -> SignedIn {
    SignedIn {
        key: local.id.clone(),
        user: user(local),
        token: None,
        renewable: true,
        session: ProviderSession::default(),
    }
}

fn user(local: &LocalUser) -> User {
    User {
        name: local.name.clone(),
        preferred_username: Some(local.username.clone()),
        email: local.email.clone(),
        // the operator wrote it, which says nothing of whose address it is
        domain: None,
        groups: local.groups.clone(),
    }
}

fn verify(password: &SecretText, hash: &SecretText) -> bool {
    PasswordHash::new(hash.expose())
        .is_ok_and(|hash| Argon2::default().verify_password(password.expose().as_bytes(), &hash).is_ok())
}

/// The costliest hash among the users', with salt and output replaced by random bytes.
fn decoy_hash(users: &[LocalUser]) -> SecretText {
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

/// A password that cannot be guessed (80 random bits) and can be read out: `abcd-efgh-2345-ijkl`, without 0, 1, 8 and 9.
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
mod tests;
