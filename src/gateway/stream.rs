//! An answer on its way to the client, which ends when its grant does.
//!
//! A stream may outlive its token: on the 2026 wire closing one means cancelling. It does not outlive its grant.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use super::body::BoxError;
use crate::model::ids::GrantId;
use crate::revocation::Revocation;

/// What ends a stream from outside.
#[derive(Clone)]
pub(super) struct StreamEnds {
    pub(super) revocation: Revocation,
    pub(super) max_age: Option<Duration>,
    pub(super) drained: CancellationToken,
}

impl StreamEnds {
    /// Completes when a stream of this grant, which ends by itself in `left`, must end.
    async fn wait(self, grant: GrantId, left: Duration) {
        let left = self.max_age.map_or(left, |age| age.min(left));
        tokio::select! {
            () = ended(&self.revocation, &grant) => {}
            () = tokio::time::sleep(left) => {}
            () = self.drained.cancelled() => {}
        }
    }
}

async fn ended(revocation: &Revocation, grant: &GrantId) {
    let mut epochs = revocation.subscribe();
    while !revocation.has_ended(grant) {
        if epochs.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The body of an upstream's answer.
pub(super) struct Stream {
    upstream: Incoming,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: bool,
}

impl Stream {
    pub(super) fn new(upstream: Incoming, ends: StreamEnds, grant: GrantId, left: Duration) -> Self {
        Self { upstream, end: Box::pin(ends.wait(grant, left)), ended: false }
    }
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended || self.end.as_mut().poll(cx).is_ready() {
            self.ended = true;
            return Poll::Ready(None);
        }
        Pin::new(&mut self.upstream).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.upstream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.upstream.size_hint()
    }
}
