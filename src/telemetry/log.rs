//! The log: lines for people at a terminal, JSON for machines. It goes to standard error; nothing secret goes into it.
//!
//! A request only queues its lines, and a thread of the log's own writes them: see [`super::lines`]. A process that is killed
//! takes along what was queued in the last moment; every other end flushes.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::env::{self, VarError};
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::{Arc, OnceLock};

use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::lines::{Kind, Line, Lines, Lost, PATIENCE};
use super::span;
use crate::config::{Log, LogFormat};

/// The target of audit lines.
const AUDIT: &str = "audit";
/// The target of the log's reports about itself.
const REPORT: &str = "portcullis::telemetry::lost";

static LINES: OnceLock<Arc<Lines>> = OnceLock::new();

/// Starts the log. `RUST_LOG` says what is logged, before the settings do.
///
/// Only the first call in a process counts, so that tests may call it at will.
///
/// # Errors
/// When the system has no thread for the log.
pub fn start(settings: &Log) -> io::Result<()> {
    let lines = Arc::<Lines>::default();
    if LINES.set(Arc::clone(&lines)).is_err() {
        return Ok(());
    }
    let queue = Arc::clone(&lines);
    std::thread::Builder::new().name("log".to_owned()).spawn(move || queue.run(io::stderr(), report))?;
    let (filter, refused) = filter(&settings.level);
    let registry = tracing_subscriber::registry().with(filter);
    let is_terminal = io::stderr().is_terminal();
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !is_terminal,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(Queued(lines));
    let started = if json {
        // the request's span as one object, so that `span.request_id` can be filtered by
        registry.with(layer.json().flatten_event(true).with_span_list(false)).try_init()
    } else {
        registry.with(layer.with_ansi(is_terminal)).try_init()
    };
    drop(started);
    if let Some(why) = refused {
        tracing::warn!(why, "RUST_LOG cannot be read: the level of the configuration holds");
    }
    Ok(())
}

/// What is logged, and why `RUST_LOG` was not heeded. Audit lines stay on unless a directive names them: `warn` asks for
/// fewer lines, not for no record of who was granted what.
#[expect(
    clippy::disallowed_methods,
    reason = "RUST_LOG is a variable of the log alone, which starts before anything else"
)]
fn filter(level: &str) -> (Targets, Option<String>) {
    let (wanted, refused) = match env::var("RUST_LOG") {
        // a variable that is set and empty asks for nothing
        Ok(text) if text.trim().is_empty() => (None, None),
        Ok(text) => match text.parse::<Targets>() {
            Ok(wanted) => (Some(wanted), None),
            Err(error) => (None, Some(error.to_string())),
        },
        Err(VarError::NotPresent) => (None, None),
        Err(error @ VarError::NotUnicode(_)) => (None, Some(error.to_string())),
    };
    let filter = wanted.or_else(|| level.parse().ok()).unwrap_or_default();
    let audited = filter.iter().any(|(target, _)| target.starts_with(AUDIT));
    let filter = if audited { filter } else { filter.with_target(AUDIT, LevelFilter::INFO) };
    let filter = filter.with_target(REPORT, LevelFilter::WARN).with_target(span::TARGET, LevelFilter::ERROR);
    (filter, refused)
}

/// What was lost, by the thread that writes.
fn report(lost: Lost) {
    let Lost { plain, audit } = lost;
    if plain > 0 {
        tracing::warn!(target: REPORT, lines = plain, "lines were dropped: standard error was not read");
    }
    if audit > 0 {
        tracing::error!(target: REPORT, lines = audit, "audit lines were lost: standard error was not read");
    }
}

/// Hands each event's line to the queue.
struct Queued(Arc<Lines>);

impl<'a> MakeWriter<'a> for Queued {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: &self.0, kind: Kind::Plain }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line<'a> {
        let kind = match event.target() {
            AUDIT => Kind::Audit,
            REPORT => Kind::Report,
            _ => Kind::Plain,
        };
        Line { lines: &self.0, kind }
    }
}

/// Standard error for what is no event: behind the lines that were logged before it, once the log was started.
pub(crate) struct StandardError;

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match LINES.get() {
            Some(lines) => Line { lines, kind: Kind::Audit }.write(bytes),
            None => io::stderr().write(bytes),
        }
    }

    fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        // as a whole, so that no line of another thread comes between
        self.write_all(text.to_string().as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Flushes the log when it is dropped: at the end of the process, by whatever way `main` is left. Waits a second at most.
#[must_use = "it flushes when it is dropped"]
pub struct FlushAtEnd;

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        if let Some(lines) = LINES.get() {
            lines.flush(PATIENCE);
        }
    }
}

/// From now on a panic is one line of the log, once that is started: with its place, and the backtrace if
/// `RUST_BACKTRACE` asks for one. For the whole process, so not for tests.
pub fn panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(
        move |panic| {
            if tracing::dispatcher::has_been_set() { note(panic) } else { before(panic) }
        },
    ));
}

fn note(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    // a literal of the program is harmless; a text that was built at run time may contain a secret
    let words = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(not shown: made at run time)");
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(backtrace));
    tracing::error!(place, words, backtrace, "a thread panicked");
}
