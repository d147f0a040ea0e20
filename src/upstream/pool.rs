//! Connections that wait for their next call.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use super::outgoing::Sent;

/// A connection to an upstream, for one request at a time.
pub(crate) type Connection = SendRequest<Sent>;

/// Servers close idle connections at 5 seconds and later; a connection that we reuse must not be on its way down.
const IDLE: Duration = Duration::from_secs(4);
/// More than that after a burst are not worth their descriptors.
const MOST: usize = 256;

/// The idle connections of one upstream. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Idle>>);

#[derive(Default)]
struct Idle {
    /// In the order in which they came back.
    connections: VecDeque<Waiting>,
    /// Whether a task is there that drops the old ones.
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

impl Pool {
    /// The connection that was used last and is free now: its exchange is over, request and answer. Never waits.
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
        if connection.is_closed() || idle.connections.len() >= MOST {
            return;
        }
        idle.connections.push_back(Waiting { connection, until: now + IDLE });
        let swept = std::mem::replace(&mut idle.swept, true);
        drop(idle);
        if !swept {
            tokio::spawn(sweep(Arc::downgrade(&self.0)));
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        lock(&self.0)
    }
}

fn lock(idle: &Mutex<Idle>) -> MutexGuard<'_, Idle> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drops what waited too long, until nothing waits.
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
