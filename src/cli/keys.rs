//! `portcullis keys`: makes root keys, under which stored secrets are encrypted; `signing_keys` has the other commands.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use data_encoding::BASE64;

use super::{Outcome, Terminal, signing_keys};
use crate::config::io_message;
use crate::secret::random;

/// Make root keys; list and rotate signing keys
///
/// A root key encrypts the secrets in the database: the signing keys and the identity providers' tokens. Without it they
/// are lost. Keep it apart from backups of the database.
///
/// Signing keys sign access tokens. They are made, rotated and deleted by `serve`; see `tokens.rotate_keys`.
#[derive(Debug, Subcommand)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  portcullis keys generate --out portcullis.key\n  portcullis keys list\n  portcullis keys rotate"
)]
pub(super) enum Keys {
    Generate(Generate),
    List(signing_keys::List),
    Rotate(signing_keys::Rotate),
}

/// Make a new root key: 32 random bytes in base64
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  portcullis keys generate --out portcullis.key\n  portcullis keys generate | docker secret create portcullis.key -\n\n\
    In the configuration:\n  [secrets]\n  keys = [{ file = \"portcullis.key\" }]\n\n\
    To replace a key, put the new one before the old one and restart: the first encrypts, all decrypt.\n\
    The log says when everything is encrypted under the new key; then remove the old one."
)]
pub(super) struct Generate {
    /// Write it into a new file that only you can read, instead of printing it
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Keys {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        match self {
            Self::Generate(generate) => generate.run(terminal),
            Self::List(list) => list.run(terminal),
            Self::Rotate(rotate) => rotate.run(terminal),
        }
    }
}

impl Generate {
    fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let key = BASE64.encode(&random::<32>());
        let Some(path) = self.out else {
            writeln!(terminal.out, "{key}")?;
            return Ok(Outcome::Done);
        };
        match write_new(&path, &key) {
            Ok(()) => {
                writeln!(terminal.err, "{}: a new root key", path.display())?;
                Ok(Outcome::Done)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                writeln!(
                    terminal.err,
                    "error: {} already exists; if it is a root key, replacing it would lose what it encrypted",
                    path.display()
                )?;
                writeln!(terminal.err, "    hint: choose another name")?;
                Ok(Outcome::Failed)
            }
            Err(error) => {
                writeln!(terminal.err, "error: {} cannot be written: {}", path.display(), io_message(&error))?;
                Ok(Outcome::Failed)
            }
        }
    }
}

/// Writes the key into a new file; removes the file if that fails half-way.
fn write_new(path: &Path, key: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = writeln!(file, "{key}").and_then(|()| file.sync_all());
    if written.is_err() {
        drop(file);
        // report the first failure, not that of the clean-up
        fs::remove_file(path).ok();
    }
    written
}
