//! Looks after a token that only its issuer can read, while calls under it are open.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::signal::Signal;

/// Asks the issuer again; whether the token has ended.
type Recheck = Box<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// Whether a token has ended at its issuer.
pub(super) struct TokenWatch {
    /// Set by whatever learns that it has.
    pub(super) ended: Signal,
    /// How often the issuer is asked while something waits here.
    pub(super) every: Duration,
    pub(super) recheck: Recheck,
    /// The bytes of what the recheck holds.
    pub(super) size: usize,
}

impl TokenWatch {
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_set()
    }

    /// Completes when the issuer says that the token has ended. As long as something waits here, it is asked.
    pub(super) async fn ended(&self) {
        loop {
            tokio::select! {
                biased;
                () = self.ended.wait() => return,
                () = tokio::time::sleep(self.every) => {}
            }
            if (self.recheck)().await {
                self.ended.set();
            }
        }
    }
}
