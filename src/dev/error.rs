//! Why `portcullis dev` does not start.

use std::path::PathBuf;

use crate::config::io_words;

/// Why `dev` does not start; each with a hint.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The state directory cannot be used.
    #[error(
        "{} cannot be used: {}\n  hint: make it writable for you, or point XDG_STATE_HOME elsewhere",
        path.display(), io_words(cause)
    )]
    State {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// A file of ours holds something else.
    #[error(
        "{} is damaged\n  hint: delete the directory that it lies in; clients register and people sign in anew",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A second start.
    #[error("portcullis dev runs already: {holder}\n  hint: use that one, stop it, or choose another port with --port")]
    Running {
        /// Who has the lock.
        holder: String,
    },
    /// `--upstream` is no URL that we can call.
    #[error(
        "--upstream {url:?} {why}\n  hint: give where your MCP server itself listens, such as http://127.0.0.1:8420/mcp"
    )]
    BadUpstream {
        /// What was given, unless it may hold a password.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No call to what answers there can succeed.
    #[error("--upstream {url} {what}\n  hint: {hint}")]
    Unusable {
        /// What was given.
        url: String,
        /// What was found.
        what: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// A port that cannot be part of a URL.
    #[error("--port {0} cannot be used\n  hint: choose one from 1024 to 65535")]
    Port(u16),
    /// The built-in server cannot listen.
    #[error("the built-in MCP server cannot listen on loopback: {0}")]
    DemoServer(#[from] std::io::Error),
}
