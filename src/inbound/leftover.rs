//! Request bodies that were not read to their end.
//!
//! Defends against request smuggling: no byte of an unread body may be taken for the next request.
//!
//! Many clients send head and body in separate packets. When we answer before the body has arrived, hyper closes the
//! connection silently, and the client's next request is lost. So a small body is drained before the answer leaves; for
//! any other, the answer says `Connection: close`.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, Response, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::wire::{Body, BoxError};

/// How much of an unread body is drained, and for how long.
const DRAIN_BYTES: usize = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);

type Slot<B> = Arc<Mutex<Option<B>>>;

/// A request body that returns to its [`Leftover`] when it is dropped unread.
pub(super) struct Lent<B: HttpBody> {
    body: Option<B>,
    slot: Option<Slot<B>>,
}

/// Receives the body when it is dropped unread. There is none for HTTP/2, where streams do not disturb each other.
pub(super) struct Leftover<B: HttpBody> {
    slot: Slot<B>,
    expects: bool,
}

/// Wraps the body of a request.
pub(super) fn lend<B: HttpBody>(request: Request<B>) -> (Request<Lent<B>>, Option<Leftover<B>>) {
    let watched = request.version() < Version::HTTP_2 && !request.body().is_end_stream();
    let slot: Option<Slot<B>> = watched.then(|| Arc::new(Mutex::new(None)));
    let expects = request.headers().contains_key(EXPECT);
    let lent = request.map(|body| Lent { body: Some(body), slot: slot.clone() });
    (lent, slot.map(|slot| Leftover { slot, expects }))
}

impl<B: HttpBody + Unpin> HttpBody for Lent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl<B: HttpBody> Drop for Lent<B> {
    fn drop(&mut self) {
        if let (Some(body), Some(slot)) = (self.body.take().filter(|body| !body.is_end_stream()), &self.slot) {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

impl<B> Leftover<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Drains an unread body if it is small and arrives soon; otherwise the answer closes the connection.
    pub(super) async fn settle(self, response: &mut Response<Body>) {
        let Some(body) = self.slot.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        // a client that waits for 100 Continue must not be made to send a body that is thrown away
        let small = !self.expects && body.size_hint().lower() <= DRAIN_BYTES as u64;
        let read = small && tokio::time::timeout(DRAIN_TIME, drained(body)).await == Ok(true);
        if !read {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// Discards a body. `true`: it ended within the limit.
async fn drained<B: HttpBody<Data = Bytes> + Unpin>(mut body: B) -> bool {
    let mut left = DRAIN_BYTES;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let size = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(size) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::header::CONNECTION;
    use http::{Request, Response};
    use http_body_util::{BodyExt, Full};

    use super::lend;
    use crate::wire::full;

    fn request(size: usize) -> Request<Full<Bytes>> {
        Request::new(Full::new(Bytes::from(vec![b'x'; size])))
    }

    async fn ends(size: usize, read: bool, expect: bool) -> bool {
        let mut request = request(size);
        if expect {
            request.headers_mut().insert("expect", http::HeaderValue::from_static("100-continue"));
        }
        let (lent, leftover) = lend(request);
        if read {
            assert_eq!(lent.into_body().collect().await.unwrap().to_bytes().len(), size);
        } else {
            drop(lent);
        }
        let mut response = Response::new(full(""));
        if let Some(leftover) = leftover {
            leftover.settle(&mut response).await;
        }
        response.headers().contains_key(CONNECTION)
    }

    #[tokio::test]
    async fn an_unread_body_is_read_when_it_is_small_and_ends_the_connection_when_it_is_not() {
        assert!(!ends(100, false, false).await);
        assert!(!ends(0, false, false).await);
        assert!(ends(100_000, false, false).await);
        assert!(!ends(100_000, true, false).await);
        assert!(ends(100, false, true).await);
    }
}
