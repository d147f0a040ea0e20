//! A flag that is set once and then wakes all waiters: the end of a grant, the stages of a graceful shutdown.
//!
//! Every call checks several of these, and every connection waits for some while it works. So a check costs one atomic read,
//! and a waiter that is polled again for another reason takes no lock.
//!
//! Memory ordering: Release in `set` and Acquire in `is_set` suffice. The flag only publishes what happened before `set`, and
//! no wake-up depends on the order of two atomics of ours, which would need `SeqCst`: `Notify` counts its notifications and
//! registers waiters under a lock. A waiter is therefore registered when `set` notifies, or finds the count changed, or,
//! when it was created after the notification, also sees the flag that was stored before it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};

use tokio::sync::Notify;

/// Starts unset and is never cleared. Cheap to clone; clones share one signal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signal(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    set: AtomicBool,
    waiters: Notify,
}

impl Signal {
    /// Sets it, and wakes all waiters.
    pub(crate) fn set(&self) {
        // Release: a thread that sees the flag sees all that preceded it. Acquire: so does a second caller of `set`.
        if !self.0.set.swap(true, Ordering::AcqRel) {
            self.0.waiters.notify_waiters();
        }
    }

    /// Whether it was set.
    #[must_use]
    pub(crate) fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// Completes when it is set.
    pub(crate) async fn wait(&self) {
        // created before the flag is read: a `set` in between still completes it
        let mut notified = pin!(self.0.waiters.notified());
        let mut registered: Option<Waker> = None;
        poll_fn(|cx| {
            if self.is_set() {
                return Poll::Ready(());
            }
            if registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            // `Notified` keeps the waker of its last poll, so later polls with the same waker can skip it
            registered = Some(cx.waker().clone());
            notified.as_mut().poll(cx)
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
    async fn a_wait_that_moves_to_another_task_is_woken_there() {
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
    async fn a_wait_that_races_with_the_set_is_woken() {
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
