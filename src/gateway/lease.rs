//! What a call to an upstream lives under.
//!
//! A call may outlive its token: on the 2026 wire closing a stream means cancelling. It does not outlive its grant, the
//! age that the operator set, or this process; neither while its body arrives, nor while it waits for its answer, nor while
//! the answer comes.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::authenticate::VerifiedToken;
use crate::limits::Share;
use crate::signal::Signal;

/// Upper bound of a call's life: `Instant` arithmetic could overflow beyond it.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// How long a new call waits for one timer alone, before it also waits for the signals. Most calls are done by then, and never
/// pay for more than the timer. So this is also how late a call may notice its end.
const UNWATCHED: Duration = Duration::from_millis(250);

/// Why a call is over before its answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Over {
    /// Its grant ended.
    #[error("the token's grant has ended")]
    Ended,
    /// It is too old.
    #[error("the call is older than max_stream_age")]
    Aged,
    /// We shut down.
    #[error("the gateway is shutting down")]
    Draining,
}

/// What ends calls from outside.
#[derive(Clone)]
pub(super) struct Ends {
    pub(super) max_age: Option<Duration>,
    pub(super) drained: Signal,
}

impl Ends {
    /// What a call with this token lives under, whose grant ends by itself in `left`.
    pub(super) fn lease(&self, token: Arc<VerifiedToken>, left: Duration) -> Lease {
        let (lasts, then) = match self.max_age {
            Some(age) if age < left => (age, Over::Aged),
            _ => (left, Over::Ended),
        };
        let until = Instant::now() + lasts.min(LONGEST);
        let terms = Terms { token, drained: self.drained.clone(), until, then };
        Lease { over: Box::pin(terms.clone().over()), terms, _place: None }
    }
}

#[derive(Clone)]
struct Terms {
    token: Arc<VerifiedToken>,
    drained: Signal,
    until: Instant,
    /// Why it is over after `until`.
    then: Over,
}

impl Terms {
    /// Whether an event, rather than the time, has ended the call.
    fn check_signals(&self) -> Result<(), Over> {
        if !self.token.stands() {
            return Err(Over::Ended);
        }
        if self.drained.is_set() {
            return Err(Over::Draining);
        }
        Ok(())
    }

    async fn over(self) -> Over {
        let mut timer = pin!(tokio::time::sleep_until(self.until.min(Instant::now() + UNWATCHED)));
        timer.as_mut().await;
        timer.as_mut().reset(self.until);
        tokio::select! {
            biased;
            () = self.token.ended() => Over::Ended,
            () = timer => self.then,
            () = self.drained.wait() => Over::Draining,
        }
    }
}

/// The life of one call.
pub(super) struct Lease {
    terms: Terms,
    over: Pin<Box<dyn Future<Output = Over> + Send>>,
    _place: Option<Share>,
}

impl Lease {
    /// The same with a place among its user's calls, for as long as it lives.
    pub(super) fn placed(self, place: Share) -> Self {
        Self { _place: Some(place), ..self }
    }

    /// Whose call it is.
    pub(super) const fn token(&self) -> &Arc<VerifiedToken> {
        &self.terms.token
    }

    /// Works on something until it is done or the call is over. When it is over already, no work begins. Large futures come
    /// pinned: one that is passed by value takes its room twice, here and in the caller.
    ///
    /// # Errors
    /// When the call is over; it must not be polled again then.
    pub(super) async fn hold<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Over> {
        self.terms.check_signals()?;
        tokio::select! {
            biased;
            over = &mut self.over => Err(over),
            done = work => Ok(done),
        }
    }

    /// Completes when the call is over; must not be polled again then.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        self.over.as_mut().poll(cx)
    }

    /// Whether the call is over now, without waiting: for a body that is always ready.
    ///
    /// # Errors
    /// When it is.
    pub(super) fn check(&self) -> Result<(), Over> {
        self.terms.check_signals()?;
        if Instant::now() >= self.terms.until { Err(self.terms.then) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::{Ends, Over, UNWATCHED};
    use crate::clock::{Clock, Timestamp};
    use crate::gateway::authenticate::VerifiedToken;
    use crate::revocation::Revocation;
    use crate::signal::Signal;

    const HOUR: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn what_has_ended_begins_nothing_more() {
        let revocation = Revocation::new(Clock::manual(Timestamp(1_800_000_000)));
        let ends = Ends { max_age: None, drained: Signal::default() };
        let token = VerifiedToken::under(revocation.watch(&"g_1".into()));
        let mut lease = ends.lease(Arc::new(token), HOUR);
        assert_eq!(lease.hold(async { 1 }).await, Ok(1));
        revocation.note_ended(&"g_1".into());
        assert_eq!(lease.hold(async { unreachable!("it began") }).await.map(|()| 2), Err(Over::Ended));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_is_under_way_learns_of_an_end_soon_and_later_at_once() {
        for after in [1, 249, 250, 251, 60_000].map(Duration::from_millis) {
            for over in [Over::Ended, Over::Draining] {
                let revocation = Revocation::new(Clock::manual(Timestamp(1_800_000_000)));
                let ends = Ends { max_age: None, drained: Signal::default() };
                let token = VerifiedToken::under(revocation.watch(&"g_1".into()));
                let mut lease = ends.lease(Arc::new(token), HOUR);
                let began = Instant::now();
                let end = async {
                    sleep(after).await;
                    match over {
                        Over::Ended => revocation.note_ended(&"g_1".into()),
                        _ => ends.drained.set(),
                    }
                };
                let (held, ()) = tokio::join!(lease.hold(pending::<()>()), end);
                assert_eq!((held, began.elapsed()), (Err(over), after.max(UNWATCHED)));
            }
        }
        let ends = Ends { max_age: Some(Duration::from_millis(100)), drained: Signal::default() };
        let began = Instant::now();
        let held = ends.lease(Arc::new(VerifiedToken::of_grant("g_1")), HOUR).hold(pending::<()>()).await;
        assert_eq!((held, began.elapsed()), (Err(Over::Aged), Duration::from_millis(100)));
    }
}
