//! `portcullis clients`: lists and deletes the applications that may use the gateway.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::grants::{self, Chosen, Report};
use super::shown::{self, escaped, moment, pluralize, quoted};
use super::{ConfigFile, Outcome, Terminal, confirm, database, load, operator, process};
use crate::clock::Clock;
use crate::config::Config;
use crate::model::ids::ClientId;
use crate::storage::{ClientUse, GrantFilter, Store};

/// List the known applications, and delete one
///
/// These commands work on the database while `serve` runs.
#[derive(Debug, Subcommand)]
#[command(verbatim_doc_comment, after_help = "Examples:\n  portcullis clients list\n  portcullis clients delete c_…")]
pub(super) enum Clients {
    List(List),
    Delete(Delete),
}

/// List configured and registered clients, the most recently used first
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  portcullis clients list\n\nNames are what the clients call themselves. Times are UTC; in JSON they are seconds since 1970."
)]
pub(super) struct List {
    #[command(flatten)]
    file: ConfigFile,
    /// Print JSON for a program
    #[arg(long)]
    json: bool,
}

/// End all grants of a registered client and delete it
///
/// A client may register again, and then needs its users' consent again. To lock one out for good, set
/// `registration.enabled = false` and configure the clients that you allow. Clients whose id is a URL do not register: see
/// `[client_documents]`.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = "Example:\n  portcullis clients delete c_…")]
pub(super) struct Delete {
    /// The client, as `clients list` shows it
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    file: ConfigFile,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

/// A configured or registered client.
struct Row {
    id: String,
    name: Option<String>,
    configured: bool,
    redirect_uris: Vec<String>,
    use_of: ClientUse,
}

impl Clients {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        match self {
            Self::List(list) => list.run(terminal),
            Self::Delete(delete) => delete.run(terminal),
        }
    }
}

impl List {
    fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let Some(config) = load(&self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        let rows = process::block_on(async {
            let store = database::open(&config).await?;
            let rows = rows(&config, &store).await;
            store.close().await;
            rows
        });
        let rows = match rows {
            Ok(rows) => rows,
            Err(words) => return process::end(Err(words), terminal),
        };
        if self.json {
            let rows: Vec<_> = rows.iter().map(Row::json).collect();
            writeln!(terminal.out, "{}", shown::json(&rows)?)?;
        } else {
            for row in &rows {
                row.show(terminal.out)?;
            }
            writeln!(terminal.out, "{}", pluralize(rows.len(), "client"))?;
        }
        Ok(Outcome::Done)
    }
}

async fn rows(config: &Config, store: &Store) -> Result<Vec<Row>, String> {
    let now = Clock::system().now();
    let mut rows = Vec::new();
    for client in &config.clients {
        let id = ClientId::from(client.client_id.as_str());
        rows.push(Row {
            id: client.client_id.clone(),
            name: client.name.clone(),
            configured: true,
            redirect_uris: client.redirect_uris.clone(),
            use_of: store.use_of_client(&id, now).await.map_err(database::message)?,
        });
    }
    for client in database::clients(store).await? {
        rows.push(Row {
            id: client.id.as_str().to_owned(),
            name: client.name,
            configured: false,
            redirect_uris: client.redirect_uris,
            use_of: client.use_of,
        });
    }
    Ok(rows)
}

impl Row {
    const fn origin(&self) -> &'static str {
        if self.configured { "configured" } else { "registered" }
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "origin": self.origin(),
            "redirect_uris": self.redirect_uris,
            "grants": self.use_of.grants,
            "last_used_at": self.use_of.last_used_at,
        })
    }

    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut hosts: Vec<_> = self.redirect_uris.iter().map(|uri| shown::redirect_host(uri)).collect();
        hosts.dedup();
        let name = self.name.as_deref().map(|name| format!("  {}", quoted(name))).unwrap_or_default();
        let grants = pluralize(usize::try_from(self.use_of.grants).unwrap_or_default(), "live grant");
        let used =
            self.use_of.last_used_at.map_or_else(|| "never used".to_owned(), |at| format!("last used {}", moment(at)));
        writeln!(out, "{}{name}", escaped(&self.id))?;
        writeln!(out, "    {}, sends codes to {}", self.origin(), hosts.join(", "))?;
        writeln!(out, "    {grants}, {used}\n")
    }
}

impl Delete {
    fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let operator = operator::name(&terminal.environment);
        let Some(config) = load(&self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        let id = escaped(&self.id);
        if config.clients.iter().any(|client| client.client_id == self.id) {
            writeln!(terminal.err, "error: client {id} is in the configuration")?;
            writeln!(
                terminal.err,
                "  hint: `portcullis grants end --client {id}` ends its grants; remove its [[client]] and restart to lock it out"
            )?;
            return Ok(Outcome::Failed);
        }
        let (start_log, log) = (terminal.start_log, config.log.clone());
        let deleted = process::block_on_logged(start_log, &log, self.delete(config, terminal, &operator));
        match deleted {
            Ok(None) => Ok(Outcome::Done),
            Ok(Some(report)) => {
                let outcome = report.print(terminal)?;
                writeln!(terminal.out, "client {id} is deleted")?;
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
    ) -> Result<Option<Report>, String> {
        let store = database::open(&config).await?;
        let (id, shown) = (ClientId::from(self.id.as_str()), escaped(&self.id));
        let filter = GrantFilter { client: Some(self.id.clone()), ..GrantFilter::default() };
        let client = store.client(&id).await.map_err(database::message)?;
        let client = client
            .ok_or_else(|| format!("there is no client {shown}\n  hint: `portcullis clients list` shows them"))?;
        let count = database::grants(&store, &filter).await?.len();
        let name = client.name.as_deref().map(|name| format!(" {}", quoted(name))).unwrap_or_default();
        let question = format!("Delete client {shown}{name} and end its {}?", pluralize(count, "grant"));
        if !self.yes && !confirm(&question, terminal).map_err(|error| error.to_string())? {
            return Ok(None);
        }
        // delete the client and its sign-ins in progress first: none of them can become a grant afterwards
        database::grant_ends(&config, &store).delete_client(&id, operator).await.map_err(database::message)?;
        let mut chosen = Chosen::new();
        for grant in database::grants(&store, &filter).await? {
            chosen.entry(grant.subject.as_str().to_owned()).or_default().push(grant.id);
        }
        let report = grants::end(&config, &store, chosen, operator).await;
        store.close().await;
        report.map(Some)
    }
}
