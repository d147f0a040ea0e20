//! Runtime, signals and shutdown, shared by `serve` and `dev`.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::{Outcome, Terminal};
use crate::app::{App, Listeners, Ports, StartError};
use crate::clock::Clock;
use crate::config::{Config, Log};

/// Starts the log, and runs a future on a runtime of its own.
///
/// # Errors
/// Those of the future, or a failure to start threads.
pub(super) fn block_on_logged<T>(
    start_log: fn(&Log) -> io::Result<()>,
    settings: &Log,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    start_log(settings).map_err(|cause| no_threads(&cause))?;
    block_on(work)
}

/// Runs a future on a runtime of its own, without a log.
///
/// # Errors
/// Those of the future, or a failure to start threads.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|cause| no_threads(&cause))?.block_on(work)
}

fn no_threads(cause: &io::Error) -> String {
    format!("threads cannot be started: {cause}\n  hint: raise the limits of processes and open files (ulimit -u, -n)")
}

/// Builds the application on ports that were taken before, and only then changes the store to fit the configuration: a second
/// instance fails on the port before it opens the database. Connections are accepted when everything is ready.
pub(super) async fn start(config: Arc<Config>, ports: Ports) -> Result<(App, Listeners), StartError> {
    let app = App::build(config, Clock::system()).await?;
    let listeners = ports.listen()?;
    app.adopt().await?;
    Ok((app, listeners))
}

/// Serves until a signal: SIGTERM shuts down gracefully, Ctrl-C at once.
///
/// # Errors
/// The background task or listener that failed.
pub(super) async fn run(app: App, listeners: Listeners, config: &Config) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|cause| {
        format!(
            "the handler of SIGTERM cannot be installed: {cause}\n  hint: raise the limit of open files (ulimit -n)"
        )
    })?;
    let drain = app.drain().clone();
    let deadline = config.server.drain;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {
                tracing::info!(seconds = deadline.as_secs(), "shutting down: finishing open requests");
                drain.run(deadline).await;
            }
            _ = tokio::signal::ctrl_c() => drain.at_once(),
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = app.run(listeners) => ended,
        () = shutdown => Ok(()),
    }
}

/// Prints the error, if any, and returns the outcome of the command.
pub(super) fn end(ended: Result<(), String>, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
    match ended {
        Ok(()) => Ok(Outcome::Done),
        Err(words) => {
            writeln!(terminal.err, "error: {words}")?;
            Ok(Outcome::Failed)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use super::end;
    use crate::cli::Terminal;

    #[test]
    fn a_failure_is_printed_and_exits_with_status_1() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal {
            out: &mut out,
            err: &mut err,
            input: &mut std::io::empty(),
            start_log: |_| Ok(()),
            environment: Vec::new(),
        };
        let failed = end(Err("the feed ended".to_owned()), &mut terminal).unwrap();
        let done = end(Ok(()), &mut terminal).unwrap();
        assert_eq!([failed, done].map(ExitCode::from), [ExitCode::from(1), ExitCode::from(0)]);
        assert_eq!((String::from_utf8(err).unwrap().as_str(), out.len()), ("error: the feed ended\n", 0));
    }
}
