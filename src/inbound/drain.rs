//! The way down: not ready, accept a little longer, finish requests, end streams at the deadline.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How long we accept after we said that we are not ready: balancers need that to notice.
const STILL_ACCEPT: Duration = Duration::from_secs(5);

/// The stages of the way down. Cheap to clone; clones go down together.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    not_ready: CancellationToken,
    no_more: CancellationToken,
    streams_end: CancellationToken,
}

impl Drain {
    /// Goes down: answers when streams have been told to end. `deadline` counts from now.
    pub async fn run(&self, deadline: Duration) {
        self.not_ready.cancel();
        let still_accept = STILL_ACCEPT.min(deadline);
        tokio::time::sleep(still_accept).await;
        self.no_more.cancel();
        tokio::time::sleep(deadline.saturating_sub(still_accept)).await;
        self.streams_end.cancel();
    }

    /// Goes down at once, for whoever presses Ctrl-C at a terminal.
    pub fn at_once(&self) {
        self.not_ready.cancel();
        self.no_more.cancel();
        self.streams_end.cancel();
    }

    /// Whether new work is welcome.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.not_ready.is_cancelled()
    }

    /// Cancelled when no more connections are taken and those that are there finish.
    #[must_use]
    pub const fn no_more(&self) -> &CancellationToken {
        &self.no_more
    }

    /// Cancelled when open streams end.
    #[must_use]
    pub const fn streams_end(&self) -> &CancellationToken {
        &self.streams_end
    }
}
