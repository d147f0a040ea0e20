//! `portcullis api-keys`: makes and lists the keys of machines that cannot ask for tokens; `revoke` revokes them.

mod revoke;

use std::io::{self, Write};
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use super::shown::{self, escaped, moment, pluralize, quoted};
use super::{ConfigFile, Outcome, Terminal, database, load, operator, process};
use crate::audit::{Actor, Audit, Event};
use crate::clock::Clock;
use crate::config::{Config, Needs, Upstream, duration};
use crate::model::api_key::{NEVER, NewApiKey};
use crate::model::grant::Grant;
use crate::oauth::scope::ScopeSet;
use crate::secret::{ApiKey, Token};
use crate::storage::ListedApiKey;

/// The longest name and owner, in characters.
const LONGEST: usize = 100;
/// The longest expiry: ten years. What is to last longer says so.
const LONGEST_EXPIRY: Duration = Duration::from_hours(24 * 3653);

/// Create, list and revoke API keys
///
/// An API key lets a machine call one upstream without signing in. The upstream must take keys (`api_keys`). These
/// commands work on the database while `serve` runs, which refuses revoked keys within a second.
#[derive(Debug, Subcommand)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  portcullis api-keys create --upstream expenses --name nightly-report --expires-in 90d\n  portcullis api-keys revoke k_…"
)]
pub(super) enum ApiKeys {
    Create(Create),
    List(List),
    Revoke(revoke::Revoke),
}

/// Create a key and print it, once: only its hash is stored
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("expiry").args(["expires_in", "never_expires"]).required(true),
    after_help = "Examples:\n  portcullis api-keys create --upstream expenses --name nightly-report --expires-in 90d\n  portcullis api-keys create --upstream expenses --name ci --owner platform-team --expires-in 30d --json"
)]
pub(super) struct Create {
    #[command(flatten)]
    file: ConfigFile,
    /// The upstream that the key opens
    #[arg(long, value_name = "ID")]
    upstream: String,
    /// What the key is for
    #[arg(long)]
    name: String,
    /// Whom to ask about it: free text, or a user's subject
    #[arg(long, value_name = "TEXT")]
    owner: Option<String>,
    /// A scope that the key has; may be repeated. The default is all that the upstream requires
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// When it expires: "12h", "90d"
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<String>,
    /// Make a key that works until it is revoked
    #[arg(long)]
    never_expires: bool,
    /// Print JSON for a program
    #[arg(long)]
    json: bool,
}

/// List the live keys, the most recently used first
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  portcullis api-keys list\n  portcullis api-keys list --upstream expenses --json\n\nTimes are UTC; in JSON they are seconds since 1970. The last use is known to within an hour."
)]
pub(super) struct List {
    #[command(flatten)]
    file: ConfigFile,
    /// At this upstream
    #[arg(long, value_name = "ID")]
    upstream: Option<String>,
    /// Print JSON for a program
    #[arg(long)]
    json: bool,
}

impl ApiKeys {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        match self {
            Self::Create(create) => create.run(terminal),
            Self::List(list) => list.run(terminal),
            Self::Revoke(revoke) => revoke.run(terminal),
        }
    }
}

impl Create {
    fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let operator = operator::name(&terminal.environment);
        let Some(config) = load(Needs::Storage, &self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        let new = match self.new_key(&config) {
            Ok(new) => new,
            Err(words) => return process::end(Err(words), terminal),
        };
        let key = Token::<ApiKey>::generate();
        let created = process::block_on_logged(terminal.start_log, &config.log, async {
            let store = database::open(&config).await?;
            let grant = store.insert_api_key(&new, &key.sha256(), Clock::system().now()).await;
            store.close().await;
            grant.map_err(database::message)
        });
        let grant = match created {
            Ok(grant) => grant,
            Err(words) => return process::end(Err(words), terminal),
        };
        Audit::to_log().record(&Event::Granted { grant: &grant, refresh: false }, Actor::Operator(&operator));
        self.print(&grant, &key, terminal)?;
        Ok(Outcome::Done)
    }

    fn new_key(&self, config: &Config) -> Result<NewApiKey, String> {
        let upstream = upstream(config, &self.upstream)?;
        if !upstream.settings.api_keys.are_accepted() {
            return Err(format!(
                "upstream {} takes no API keys\n  hint: set api_keys = [\"bearer\"] there, and restart the gateway",
                quoted(&self.upstream)
            ));
        }
        for text in [Some(&self.name), self.owner.as_ref()].into_iter().flatten() {
            if text.trim().is_empty() || text.chars().count() > LONGEST || text.chars().any(char::is_control) {
                return Err(format!("a name or owner must be 1 to {LONGEST} characters on one line"));
            }
        }
        Ok(NewApiKey {
            name: self.name.clone(),
            owner: self.owner.clone(),
            resource: upstream.audience().to_owned(),
            scope: scope(&self.scopes, upstream)?,
            expires_at: match &self.expires_in {
                Some(text) => Clock::system().now() + expiry(text)?,
                None => NEVER,
            },
        })
    }

