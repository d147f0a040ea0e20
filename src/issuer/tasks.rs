//! Work that outlives the request that began it.

use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// The tasks that run by themselves. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Tasks(TaskTracker);

/// The work of a request panicked.
#[derive(Debug, thiserror::Error)]
#[error("the work of this request panicked: another line of the log says where")]
pub(crate) struct Panicked;

impl Tasks {
    /// Starts `work` as a task of its own and waits for it. A client that disconnects does not stop it half-way, and shutdown
    /// waits for it.
    ///
    /// # Errors
    /// When the task panicked.
    pub(super) fn complete<F>(&self, work: F) -> impl Future<Output = Result<F::Output, Panicked>> + use<F>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = self.0.spawn(work.in_current_span());
        // the panic's message may hold a secret
        async { task.await.or(Err(Panicked)) }
    }

    /// Runs `work` in the background.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(work.in_current_span());
    }

    /// Waits until every task has ended.
    pub(super) async fn settle(&self) {
        self.0.close();
        self.0.wait().await;
        self.0.reopen();
    }
}
