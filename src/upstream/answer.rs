//! The body of an upstream's answer, and whether its connection is reused.
//!
//! A connection is reused only when nothing of this exchange can be left on it, however a server reads HTTP. Otherwise
//! a server that writes a body after an answer without one, or that takes a request's unread body for the next request,
//! mixes up two users (response desync, request smuggling). So it is reused only after
//! - a POST whose body was here as a whole, had a length, and was written to its end before the next request is written;
//! - 200 with a body that was read to its end, or 202, whose empty body MCP demands and whose end its framing says: these
//!   two say that the server has read the message. An error may come from a layer that read the head alone, and 204 and 304
//!   have no framing that could tell where a body would end;
//! - one framing, and both sides keeping the connection open, without a byte too many on it (hyper closes it then).
//!
//! Every other exchange has a connection of its own, which ends with its answer. It does not say `Connection: close`:
//! some servers answer such requests late or never.

use std::pin::Pin;
use std::task::{Context, Poll};

use ::http::{Response, StatusCode};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::error::UpstreamError;
use super::framing::{self, Reuse};
use super::pool::{Connection, IdlePool};

/// The body of an answer.
pub(crate) struct AnswerBody {
    body: Incoming,
    back: Option<(Connection, IdlePool)>,
    /// Whether its end leaves nothing behind: there was a body, or the status demands that there is none.
    clean: bool,
    ended: bool,
}

impl AnswerBody {
    /// `back` is the connection of the answer, and the pool that it may return to.
    ///
    /// # Errors
    /// When its framing can be read in two ways; the connection ends then.
    pub(super) fn of(
        mut answer: Response<Incoming>,
        back: Option<(Connection, IdlePool)>,
    ) -> Result<Response<Self>, UpstreamError> {
        let reuse = framing::settle(answer.headers_mut()).map_err(UpstreamError::Unreadable)?;
        let status = answer.status();
        let said_it_was_read = matches!(status, StatusCode::OK | StatusCode::ACCEPTED);
        let back = back.filter(|_| said_it_was_read && reuse == Reuse::Sound);
        Ok(answer.map(|body| Self { body, back, clean: status == StatusCode::ACCEPTED, ended: false }))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(&polled, Poll::Ready(Some(Ok(frame))) if frame.is_trailers()) {
            // trailers come last and do not pass: a client could take them for headers
            polled = Poll::Ready(None);
        }
        match &polled {
            Poll::Ready(Some(Ok(frame))) => self.clean |= frame.data_ref().is_some_and(|data| !data.is_empty()),
            Poll::Ready(Some(Err(_))) => self.back = None,
            Poll::Ready(None) => self.ended = true,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        let whole = self.clean && (self.ended || self.body.is_end_stream());
        if let Some((connection, pool)) = self.back.take().filter(|_| whole) {
            pool.put(connection);
        }
    }
}
