//! `portcullis dev`: a gateway for trying everything on this machine.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::{Outcome, Terminal, process};
use crate::config::Log;
use crate::dev::{self, DevError};

/// Try everything on this machine: a gateway with demo users in front of your MCP server, or of a built-in one
///
/// Listens on loopback only and needs no configuration. Users, keys and registered clients are kept per port in your
/// state directory and survive a restart.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  portcullis dev\n  portcullis dev --upstream http://127.0.0.1:8420/mcp"
)]
pub(super) struct Dev {
    /// The port on 127.0.0.1; fixed, because clients store their credentials under the URL
    #[arg(long, short, value_name = "N", default_value_t = dev::DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// The MCP server to protect (Streamable HTTP); the default is a small built-in one
    #[arg(long, short, value_name = "URL")]
    upstream: Option<String>,
}

impl Dev {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let Some(state_home) = state_home(&terminal.environment) else {
            writeln!(
                terminal.err,
                "error: neither XDG_STATE_HOME nor HOME is set\n  hint: set one of them; state is kept there"
            )?;
            return Ok(Outcome::Failed);
        };
        let options = dev::DevOptions { port: self.port, upstream: self.upstream, state_home };
        let ended = process::block_on_logged(terminal.start_log, &Log::default(), async {
            let (mut dev, ports) = dev::Dev::prepare(&options).await.map_err(|error| error.to_string())?;
            let started = process::start(Arc::clone(&dev.config), ports).await;
            let (app, listeners) = started.map_err(|error| DevError::listen(error, self.port).to_string())?;
            let shown = write!(terminal.out, "{}", dev.screen).and_then(|()| terminal.out.flush());
            shown.map_err(|error| format!("the screen cannot be written: {error}"))?;
            let config = Arc::clone(&dev.config);
            tokio::select! {
                ended = process::run(app, listeners, &config) => ended,
                () = dev.demo_server_ended() => Err("the built-in MCP server ended".to_owned()),
            }
        });
        process::end(ended, terminal)
    }
}

/// The directory for state that survives a restart (XDG base directories).
fn state_home(environment: &[(String, String)]) -> Option<PathBuf> {
    let get = |name: &str| environment.iter().find(|(key, text)| key == name && !text.is_empty()).map(|(_, text)| text);
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    get("XDG_STATE_HOME")
        .and_then(|home| absolute(home.into()))
        .or_else(|| get("HOME").map(|home| PathBuf::from(home).join(".local/state")))
}
