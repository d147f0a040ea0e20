//! Fetching again: single flight for all who need it at the same time, and a floor between two fetches.
//!
//! Defends against denial of service: strangers decide when we fetch (by an unknown `kid`), the floor decides how often.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::clock::Clock;
use crate::outbound::Diagnosis;

/// How long a source is left alone after it answered.
const FLOOR: Duration = Duration::from_secs(10);
/// How long a source is left alone after it failed: it may be back any moment, and others wait for it.
const FLOOR_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long a source of our own is left alone after it answered; who asks meanwhile waits.
const OWN_FLOOR: Duration = Duration::from_secs(1);

/// One source.
pub(crate) struct Refetch {
    clock: Clock,
    begun: AtomicU64,
    last: Arc<Mutex<Option<Attempt>>>,
}

struct Attempt {
    number: u64,
    /// Monotonic.
    at: Duration,
    result: Result<(), Diagnosis>,
}

/// What became of the wish to ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refetched {
    /// The source was asked after the wish, and answered: what it does not hold does not exist.
    Fresh,
    /// The source answered a short while ago and is left alone.
    TooSoon,
    /// The source was asked, now or a moment ago, and failed: nothing is known.
    Failed(Diagnosis),
}

impl Refetch {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, begun: AtomicU64::new(0), last: Arc::default() }
    }

    /// Runs `ask` unless another caller's run answers the same wish or the floor forbids it. `ask` keeps what it learns by
    /// itself, and runs to its end even when the caller goes away: others wait for it.
    pub(crate) async fn ask<F>(&self, ask: F) -> Refetched
    where
        F: Future<Output = Result<(), Diagnosis>> + Send + 'static,
    {
        let begun_before = self.begun.load(Ordering::SeqCst);
        let last = Arc::clone(&self.last).lock_owned().await;
        if let Some(answer) = self.answered(last.as_ref(), begun_before) {
            return answer;
        }
        if self.rest(last.as_ref(), FLOOR).is_some() {
            return Refetched::TooSoon;
        }
        self.run(last, ask).await
    }

    /// The same for a source of our own, which is asked every second if need be: instead of being told that it is too
    /// soon, the caller waits for the next run. All who wait share it.
    pub(crate) async fn ask_next<F>(&self, ask: F) -> Refetched
    where
        F: Future<Output = Result<(), Diagnosis>> + Send + 'static,
    {
        let begun_before = self.begun.load(Ordering::SeqCst);
        let last = Arc::clone(&self.last).lock_owned().await;
        if let Some(answer) = self.answered(last.as_ref(), begun_before) {
            return answer;
        }
        if let Some(rest) = self.rest(last.as_ref(), OWN_FLOOR) {
            // the others queue at the lock meanwhile, and the run after this rest answers them all
            tokio::time::sleep(rest).await;
        }
        self.run(last, ask).await
    }

    /// What the last run says to a wish that was there when `begun_before` runs had begun.
    fn answered(&self, last: Option<&Attempt>, begun_before: u64) -> Option<Refetched> {
        let attempt = last?;
        match &attempt.result {
            Ok(()) if attempt.number > begun_before => Some(Refetched::Fresh),
            Err(cause) if attempt.number > begun_before || self.since(attempt) < FLOOR_AFTER_FAILURE => {
                Some(Refetched::Failed(cause.clone()))
            }
            _ => None,
        }
    }

    /// How much is left of the floor after a run that was answered.
    fn rest(&self, last: Option<&Attempt>, floor: Duration) -> Option<Duration> {
        let attempt = last.filter(|attempt| attempt.result.is_ok())?;
        floor.checked_sub(self.since(attempt)).filter(|rest| !rest.is_zero())
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
            Err(_) => Refetched::Failed(Diagnosis::new("the attempt was broken off")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::{Refetch, Refetched};
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
    async fn an_answered_source_is_left_alone_for_ten_seconds() {
        let ((refetch, clock), source) = (refetch(), Source::open());
        assert_eq!(refetch.ask(source.ask(Ok(()))).await, Refetched::Fresh);
        clock.advance(Duration::from_millis(9_999));
        assert_eq!(refetch.ask(source.ask(Ok(()))).await, Refetched::TooSoon);
        clock.advance(Duration::from_millis(1));
        assert_eq!(refetch.ask(source.ask(Ok(()))).await, Refetched::Fresh);
        assert_eq!(source.asked(), 2);
    }

    #[tokio::test]
    async fn a_failed_source_is_left_alone_for_a_second() {
        let ((refetch, clock), source) = (refetch(), Source::open());
        let failed = Refetched::Failed(Diagnosis::new("down"));
        assert_eq!(refetch.ask(source.ask(Err("down"))).await, failed);
        assert_eq!(refetch.ask(source.ask(Ok(()))).await, failed);
        assert_eq!(source.asked(), 1);
        clock.advance(Duration::from_secs(1));
        assert_eq!(refetch.ask(source.ask(Ok(()))).await, Refetched::Fresh);
    }

    #[tokio::test]
    async fn a_wall_clock_that_is_set_neither_silences_a_source_nor_lifts_the_floor() {
        let ((refetch, clock), source) = (refetch(), Source::open());
        assert_eq!(refetch.ask(source.ask(Ok(()))).await, Refetched::Fresh);
        clock.step(4000);
        assert_eq!(refetch.ask(source.ask(Ok(()))).await, Refetched::TooSoon);
        clock.step(-8000);
        clock.advance(Duration::from_secs(10));
        assert_eq!(refetch.ask(source.ask(Ok(()))).await, Refetched::Fresh);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_a_source_of_our_own_too_soon_waits_and_all_share_the_next_answer() {
        let (refetch, _clock) = refetch();
        let source = Source::open();
        assert_eq!(refetch.ask_next(source.ask(Ok(()))).await, Refetched::Fresh);
        let began = tokio::time::Instant::now();
        let wishes: Vec<_> = (0..100)
            .map(|_| {
                let (refetch, source) = (Arc::clone(&refetch), Arc::clone(&source));
                tokio::spawn(async move { refetch.ask_next(source.ask(Ok(()))).await })
            })
            .collect();
        for wish in wishes {
            assert_eq!(wish.await.unwrap(), Refetched::Fresh);
        }
        assert_eq!((source.asked(), began.elapsed()), (2, Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_that_goes_away_does_not_stop_the_others() {
        let (refetch, source) = (refetch().0, Source::open());
        assert_eq!(refetch.ask_next(source.ask(Ok(()))).await, Refetched::Fresh);
        let wish = || {
            let (refetch, source) = (Arc::clone(&refetch), Arc::clone(&source));
            tokio::spawn(async move { refetch.ask_next(source.ask(Ok(()))).await })
        };
        let (gone, stays) = (wish(), wish());
        tokio::task::yield_now().await;
        gone.abort();
        assert_eq!(stays.await.unwrap(), Refetched::Fresh);
        assert_eq!(source.asked(), 2);
    }

    #[tokio::test]
    async fn a_hundred_wishes_at_once_ask_once_and_only_later_wishes_share_a_later_answer() {
        let (refetch, clock) = refetch();
        let source = Arc::new(Source { asked: AtomicUsize::new(0), gate: Semaphore::new(0) });
        let wish = || {
            let (refetch, source) = (Arc::clone(&refetch), Arc::clone(&source));
            tokio::spawn(async move { refetch.ask(source.ask(Ok(()))).await })
        };
        let first = wish();
        while source.asked() == 0 {
            tokio::task::yield_now().await;
        }
        // These wish while the first is on its way: its answer may be older than what made them wish.
        let late: Vec<_> = (0..100).map(|_| wish()).collect();
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(11));
        source.gate.add_permits(1);
        assert_eq!(first.await.unwrap(), Refetched::Fresh);
        for wish in late {
            assert_eq!(wish.await.unwrap(), Refetched::Fresh);
        }
        assert_eq!(source.asked(), 2, "one for the first, one for all the others");
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_does_not_stop_the_answer_for_others() {
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
