//! The body of an answer, which ends with its call's lease.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::lease::CallLease;
use crate::wire::BoxError;

/// How a response that is cut short looks to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EarlyEnd {
    /// A clean end: an event stream has no fixed end, and its client reconnects.
    Clean,
    /// A broken connection: half a response must not be taken for a whole one.
    Broken,
}

/// The body of an upstream's answer.
pub(super) struct Stream<B> {
    upstream: B,
    lease: CallLease,
    early_end: EarlyEnd,
    over: bool,
}

impl<B> Stream<B> {
    pub(super) const fn new(upstream: B, lease: CallLease, early_end: EarlyEnd) -> Self {
        Self { upstream, lease, early_end, over: false }
    }
}

impl<B> HttpBody for Stream<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        let over = match Pin::new(&mut this.upstream).poll_frame(cx) {
            Poll::Pending => ready!(this.lease.poll_over(cx)),
            // a body that is always ready never waits for the lease: check here as well
            Poll::Ready(Some(Ok(frame))) => match this.lease.check() {
                Ok(()) => return Poll::Ready(Some(Ok(frame))),
                Err(over) => over,
            },
            Poll::Ready(end) => return Poll::Ready(end.map(|end| end.map_err(Into::into))),
        };
        this.over = true;
        Poll::Ready(match this.early_end {
            EarlyEnd::Clean => None,
            EarlyEnd::Broken => Some(Err(over.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.upstream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.upstream.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};

    use super::{EarlyEnd, Stream};
    use crate::clock::{Clock, Timestamp};
    use crate::gateway::caller::VerifiedCaller;
    use crate::gateway::lease::{Ends, Over};
    use crate::gateway::refusal::ENDED;
    use crate::revocation::Revocation;
    use crate::signal::Signal;

    const NOW: Timestamp = Timestamp(1_800_000_000);
    const HOUR: Duration = Duration::from_hours(1);

    type End = fn(&Revocation, &Ends);

    fn ends(max_age: Option<Duration>) -> Ends {
        Ends { max_age, drained: Signal::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn an_always_ready_stream_ends_with_its_grant_its_age_and_the_shutdown() {
        const MINUTE: Duration = Duration::from_mins(1);
        for (why, max_age, passes, end) in [
            (Over::Ended(ENDED), None, Duration::ZERO, (|revocation, _| revocation.note_ended(&"g_1".into())) as End),
            (Over::Draining, None, Duration::ZERO, |_, ends| ends.drained.set()),
            (Over::Aged, Some(MINUTE), MINUTE, |_, _| {}),
            (Over::Ended(ENDED), None, HOUR, |_, _| {}),
        ] {
            let (ends, revocation) = (ends(max_age), Revocation::new(Clock::manual(NOW)));
            let flood = stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))));
            let lease = ends.lease(Arc::new(VerifiedCaller::under(revocation.watch(&"g_1".into()))), HOUR);
            let mut stream = Stream::new(StreamBody::new(flood), lease, EarlyEnd::Broken);
            for _ in 0..100 {
                assert!(stream.frame().await.unwrap().is_ok());
            }
            revocation.note_ended(&"g_2".into());
            assert!(stream.frame().await.unwrap().is_ok(), "the end of another grant");
            end(&revocation, &ends);
            tokio::time::advance(passes).await;
            let error = stream.frame().await.unwrap().unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&why));
            assert!(stream.frame().await.is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_arrived_whole_is_not_reported_broken() {
        let ends = ends(None);
        let lease = ends.lease(Arc::new(VerifiedCaller::of_grant("g_1")), HOUR);
        let empty = StreamBody::new(stream::empty::<Result<Frame<Bytes>, Infallible>>());
        let mut stream = Stream::new(empty, lease, EarlyEnd::Broken);
        ends.drained.set();
        assert!(stream.frame().await.is_none());
    }
}
