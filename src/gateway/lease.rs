//! What ends a call from outside.
//!
//! A call may outlive its token: on the 2026 wire closing a stream cancels the call. It does not outlive its grant, the age
//! that the operator set, or this process: not while its body arrives, not while it waits for its answer, and not while the
//! answer comes.
//!
//! Defends against: an open stream that goes on after its user was signed out.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::caller::VerifiedCaller;
use super::refusal::Refusal;
use crate::limits::Share;
use crate::signal::Signal;
use crate::telemetry::metrics::OpenStream;

/// Upper bound of a call's life: `Instant` arithmetic could overflow beyond it.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// How long a new call waits for one timer alone, before it also waits for the signals. Most calls are done by then and cost
/// only the timer. A call may notice its end this late.
const UNWATCHED: Duration = Duration::from_millis(250);

/// Why a call is over before its answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Over {
    /// The right to call ended, for this reason.
    #[error("{0}")]
    Ended(&'static str),
    /// It is too old.
    #[error("the call is older than max_stream_age")]
    Aged,
    /// We shut down.
    #[error("the gateway is shutting down")]
    Draining,
}

impl From<Over> for Refusal {
    fn from(over: Over) -> Self {
        match over {
            Over::Ended(why) => Self::InvalidToken(why),
            Over::Aged => Self::GatewayTimeout("did not begin to answer within max_stream_age".to_owned()),
            Over::Draining => Self::ShuttingDownUnknown,
        }
    }
}

impl Over {
    /// The refusal of a call of which nothing was forwarded yet.
    pub(super) const fn before_sending(self) -> Refusal {
        match self {
            Self::Ended(why) => Refusal::InvalidToken(why),
            Self::Aged => Refusal::AgedUnsent,
            Self::Draining => Refusal::ShuttingDownUnsent,
        }
    }
}

/// What ends every call of this process.
#[derive(Clone)]
pub(super) struct Ends {
    pub(super) max_age: Option<Duration>,
    pub(super) drained: Signal,
}

impl Ends {
    /// The lease of a call of this caller, whose right to call ends by itself in `left`.
    pub(super) fn lease(&self, caller: Arc<VerifiedCaller>, left: Duration) -> CallLease {
        let (lasts, then) = match self.max_age {
            Some(age) if age < left => (age, Over::Aged),
            _ => (left, Over::Ended(caller.end())),
        };
        let until = Instant::now() + lasts.min(LONGEST);
        let terms = Terms { caller, drained: self.drained.clone(), until, then };
        CallLease { over: Box::pin(terms.clone().over()), terms, _share: None, _stream: None }
    }
}

#[derive(Clone)]
struct Terms {
    caller: Arc<VerifiedCaller>,
    drained: Signal,
    until: Instant,
    /// The reason why it is over after `until`.
    then: Over,
}

impl Terms {
    /// Whether an event, rather than the time, has ended the call.
    fn check_signals(&self) -> Result<(), Over> {
        self.caller.check_stands().map_err(Over::Ended)?;
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
            why = self.caller.ended() => Over::Ended(why),
            () = timer => self.then,
            () = self.drained.wait() => Over::Draining,
        }
    }
}

/// The lease of one call, which ends with the right to call. (Not the issuer's lease of a grant during a refresh.)
pub(super) struct CallLease {
    terms: Terms,
    over: Pin<Box<dyn Future<Output = Over> + Send>>,
    _share: Option<Share>,
    _stream: Option<OpenStream>,
}

impl CallLease {
    /// The same lease, which counts among its user's calls for as long as it lives.
    pub(super) fn counted(self, share: Share) -> Self {
        Self { _share: Some(share), ..self }
    }

    /// The same lease, of a call whose answer is an event stream.
    pub(super) fn streaming(self, stream: OpenStream) -> Self {
        Self { _stream: Some(stream), ..self }
    }

    /// Runs `work` until it is done or the call is over. When the call is over already, no work begins. Pass a large future
    /// pinned: by value it would be stored twice, here and in the caller.
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

    /// Completes when the call is over. Must not be polled again after that.
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
    use crate::gateway::caller::VerifiedCaller;
    use crate::gateway::refusal::ENDED;
    use crate::revocation::Revocation;
    use crate::signal::Signal;

    const HOUR: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn no_work_begins_once_the_grant_has_ended() {
        let revocation = Revocation::new(Clock::manual(Timestamp(1_800_000_000)));
        let ends = Ends { max_age: None, drained: Signal::default() };
        let caller = VerifiedCaller::under(revocation.watch(&"g_1".into()));
        let mut lease = ends.lease(Arc::new(caller), HOUR);
        assert_eq!(lease.hold(async { 1 }).await, Ok(1));
        revocation.note_ended(&"g_1".into());
        assert_eq!(lease.hold(async { unreachable!("it began") }).await.map(|()| 2), Err(Over::Ended(ENDED)));
    }

    #[tokio::test(start_paused = true)]
    async fn work_under_way_stops_within_the_unwatched_time_and_later_at_once() {
        for after in [1, 249, 250, 251, 60_000].map(Duration::from_millis) {
            for over in [Over::Ended(ENDED), Over::Draining] {
                let revocation = Revocation::new(Clock::manual(Timestamp(1_800_000_000)));
                let ends = Ends { max_age: None, drained: Signal::default() };
                let caller = VerifiedCaller::under(revocation.watch(&"g_1".into()));
                let mut lease = ends.lease(Arc::new(caller), HOUR);
                let began = Instant::now();
                let end = async {
                    sleep(after).await;
                    match over {
                        Over::Ended(_) => revocation.note_ended(&"g_1".into()),
                        _ => ends.drained.set(),
                    }
                };
                let (held, ()) = tokio::join!(lease.hold(pending::<()>()), end);
                assert_eq!((held, began.elapsed()), (Err(over), after.max(UNWATCHED)));
            }
        }
        let ends = Ends { max_age: Some(Duration::from_millis(100)), drained: Signal::default() };
        let began = Instant::now();
        let held = ends.lease(Arc::new(VerifiedCaller::of_grant("g_1")), HOUR).hold(pending::<()>()).await;
        assert_eq!((held, began.elapsed()), (Err(Over::Aged), Duration::from_millis(100)));
    }
}
