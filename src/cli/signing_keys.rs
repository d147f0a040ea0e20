//! `portcullis keys list` and `keys rotate`: the keys that sign access tokens.

use std::io;

use clap::Args;
use serde_json::{Value, json};

use super::shown::{self, escaped, moment, pluralize};
use super::{ConfigFile, Outcome, Terminal, confirm, database, load, operator, process};
use crate::app::StartError;
use crate::audit::{Actor, Audit};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Needs};
use crate::keys::{HORIZON, KeyError, Replaced, Rotation, RotationTerms, Sealer};
use crate::model::ids::KeyId;
use crate::model::signing_key::{StoredSigningKey, WithdrawnKey, signing_at};
use crate::storage::Store;

/// List the keys that sign access tokens: which one signs, which follows, and which stay until their last token has expired
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  portcullis keys list\n\nTimes are UTC; in JSON they are seconds since 1970. Withdrawn keys are listed for a month."
)]
pub(super) struct List {
    #[command(flatten)]
    file: ConfigFile,
    /// Print JSON for a program
    #[arg(long)]
    json: bool,
}

/// Publish the next signing key, which signs as soon as all cached copies of the key set have expired
///
/// `serve` does this by itself (`tokens.rotate_keys`). No request fails: the old key stays until its last token has expired.
///
/// With --now, for a key that may be known to others: every key is withdrawn, and a new one signs at once. Running processes
/// refuse the tokens of the old keys within two seconds and close the streams under them; clients refresh, and users need
/// not sign in again. If the root key may be known too, replace it first (see `portcullis keys generate --help`).
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  portcullis keys rotate\n  portcullis keys rotate --now --yes"
)]
pub(super) struct Rotate {
    #[command(flatten)]
    file: ConfigFile,
    /// Withdraw all keys and use a new one at once
    #[arg(long)]
    now: bool,
    /// Do not ask for confirmation
    #[arg(long, short, requires = "now")]
    yes: bool,
}

/// What the store says of keys.
struct Stored {
    keys: Vec<StoredSigningKey>,
    withdrawn: Vec<WithdrawnKey>,
}

impl List {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let Some(config) = load(Needs::Storage, &self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        let read = process::block_on(async {
            let store = database::open(&config).await?;
            let keys = store.signing_keys().await.map_err(database::message)?;
            let withdrawn = store.withdrawn_keys().await.map_err(database::message)?;
            store.close().await;
            Ok(Stored { keys, withdrawn })
        });
        let stored = match read {
            Ok(stored) => stored,
            Err(words) => return process::end(Err(words), terminal),
        };
        let rows = rows(&stored, &RotationTerms::of(&config), Clock::system().now());
        if self.json {
            let rows: Vec<Value> = rows.iter().map(Row::json).collect();
            writeln!(terminal.out, "{}", shown::json(&rows)?)?;
        } else {
            for row in &rows {
                writeln!(terminal.out, "{}  {}  {}", escaped(row.id.as_str()), escaped(row.algorithm), row.words())?;
            }
            writeln!(terminal.out, "{}", pluralize(stored.keys.len(), "signing key"))?;
        }
        Ok(Outcome::Done)
    }
}

/// A key, and what becomes of it.
struct Row<'a> {
    id: &'a KeyId,
    algorithm: &'a str,
    state: State,
}

enum State {
    /// It signs from then on.
    Next(Timestamp),
    /// It has signed since then.
    Signing(Timestamp),
    /// It is deleted then.
    Previous(Timestamp),
    /// It was withdrawn then.
    Withdrawn(Timestamp),
}

impl Row<'_> {
    fn words(&self) -> String {
        match self.state {
            State::Next(from) => format!("next, signs from {} on", moment(from)),
            State::Signing(since) => format!("signs since {}", moment(since)),
            State::Previous(until) => format!("previous, verifies until {}", moment(until)),
            State::Withdrawn(at) => format!("withdrawn {}", moment(at)),
        }
    }

    fn json(&self) -> Value {
        let (state, member, at) = match self.state {
            State::Next(from) => ("next", "active_from", from),
            State::Signing(since) => ("signing", "active_from", since),
            State::Previous(until) => ("previous", "retires_at", until),
            State::Withdrawn(at) => ("withdrawn", "withdrawn_at", at),
        };
        json!({"id": self.id, "algorithm": self.algorithm, "state": state, member: at})
    }
}

