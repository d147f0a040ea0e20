//! Captures what a test's thread logs.

use std::io;
use std::sync::{Arc, Mutex, Once};

use tracing_subscriber::layer::SubscriberExt;

use super::statements::Collector;

/// A place for a subscriber to write to; clones share it.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Looks on at what this thread logs, until the guard is dropped.
pub fn watch() -> (Lines, tracing::subscriber::DefaultGuard) {
    everywhere();
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

/// Sets the subscriber of all threads that have none of their own. While there is one subscriber only, and on one thread, a
/// place in the code that logs for the first time on another thread is switched off for all: tracing asks that thread's own
/// subscriber, which is none.
pub(super) fn everywhere() {
    static EVERYWHERE: Once = Once::new();
    EVERYWHERE.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Collector);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
