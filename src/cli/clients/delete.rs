//! `portcullis clients delete`.

use std::io;

use clap::Args;

use super::record::{KnownBy, Record};
use crate::cli::ended::Ended;
use crate::cli::shown::{escaped, pluralize, quoted};
use crate::cli::{ConfigFile, Outcome, Terminal, confirm, database, load, operator, process};
use crate::config::{Config, Needs};
use crate::issuer::EndReport;
use crate::model::ids::ClientId;
use crate::storage::GrantFilter;

/// End all grants of a client and delete what is stored of it: its registration, or its metadata document
///
/// A client may register again, and a document is read again when a user next signs in for it; both need the users' consent
/// again. `clients disable` locks one out for good. One with a document that is disabled stays so.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  portcullis clients delete c_…\n  portcullis clients delete https://app.example.com/client.json"
)]
pub(in crate::cli) struct Delete {
    /// The client, as `clients list` shows it
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    file: ConfigFile,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
    /// Print JSON for a program
    #[arg(long)]
    json: bool,
}

/// What was deleted.
struct Deleted {
    report: EndReport,
    /// Whether it was a document, which comes back by itself.
    is_document: bool,
}

impl Delete {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let operator = operator::name(&terminal.environment);
        let Some(config) = load(Needs::Revocation, &self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        let (start_log, log) = (terminal.start_log, config.log.clone());
        let (id, as_json) = (self.id.clone(), self.json);
        match process::block_on_logged(start_log, &log, self.delete(config, terminal, &operator)) {
            Ok(None) => Ok(Outcome::Done),
            Ok(Some(Deleted { report, is_document })) => {
                let outcome = Ended(report).print_of_client(&id, "deleted", as_json, terminal)?;
                if is_document && !as_json {
                    let id = escaped(&id);
                    writeln!(terminal.err, "  hint: its document is read again when a user next signs in for it;")?;
                    writeln!(terminal.err, "        `portcullis clients disable {id}` locks it out")?;
                }
                Ok(outcome)
            }
            Err(words) => process::end(Err(words), terminal),
        }
    }

    /// `None` when the operator did not confirm.
    #[expect(clippy::future_not_send, reason = "a terminal is used by one thread")]
    async fn delete(
        self,
        config: Config,
        terminal: &mut Terminal<'_>,
        operator: &str,
    ) -> Result<Option<Deleted>, String> {
        let store = database::open(&config).await?;
        let id = ClientId::from(self.id.as_str());
        let record = Record::find(&self.id, &config, &store).await?;
        let is_document = is_document(&record)?;
        let ends = database::grant_ends(&config, &store);
        let count = ends.matching(&GrantFilter::of_client(&id)).await.map_err(database::message)?.count();
        if !self.yes && !confirm(&question(&record, count), terminal).map_err(|error| error.to_string())? {
            return Ok(None);
        }
        let report = if is_document {
            ends.forget_documented(&id, operator).await
        } else {
            ends.delete_client(&id, operator).await
        };
        store.close().await;
        let report = report.map_err(database::message)?;
        Ok(Some(Deleted { report, is_document: is_document && !record.disabled }))
    }
}

/// Whether what is stored of a client is a document.
///
/// # Errors
/// When nothing is stored that could be deleted: with the command that does what was probably meant.
fn is_document(record: &Record) -> Result<bool, String> {
    let id = escaped(&record.id);
    match record.known_by {
        KnownBy::Registration => Ok(false),
        KnownBy::Document => Ok(true),
        KnownBy::Configuration => {
            Err(format!("client {id} is in the configuration\n  hint: `portcullis clients disable {id}` locks it out"))
        }
        KnownBy::Disabling => Err(format!(
            "of client {id} only that it is disabled is stored\n  hint: `portcullis clients enable {id}` lets it in again"
        )),
    }
}

fn question(record: &Record, grants: usize) -> String {
    let what = if record.known_by == KnownBy::Document { "Forget the document of client" } else { "Delete client" };
    let name = record.name.as_deref().map(|name| format!(" {}", quoted(name))).unwrap_or_default();
    format!("{what} {}{name} and end its {}?", escaped(&record.id), pluralize(grants, "grant"))
}
