//! Lines on their way to standard error: a bounded queue, emptied by a thread of its own.
//!
//! A write to standard error blocks for as long as the other end does not read (a full pipe, a stopped terminal), and no
//! request may wait for that. A line is therefore only queued. When the queue is full it is dropped and counted, and a later
//! line reports the count. Audit lines have room that no other line takes, and wait a bounded time before they are given up.
//!
//! `tracing-appender` bounds its queue by lines, however long they are, and treats all of them alike: it either drops every
//! line or lets every line wait for ever.

use std::io::{self, ErrorKind, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};

use super::printable::printable_line;

/// How many bytes may be queued before a line is dropped; about four thousand lines.
const ROOM: usize = 1024 * 1024;
/// The same for audit lines.
const AUDIT_ROOM: usize = 4 * 1024 * 1024;
/// How long an audit line waits for room, and the end of the process for the last lines.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// The most bytes in one write, so that waiting lines see progress.
const PIECE: usize = 64 * 1024;
/// How long the writer waits when standard error was made non-blocking by another process and is full.
const WOULD_BLOCK: Duration = Duration::from_millis(20);

/// What happens to a line for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is dropped and counted.
    Plain,
    /// It waits, and is counted apart if that was in vain.
    Audit,
    /// It is queued all the same: the writer's own report, at most one for each batch that was written.
    Report,
}

/// How many lines were lost and not reported yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) plain: u64,
    pub(super) audit: u64,
}

/// The queue.
#[derive(Default)]
pub(super) struct Lines {
    queue: Mutex<Queue>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// How many bytes the writer has taken and not written yet.
    in_flight: usize,
    lost: Lost,
    /// An audit line waited in vain, and the writer has written nothing since: the next one does not wait again.
    stalled: bool,
    /// The last write failed: there is no reader to report anything to.
    broken: bool,
    writer_sleeps: bool,
    waiting: usize,
}

impl Queue {
    const fn held(&self) -> usize {
        self.bytes.len() + self.in_flight
    }

    const fn fits(&self, kind: Kind, line: &[u8]) -> bool {
        let room = match kind {
            Kind::Plain => ROOM,
            Kind::Audit => AUDIT_ROOM,
            Kind::Report => return true,
        };
        self.held() + line.len() <= room
    }
}

impl Lines {
    /// Queues a line. Only an audit line may wait here.
    pub(super) fn push(&self, kind: Kind, line: &[u8]) {
        let mut queue = self.queue();
        if kind == Kind::Audit && !queue.fits(kind, line) {
            drop(queue);
            queue = off_the_runtime(|| self.wait_for_room(kind, line));
        }
        if !queue.fits(kind, line) {
            match kind {
                Kind::Plain | Kind::Report => queue.lost.plain += 1,
                Kind::Audit => queue.lost.audit += 1,
            }
            return;
        }
        queue.bytes.extend_from_slice(line);
        if std::mem::take(&mut queue.writer_sleeps) {
            drop(queue);
            self.filled.notify_one();
        }
    }

    /// Writes what is queued, for ever. `report` logs what was lost, once others were written again.
    pub(super) fn run(&self, mut out: impl Write, report: impl Fn(Lost)) -> ! {
        let mut batch = Vec::new();
        loop {
            self.take(&mut batch);
            if self.write(&batch, &mut out) {
                self.report(&report);
            }
            batch.clear();
            // what was filled during a stall is given back
            batch.shrink_to(PIECE);
        }
    }

    /// Waits until everything that was queued is written, or for so long.
    pub(super) fn flush(&self, limit: Duration) {
        drop(self.wait(limit, |queue| queue.held() == 0 && (queue.broken || queue.lost == Lost::default())));
    }

    fn take(&self, batch: &mut Vec<u8>) {
        let mut queue = self.queue();
        while queue.bytes.is_empty() {
            queue.writer_sleeps = true;
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.writer_sleeps = false;
        std::mem::swap(&mut queue.bytes, batch);
        queue.in_flight = batch.len();
    }

    /// Writes a batch; `false` when that failed and the rest of it is lost.
    fn write(&self, mut rest: &[u8], out: &mut impl Write) -> bool {
        while !rest.is_empty() {
            let (piece, _) = rest.split_at_checked(PIECE).unwrap_or((rest, &[]));
            match out.write(piece) {
                Ok(count) if count > 0 => {
                    rest = rest.get(count..).unwrap_or_default();
                    self.progress(count, 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(WOULD_BLOCK),
                Ok(_) | Err(_) => {
                    let lines = rest.split_inclusive(|byte| *byte == b'\n').count();
                    self.progress(rest.len(), u64::try_from(lines).unwrap_or(u64::MAX));
                    return false;
                }
            }
        }
        true
    }

    /// So many bytes are gone; `lost` is how many lines could not be written.
    fn progress(&self, bytes: usize, lost: u64) {
        let mut queue = self.queue();
        queue.in_flight -= bytes;
        queue.lost.plain += lost;
        queue.broken = lost > 0;
        queue.stalled = false;
        if queue.waiting > 0 {
            drop(queue);
            self.emptied.notify_all();
        }
    }

    /// The count is taken back after the report is queued, so that a flush waits for it.
    fn report(&self, report: &impl Fn(Lost)) {
        let lost = self.queue().lost;
        if lost == Lost::default() {
            return;
        }
        report(lost);
        let mut queue = self.queue();
        queue.lost.plain -= lost.plain;
        queue.lost.audit -= lost.audit;
        drop(queue);
        self.emptied.notify_all();
    }

    fn wait_for_room(&self, kind: Kind, line: &[u8]) -> MutexGuard<'_, Queue> {
        let mut queue = self.wait(PATIENCE, |queue| queue.stalled || queue.fits(kind, line));
        if !queue.fits(kind, line) && !queue.stalled {
            queue.stalled = true;
            self.emptied.notify_all();
        }
        queue
    }

    /// Waits until something holds, or for so long.
    fn wait(&self, limit: Duration, holds: impl Fn(&Queue) -> bool) -> MutexGuard<'_, Queue> {
        let mut queue = self.queue();
        queue.waiting += 1;
        let (mut queue, _timed_out) = self
            .emptied
            .wait_timeout_while(queue, limit, |queue| !holds(queue))
            .unwrap_or_else(PoisonError::into_inner);
        queue.waiting -= 1;
        queue
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the runtime give this worker's other tasks to another thread while this one waits.
fn off_the_runtime<T>(wait: impl FnOnce() -> T) -> T {
    let is_worker = |runtime: Handle| runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
    if Handle::try_current().is_ok_and(is_worker) { tokio::task::block_in_place(wait) } else { wait() }
}

/// One event's line on its way into the queue. It never fails: the subscriber would print that failure to standard error
/// itself, and block.
pub(super) struct Line<'a> {
    pub(super) lines: &'a Lines,
    pub(super) kind: Kind,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // here, so that it holds for every field of every event
        self.lines.push(self.kind, &printable_line(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
