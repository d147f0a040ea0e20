//! `portcullis clients list`.

use std::io;

use clap::Args;

use super::record::Record;
use crate::cli::shown::{self, pluralize};
use crate::cli::{ConfigFile, Outcome, Terminal, database, load, process};
use crate::config::Needs;

/// List configured and registered clients and those with a metadata document, the most recently used first
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  portcullis clients list\n\nNames are what the clients call themselves. Times are UTC; in JSON they are seconds since 1970."
)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    file: ConfigFile,
    /// Print JSON for a program
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let Some(config) = load(Needs::Storage, &self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        let records = process::block_on(async {
            let store = database::open(&config).await?;
            let records = Record::all(&config, &store).await;
            store.close().await;
            records
        });
        let records = match records {
            Ok(records) => records,
            Err(words) => return process::end(Err(words), terminal),
        };
        if self.json {
            let records: Vec<_> = records.iter().map(Record::json).collect();
            writeln!(terminal.out, "{}", shown::json(&records)?)?;
        } else {
            for record in &records {
                record.write_short(terminal.out)?;
            }
            writeln!(terminal.out, "{}", pluralize(records.len(), "client"))?;
        }
        Ok(Outcome::Done)
    }
}
