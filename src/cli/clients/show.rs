//! `portcullis clients show`.

use std::io;

use clap::Args;

use super::record::Record;
use crate::cli::{ConfigFile, Outcome, Terminal, database, load, process, shown};
use crate::config::Needs;

/// Show one client
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  portcullis clients show c_…\n\nTimes are UTC; in JSON they are seconds since 1970."
)]
pub(in crate::cli) struct Show {
    /// The client, as `clients list` shows it
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    file: ConfigFile,
    /// Print JSON for a program
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let Some(config) = load(Needs::Storage, &self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        let record = process::block_on(async {
            let store = database::open(&config).await?;
            let record = Record::find(&self.id, &config, &store).await;
            store.close().await;
            record
        });
        match record {
            Ok(record) if self.json => writeln!(terminal.out, "{}", shown::json(&record.json())?)?,
            Ok(record) => record.write(terminal.out)?,
            Err(words) => return process::end(Err(words), terminal),
        }
        Ok(Outcome::Done)
    }
}
