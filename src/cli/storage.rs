//! `portcullis storage`: moves the database.

use std::io;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::shown::pluralize;
use super::{ConfigFile, Outcome, Terminal, database, load, process};
use crate::config::{Database, Needs};
use crate::storage::copy_to_postgres;

/// Copy a SQLite database to PostgreSQL
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  portcullis storage copy --from portcullis.db --config portcullis.toml")]
pub(super) enum Storage {
    Copy(Copy),
}

/// Copy everything from a SQLite file to the PostgreSQL database of the configuration
///
/// Stop `serve` first: what it writes during the copy or afterwards is lost. The target must be empty, and gets everything
/// or nothing. Afterwards `serve` continues on PostgreSQL with the same `secrets.keys`: users stay signed in, and clients
/// keep their tokens.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Example:\n  portcullis storage copy --from portcullis.db --config portcullis.toml\n\n\
    The target is storage.url of the configuration, a postgres: URL."
)]
pub(super) struct Copy {
    /// The SQLite file; it is only read
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    #[command(flatten)]
    file: ConfigFile,
}

impl Storage {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let Self::Copy(copy) = self;
        copy.run(terminal)
    }
}

impl Copy {
    fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let Some(config) = load(Needs::Storage, &self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        let Database::Postgres(target) = &config.storage.database else {
            let words = "storage.url names a SQLite file\n  hint: write the postgres: URL of the target there first";
            return process::end(Err(words.to_owned()), terminal);
        };
        let copied = process::block_on(async { copy_to_postgres(&self.from, target).await.map_err(database::message) });
        let tables = match copied {
            Ok(tables) => tables,
            Err(words) => return process::end(Err(words), terminal),
        };
        let longest = tables.iter().map(|table| table.name.len()).max().unwrap_or_default();
        for table in &tables {
            writeln!(terminal.out, "{:longest$}  {}", table.name, table.rows)?;
        }
        let rows = tables.iter().map(|table| usize::try_from(table.rows).unwrap_or(usize::MAX)).sum();
        writeln!(terminal.out, "copied {} of {}", pluralize(rows, "row"), pluralize(tables.len(), "table"))?;
        Ok(Outcome::Done)
    }
}
