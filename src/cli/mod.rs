//! The commands, one file each. They print to the [`Terminal`] that they are given, which tests replace.

mod api_keys;
mod check;
mod clients;
mod database;
mod dev;
mod doctor;
mod ended;
mod grants;
mod keys;
mod manual;
mod migrate;
mod online;
mod operator;
mod process;
mod serve;
mod shown;
mod signing_keys;
mod storage;
mod terminal;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use terminal::{ConfigFile, confirm, load};
pub use terminal::{Outcome, Terminal};

use crate::config::io_message;
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
    Doctor(doctor::Doctor),
    #[command(subcommand)]
    Keys(keys::Keys),
    #[command(subcommand)]
    Grants(grants::Grants),
    #[command(subcommand)]
    Clients(clients::Clients),
    #[command(subcommand)]
    ApiKeys(api_keys::ApiKeys),
    Migrate(migrate::Migrate),
    #[command(subcommand)]
    Storage(storage::Storage),
    Completions(manual::Completions),
    Man(manual::Manual),
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
        Command::Doctor(doctor) => doctor.run(terminal),
        Command::Keys(keys) => keys.run(terminal),
        Command::Grants(grants) => grants.run(terminal),
        Command::Clients(clients) => clients.run(terminal),
        Command::ApiKeys(api_keys) => api_keys.run(terminal),
        Command::Migrate(migrate) => migrate.run(terminal),
        Command::Storage(storage) => storage.run(terminal),
        Command::Completions(completions) => completions.run(&mut Cli::command(), terminal),
        Command::Man(manual) => manual.run(Cli::command(), terminal),
    };
    ended.unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::BrokenPipe {
            // nothing is left to report a second failure to
            writeln!(terminal.err, "error: the output cannot be written: {}", io_message(&error)).ok();
        }
        Outcome::Failed
    })
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
