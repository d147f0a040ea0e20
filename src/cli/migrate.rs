//! `portcullis migrate`: brings the schema of the database up to date.

use std::io;

use clap::Args;

use super::shown::pluralize;
use super::{ConfigFile, Outcome, Terminal, database, load, process};
use crate::config::Needs;
use crate::storage::Store;

/// Bring the schema of the database up to date
///
/// `serve` does this at its start unless `storage.migrate` is false. Run it before you start a new version; processes of the
/// version before go on working. On PostgreSQL the user needs the privilege to create tables. Harmless if nothing is missing.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  portcullis migrate --config portcullis.toml\n  \
    PORTCULLIS_STORAGE__URL=postgres://owner:…@db/portcullis portcullis migrate"
)]
pub(super) struct Migrate {
    #[command(flatten)]
    file: ConfigFile,
}

impl Migrate {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let Some(config) = load(Needs::Storage, &self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        let migrated = process::block_on(async { Store::migrate(&config.storage).await.map_err(database::message) });
        let applied = match migrated {
            Ok(applied) => applied,
            Err(words) => return process::end(Err(words), terminal),
        };
        for name in &applied {
            writeln!(terminal.out, "{name}")?;
        }
        writeln!(terminal.out, "the schema is up to date: {} applied", pluralize(applied.len(), "migration"))?;
        Ok(Outcome::Done)
    }
}
