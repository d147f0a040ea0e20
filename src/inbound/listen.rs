//! The accept loop.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::places::Places;
use super::{App, Drain, connection};

/// How long we wait when the system has no more file descriptors.
const OUT_OF_FILES: Duration = Duration::from_millis(100);
/// How long connections may take to finish after streams were told to end.
const LAST: Duration = Duration::from_secs(5);

/// Accepts and serves until drained.
pub async fn serve(app: App, listener: TcpListener, drain: Drain) {
    let connections = TaskTracker::new();
    let places = Places::new();
    loop {
        let Some(one) = places.one().await else { return };
        let accepted = tokio::select! {
            () = drain.no_more().cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(place) = places.give(one, peer.ip(), app.counts(peer.ip())) else { continue };
                let (app, no_more) = (app.clone(), drain.no_more().clone());
                connections.spawn(async move {
                    let answer = |request| {
                        let app = app.clone();
                        async move { app.handle(request, peer).await }
                    };
                    stream.set_nodelay(true).ok();
                    if let Err(error) = connection::serve(stream, no_more, answer).await {
                        tracing::debug!(%peer, %error, "a connection ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(OUT_OF_FILES).await;
            }
        }
    }
    drop(listener);
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = async { drain.streams_end().cancelled().await; tokio::time::sleep(LAST).await } => {
            tracing::warn!(open = connections.len(), "connections were still open at the end");
        }
    }
}
