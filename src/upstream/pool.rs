//! Idle connections to an upstream.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use super::outgoing::Sent;

/// A connection to an upstream, for one request at a time.
pub(crate) type Connection = SendRequest<Sent>;

/// Servers close idle connections after 5 seconds at the earliest. A connection that we reuse must not be one that its
/// server is just closing.
const IDLE: Duration = Duration::from_secs(4);

/// The idle connections of one upstream. Cheap to clone.
#[derive(Clone)]
pub(super) struct IdlePool(Arc<Mutex<Idle>>);

struct Idle {
    /// The most connections that are kept: after a burst the others are not worth their descriptors. 0 once the pool is
    /// closed.
    most: usize,
    /// Oldest first.
    connections: VecDeque<Waiting>,
    /// Whether a task that drops the old ones runs.
    swept: bool,
}

struct Waiting {
    connection: Connection,
    until: Instant,
}

impl Idle {
    fn drop_old(&mut self, now: Instant) {
        while self.connections.front().is_some_and(|first| first.until <= now) {
            self.connections.pop_front();
        }
    }
}

impl IdlePool {
    /// An empty pool for at most `most` connections.
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Idle { most, connections: VecDeque::new(), swept: false })))
    }

    /// The most recently used connection whose exchange is over. Never waits.
    pub(super) fn take(&self) -> Option<Connection> {
        let now = Instant::now();
        let mut idle = self.idle();
        let free = |waiting: &Waiting| now < waiting.until && waiting.connection.is_ready();
        let at = idle.connections.iter().rposition(free)?;
        idle.connections.remove(at).map(|waiting| waiting.connection)
    }

    /// Keeps a connection for a while.
    pub(super) fn put(&self, connection: Connection) {
        let now = Instant::now();
        let mut idle = self.idle();
        idle.drop_old(now);
        if connection.is_closed() || idle.connections.len() >= idle.most {
            return;
        }
        idle.connections.push_back(Waiting { connection, until: now + IDLE });
        let swept = std::mem::replace(&mut idle.swept, true);
        drop(idle);
        if !swept {
            tokio::spawn(sweep(Arc::downgrade(&self.0)));
        }
    }

    /// Drops every connection, and keeps none from now on.
    pub(super) fn close(&self) {
        let mut idle = self.idle();
        idle.most = 0;
        idle.connections.clear();
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        lock(&self.0)
    }
}

fn lock(idle: &Mutex<Idle>) -> MutexGuard<'_, Idle> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drops connections that waited too long, until none waits.
async fn sweep(pool: Weak<Mutex<Idle>>) {
    loop {
        tokio::time::sleep(IDLE).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = lock(&pool);
        idle.drop_old(Instant::now());
        if idle.connections.is_empty() {
            idle.swept = false;
            return;
        }
    }
}
