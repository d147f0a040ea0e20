//! Single flight with a minimum interval: concurrent callers share one fetch of a source, and fetches are rate limited.
//!
//! Defends against: floods of unknown `kid`s. Anyone can trigger a fetch, so the interval bounds its cost.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::clock::Clock;
use crate::outbound::Diagnosis;

/// The minimum interval after a successful fetch.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);
/// The minimum interval after a failed fetch: short, because the source may recover at any moment and callers wait for it.
const INTERVAL_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The minimum interval for our own store; callers wait for the next fetch.
pub(crate) const OWN_INTERVAL: Duration = Duration::from_secs(1);

/// Coordinates the fetches of one source.
pub(crate) struct Refetch {
    clock: Clock,
    begun: AtomicU64,
    last: Arc<Mutex<Option<Attempt>>>,
}

struct Attempt {
    number: u64,
    /// When it began, on the monotonic clock.
    at: Duration,
    result: Result<(), Diagnosis>,
}

/// The result of a request to fetch again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refetched {
    /// A fetch that began after the request succeeded: what it did not return does not exist.
    Fresh,
    /// A fetch succeeded within the minimum interval: no fetch was made.
    TooSoon,
    /// The fetch failed, now or a moment ago: nothing is known.
    Failed(Diagnosis),
}

