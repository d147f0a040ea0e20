//! What a command sees of the world, how it ends, and what most commands begin with.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::config::{Config, Loaded, Log};

/// Which configuration a command works with.
#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file (config.example.toml shows every key)
    #[arg(long, short, value_name = "FILE", default_value = "portcullis.toml")]
    pub(super) config: PathBuf,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 0: it worked.
    Done,
    /// 1: it went wrong, and said why.
    Failed,
    /// 2: it was called wrongly.
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

/// What a command sees of the world besides its arguments.
pub struct Terminal<'a> {
    /// For what was asked for.
    pub out: &'a mut dyn Write,
    /// For what went wrong.
    pub err: &'a mut dyn Write,
    /// For answers to questions.
    pub input: &'a mut dyn BufRead,
    /// Starts the log of the process, for a command that does what is logged.
    pub start_log: fn(&Log) -> io::Result<()>,
    /// The environment, as far as it is UTF-8.
    pub environment: Vec<(String, String)>,
}

/// Reads a configuration and tells what is wrong with it; `None` when nothing can start with it. Takes the environment.
pub(super) fn load(file: &Path, terminal: &mut Terminal<'_>) -> io::Result<Option<Config>> {
    match Config::load(file, terminal.environment.drain(..)) {
        Ok(Loaded { config, warnings }) => {
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

/// Asks before something that cannot be undone; without an answer it is a no.
pub(super) fn confirm(question: &str, terminal: &mut Terminal<'_>) -> io::Result<bool> {
    write!(terminal.err, "{question} [y/N] ")?;
    terminal.err.flush()?;
    let mut answer = String::new();
    terminal.input.read_line(&mut answer)?;
    let yes = matches!(answer.trim(), "y" | "Y" | "yes");
    if !yes {
        writeln!(
            terminal.err,
            "nothing was done{}",
            if answer.is_empty() { "; --yes does it without asking" } else { "" }
        )?;
    }
    Ok(yes)
}
