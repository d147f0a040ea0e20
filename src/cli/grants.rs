//! `portcullis grants`: lists and ends what users have granted.

use std::collections::BTreeSet;
use std::io::{self, Write};

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use super::ended::Ended;
use super::shown::{self, escaped, moment, pluralize, quoted};
use super::{ConfigFile, Outcome, Terminal, confirm, database, load, operator, process};
use crate::config::{Config, Needs};
use crate::issuer::{ChosenGrants, EndReport};
use crate::storage::{GrantFilter, ListedGrant};

/// List and end grants
///
/// A grant is one sign-in of one user with one client at one upstream. These commands work on the database while `serve`
/// runs, which refuses ended grants within a second.
#[derive(Debug, Subcommand)]
#[command(verbatim_doc_comment, after_help = "Examples:\n  portcullis grants list\n  portcullis grants revoke g_…")]
pub(super) enum Grants {
    List(List),
    #[command(visible_alias = "revoke")]
    End(End),
}

/// List the live grants, the most recently used first
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  portcullis grants list\n  portcullis grants list --user 'keycloak|8d1c…' --json\n\nTimes are UTC; in JSON they are seconds since 1970."
)]
pub(super) struct List {
    /// Only these grants
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    which: Which,
    /// Print JSON for a program
    #[arg(long)]
    json: bool,
}

/// Selects grants; all conditions must match.
#[derive(Debug, Args)]
struct Which {
    /// Of this user: the subject, as `grants list` shows it
    #[arg(long, value_name = "SUBJECT")]
    user: Option<String>,
    /// Of this client
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// At this upstream
    #[arg(long, value_name = "ID")]
    upstream: Option<String>,
}

/// End grants: their access and refresh tokens are refused within a second
///
/// Sign-ins in progress that match are cancelled, unless grants are selected by ID. With --user alone, or --all, users are also
/// signed out of their own page (/account). Offline tokens of these grants are revoked at the identity provider if it can be
/// reached. Clients stay registered, and users can sign in again unless the identity provider refuses them.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    group = ArgGroup::new("chosen").args(["ids", "user", "client", "upstream", "all"]).required(true).multiple(true),
    after_help = "Examples:\n  portcullis grants end g_4f…\n  portcullis grants end --user 'keycloak|8d1c…'\n  portcullis grants end --all --yes"
)]
pub(super) struct End {
    /// The grants, as `grants list` shows them
    #[arg(value_name = "ID", conflicts_with_all = ["user", "client", "upstream", "all"])]
    ids: Vec<String>,
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    which: Which,
    /// All grants
    #[arg(long, conflicts_with_all = ["user", "client", "upstream"])]
    all: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
    /// Print JSON for a program
    #[arg(long)]
    json: bool,
}

impl Grants {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        match self {
            Self::List(list) => list.run(terminal),
            Self::End(end) => end.run(terminal),
        }
    }
}

impl Which {
    /// The filter of the query.
    fn filter(self, config: &Config) -> Result<GrantFilter, String> {
        let resource = self.upstream.map(|id| audience(config, &id)).transpose()?;
        Ok(GrantFilter { subject: self.user, client: self.client, resource })
    }
}

fn audience(config: &Config, id: &str) -> Result<String, String> {
    let upstream = config.upstreams.iter().find(|upstream| upstream.settings.id == id);
    upstream.map(|upstream| upstream.audience().to_owned()).ok_or_else(|| {
        let ids: Vec<_> = config.upstreams.iter().map(|upstream| upstream.settings.id.as_str()).collect();
        format!("there is no upstream {}\n  hint: the configuration has {}", quoted(id), ids.join(", "))
    })
}

impl List {
    fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let Some(config) = load(Needs::Storage, &self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        let read = self.which.filter(&config).and_then(|filter| {
            process::block_on(async {
                let store = database::open(&config).await?;
                let grants = database::grants(&store, &filter).await;
                store.close().await;
                grants
            })
        });
        let grants = match read {
            Ok(mut grants) => {
                grants.retain(|grant| self.ids.is_empty() || self.ids.iter().any(|id| id == grant.id.as_str()));
                grants
            }
            Err(words) => return process::end(Err(words), terminal),
        };
        if self.json {
            let rows: Vec<_> = grants.iter().map(|grant| row(grant, &config)).collect();
            writeln!(terminal.out, "{}", shown::json(&rows)?)?;
        } else {
            for grant in &grants {
                show(grant, &config, terminal.out)?;
            }
            writeln!(terminal.out, "{}", pluralize(grants.len(), "live grant"))?;
        }
        Ok(Outcome::Done)
    }
}

