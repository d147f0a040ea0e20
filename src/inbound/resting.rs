//! Connections without an open request, in the order in which they began to wait.
//!
//! Defends against silent connections and slow heads that take every place: when there is none left, the connection that has
//! waited longest gives its own up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::limits::Holder;

/// The connections of one listener that wait for a request. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Resting(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    next: u64,
    waiting: BTreeMap<u64, Place>,
}

#[derive(Clone)]
struct Place {
    holder: Option<Holder>,
    leave: CancellationToken,
}

impl Resting {
    /// A new connection: it waits for its first request.
    pub(super) fn enter(&self, holder: Option<Holder>) -> Seat {
        let place = Place { holder, leave: CancellationToken::new() };
        let number = self.queue().add(place.clone());
        Seat(Arc::new(Occupied { resting: self.clone(), place, requests: Mutex::new((0, number)) }))
    }

    /// Asks the connection that has waited longest to end; whether there was one.
    pub(super) fn close_longest(&self) -> bool {
        let first = self.queue().waiting.pop_first();
        first.map(|(_, place)| place.leave.cancel()).is_some()
    }

    /// The same among the connections of one holder.
    pub(super) fn close_longest_of(&self, holder: &Holder) -> bool {
        let mut queue = self.queue();
        let first = queue.waiting.iter().find(|(_, place)| place.holder.as_ref() == Some(holder));
        let Some(number) = first.map(|(number, _)| *number) else { return false };
        queue.waiting.remove(&number).map(|place| place.leave.cancel()).is_some()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn add(&mut self, place: Place) -> u64 {
        self.next += 1;
        self.waiting.insert(self.next, place);
        self.next
    }
}

/// One connection's entry; removed when the last clone is gone.
#[derive(Clone)]
pub(super) struct Seat(Arc<Occupied>);

struct Occupied {
    resting: Resting,
    place: Place,
    /// The number of open requests, and the number in the queue when there are none.
    requests: Mutex<(usize, u64)>,
}

impl Seat {
    /// A request arrived whole: the connection does not wait until the answer is gone.
    pub(super) fn open(&self) -> Open {
        let mut requests = self.requests();
        if requests.0 == 0 {
            self.0.resting.queue().waiting.remove(&requests.1);
        }
        requests.0 += 1;
        drop(requests);
        Open(self.clone())
    }

    /// Cancelled when the connection must give up its place.
    pub(super) fn leave(&self) -> &CancellationToken {
        &self.0.place.leave
    }

    /// Whether no request is open.
    pub(super) fn rests(&self) -> bool {
        self.requests().0 == 0
    }

    fn requests(&self) -> MutexGuard<'_, (usize, u64)> {
        self.0.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        let number = self.requests.get_mut().unwrap_or_else(PoisonError::into_inner).1;
        self.resting.queue().waiting.remove(&number);
    }
}

/// An open request.
pub(super) struct Open(Seat);

impl Drop for Open {
    fn drop(&mut self) {
        let mut requests = self.0.requests();
        requests.0 -= 1;
        if requests.0 == 0 && !self.0.leave().is_cancelled() {
            requests.1 = self.0.0.resting.queue().add(self.0.0.place.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Resting;
    use crate::limits::Holder;

    #[test]
    fn the_connection_that_waited_longest_without_a_request_leaves_first() {
        let resting = Resting::default();
        let (first, second, third) = (resting.enter(None), resting.enter(Some(Holder::Trusted)), resting.enter(None));
        let asked = || [&first, &second, &third].map(|seat| seat.leave().is_cancelled());
        let (request, another) = (first.open(), first.open());
        drop(request);
        assert!(!first.rests(), "another request is open");
        assert!(resting.close_longest());
        assert_eq!(asked(), [false, true, false]);
        assert!(!resting.close_longest_of(&Holder::Trusted), "it was asked already");
        drop(another);
        assert!(resting.close_longest());
        assert_eq!(asked(), [false, true, true], "the first waits only since its request ended");
        assert!(resting.close_longest());
        assert!(!resting.close_longest());
        drop((first, second, third));
        drop(resting.enter(None));
        assert!(!resting.close_longest(), "a connection that ended is forgotten");
    }
}
