//! Idle connections, ordered by how long they have been idle.
//!
//! Defends against slowloris and idle connections that use up all descriptors: when none is left, the connection that
//! has been idle longest is closed.
//!
//! A request costs a few atomic operations and no lock: it only stores when its connection became idle. The order is
//! repaired when a connection must be closed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::Holder;
use crate::signal::Signal;

/// The connections of one listener. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct IdleConnections(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// A logical clock: how often any connection became idle.
    now: AtomicU64,
    lines: Mutex<Lines>,
}

/// Connections by the time at which they became idle. An entry may be out of date when its connection has served
/// requests since. A connection that is found busy leaves the map until its last request ends.
#[derive(Default)]
struct Lines {
    trusted: Line,
    others: Line,
}

type Line = BTreeMap<u64, Arc<Connection>>;

struct Connection {
    /// Whether the peer is a trusted proxy or on this machine.
    trusted: bool,
    leave: Signal,
    requests: AtomicUsize,
    /// When it last became idle.
    since: AtomicU64,
    /// Its key in the map. Changed under the lock only.
    stands_at: AtomicU64,
    /// Whether it left the map because it was busy. Changed under the lock only.
    aside: AtomicBool,
}

impl Connection {
    fn rests(&self) -> bool {
        self.requests.load(Ordering::SeqCst) == 0
    }
}

impl IdleConnections {
    /// Adds a connection, which is idle until its first request.
    pub(super) fn enter(&self, holder: Option<&Holder>) -> IdleEntry {
        let connection = Arc::new(Connection {
            trusted: holder == Some(&Holder::Trusted),
            leave: Signal::default(),
            requests: AtomicUsize::new(0),
            since: AtomicU64::new(self.tick()),
            stands_at: AtomicU64::new(0),
            aside: AtomicBool::new(false),
        });
        self.lines().add(Arc::clone(&connection));
        IdleEntry { idle: self.clone(), connection }
    }

    /// Closes the connection that has been idle longest. `false`: none is idle.
    pub(super) fn close_longest(&self) -> bool {
        let mut lines = self.lines();
        match (lines.longest(true), lines.longest(false)) {
            (Some(trusted), Some(other)) => lines.close(trusted < other, trusted.min(other)),
            (Some(trusted), None) => lines.close(true, trusted),
            (None, Some(other)) => lines.close(false, other),
            (None, None) => false,
        }
    }

    /// The same among the connections of trusted proxies and of this machine.
    pub(super) fn close_longest_trusted(&self) -> bool {
        let mut lines = self.lines();
        lines.longest(true).is_some_and(|longest| lines.close(true, longest))
    }

    fn tick(&self) -> u64 {
        self.0.now.fetch_add(1, Ordering::SeqCst)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    const fn of(&mut self, trusted: bool) -> &mut Line {
        if trusted { &mut self.trusted } else { &mut self.others }
    }

    fn add(&mut self, connection: Arc<Connection>) {
        let since = connection.since.load(Ordering::SeqCst);
        connection.stands_at.store(since, Ordering::SeqCst);
        connection.aside.store(false, Ordering::SeqCst);
        self.of(connection.trusted).insert(since, connection);
    }

    /// Repairs the order up to the first entry and returns its key. The cost is amortized: each step was caused by a
    /// request since the step before.
    fn longest(&mut self, trusted: bool) -> Option<u64> {
        while let Some(first) = self.of(trusted).first_entry() {
            if first.get().rests() && first.get().since.load(Ordering::SeqCst) == *first.key() {
                return Some(*first.key());
            }
            let connection = first.remove();
            connection.aside.store(true, Ordering::SeqCst);
            // checked after the flag was set: a request that ends now either is seen here or sees the flag
            if connection.rests() {
                self.add(connection);
            }
        }
        None
    }

    fn close(&mut self, trusted: bool, stands_at: u64) -> bool {
        let closed = self.of(trusted).remove(&stands_at);
        closed.map(|connection| connection.leave.set()).is_some()
    }
}

/// The entry of one connection, removed on drop.
pub(super) struct IdleEntry {
    idle: IdleConnections,
    connection: Arc<Connection>,
}

impl IdleEntry {
    /// A request was read: the connection is busy until the returned guard is dropped.
    pub(super) fn open(&self) -> Open {
        self.connection.requests.fetch_add(1, Ordering::SeqCst);
        Open { idle: self.idle.clone(), connection: Arc::clone(&self.connection) }
    }

    /// Set when the connection must close.
    pub(super) fn leave(&self) -> &Signal {
        &self.connection.leave
    }

