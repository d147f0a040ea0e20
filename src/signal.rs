//! A flag that is set once and then wakes all waiters: the end of a grant, the stages of the shutdown.
//!
//! Every call looks at several of these, and every connection waits for some while it works. So a look costs one atomic read,
//! and a future that is polled again for another reason takes no lock.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};

use tokio::sync::Notify;

/// Starts unset; never unset again. Cheap to clone; clones are one signal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signal(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    set: AtomicBool,
    told: Notify,
}

impl Signal {
    /// Sets it, and wakes all waiters.
    pub(crate) fn set(&self) {
        if !self.0.set.swap(true, Ordering::AcqRel) {
            self.0.told.notify_waiters();
        }
    }

    /// Whether it was set.
    #[must_use]
    pub(crate) fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// Completes when it is set.
    pub(crate) async fn wait(&self) {
        // created before the flag is read: a `set` between the two still wakes it
        let mut told = pin!(self.0.told.notified());
        let mut registered: Option<Waker> = None;
        poll_fn(|cx| {
            if self.is_set() {
                return Poll::Ready(());
            }
            if registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            // `Notified` registers whenever it is polled, so this waker is known to it from here on
            registered = Some(cx.waker().clone());
            told.as_mut().poll(cx)
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::Signal;

    #[tokio::test]
    async fn waits_that_begin_before_and_after_the_set_complete() {
        let signal = Signal::default();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let signal = signal.clone();
                tokio::spawn(async move { signal.wait().await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(!signal.is_set() && waiting.iter().all(|waiting| !waiting.is_finished()));
        signal.set();
        for waiting in waiting {
            waiting.await.unwrap();
        }
        signal.wait().await;
        assert!(signal.is_set());
    }

    #[tokio::test]
    async fn a_future_that_moves_to_another_task_is_woken_there() {
        let signal = Signal::default();
        let mut waits = Box::pin({
            let signal = signal.clone();
            async move { signal.wait().await }
        });
        assert!(timeout(Duration::from_millis(1), waits.as_mut()).await.is_err(), "polled here");
        let there = tokio::spawn(waits);
        tokio::task::yield_now().await;
        signal.set();
        timeout(Duration::from_secs(5), there).await.expect("woken").unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_wait_that_begins_while_it_is_set_is_not_lost() {
        for _ in 0..2000 {
            let signal = Signal::default();
            let waiting = tokio::spawn({
                let signal = signal.clone();
                async move { signal.wait().await }
            });
            signal.set();
            timeout(Duration::from_secs(5), waiting).await.expect("woken").unwrap();
        }
    }
}
