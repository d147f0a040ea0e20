//! The log: lines for people at a terminal, JSON for machines. It goes to standard error; nothing secret goes into it.

use std::io::IsTerminal;

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