/// The keys in the order in which they take over from each other, and then those that were withdrawn.
fn rows<'a>(stored: &'a Stored, terms: &RotationTerms, now: Timestamp) -> Vec<Row<'a>> {
    let signing = signing_at(stored.keys.iter().map(|key| key.active_from), now);
    // the first later key whose time comes is the one that replaces it
    let replaced_at = |position: usize| {
        let later = stored.keys.iter().skip(position + 1).take(signing.saturating_sub(position));
        later.map(|key| key.active_from).min().unwrap_or(now)
    };
    let keys = stored.keys.iter().enumerate().map(|(position, key)| {
        let state = match position.cmp(&signing) {
            std::cmp::Ordering::Less => State::Previous(replaced_at(position) + terms.overlap),
            std::cmp::Ordering::Equal => State::Signing(key.active_from),
            std::cmp::Ordering::Greater => State::Next(key.active_from),
        };
        Row { id: &key.id, algorithm: &key.algorithm, state }
    });
    let withdrawn = stored.withdrawn.iter().map(|key| Row {
        id: &key.id,
        algorithm: &key.algorithm,
        state: State::Withdrawn(key.withdrawn_at),
    });
    keys.chain(withdrawn).collect()
}

impl Rotate {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let operator = operator::name(&terminal.environment);
        let Some(config) = load(Needs::SigningKeys, &self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        let log = config.log.clone();
        let rotated = process::block_on_logged(terminal.start_log, &log, async {
            let store = database::open(&config).await?;
            let rotation = rotation(&config, store.clone());
            let lines = if self.now {
                let keys = store.signing_keys().await.map_err(database::message)?.len();
                let question = format!(
                    "Withdraw {} at once? Every access token ends, and clients refresh.",
                    pluralize(keys, "key")
                );
                if !self.yes && !confirm(&question, terminal).map_err(|error| error.to_string())? {
                    return Ok(Vec::new());
                }
                replaced(&rotation.replace(Actor::Operator(&operator)).await.map_err(message)?)
            } else {
                match rotation.prepare(Actor::Operator(&operator)).await.map_err(message)? {
                    Some(key) => vec![published(&key)],
                    None => waiting(&store, rotation.clock.now()).await?,
                }
            };
            store.close().await;
            Ok(lines)
        });
        match rotated {
            Ok(lines) => {
                for line in lines {
                    writeln!(terminal.out, "{line}")?;
                }
                Ok(Outcome::Done)
            }
            Err(words) => process::end(Err(words), terminal),
        }
    }
}

fn rotation(config: &Config, store: Store) -> Rotation {
    Rotation {
        store,
        sealer: Sealer::new(&config.secrets),
        terms: RotationTerms::of(config),
        clock: Clock::system(),
        audit: Audit::to_log(),
    }
}

fn message(error: KeyError) -> String {
    StartError::from(error).to_string()
}

fn published(key: &StoredSigningKey) -> String {
    format!("{}: published ({}), signs from {} on", key.id, key.algorithm, moment(key.active_from))
}

/// The key that stands in the way of another one.
async fn waiting(store: &Store, now: Timestamp) -> Result<Vec<String>, String> {
    let keys = store.signing_keys().await.map_err(database::message)?;
    let waits = |key: &&StoredSigningKey| now < key.active_from && key.active_from <= now + HORIZON;
    let next = keys.iter().find(waits).map(|key| {
        format!("{}: is published already, and signs from {} on: nothing was done", key.id, moment(key.active_from))
    });
    Ok(next.into_iter().collect())
}

fn replaced(replaced: &Replaced) -> Vec<String> {
    let withdrawn = replaced.withdrawn.iter().map(|key| format!("{key}: withdrawn"));
    let signs = format!("{}: signs from now on ({})", replaced.key.id, replaced.key.algorithm);
    withdrawn.chain([signs]).collect()
}
