//! Background tasks. If one of them ends, the process exits.

use std::collections::HashMap;

use tokio::task::{Id, JoinSet};

/// The tasks, and how an operator knows them.
#[derive(Default)]
pub(super) struct Background {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Background {
    /// Starts one.
    pub(super) fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(work).id();
        self.names.insert(id, name);
    }

    /// Waits for `work`, and ends what runs beside it.
    ///
    /// # Errors
    /// When one of the tasks ends first; names it. It is in the log then.
    pub(super) async fn beside(mut self, work: impl Future<Output = ()>) -> Result<(), String> {
        let fault = tokio::select! {
            () = work => return Ok(()),
            Some(ended) = self.tasks.join_next_with_id() => match ended {
                Ok((id, ())) => format!("{} ended unexpectedly", self.name(id)),
                Err(error) => format!("{} panicked", self.name(error.id())),
            },
        };
        tracing::error!(%fault, "internal error: this process exits; restart it");
        Err(fault)
    }

    fn name(&self, id: Id) -> &'static str {
        self.names.get(&id).copied().unwrap_or("a task")
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::Background;

    async fn beside(work: impl Future<Output = ()>, task: impl Future<Output = ()> + Send + 'static) -> Option<String> {
        let mut background = Background::default();
        background.spawn("the feed", pending());
        background.spawn("the deletion", task);
        background.beside(work).await.err()
    }

    #[tokio::test]
    async fn a_task_that_ends_or_panics_is_named_and_ends_the_work() {
        let ended = beside(pending(), ready(())).await;
        assert_eq!(ended.as_deref(), Some("the deletion ended unexpectedly"));
        let panicked = beside(pending(), async { panic!("pcr_secret") }).await;
        assert_eq!(panicked.as_deref(), Some("the deletion panicked"));
    }

    #[tokio::test]
    async fn finished_work_is_not_an_error() {
        assert_eq!(beside(ready(()), pending()).await, None);
    }
}
