//! A number of equal things (descriptors, requests, bytes), shared among those who ask.
//!
//! Defends against exhaustion by one holder, and by many holders together.
//!
//! Two rules. A holder never has more than a fixed share. And a holder never has more than what is left for all others:
//! the fuller the pool, the smaller the shares, so that there is always room for a newcomer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::secret::Sha256;
use crate::telemetry::metrics;
use crate::wire::ClientAddress;

/// Who holds something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// An address (IPv6: a /64), as long as nothing else is known.
    Address(IpAddr),
    /// An IPv6 /48: all its /64s together. Booked beside the address, never alone.
    Site(Ipv6Addr),
    /// A user, by subject.
    User(Arc<str>),
    /// A token that was verified here before, and is not verified again for this.
    Token(Sha256),
    /// All peers that are not counted by address: proxies, and this machine.
    Trusted,
}

impl Holder {
    /// What is booked besides: a site has 65,536 IPv6 /64s, and each would be a newcomer.
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
    settings: Settings,
    refusals: metrics::Limits,
}

/// The settings that bound a pool, under `[limits]`: for logs and metrics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// How many there are.
    pub(crate) size: &'static str,
    /// The most that one holder has.
    pub(crate) share: &'static str,
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
    /// `size` things, at most `share` of them for one holder.
    pub(crate) fn new(size: usize, share: usize, settings: Settings, refusals: metrics::Limits) -> Self {
        let size = size.min(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(size));
        Self(Arc::new(Inner { free, size, share, held: Mutex::default(), settings, refusals }))
    }

    /// Counts that a request was refused because of this shortage. Not every shortage is one: a holder may wait, or be let in
    /// on another's account.
    pub(crate) fn count_refusal(&self, shortage: Shortage) {
        let Settings { size, share } = self.0.settings;
        self.0.refusals.refused(match shortage {
            Shortage::Share => share,
            Shortage::Pool => size,
        });
    }

    /// How many there are, taken or not.
    pub(crate) fn size(&self) -> usize {
        self.0.size
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.0.size.saturating_sub(self.0.free.available_permits())
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

    /// Takes some, and waits for them if need be. What is waited for counts as held, which bounds waiting too.
    ///
    /// # Errors
    /// When the holder may not have so many, or there were not so many in time.
    pub(crate) async fn wait(&self, holder: Holder, amount: usize, limit: Duration) -> Result<Share, Shortage> {
        let held = self.hold(holder, amount)?;
        if let Ok(permit) = self.permit(amount) {
            return Ok(Share { permit, held: Some(held) });
        }
        let free = Arc::clone(&self.0.free).acquire_many_owned(permits(amount)?);
        match tokio::time::timeout(limit, free).await {
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

    /// Adds an amount to what a holder has; `left` then remain for all others.
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

    /// Takes more, without waiting: two holders that wait for each other would deadlock.
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
    /// A pool whose refusals are not looked at.
    pub(crate) fn of(size: usize, share: usize) -> Self {
        let settings = Settings { size: "size", share: "share" };
        Self::new(size, share, settings, metrics::Metrics::default().limits)
    }

    /// How many are free, and how many holders are remembered.
    pub(crate) fn state(&self) -> (usize, usize) {
        (self.0.free.available_permits(), self.held().len())
    }

    /// How many refusals were counted: for a holder's share, and for the size.
    pub(crate) fn refusals(&self) -> [u64; 2] {
        let Settings { size, share } = self.0.settings;
        [share, size].map(|setting| self.0.refusals.refused_so_far(setting))
    }
}

#[cfg(test)]
mod tests;
