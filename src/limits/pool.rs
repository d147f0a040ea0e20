//! One number of things, shared out among those who ask.
//!
//! Two rules. A holder never has more than a fixed share. And a holder never has more than what is then left for all
//! others: the fuller the pool, the smaller the shares, so that many holders together cannot empty it either, and a
//! newcomer finds a place.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::ClientAddress;
use crate::secret::Sha256;

/// Who holds something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// An address (IPv6: a /64), as long as nothing else is known.
    Address(IpAddr),
    /// An IPv6 /48: all its /64s together. Booked beside the address, never alone.
    Site(Ipv6Addr),
    /// A user, by subject.
    User(Arc<str>),
    /// A token that was verified here, while it is not looked at again.
    Token(Sha256),
    /// All peers together that are not counted by address: proxies, and this machine.
    Trusted,
}

impl Holder {
    /// What is booked besides: a site has 65,536 networks of IPv6, and each would be a newcomer.
    fn site(&self) -> Option<Self> {
        match self {
            Self::Address(IpAddr::V6(address)) => {
                Some(Self::Site(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 80))))
            }
            _ => None,
        }
    }
}

impl From<ClientAddress> for Holder {
    fn from(address: ClientAddress) -> Self {
        Self::Address(address.network())
    }
}

/// Why nothing was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// The holder has its whole share.
    Share,
    /// There is too little left.
    Pool,
}

/// The things. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    free: Arc<Semaphore>,
    size: usize,
    share: usize,
    held: Mutex<Books>,
}

/// How many each holder has.
type Books = HashMap<Holder, usize>;

/// Takes an amount off what a holder has.
fn unbook(held: &mut Books, holder: Holder, amount: usize) {
    if let Entry::Occupied(mut booked) = held.entry(holder) {
        match booked.get().saturating_sub(amount) {
            0 => drop(booked.remove()),
            left => drop(booked.insert(left)),
        }
    }
}

impl Pool {
    /// So many things, and so many at most for one holder.
    pub(crate) fn new(size: usize, share: usize) -> Self {
        let size = size.min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner { free: Arc::new(Semaphore::new(size)), size, share, held: Mutex::default() }))
    }

    /// How many there are, taken or not.
    pub(crate) fn size(&self) -> usize {
        self.0.size
    }

    /// The most that one holder ever has.
    pub(crate) fn share(&self) -> usize {
        self.0.share
    }

    /// Takes some at once.
    ///
    /// # Errors
    /// When the holder may not have so many, or there are not so many.
    pub(crate) fn take(&self, holder: Holder, amount: usize) -> Result<Share, Shortage> {
        let held = self.hold(holder, amount)?;
        Ok(Share { permit: self.permit(amount)?, held: Some(held) })
    }

    /// Takes some, and waits for them if need be. What is waited for counts as held, so that waiting is bounded too.
    ///
    /// # Errors
    /// When the holder may not have so many, or there were not so many in time.
    pub(crate) async fn wait(&self, holder: Holder, amount: usize, patience: Duration) -> Result<Share, Shortage> {
        let held = self.hold(holder, amount)?;
        if let Ok(permit) = self.permit(amount) {
            return Ok(Share { permit, held: Some(held) });
        }
        let free = Arc::clone(&self.0.free).acquire_many_owned(permits(amount)?);
        match tokio::time::timeout(patience, free).await {
            Ok(Ok(permit)) => Ok(Share { permit, held: Some(held) }),
            Ok(Err(_)) | Err(_) => Err(Shortage::Pool),
        }
    }

    /// Waits for one whose holder is not known yet, for as long as it takes.
    pub(crate) async fn next(&self) -> Result<Share, Shortage> {
        let permit = Arc::clone(&self.0.free).acquire_owned().await.map_err(|_closed| Shortage::Pool)?;
        Ok(Share { permit, held: None })
    }

    /// Gives what was taken by [`Self::next`] to a holder.
    ///
    /// # Errors
    /// When the holder may not have so many; the share stays without a holder.
    pub(crate) fn assign(&self, share: &mut Share, holder: Holder) -> Result<(), Shortage> {
        share.held = Some(self.hold_of(share.amount(), holder, share.amount())?);
        Ok(())
    }

    fn permit(&self, amount: usize) -> Result<OwnedSemaphorePermit, Shortage> {
        let permit = Arc::clone(&self.0.free).try_acquire_many_owned(permits(amount)?);
        permit.map_err(|(TryAcquireError::NoPermits | TryAcquireError::Closed)| Shortage::Pool)
    }

    fn hold(&self, holder: Holder, amount: usize) -> Result<Held, Shortage> {
        self.hold_of(0, holder, amount)
    }

    /// `taken` of the amount are no longer among the free ones.
    fn hold_of(&self, taken: usize, holder: Holder, amount: usize) -> Result<Held, Shortage> {
        let mut held = self.held();
        let left = (self.0.free.available_permits() + taken).saturating_sub(amount);
        self.book(&mut held, holder.clone(), amount, left)?;
        if let Some(site) = holder.site()
            && let Err(shortage) = self.book(&mut held, site, amount, left)
        {
            unbook(&mut held, holder, amount);
            return Err(shortage);
        }
        drop(held);
        Ok(Held { pool: self.clone(), holder, amount })
    }

    /// Adds an amount to what a holder has, of which `left` are left for all others.
    fn book(&self, held: &mut Books, holder: Holder, amount: usize, left: usize) -> Result<(), Shortage> {
        let (most, trusted) = (self.most(&holder), holder == Holder::Trusted);
        match held.entry(holder) {
            Entry::Vacant(_) if amount > most => Err(Shortage::Share),
            Entry::Vacant(newcomer) => {
                newcomer.insert(amount);
                Ok(())
            }
            Entry::Occupied(mut booked) => match booked.get().saturating_add(amount) {
                after if after > most => Err(Shortage::Share),
                after if after > left && !trusted => Err(Shortage::Pool),
                after => {
                    booked.insert(after);
                    Ok(())
                }
            },
        }
    }

    /// The most that a holder may have. Proxies bring the connections of many clients; a quarter is left for all others.
    fn most(&self, holder: &Holder) -> usize {
        let Inner { size, share, .. } = *self.0;
        match holder {
            Holder::Trusted => size - size / 4,
            Holder::Site(_) => share.saturating_mul(4).min(size / 4).max(share),
            Holder::Address(_) | Holder::User(_) | Holder::Token(_) => share,
        }
    }

    fn held(&self) -> MutexGuard<'_, Books> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn permits(amount: usize) -> Result<u32, Shortage> {
    u32::try_from(amount).map_err(|_too_large| Shortage::Pool)
}

