//! `portcullis grants`: lists and ends what users have granted.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use super::shown::{self, escaped, moment, pluralize, quoted};
use super::{ConfigFile, Outcome, Terminal, confirm, database, load, operator, process};
use crate::config::Config;
use crate::issuer::Revocations;
use crate::model::ids::{GrantId, IdentityId};
use crate::storage::{EndedGrant, GrantFilter, ListedGrant, Store};

/// How many grants one transaction ends; all grants of a user end in the same one.
const BATCH: usize = 100;

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
/// Sign-ins in progress that match are cancelled, unless grants are selected by ID. Offline tokens of these grants are
/// revoked at the identity provider if it can be reached. Clients stay registered, and users can sign in again unless the
/// identity provider refuses them.
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
        let Some(config) = load(&self.file.config, terminal)? else { return Ok(Outcome::Failed) };
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
        let Some(config) = load(&self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        let log = config.log.clone();
        let ended = process::block_on_logged(terminal.start_log, &log, async {
            let (asked, ids) = (self.ids.is_empty() && !self.yes, self.ids);
            let filter = self.which.filter(&config)?;
            let store = database::open(&config).await?;
            let by_filter = ids.is_empty();
            let (mut chosen, unknown) = choose(&store, &filter, ids).await?;
            let agreed = chosen.is_empty()
                || !asked
                || confirm(&question(&chosen), terminal).map_err(|error| error.to_string())?;
            if !agreed {
                return Ok((Report::default(), unknown));
            }
            let mut refused = 0;
            if by_filter {
                // cancel sign-ins first: one that became a grant meanwhile is found by the second query
                refused = store.cancel_sign_ins(&filter).await.map_err(database::message)?;
                (chosen, _) = choose(&store, &filter, Vec::new()).await?;
            }
            let report =
                if chosen.is_empty() { Ok(Report::default()) } else { end(&config, &store, chosen, &operator).await };
            store.close().await;
            Ok((Report { refused, ..report? }, unknown))
        });
        match ended {
            Ok((report, unknown)) => {
                for id in &unknown {
                    writeln!(terminal.err, "error: {}: there is no such live grant", escaped(id))?;
                }
                let outcome = if self.json { report.print_json(terminal)? } else { report.print(terminal)? };
                Ok(if unknown.is_empty() { outcome } else { Outcome::Failed })
            }
            Err(words) => process::end(Err(words), terminal),
        }
    }
}

/// The selected grants by user, and the ids that match no live grant.
async fn choose(store: &Store, filter: &GrantFilter, ids: Vec<String>) -> Result<(Chosen, Vec<String>), String> {
    let mut chosen = Chosen::new();
    if ids.is_empty() {
        for grant in database::grants(store, filter).await? {
            chosen.entry(grant.subject.as_str().to_owned()).or_default().push(grant.id);
        }
        return Ok((chosen, Vec::new()));
    }
    let mut unknown = Vec::new();
    for id in ids.into_iter().collect::<BTreeSet<_>>() {
        match store.grant(&id.as_str().into()).await.map_err(database::message)? {
            Some(grant) if grant.ended_at.is_none() => {
                chosen.entry(grant.subject.as_str().to_owned()).or_default().push(grant.id);
            }
            _ => unknown.push(id),
        }
    }
    Ok((chosen, unknown))
}

/// Grants by subject.
pub(super) type Chosen = BTreeMap<String, Vec<GrantId>>;

fn question(chosen: &Chosen) -> String {
    let grants = chosen.values().map(Vec::len).sum();
    format!("End {} of {}?", pluralize(grants, "grant"), pluralize(chosen.len(), "user"))
}

/// The result of ending grants.
#[derive(Default)]
pub(super) struct Report {
    ended: Vec<EndedGrant>,
    revocations: BTreeMap<IdentityId, Revocations>,
    /// The number of sign-ins in progress that were cancelled.
    refused: u64,
}

/// Ends grants, those of a user in one transaction, and then revokes their tokens at the providers.
pub(super) async fn end(config: &Config, store: &Store, chosen: Chosen, operator: &str) -> Result<Report, String> {
    let ends = database::grant_ends(config, store);
    let mut ended = Vec::new();
    let (mut batch, mut users) = (Vec::new(), chosen.into_values().peekable());
    while let Some(grants) = users.next() {
        batch.extend(grants);
        if batch.len() >= BATCH || users.peek().is_none() {
            ended.extend(ends.end_for_operator(&batch, operator).await.map_err(database::message)?);
            batch.clear();
        }
    }
    let revocations = ends.revoke(&ended).await;
    Ok(Report { ended, revocations, refused: 0 })
}

impl Report {
    /// With the sign-ins in progress that were cancelled as well.
    pub(super) fn with_cancelled(self, cancelled: u64) -> Self {
        Self { refused: cancelled, ..self }
    }

    /// The same as [`Self::print`], for a program.
    pub(super) fn json(&self) -> Value {
        let ended = self.ended.iter().map(|EndedGrant { grant, .. }| {
            json!({
                "id": grant.id,
                "subject": grant.subject,
                "client_id": grant.client_id,
                "resource": grant.resource,
            })
        });
        let revocations = self.revocations.iter().map(|(identity, tally)| {
            json!({
                "identity": identity,
                "revoked": tally.revoked,
                "kept": tally.kept,
                "failure": tally.failure,
            })
        });
        json!({
            "ended": ended.collect::<Vec<_>>(),
            "cancelled_sign_ins": self.refused,
            "offline_tokens": revocations.collect::<Vec<_>>(),
        })
    }

    fn print_json(&self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        writeln!(terminal.out, "{}", shown::json(&self.json())?)?;
        Ok(self.outcome())
    }

    /// Whether everything was done.
    pub(super) fn outcome(&self) -> Outcome {
        let failed = self.revocations.values().any(|tally| tally.failure.is_some());
        if failed { Outcome::Failed } else { Outcome::Done }
    }

    /// Prints which grants ended, and which tokens could not be revoked.
    pub(super) fn print(&self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        for ended in &self.ended {
            let grant = &ended.grant;
            let (id, user, client) = (&grant.id, escaped(grant.subject.as_str()), escaped(grant.client_id.as_str()));
            writeln!(terminal.out, "{id}: ended (user {user}, client {client})")?;
        }
        writeln!(terminal.out, "{} ended", pluralize(self.ended.len(), "grant"))?;
        if self.refused > 0 {
            let refused = usize::try_from(self.refused).unwrap_or(usize::MAX);
            writeln!(terminal.out, "{} in progress cancelled", pluralize(refused, "sign-in"))?;
        }
        for (identity, tally) in &self.revocations {
            if tally.revoked > 0 {
                writeln!(terminal.out, "{} revoked at {identity}", pluralize(tally.revoked, "offline token"))?;
            }
            if let Some(failure) = &tally.failure {
                let kept = pluralize(tally.kept, "offline token");
                writeln!(terminal.err, "error: {kept} could not be revoked at {identity}: {}", escaped(failure))?;
                writeln!(terminal.err, "  hint: they are deleted here; end the users' sessions there")?;
            }
        }
        Ok(self.outcome())
    }
}
