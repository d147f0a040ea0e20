//! The log: lines for people at a terminal, JSON for machines. It goes to standard error; nothing secret goes into it.
//!
//! Whoever logs writes, at once. A line costs about 4 µs, 1.5 of them for the write: a thread that writes for the others would
//! spare a call less than a twentieth of its time, and a process that dies would take its last lines along.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts the log. `RUST_LOG` says how much is logged; without it everything of ours from `info` on.
///
/// Only the first call in a process counts, so that tests may call it at will.
pub fn start() {
    let default = EnvFilter::new("warn,portcullis=info,audit=info,access=info");
    let filter = EnvFilter::try_from_default_env().unwrap_or(default);
    let registry = tracing_subscriber::registry().with(filter);
    let started = if std::io::stderr().is_terminal() {
        registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false)).try_init()
    } else {
        registry
            .with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr).flatten_event(true))
            .try_init()
    };
    drop(started);
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
    // a literal of the program is harmless; in what was put together at run time may be somebody's secret
    let words = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(not shown: made at run time)");
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(backtrace));
    tracing::error!(place, words, backtrace, "a thread panicked");
}