impl Refetch {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, begun: AtomicU64::new(0), last: Arc::default() }
    }

    /// Runs `ask`, unless a concurrent run answers this request too or the minimum interval forbids it. `ask` stores its own
    /// result, and runs to completion even if the caller is dropped, because others wait for it.
    pub(crate) async fn ask<F>(&self, ask: F) -> Refetched
    where
        F: Future<Output = Result<(), Diagnosis>> + Send + 'static,
    {
        let begun_before = self.begun.load(Ordering::SeqCst);
        let last = Arc::clone(&self.last).lock_owned().await;
        if let Some(answer) = self.answered(last.as_ref(), begun_before) {
            return answer;
        }
        if self.rest(last.as_ref(), INTERVAL).is_some() {
            return Refetched::TooSoon;
        }
        self.run(last, ask).await
    }

    /// The same, but instead of [`Refetched::TooSoon`] the caller waits for the next run, `interval` after the last one. All
    /// waiting callers share it.
    pub(crate) async fn ask_next<F>(&self, interval: Duration, ask: F) -> Refetched
    where
        F: Future<Output = Result<(), Diagnosis>> + Send + 'static,
    {
        let begun_before = self.begun.load(Ordering::SeqCst);
        let last = Arc::clone(&self.last).lock_owned().await;
        if let Some(answer) = self.answered(last.as_ref(), begun_before) {
            return answer;
        }
        if let Some(rest) = self.rest(last.as_ref(), interval) {
            // other callers queue at the lock meanwhile, and the next run answers all of them
            tokio::time::sleep(rest).await;
        }
        self.run(last, ask).await
    }

    /// The answer of the last run to a request that was made after `begun_before` runs had begun.
    fn answered(&self, last: Option<&Attempt>, begun_before: u64) -> Option<Refetched> {
        let attempt = last?;
        match &attempt.result {
            Ok(()) if attempt.number > begun_before => Some(Refetched::Fresh),
            Err(cause) if attempt.number > begun_before || self.since(attempt) < INTERVAL_AFTER_FAILURE => {
                Some(Refetched::Failed(cause.clone()))
            }
            _ => None,
        }
    }

    /// How much is left of the minimum interval after a successful run.
    fn rest(&self, last: Option<&Attempt>, interval: Duration) -> Option<Duration> {
        let attempt = last.filter(|attempt| attempt.result.is_ok())?;
        interval.checked_sub(self.since(attempt)).filter(|rest| !rest.is_zero())
    }

    fn since(&self, attempt: &Attempt) -> Duration {
        self.clock.monotonic().saturating_sub(attempt.at)
    }

    async fn run<F>(&self, mut last: OwnedMutexGuard<Option<Attempt>>, ask: F) -> Refetched
    where
        F: Future<Output = Result<(), Diagnosis>> + Send + 'static,
    {
        let (number, at) = (self.begun.fetch_add(1, Ordering::SeqCst) + 1, self.clock.monotonic());
        // in no request's span: it runs for all who wait, and outlives the caller that began it
        let run = tokio::spawn(async move {
            let result = ask.await;
            *last = Some(Attempt { number, at, result: result.clone() });
            result
        });
        match run.await {
            Ok(Ok(())) => Refetched::Fresh,
            Ok(Err(cause)) => Refetched::Failed(cause),
            Err(_) => Refetched::Failed(Diagnosis::new("the attempt was aborted")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::{OWN_INTERVAL, Refetch, Refetched};
    use crate::clock::{Clock, Timestamp};
    use crate::outbound::Diagnosis;

    struct Source {
        asked: AtomicUsize,
        gate: Semaphore,
    }

    impl Source {
        fn open() -> Arc<Self> {
            Arc::new(Self { asked: AtomicUsize::new(0), gate: Semaphore::new(1000) })
        }

        fn ask(
            self: &Arc<Self>,
            result: Result<(), &str>,
        ) -> impl Future<Output = Result<(), Diagnosis>> + Send + 'static {
            let (source, result) = (Arc::clone(self), result.map_err(Diagnosis::new));
            async move {
                source.asked.fetch_add(1, Ordering::SeqCst);
                drop(source.gate.acquire().await.unwrap());
                result
            }
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    fn refetch() -> (Arc<Refetch>, Clock) {
        let clock = Clock::manual(Timestamp(1_800_000_000));
        (Arc::new(Refetch::new(clock.clone())), clock)
    }

    #[tokio::test]
    async fn successful_fetches_are_at_least_ten_seconds_apart() {
        let ((refetch, clock), source) = (refetch(), Source::open());
        assert_eq!(refetch.ask(source.ask(Ok(()))).await, Refetched::Fresh);
        clock.advance(Duration::from_millis(9_999));
        assert_eq!(refetch.ask(source.ask(Ok(()))).await, Refetched::TooSoon);
        clock.advance(Duration::from_millis(1));
        assert_eq!(refetch.ask(source.ask(Ok(()))).await, Refetched::Fresh);
        assert_eq!(source.asked(), 2);
    }

    #[tokio::test]
    async fn a_failed_fetch_is_not_repeated_within_a_second() {
        let ((refetch, clock), source) = (refetch(), Source::open());
        let failed = Refetched::Failed(Diagnosis::new("down"));
        assert_eq!(refetch.ask(source.ask(Err("down"))).await, failed);
        assert_eq!(refetch.ask(source.ask(Ok(()))).await, failed);
        assert_eq!(source.asked(), 1);
        clock.advance(Duration::from_secs(1));
        assert_eq!(refetch.ask(source.ask(Ok(()))).await, Refetched::Fresh);
    }

    #[tokio::test]
    async fn the_interval_ignores_steps_of_the_wall_clock() {
        let ((refetch, clock), source) = (refetch(), Source::open());
        assert_eq!(refetch.ask(source.ask(Ok(()))).await, Refetched::Fresh);
        clock.step(4000);
        assert_eq!(refetch.ask(source.ask(Ok(()))).await, Refetched::TooSoon);
        clock.step(-8000);
        clock.advance(Duration::from_secs(10));
        assert_eq!(refetch.ask(source.ask(Ok(()))).await, Refetched::Fresh);
    }

    #[tokio::test(start_paused = true)]
    async fn callers_within_the_interval_of_our_store_wait_and_share_the_next_fetch() {
        let (refetch, _clock) = refetch();
        let source = Source::open();
        assert_eq!(refetch.ask_next(OWN_INTERVAL, source.ask(Ok(()))).await, Refetched::Fresh);
        let began = tokio::time::Instant::now();
        let requests: Vec<_> = (0..100)
            .map(|_| {
                let (refetch, source) = (Arc::clone(&refetch), Arc::clone(&source));
                tokio::spawn(async move { refetch.ask_next(OWN_INTERVAL, source.ask(Ok(()))).await })
            })
            .collect();
        for request in requests {
            assert_eq!(request.await.unwrap(), Refetched::Fresh);
        }
        assert_eq!((source.asked(), began.elapsed()), (2, Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_waiter_does_not_stop_the_others() {
        let (refetch, source) = (refetch().0, Source::open());
        assert_eq!(refetch.ask_next(OWN_INTERVAL, source.ask(Ok(()))).await, Refetched::Fresh);
        let request = || {
            let (refetch, source) = (Arc::clone(&refetch), Arc::clone(&source));
            tokio::spawn(async move { refetch.ask_next(OWN_INTERVAL, source.ask(Ok(()))).await })
        };
        let (gone, stays) = (request(), request());
        tokio::task::yield_now().await;
        gone.abort();
        assert_eq!(stays.await.unwrap(), Refetched::Fresh);
        assert_eq!(source.asked(), 2);
    }

    #[tokio::test]
    async fn a_hundred_concurrent_requests_share_one_fetch_that_began_after_them() {
        let (refetch, clock) = refetch();
        let source = Arc::new(Source { asked: AtomicUsize::new(0), gate: Semaphore::new(0) });
        let request = || {
            let (refetch, source) = (Arc::clone(&refetch), Arc::clone(&source));
            tokio::spawn(async move { refetch.ask(source.ask(Ok(()))).await })
        };
        let first = request();
        while source.asked() == 0 {
            tokio::task::yield_now().await;
        }
        // these arrive during the first fetch, whose answer may be older than their cause
        let late: Vec<_> = (0..100).map(|_| request()).collect();
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(11));
        source.gate.add_permits(1);
        assert_eq!(first.await.unwrap(), Refetched::Fresh);
        for request in late {
            assert_eq!(request.await.unwrap(), Refetched::Fresh);
        }
        assert_eq!(source.asked(), 2, "one fetch for the first request, one for all others");
    }

    #[tokio::test]
    async fn a_cancelled_caller_does_not_stop_the_fetch_for_others() {
        let (refetch, _clock) = refetch();
        let source = Arc::new(Source { asked: AtomicUsize::new(0), gate: Semaphore::new(0) });
        let gone = {
            let (refetch, source) = (Arc::clone(&refetch), Arc::clone(&source));
            tokio::spawn(async move { refetch.ask(source.ask(Ok(()))).await })
        };
        while source.asked() == 0 {
            tokio::task::yield_now().await;
        }
        gone.abort();
        source.gate.add_permits(1);
        assert_eq!(refetch.ask(source.ask(Ok(()))).await, Refetched::TooSoon);
        assert_eq!(source.asked(), 1);
    }
}