/// The name of a grant's client.
fn client_name<'a>(grant: &'a ListedGrant, config: &'a Config) -> Option<&'a str> {
    let configured = config.clients.iter().find(|client| client.client_id == grant.client.as_str());
    configured.map_or(grant.client_name.as_deref(), |client| client.name.as_deref())
}

fn row(grant: &ListedGrant, config: &Config) -> Value {
    let upstream = config.upstreams.iter().find(|upstream| upstream.audience() == grant.resource);
    json!({
        "id": grant.id,
        "kind": grant.kind.as_str(),
        "subject": grant.subject,
        "name": grant.user.name,
        "preferred_username": grant.user.preferred_username,
        "email": grant.user.email,
        "client_id": grant.client,
        "client_name": client_name(grant, config),
        "upstream": upstream.map(|upstream| &upstream.settings.id),
        "resource": grant.resource,
        "scope": grant.scope.to_string(),
        "created_at": grant.created_at,
        "last_used_at": grant.last_used_at,
        "expires_at": grant.expires_at,
    })
}

fn show(grant: &ListedGrant, config: &Config, out: &mut dyn Write) -> io::Result<()> {
    let who = grant.user.name.as_deref().or(grant.user.preferred_username.as_deref());
    let named = |name: Option<&str>| name.map(|name| format!("  {}", quoted(name))).unwrap_or_default();
    writeln!(out, "{}", escaped(grant.id.as_str()))?;
    writeln!(out, "    kind      {}", grant.kind.as_str())?;
    writeln!(out, "    user      {}{}", escaped(grant.subject.as_str()), named(who))?;
    writeln!(out, "    client    {}{}", escaped(grant.client.as_str()), named(client_name(grant, config)))?;
    writeln!(out, "    resource  {}", escaped(&grant.resource))?;
    writeln!(out, "    scope     {}", grant.scope)?;
    let [created, used, ends] = [grant.created_at, grant.last_used_at, grant.expires_at].map(moment);
    writeln!(out, "    created   {created}, last used {used}, ends {ends}\n")
}

impl End {
    fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let operator = operator::name(&terminal.environment);
        let Some(config) = load(Needs::Revocation, &self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        let (log, as_json) = (config.log.clone(), self.json);
        match process::block_on_logged(terminal.start_log, &log, self.end(config, terminal, &operator)) {
            Ok((report, unknown)) => {
                for id in &unknown {
                    writeln!(terminal.err, "error: {}: there is no such live grant", escaped(id))?;
                }
                let ended = Ended(report);
                let outcome = if as_json { ended.print_json(terminal)? } else { ended.print(terminal)? };
                Ok(if unknown.is_empty() { outcome } else { Outcome::Failed })
            }
            Err(words) => process::end(Err(words), terminal),
        }
    }

    /// What ended, and the ids of which there is no live grant.
    #[expect(clippy::future_not_send, reason = "a terminal is used by one thread")]
    async fn end(
        self,
        config: Config,
        terminal: &mut Terminal<'_>,
        operator: &str,
    ) -> Result<(EndReport, Vec<String>), String> {
        let Self { ids, which, yes, .. } = self;
        let (filter, store) = (which.filter(&config)?, database::open(&config).await?);
        let ends = database::grant_ends(&config, &store);
        let ids: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
        let by_filter = ids.is_empty();
        let (chosen, unknown) = if by_filter {
            (ends.matching(&filter).await.map_err(database::message)?, Vec::new())
        } else {
            ends.chosen(ids).await.map_err(database::message)?
        };
        let unknown = unknown.into_iter().map(str::to_owned).collect();
        let must_ask = by_filter && !yes && chosen.count() > 0;
        let report = if must_ask && !confirm(&question(&chosen), terminal).map_err(|error| error.to_string())? {
            Ok(EndReport::default())
        } else if by_filter {
            ends.end_matching(&filter, operator).await
        } else {
            ends.end_chosen(chosen, operator).await
        };
        store.close().await;
        Ok((report.map_err(database::message)?, unknown))
    }
}

fn question(chosen: &ChosenGrants) -> String {
    format!("End {} of {}?", pluralize(chosen.count(), "grant"), pluralize(chosen.users(), "user"))
}
