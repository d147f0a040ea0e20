//! A connection whose request heads must arrive in time.
//!
//! The server library's own limit counts idle time too: either idle connections would die young, or a slow head would live
//! long. Here the count begins with the first byte of a head and ends when the request is handed over.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Whether the connection waits for a head; shared with the service that takes the requests. Even numbers wait, odd ones
/// serve, and each head has a number of its own.
#[derive(Clone, Default)]
pub(super) struct Waiting(Arc<AtomicU64>);

impl Waiting {
    /// A head arrived whole. When everything that holds the answer is gone, the next bytes are a head's again.
    pub(super) fn arrived(&self) -> Arc<Busy> {
        self.0.fetch_or(1, Ordering::AcqRel);
        Arc::new(Busy(self.clone()))
    }

    /// A head arrived whole, and whatever follows is bounded otherwise.
    pub(super) fn never_again(&self) {
        self.0.fetch_or(1, Ordering::AcqRel);
    }

    /// The number of the head that is being waited for, if one is.
    fn head(&self) -> Option<u64> {
        let number = self.0.load(Ordering::Acquire);
        number.is_multiple_of(2).then_some(number)
    }
}

/// An exchange that is going on: its request may still arrive, its answer still leave.
pub(super) struct Busy(Waiting);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// A stream that fails when a head takes too long. Bytes that were looked at before come first.
pub(super) struct HeadDeadline<T> {
    stream: T,
    looked_at: Vec<u8>,
    waiting: Waiting,
    limit: Duration,
    /// Until when the head of this number must be whole.
    deadline: Option<(u64, Pin<Box<Sleep>>)>,
}

impl<T> HeadDeadline<T> {
    /// Wraps a stream of which `looked_at` was read already, at `began`.
    pub(super) fn new(stream: T, looked_at: Vec<u8>, waiting: Waiting, limit: Duration, began: Instant) -> Self {
        let deadline = Some((0, Box::pin(tokio::time::sleep_until(began + limit))));
        Self { stream, looked_at, waiting, limit, deadline }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for HeadDeadline<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.looked_at.is_empty() {
            let count = self.looked_at.len().min(buf.remaining());
            let first: Vec<u8> = self.looked_at.drain(..count).collect();
            buf.put_slice(&first);
            return Poll::Ready(Ok(()));
        }
        let head = self.waiting.head();
        if self.deadline.as_ref().is_some_and(|(number, _)| Some(*number) != head) {
            self.deadline = None;
        }
        if let Some((_, deadline)) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the request head came too slowly")));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before
            && self.deadline.is_none()
            && let Some(number) = head
        {
            self.deadline = Some((number, Box::pin(tokio::time::sleep(self.limit))));
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for HeadDeadline<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