/// What was taken; given back when dropped.
pub(crate) struct Share {
    permit: OwnedSemaphorePermit,
    held: Option<Held>,
}

impl Share {
    pub(crate) fn amount(&self) -> usize {
        self.permit.num_permits()
    }

    /// Takes more, without waiting: two that wait for each other's share would wait in vain.
    ///
    /// # Errors
    /// When the holder may not have so many, or there are not so many.
    pub(crate) fn grow(&mut self, more: usize) -> Result<(), Shortage> {
        let Some(held) = &mut self.held else { return Err(Shortage::Share) };
        let mut added = held.pool.hold(held.holder.clone(), more)?;
        self.permit.merge(held.pool.permit(more)?);
        held.amount += std::mem::take(&mut added.amount);
        Ok(())
    }

    /// Gives back what goes beyond this amount.
    pub(crate) fn shrink(&mut self, amount: usize) {
        let surplus = self.amount().saturating_sub(amount);
        if surplus == 0 {
            return;
        }
        if let (Some(held), Some(permit)) = (&mut self.held, self.permit.split(surplus)) {
            drop(permit);
            held.give_back(surplus);
        }
    }
}

/// An entry in the pool's books.
struct Held {
    pool: Pool,
    holder: Holder,
    amount: usize,
}

impl Held {
    fn give_back(&mut self, amount: usize) {
        self.amount -= amount;
        let mut held = self.pool.held();
        for booked in std::iter::once(self.holder.clone()).chain(self.holder.site()) {
            unbook(&mut held, booked, amount);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back(self.amount);
    }
}

#[cfg(test)]
impl Pool {
    /// How many are free, and how many holders are remembered.
    pub(crate) fn state(&self) -> (usize, usize) {
        (self.0.free.available_permits(), self.held().len())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::{ClientAddress, Holder, Pool, Share, Shortage};

    const PATIENCE: Duration = Duration::from_secs(5);

    fn user(name: &str) -> Holder {
        Holder::User(name.into())
    }

    fn all(pool: &Pool, holder: &Holder) -> Vec<Share> {
        std::iter::from_fn(|| pool.take(holder.clone(), 1).ok()).collect()
    }

    #[test]
    fn one_holder_gets_its_share_and_at_most_half_of_the_pool() {
        let pool = Pool::new(1000, 100);
        let held = all(&pool, &user("a"));
        assert_eq!(held.len(), 100);
        assert_eq!(pool.take(user("a"), 1).err(), Some(Shortage::Share));
        assert!(pool.take(user("b"), 1).is_ok());
        assert_eq!(all(&Pool::new(16, 100), &user("a")).len(), 8);
    }

    #[test]
    fn many_holders_that_take_all_they_can_leave_places_for_a_newcomer() {
        let pool = Pool::new(4096, 256);
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
    fn everything_is_given_back_and_no_holder_is_remembered() {
        let pool = Pool::new(100, 50);
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
        assert!(std::panic::catch_unwind(panics).is_err());
        assert_eq!(pool.state(), (100, 0));
    }

    #[tokio::test]
    async fn what_has_no_holder_yet_is_refused_to_one_that_has_enough() {
        let pool = Pool::new(16, 2);
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
    fn what_is_not_counted_by_address_leaves_a_quarter_to_all_others() {
        let pool = Pool::new(448, 224);
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
        let pool = Pool::new(4096, 256);
        let first = (0..5000).filter_map(|number| pool.take(network(1, number), 1).ok()).collect::<Vec<_>>();
        assert_eq!(first.len(), 1024, "2,000 networks that each come once are not 2,000 newcomers");
        assert_eq!(pool.take(network(1, 9999), 1).err(), Some(Shortage::Share));
        assert!(pool.take(network(2, 0), 1).is_ok(), "another site");
        assert!(pool.take(user("a"), 1).is_ok());
        drop(first);
        assert_eq!(pool.state(), (4096, 0));
        assert_eq!(all(&Pool::new(448, 224), &network(1, 0)).len(), 224, "one network alone has its whole share");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_a_place_or_in_time_and_one_that_is_given_up_leaves_nothing() {
        let pool = Pool::new(2, 2);
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
            let pool = Pool::new(100, 60);
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
}
