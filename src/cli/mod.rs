//! The commands, one file each. They print to the [`Terminal`] that they are given, which tests replace.

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

/// An OAuth 2.1 gateway for MCP servers: put it in front of a server that has no authentication of its own.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version = crate::VERSION,
    after_help = "Try it without any configuration:\n  portcullis dev\n\nExit status: 0 success, 1 failure, 2 wrong usage."
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

/// The option for the configuration file.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file (config.example.toml shows every key)
    #[arg(long, short, value_name = "FILE", default_value = "portcullis.toml")]
    config: PathBuf,
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

/// Runs the command line of the process.
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

/// Runs a command line; its first argument is the name of the program.
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
            // nothing is left to report a second failure to
            writeln!(terminal.err, "error: the output cannot be written: {}", io_words(&error)).ok();
        }
        Outcome::Failed
    })
}

/// Reads a configuration and prints its problems; `None` when it has errors. Empties the environment.
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

/// Asks for confirmation; the default is no.
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
            if answer.is_empty() { "; --yes skips this question" } else { "" }
        )?;
    }
    Ok(yes)
}

/// Prints help or version to standard output, and a usage error to standard error.
fn explain(error: &clap::Error, terminal: &mut Terminal<'_>) -> Outcome {
    let (stream, outcome) =
        if error.use_stderr() { (&mut terminal.err, Outcome::Misused) } else { (&mut terminal.out, Outcome::Done) };
    match write!(stream, "{}", error.render()) {
        Ok(()) => outcome,
        Err(_) => Outcome::Failed,
    }
}
