//! How many connections there may be: as many as the system lets us have files, and not all of them for one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::ClientAddress;

/// The most connections, however many files we may have.
const MOST: u64 = 16_384;
/// Files that are no connections: the database, the log, listeners, providers.
const RESERVED: u64 = 128;
/// The most connections of one address (IPv6: /64); never more than half of all.
const PER_ADDRESS: usize = 1024;

/// How many places each address has taken.
type Taken = Arc<Mutex<HashMap<String, usize>>>;

/// The places for connections.
pub(super) struct Places {
    all: Arc<Semaphore>,
    per_address: usize,
    taken: Taken,
}

/// A taken place; free again when dropped.
pub(super) struct Place {
    _one: OwnedSemaphorePermit,
    counted: Option<(String, Taken)>,
}

impl Places {
    /// As many as the system allows; raises what it allows as far as that goes.
    pub(super) fn new() -> Self {
        Self::with(capacity(raise_files()))
    }

    /// So many.
    pub(super) fn with(all: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), per_address: PER_ADDRESS.min(all / 2), taken: Arc::default() }
    }

    /// Waits for a place: until then connections wait in the kernel's queue.
    pub(super) async fn one(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.all).acquire_owned().await.ok()
    }

    /// Gives the place to a peer; `None` when its address has too many. `counts` says whether that is asked at all.
    pub(super) fn give(&self, one: OwnedSemaphorePermit, peer: IpAddr, counts: bool) -> Option<Place> {
        if !counts {
            return Some(Place { _one: one, counted: None });
        }
        let key = ClientAddress(peer).key();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(key.clone()).or_default();
        if *count >= self.per_address {
            return None;
        }
        *count += 1;
        Some(Place { _one: one, counted: Some((key, Arc::clone(&self.taken))) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((key, taken)) = self.counted.take() else { return };
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&key);
            }
        }
    }
}

/// Raises the soft limit of open files to the hard one, and answers what it is then.
fn raise_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_err() {
        tracing::warn!("the limit of open files cannot be raised: few connections at once are possible");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Every call may need a connection to an upstream as well.
fn capacity(files: u64) -> usize {
    usize::try_from((files.saturating_sub(RESERVED) / 2).clamp(16, MOST)).unwrap_or(16)
}

#[cfg(test)]
mod tests {
    use super::{PER_ADDRESS, Places, capacity};

    #[test]
    fn there_are_always_files_left_for_upstreams_and_the_database() {
        assert_eq!(capacity(1024), 448);
        assert_eq!(capacity(u64::MAX), 16_384);
        assert_eq!(capacity(0), 16);
    }

    #[tokio::test]
    async fn of_few_places_one_address_gets_half() {
        let places = Places::with(16);
        let peer = "203.0.113.7".parse().unwrap();
        let mut held = Vec::new();
        while let Some(place) = places.give(places.one().await.unwrap(), peer, true) {
            held.push(place);
        }
        assert_eq!(held.len(), 8);
    }

    #[tokio::test]
    async fn one_address_cannot_take_every_place_and_gives_back_what_it_took() {
        let places = Places::with(4 * PER_ADDRESS);
        let (peer, other) = ("2001:db8::1".parse().unwrap(), "2001:db8:0:1::1".parse().unwrap());
        let mut held = Vec::new();
        for _ in 0..PER_ADDRESS {
            held.push(places.give(places.one().await.unwrap(), peer, true).unwrap());
        }
        assert!(places.give(places.one().await.unwrap(), peer, true).is_none());
        assert!(places.give(places.one().await.unwrap(), peer, false).is_some(), "a proxy of ours");
        assert!(places.give(places.one().await.unwrap(), other, true).is_some());
        held.clear();
        assert!(places.give(places.one().await.unwrap(), peer, true).is_some());
    }
}
