//! Graceful shutdown: not ready, accept a little longer, finish requests, end streams at the deadline.

use std::time::Duration;

use crate::signal::Signal;

/// How long we go on accepting after readiness was withdrawn: load balancers need that long to notice.
const STILL_ACCEPT: Duration = Duration::from_secs(5);

/// The stages of the shutdown. Cheap to clone; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    not_ready: Signal,
    no_more: Signal,
    streams_end: Signal,
}

impl Drain {
    /// Shuts down: completes when streams have been told to end. `deadline` counts from now.
    pub async fn run(&self, deadline: Duration) {
        self.not_ready.set();
        let still_accept = STILL_ACCEPT.min(deadline);
        tokio::time::sleep(still_accept).await;
        self.no_more.set();
        tokio::time::sleep(deadline.saturating_sub(still_accept)).await;
        self.streams_end.set();
    }

    /// Shuts down without waiting, for Ctrl-C at a terminal.
    pub fn at_once(&self) {
        self.not_ready.set();
        self.no_more.set();
        self.streams_end.set();
    }

    /// Whether this process is ready for new work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.not_ready.is_set()
    }

    /// Set when no more connections are accepted, and open ones finish.
    #[must_use]
    pub(crate) const fn no_more(&self) -> &Signal {
        &self.no_more
    }

    /// Set when open streams end.
    #[must_use]
    pub(crate) const fn streams_end(&self) -> &Signal {
        &self.streams_end
    }
}
