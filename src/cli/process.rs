//! What `serve` and `dev` share: a runtime, the signals, and the way down.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, Listeners, StartError};
use crate::clock::Clock;
use crate::config::Config;

/// Runs asynchronous work on a runtime of its own.
pub(super) fn block_on<F: Future>(work: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(work))
}

/// Builds the application and opens its listeners: from here on it answers.
pub(super) async fn start(config: Arc<Config>) -> Result<(App, Listeners), StartError> {
    let app = App::build(config, Clock::system()).await?;
    let listeners = app.listen().await?;
    Ok((app, listeners))
}

/// Serves until a signal says otherwise: SIGTERM goes down in good order, a first Ctrl-C at once.
///
/// # Errors
/// Names the part that failed.
pub(super) async fn run(app: App, listeners: Listeners, config: &Config) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let drain = app.drain().clone();
    let deadline = config.server.drain;
    let going_down = async move {
        tokio::select! {
            _ = terminate.recv() => {
                tracing::info!(seconds = deadline.as_secs(), "going down: finishing what is open");
                drain.run(deadline).await;
            }
            _ = tokio::signal::ctrl_c() => drain.at_once(),
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = app.run(listeners) => ended,
        () = going_down => Ok(()),
    }
}
