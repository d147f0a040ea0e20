//! The commands, one file each. What a command prints goes to the [`Terminal`] that it is handed, so that tests read it.

mod check;
mod clients;
mod database;
mod dev;
mod grants;
mod keys;
mod manual;
mod online;
mod operator;
mod process;
mod serve;
mod shown;

use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Loaded, Log, io_words};
use crate::telemetry::log;

/// An OAuth 2.1 gateway for MCP servers: put it in front of a server that knows nothing of authentication.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version = crate::VERSION,
    after_help = "Try it without any configuration:\n  portcullis dev\n\nExit status: 0 it worked, 1 it went wrong, 2 it was called wrongly."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::Dev),
    Serve(serve::Serve),
    Check(check::Check),
    #[command(subcommand)]
    Keys(keys::Keys),
    #[command(subcommand)]
    Grants(grants::Grants),
    #[command(subcommand)]
    Clients(clients::Clients),
    Completions(manual::Completions),
    Man(manual::Manual),
}

/// Which configuration a command works with.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file (config.example.toml shows every key)
    #[arg(long, short, value_name = "FILE", default_value = "portcullis.toml")]
    config: PathBuf,
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

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    log::panics();
    let _flushed = log::FlushAtEnd;
    let environment =
        std::env::vars_os().filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
    let mut terminal = Terminal {
        environment: environment.collect(),
        out: &mut io::stdout(),
        err: &mut log::StandardError,
        input: &mut io::stdin().lock(),
        start_log: log::start,
    };
    run(std::env::args_os(), &mut terminal).into()
}

/// Runs a command; the first argument is the program's own name.
pub fn run(arguments: impl IntoIterator<Item = OsString>, terminal: &mut Terminal<'_>) -> Outcome {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return explain(&error, terminal),
    };
    let ended = match cli.command {
        Command::Dev(dev) => dev.run(terminal),
        Command::Serve(serve) => serve.run(terminal),
        Command::Check(check) => check.run(terminal),
        Command::Keys(keys) => keys.run(terminal),
        Command::Grants(grants) => grants.run(terminal),
        Command::Clients(clients) => clients.run(terminal),
        Command::Completions(completions) => completions.run(terminal),
        Command::Man(manual) => manual.run(terminal),
    };
    ended.unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::BrokenPipe {
            // There is nobody else to tell.
            writeln!(terminal.err, "error: the answer cannot be written: {}", io_words(&error)).ok();
        }
        Outcome::Failed
    })
}

/// Reads a configuration and tells what is wrong with it; `None` when nothing can start with it. Takes the environment.
fn load(file: &Path, terminal: &mut Terminal<'_>) -> io::Result<Option<Config>> {
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
fn confirm(question: &str, terminal: &mut Terminal<'_>) -> io::Result<bool> {
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

/// Help and version are what was asked for; all else that clap has to say is about a wrong call.
fn explain(error: &clap::Error, terminal: &mut Terminal<'_>) -> Outcome {
    let (stream, outcome) =
        if error.use_stderr() { (&mut terminal.err, Outcome::Misused) } else { (&mut terminal.out, Outcome::Done) };
    match write!(stream, "{}", error.render()) {
        Ok(()) => outcome,
        Err(_) => Outcome::Failed,
    }
}
