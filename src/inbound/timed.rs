//! Time limits of a connection: for a request's head once it has begun, and for a peer that does not read.
//!
//! Defends against slowloris.
//!
//! hyper's own limit for a head includes idle time: idle connections would die young, or slow heads live long. Here the
//! time runs from a head's first byte until the request is handed over. hyper has no limit for a peer that does not
//! read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::exchange::Waiting;

/// How long a request's head may take from its first byte; the first head of a connection from the connection's start.
pub(super) const HEAD: Duration = Duration::from_secs(10);
/// How long a peer may read nothing of what waits for it, and how long an unauthenticated caller's connection may be idle between
/// requests.
pub(super) const IDLE: Duration = Duration::from_secs(75);

/// A stream that fails when its peer is too slow. Bytes that were read to tell the protocol come first.
pub(super) struct Timed<T> {
    stream: T,
    looked_at: Bytes,
    waiting: Waiting,
    /// The number of the head that is being read, and its deadline. Nearly every head arrives in one read, so this
    /// starts no timer yet.
    head: Option<(u64, Instant)>,
    /// Wakes the task at the deadline. Made when a head is first waited for, and reused for later ones.
    timer: Option<Pin<Box<Sleep>>>,
    /// The deadline of the peer to read something of what is being written.
    taking: Option<Pin<Box<Sleep>>>,
}

impl<T> Timed<T> {
    /// Wraps a stream of which `looked_at` was read already, at `began`.
    pub(super) fn new(stream: T, looked_at: Bytes, waiting: Waiting, began: Instant) -> Self {
        Self { stream, looked_at, waiting, head: Some((0, began + HEAD)), timer: None, taking: None }
    }

    /// Fails at the deadline.
    fn poll_too_slow(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the request head came too slowly")))
    }

    /// Returns the result of a write, or fails when nothing was written for too long.
    fn written(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if polled.is_ready() {
            self.taking = None;
            return polled;
        }
        let until = self.taking.get_or_insert_with(|| Box::pin(tokio::time::sleep(IDLE)));
        ready!(until.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing of what is sent")))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Timed<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.looked_at.is_empty() {
            let count = self.looked_at.len().min(buf.remaining());
            buf.put_slice(&self.looked_at.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let awaited = self.waiting.head();
        if self.head.as_ref().is_some_and(|(number, _)| Some(*number) != awaited) {
            self.head = None;
        }
        if let Some((_, until)) = self.head
            && let Poll::Ready(late) = self.poll_too_slow(until, cx)
        {
            return Poll::Ready(late);
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before
            && self.head.is_none()
            && let Some(number) = awaited
        {
            self.head = Some((number, Instant::now() + HEAD));
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Timed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
