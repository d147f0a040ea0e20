//! `portcullis clients delete`.

use std::io;

use clap::Args;

use crate::cli::ended::Ended;
use crate::cli::shown::{escaped, pluralize, quoted};
use crate::cli::{ConfigFile, Outcome, Terminal, confirm, database, load, operator, process};
use crate::config::{Config, Needs};
use crate::issuer::EndReport;
use crate::model::ids::ClientId;
use crate::storage::GrantFilter;

/// End all grants of a registered client and delete it
///
/// A client may register again, and then needs its users' consent again. `clients disable` locks one out for good.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = "Example:\n  portcullis clients delete c_…")]
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

impl Delete {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let operator = operator::name(&terminal.environment);
        let Some(config) = load(Needs::Revocation, &self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        if config.clients.iter().any(|client| client.client_id == self.id) {
            let id = escaped(&self.id);
            writeln!(terminal.err, "error: client {id} is in the configuration")?;
            writeln!(terminal.err, "  hint: `portcullis clients disable {id}` locks it out")?;
            return Ok(Outcome::Failed);
        }
        let (start_log, log) = (terminal.start_log, config.log.clone());
        let (id, as_json) = (self.id.clone(), self.json);
        match process::block_on_logged(start_log, &log, self.delete(config, terminal, &operator)) {
            Ok(None) => Ok(Outcome::Done),
            Ok(Some(report)) => Ended(report).print_of_client(&id, "deleted", as_json, terminal),
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
    ) -> Result<Option<EndReport>, String> {
        let store = database::open(&config).await?;
        let (id, shown) = (ClientId::from(self.id.as_str()), escaped(&self.id));
        let client = store.client(&id).await.map_err(database::message)?;
        let client = client
            .ok_or_else(|| format!("there is no client {shown}\n  hint: `portcullis clients list` shows them"))?;
        let ends = database::grant_ends(&config, &store);
        let count = ends.matching(&GrantFilter::of_client(&id)).await.map_err(database::message)?.count();
        let name = client.name.as_deref().map(|name| format!(" {}", quoted(name))).unwrap_or_default();
        let question = format!("Delete client {shown}{name} and end its {}?", pluralize(count, "grant"));
        if !self.yes && !confirm(&question, terminal).map_err(|error| error.to_string())? {
            return Ok(None);
        }
        let report = ends.delete_client(&id, operator).await;
        store.close().await;
        report.map(Some).map_err(database::message)
    }
}
