//! What commands share: input and output, their outcome, reading the configuration, asking for confirmation.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::config::{Config, Loaded, Log, Needs};

/// The option for the configuration file.
#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file (config.example.toml shows every key)
    #[arg(long, short, value_name = "FILE", default_value = "portcullis.toml")]
    pub(super) config: PathBuf,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Exit status 0: success.
    Done,
    /// Exit status 1: failure, with a message.
    Failed,
    /// Exit status 2: wrong usage.
    Misused,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Failed => Self::FAILURE,
            Outcome::Misused => Self::from(2),
        }
    }
}

/// Everything that a command uses besides its arguments.
pub struct Terminal<'a> {
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
    /// Standard input.
    pub input: &'a mut dyn BufRead,
    /// Starts the log of the process.
    pub start_log: fn(&Log) -> io::Result<()>,
    /// The environment, as far as it is UTF-8.
    pub environment: Vec<(String, String)>,
}

/// Reads a configuration, with the secrets that the command needs, and prints its problems; `None` when it has errors. Empties the
/// environment.
pub(super) fn load(needs: Needs, file: &Path, terminal: &mut Terminal<'_>) -> io::Result<Option<Config>> {
    match Config::load_for(needs, file, terminal.environment.drain(..)) {
        Ok(Loaded { config, warnings, .. }) => {
            if !warnings.is_empty() {
                writeln!(terminal.err, "{warnings}")?;
            }
            Ok(Some(config))
        }
        Err(problems) => {
            writeln!(terminal.err, "{problems}")?;
            Ok(None)
        }
    }
}

/// Asks for confirmation; the default is no.
///
/// # Errors
/// When the input ends before an answer, as in a script: that must not pass for a success.
pub(super) fn confirm(question: &str, terminal: &mut Terminal<'_>) -> io::Result<bool> {
    write!(terminal.err, "{question} [y/N] ")?;
    terminal.err.flush()?;
    let mut answer = String::new();
    if terminal.input.read_line(&mut answer)? == 0 {
        writeln!(terminal.err)?;
        return Err(io::Error::other("nothing was done: there was no answer\n  hint: --yes skips this question"));
    }
    let yes = matches!(answer.trim(), "y" | "Y" | "yes");
    if !yes {
        writeln!(terminal.err, "nothing was done")?;
    }
    Ok(yes)
}