    /// The key goes alone to standard output, so that a script can take it from there; what is said of it goes to the other
    /// stream.
    fn print(&self, grant: &Grant, key: &Token<ApiKey>, terminal: &mut Terminal<'_>) -> io::Result<()> {
        if self.json {
            let row = json!({
                "id": grant.id,
                "key": key.expose(),
                "subject": grant.subject,
                "resource": grant.resource,
                "scope": grant.scope.to_string(),
                "expires_at": (grant.expires_at != NEVER).then_some(grant.expires_at),
            });
            return writeln!(terminal.out, "{}", shown::json(&row)?);
        }
        writeln!(terminal.out, "{}", key.expose())?;
        let ends = if grant.expires_at == NEVER { "never expires".to_owned() } else { ends(grant.expires_at) };
        writeln!(terminal.err, "key {} for {}, {ends}", grant.id, escaped(&grant.resource))?;
        writeln!(terminal.err, "  hint: keep it now: it is not shown again")
    }
}

fn ends(at: crate::clock::Timestamp) -> String {
    format!("expires {}", moment(at))
}

fn upstream<'a>(config: &'a Config, id: &str) -> Result<&'a Upstream, String> {
    config.upstreams.iter().find(|upstream| upstream.settings.id == id).ok_or_else(|| {
        let ids: Vec<_> = config.upstreams.iter().map(|upstream| upstream.settings.id.as_str()).collect();
        format!("there is no upstream {}\n  hint: the configuration has {}", quoted(id), ids.join(", "))
    })
}

/// The scopes of a key: those that the upstream requires at least, and none that it does not know.
fn scope(asked: &[String], upstream: &Upstream) -> Result<ScopeSet, String> {
    let scopes = &upstream.settings.scopes;
    if asked.is_empty() {
        return Ok(scopes.required.clone());
    }
    let known = scopes.known();
    let asked: ScopeSet = asked.iter().cloned().collect();
    let unknown = asked.without(&known);
    if !unknown.is_empty() {
        let unknown = quoted(&unknown.to_string());
        return Err(format!("the upstream does not know the scope {unknown}\n  hint: it knows {known}"));
    }
    let missing = crate::policy::missing(&asked, upstream);
    if missing.is_empty() {
        Ok(asked)
    } else {
        Err(format!("the key would open nothing\n  hint: the upstream also requires {missing}"))
    }
}

fn expiry(text: &str) -> Result<Duration, String> {
    let parsed = duration(text).filter(|parsed| !parsed.is_zero() && *parsed <= LONGEST_EXPIRY);
    parsed.ok_or_else(|| {
        format!(
            "{} is not a duration from 1s to ten years\n  hint: such as 12h or 90d; --never-expires makes a key without an end",
            quoted(text)
        )
    })
}

impl List {
    fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let Some(config) = load(Needs::Storage, &self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        let read = self.upstream.map(|id| upstream(&config, &id)).transpose().and_then(|upstream| {
            process::block_on(async {
                let store = database::open(&config).await?;
                let keys = database::api_keys(&store, upstream.map(Upstream::audience)).await;
                store.close().await;
                keys
            })
        });
        let keys = match read {
            Ok(keys) => keys,
            Err(words) => return process::end(Err(words), terminal),
        };
        if self.json {
            let rows: Vec<_> = keys.iter().map(|key| row(key, &config)).collect();
            writeln!(terminal.out, "{}", shown::json(&rows)?)?;
        } else {
            for key in &keys {
                show(key, terminal.out)?;
            }
            writeln!(terminal.out, "{}", pluralize(keys.len(), "live key"))?;
        }
        Ok(Outcome::Done)
    }
}

fn row(key: &ListedApiKey, config: &Config) -> Value {
    let upstream = config.upstreams.iter().find(|upstream| upstream.audience() == key.resource);
    json!({
        "id": key.id,
        "name": key.name,
        "owner": key.owner,
        "upstream": upstream.map(|upstream| &upstream.settings.id),
        "resource": key.resource,
        "scope": key.scope.to_string(),
        "created_at": key.created_at,
        "last_used_at": (key.last_used_at > key.created_at).then_some(key.last_used_at),
        "expires_at": (key.expires_at != NEVER).then_some(key.expires_at),
    })
}

fn show(key: &ListedApiKey, out: &mut dyn Write) -> io::Result<()> {
    let owner = key.owner.as_deref().map(|owner| format!(", owner {}", quoted(owner))).unwrap_or_default();
    writeln!(out, "{}  {}{owner}", escaped(key.id.as_str()), quoted(&key.name))?;
    writeln!(out, "    resource  {}", escaped(&key.resource))?;
    writeln!(out, "    scope     {}", key.scope)?;
    let used = if key.last_used_at > key.created_at {
        format!("last used about {}", moment(key.last_used_at))
    } else {
        "not known to be used".to_owned()
    };
    let ends = if key.expires_at == NEVER { "never expires".to_owned() } else { ends(key.expires_at) };
    writeln!(out, "    created   {}, {used}, {ends}\n", moment(key.created_at))
}
