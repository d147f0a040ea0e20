//! What a call carries, read as far as it must be before the call is sent on.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Method;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::body::{Body, BoxError};
use super::headers::is_media_type;
use super::refusal::Refusal;
use crate::upstream::{Payload, RequestBodyError};

/// How long a body that we wait for may take to arrive.
const COLLECT: Duration = Duration::from_secs(15);
/// How many frames without a byte a body may have that is none.
const EMPTY_FRAMES: usize = 16;

const NO_BODY: Refusal = Refusal::Malformed("a body on anything but POST");

/// Whether a request whose method has no body says that it brings one: a server that does not read such a body takes it for
/// the next request (request smuggling, RFC 9110 9.3.1).
///
/// # Errors
/// When it does.
pub(super) fn judge(parts: &Parts, body: &impl HttpBody) -> Result<(), Refusal> {
    if parts.method != Method::POST && body.size_hint().lower() > 0 { Err(NO_BODY) } else { Ok(()) }
}

/// Reads a JSON body whole, so that our own errors can carry its id and a request whose connection died before a byte left
/// can be sent again; anything else streams. Of methods that have no body it sees that none comes.
///
/// # Errors
/// When it comes too slowly, ends early, or must not be there.
pub(super) async fn receive<B>(parts: &Parts, body: B, limit: usize) -> Result<Payload, Refusal>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    if parts.method != Method::POST {
        if !body.is_end_stream() {
            timeout(COLLECT, see_its_end(body)).await.map_err(|_elapsed| Refusal::SlowBody)??;
        }
        return Ok(Payload::none());
    }
    if !is_small_json(parts, limit) {
        return Ok(Payload::Streamed(passing(Passing { read: None, rest: body })));
    }
    timeout(COLLECT, collect(body, limit)).await.map_err(|_elapsed| Refusal::SlowBody)?
}

/// JSON that may be held whole: one that declares more streams, one that declares nothing is tried.
fn is_small_json(parts: &Parts, limit: usize) -> bool {
    let small = match parts.headers.get(CONTENT_LENGTH) {
        None => true,
        Some(length) => {
            length.to_str().ok().and_then(|text| text.parse().ok()).is_some_and(|length: usize| length <= limit)
        }
    };
    small && is_media_type(&parts.headers, "application/json")
}

/// Zero bytes are no body, whatever the framing: an empty chunked body, or an empty DATA frame that ends an HTTP/2 stream.
async fn see_its_end<B>(mut body: B) -> Result<(), Refusal>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    for _ in 0..EMPTY_FRAMES {
        match body.frame().await {
            None => return Ok(()),
            Some(Err(_)) => return Err(Refusal::BrokenBody),
            Some(Ok(frame)) if frame.data_ref().is_some_and(|data| !data.is_empty()) => return Err(NO_BODY),
            Some(Ok(_)) => {}
        }
    }
    Err(NO_BODY)
}

/// Reads up to `limit` bytes. What is longer goes on as a stream, with what was read before it.
async fn collect<B>(mut body: B, limit: usize) -> Result<Payload, Refusal>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let mut read = Pieces::default();
    while let Some(frame) = body.frame().await {
        // trailers end it, and do not pass
        let Ok(data) = frame.map_err(|_error| Refusal::BrokenBody)?.into_data() else { break };
        read.push(data);
        if read.len() > limit {
            return Ok(Payload::Streamed(passing(Passing { read: Some(read.whole()), rest: body })));
        }
    }
    Ok(Payload::Whole(read.whole()))
}

/// The pieces of a body. Most have one, which is not copied.
#[derive(Default)]
struct Pieces {
    first: Bytes,
    all: BytesMut,
}

impl Pieces {
    fn push(&mut self, piece: Bytes) {
        if self.first.is_empty() && self.all.is_empty() {
            self.first = piece;
            return;
        }
        self.all.extend_from_slice(&std::mem::take(&mut self.first));
        self.all.extend_from_slice(&piece);
    }

    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn whole(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

/// A request body on its way through: what was read of it, and the rest. It has no trailers: MCP has none, and what stands in
/// them could be taken for what we say in headers.
struct Passing<B> {
    read: Option<Bytes>,
    rest: B,
}

fn passing<B>(body: Passing<B>) -> Body
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(|error| BoxError::from(RequestBodyError(error.into()))).boxed_unsync()
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Passing<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(read) = self.read.take() {
            return Poll::Ready(Some(Ok(Frame::data(read))));
        }
        match ready!(Pin::new(&mut self.rest).poll_frame(cx)) {
            Some(Ok(frame)) if frame.is_trailers() => Poll::Ready(None),
            other => Poll::Ready(other),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.read.is_some() { SizeHint::default() } else { self.rest.size_hint() }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Pieces;

    #[test]
    fn pieces_come_together_in_their_order_and_one_piece_is_not_copied() {
        let piece = Bytes::from_static(b"{\"id\":1}");
        let mut one = Pieces::default();
        one.push(piece.clone());
        assert_eq!(one.whole().as_ptr(), piece.as_ptr());
        let mut many = Pieces::default();
        for piece in ["", "{", "\"id\"", "", ":1", "}"] {
            many.push(Bytes::from_static(piece.as_bytes()));
        }
        assert_eq!((many.len(), many.whole()), (8, piece));
    }
}