    /// Whether no request is open.
    pub(super) fn rests(&self) -> bool {
        self.connection.rests()
    }
}

impl Drop for IdleEntry {
    fn drop(&mut self) {
        let mut lines = self.idle.lines();
        // a request that is still open on another task must not add the connection again
        self.connection.aside.store(false, Ordering::SeqCst);
        let stood_at = self.connection.stands_at.load(Ordering::SeqCst);
        lines.of(self.connection.trusted).remove(&stood_at);
    }
}

/// An open request.
pub(super) struct Open {
    idle: IdleConnections,
    connection: Arc<Connection>,
}

impl Drop for Open {
    fn drop(&mut self) {
        // before the count: a thread that sees no open request must see this time as well
        self.connection.since.store(self.idle.tick(), Ordering::SeqCst);
        let last = self.connection.requests.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.connection.aside.load(Ordering::SeqCst) {
            let mut lines = self.idle.lines();
            if self.connection.aside.load(Ordering::SeqCst) && self.connection.rests() {
                lines.add(Arc::clone(&self.connection));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{IdleConnections, IdleEntry};
    use crate::limits::Holder;

    #[test]
    fn the_connection_that_waited_longest_without_a_request_is_closed_first() {
        let idle = IdleConnections::default();
        let (first, second, third) = (idle.enter(None), idle.enter(Some(&Holder::Trusted)), idle.enter(None));
        let asked = || [&first, &second, &third].map(|entry| entry.leave().is_set());
        let (request, another) = (first.open(), first.open());
        drop(request);
        assert!(!first.rests(), "another request is open");
        assert!(idle.close_longest());
        assert_eq!(asked(), [false, true, false]);
        assert!(!idle.close_longest_trusted(), "it was asked already");
        drop(another);
        assert!(idle.close_longest());
        assert_eq!(asked(), [false, true, true], "the first waits only since its request ended");
        assert!(idle.close_longest());
        assert!(!idle.close_longest());
        drop((first, second, third));
        drop(idle.enter(None));
        assert!(!idle.close_longest(), "a connection that ended is forgotten");
    }

    #[test]
    fn a_busy_connection_is_never_closed_and_waits_again_after_its_last_request() {
        let idle = IdleConnections::default();
        let entry = idle.enter(None);
        let requests = (entry.open(), entry.open());
        assert!(!idle.close_longest() && !idle.close_longest());
        drop(requests.0);
        assert!(!idle.close_longest());
        drop(requests.1);
        let later = idle.enter(None);
        assert!(idle.close_longest());
        assert!(entry.leave().is_set() && !later.leave().is_set());
    }

    #[test]
    fn a_request_that_outlives_its_connection_leaves_nothing_behind() {
        let idle = IdleConnections::default();
        let entry = idle.enter(None);
        let request = entry.open();
        assert!(!idle.close_longest());
        drop(entry);
        drop(request);
        assert!(!idle.close_longest());
    }

    #[test]
    fn every_waiting_connection_is_closed_exactly_once_while_others_serve_requests() {
        let idle = IdleConnections::default();
        let entries: Vec<IdleEntry> = (0..64).map(|_| idle.enter(None)).collect();
        let closed = std::thread::scope(|scope| {
            for entries in entries.chunks(16) {
                scope.spawn(move || {
                    for entry in (0..500).flat_map(|_| entries) {
                        drop((entry.open(), entry.open()));
                    }
                });
            }
            let closer = scope.spawn(|| (0..32).filter(|_| idle.close_longest()).count());
            closer.join().unwrap()
        });
        let left = std::iter::repeat_with(|| idle.close_longest()).take_while(|closed| *closed).count();
        assert_eq!(closed + left, entries.len());
        assert!(entries.iter().all(|entry| entry.leave().is_set()));
    }

    #[test]
    fn connections_that_end_while_others_are_closed_leave_nothing_behind() {
        let idle = IdleConnections::default();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for round in 0..3000 {
                        let entry = idle.enter(None);
                        let (first, second) = (entry.open(), entry.open());
                        // the answer of a stream may be dropped on another thread than its connection
                        let elsewhere = (round % 16 == 0).then(|| scope.spawn(move || drop(first)));
                        if round % 3 == 0 {
                            drop(second);
                            drop(entry);
                        } else {
                            drop(entry);
                            drop(second);
                        }
                        drop(elsewhere);
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..20_000 {
                    idle.close_longest();
                }
            });
        });
        let lines = idle.lines();
        assert!(lines.trusted.is_empty() && lines.others.is_empty());
    }
}
