//! `portcullis clients disable` and `enable`.

use std::io;

use clap::Args;
use serde_json::json;

use super::record::Record;
use crate::cli::ended::Ended;
use crate::cli::shown::{self, escaped, pluralize, quoted};
use crate::cli::{ConfigFile, Outcome, Terminal, confirm, database, load, operator, process};
use crate::config::{Config, Needs};
use crate::issuer::EndReport;
use crate::model::ids::ClientId;
use crate::storage::{GrantFilter, Store};

/// Lock a client out: end all its grants, and give it no codes and tokens any more
///
/// It works for configured and registered clients, and for those whose id is a URL, known here or not. A client that registers
/// again with the same metadata stays disabled. `clients enable` takes it back; its users then consent again.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = "Example:\n  portcullis clients disable c_…")]
pub(in crate::cli) struct Disable {
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

/// Let a disabled client in again
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  portcullis clients enable c_…")]
pub(in crate::cli) struct Enable {
    /// The client, as `clients list` shows it
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    file: ConfigFile,
    /// Print JSON for a program
    #[arg(long)]
    json: bool,
}

impl Disable {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let operator = operator::name(&terminal.environment);
        let Some(config) = load(Needs::Revocation, &self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        let (start_log, log) = (terminal.start_log, config.log.clone());
        let (id, as_json) = (self.id.clone(), self.json);
        match process::block_on_logged(start_log, &log, self.disable(config, terminal, &operator)) {
            Ok(None) => Ok(Outcome::Done),
            Ok(Some(report)) => Ended(report).print_of_client(&id, "disabled", as_json, terminal),
            Err(words) => process::end(Err(words), terminal),
        }
    }

    /// `None` when the operator did not confirm.
    #[expect(clippy::future_not_send, reason = "a terminal is used by one thread")]
    async fn disable(
        self,
        config: Config,
        terminal: &mut Terminal<'_>,
        operator: &str,
    ) -> Result<Option<EndReport>, String> {
        let store = database::open(&config).await?;
        let (ends, id) = (database::grant_ends(&config, &store), ClientId::from(self.id.as_str()));
        let name = name(&self.id, &config, &store).await?;
        let count = ends.matching(&GrantFilter::of_client(&id)).await.map_err(database::message)?.count();
        let question = format!("Disable client {}{name} and end its {}?", escaped(&self.id), pluralize(count, "grant"));
        if !self.yes && !confirm(&question, terminal).map_err(|error| error.to_string())? {
            return Ok(None);
        }
        let report = ends.disable_client(&id, operator).await;
        store.close().await;
        report.map(Some).map_err(database::message)
    }
}

/// The name of a client, for the question. A client whose id is a URL need not be known here.
async fn name(id: &str, config: &Config, store: &Store) -> Result<String, String> {
    match Record::find(id, config, store).await {
        Ok(record) => Ok(record.name.map(|name| format!(" {}", quoted(&name))).unwrap_or_default()),
        Err(_unknown) if id.starts_with("https://") => Ok(String::new()),
        Err(words) => Err(words),
    }
}

impl Enable {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let operator = operator::name(&terminal.environment);
        let Some(config) = load(Needs::Storage, &self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        let (start_log, log) = (terminal.start_log, config.log.clone());
        let enabled = process::block_on_logged(start_log, &log, async {
            let store = database::open(&config).await?;
            let id = ClientId::from(self.id.as_str());
            let enabled = database::grant_ends(&config, &store).enable_client(&id, &operator).await;
            store.close().await;
            enabled.map_err(database::message)
        });
        let id = escaped(&self.id);
        match enabled {
            Ok(true) if self.json => {
                writeln!(terminal.out, "{}", shown::json(&json!({"client": self.id, "enabled": true}))?)?;
            }
            Ok(true) => writeln!(terminal.out, "client {id} is enabled")?,
            Ok(false) => {
                let words = format!("client {id} is not disabled\n  hint: `portcullis clients list` shows which are");
                return process::end(Err(words), terminal);
            }
            Err(words) => return process::end(Err(words), terminal),
        }
        Ok(Outcome::Done)
    }
}
