//! Why `portcullis dev` does not start.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::app::StartError;
use crate::config::io_message;

/// Why `dev` does not start, with a hint.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The state directory cannot be used.
    #[error(
        "{} cannot be used: {}\n  hint: make it writable for your user, or set XDG_STATE_HOME to another directory",
        path.display(), io_message(cause)
    )]
    State {
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        cause: std::io::Error,
    },
    /// A file in the state directory has invalid content.
    #[error(
        "{} is damaged\n  hint: delete its directory; clients then register again and users sign in again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Another instance uses the same port.
    #[error(
        "portcullis dev is already running: {holder}\n  hint: use that one, stop it, or choose another port with --port"
    )]
    Running {
        /// The process that holds the lock.
        holder: String,
    },
    /// Another program listens on the port.
    #[error(
        "port {0} is in use by another program\n  hint: stop it, or choose another with --port and give clients the new URL"
    )]
    PortInUse(u16),
    /// The port cannot be had for another reason.
    #[error("{0}")]
    Listen(StartError),
    /// `--upstream` is not a URL that can be called.
    #[error(
        "--upstream {url:?} {why}\n  hint: give the URL where your MCP server itself listens, such as http://127.0.0.1:8420/mcp"
    )]
    BadUpstream {
        /// The argument, unless it may contain a password.
        url: String,
        /// What is wrong with the argument.
        why: &'static str,
    },
    /// The server at `--upstream` cannot be used.
    #[error("--upstream {url} {what}\n  hint: {hint}")]
    Unusable {
        /// The argument.
        url: String,
        /// What the check found.
        what: String,
        /// How to fix it.
        hint: &'static str,
    },
    /// The port cannot be part of `public_url`.
    #[error("--port {0} cannot be used\n  hint: choose one from 1024 to 65535")]
    Port(u16),
    /// The built-in server cannot listen.
    #[error("the built-in MCP server cannot listen on loopback: {0}")]
    DemoServer(#[from] std::io::Error),
}

impl DevError {
    /// A failure to listen on the port.
    #[must_use]
    pub fn listen(error: StartError, port: u16) -> Self {
        match error {
            StartError::Listen { cause, .. } if cause.kind() == ErrorKind::AddrInUse => Self::PortInUse(port),
            other => Self::Listen(other),
        }
    }
}
