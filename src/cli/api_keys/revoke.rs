//! `portcullis api-keys revoke`: by id, or by the key itself.
//!
//! Defends against: a key in the history of a shell or in a process list (it is read from standard input alone), and in recorded
//! output (it is never printed).

use std::io;

use clap::{ArgGroup, Args};

use crate::cli::shown::{escaped, pluralize, quoted};
use crate::cli::{ConfigFile, Outcome, Terminal, confirm, database, load, operator, process};
use crate::config::{Config, Needs};
use crate::secret::{ApiKey, Kind, SecretText, Token};
use crate::storage::{EndedGrant, ListedApiKey, Store};

/// Revoke keys: they are refused within a second, and streams that they opened end
///
/// A key that turned up where it should not, in a log or a repository, can be revoked without its id: with --key-stdin, which
/// reads one line from standard input. Never write a key on the command line: that ends up in the history of the shell.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    group = ArgGroup::new("which").args(["ids", "key_stdin"]).required(true),
    after_help = "Examples:\n  portcullis api-keys revoke k_…\n  portcullis api-keys revoke --key-stdin"
)]
pub(in crate::cli) struct Revoke {
    /// The keys, as `api-keys list` shows them
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Read the key itself from standard input, one line
    #[arg(long)]
    key_stdin: bool,
    #[command(flatten)]
    file: ConfigFile,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

/// What is to be revoked.
struct Chosen {
    ids: Vec<String>,
    /// Ids of which there is no live key.
    unknown: Vec<String>,
    question: String,
}

impl Revoke {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let operator = operator::name(&terminal.environment);
        let Some(config) = load(Needs::Storage, &self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        let (start_log, log) = (terminal.start_log, config.log.clone());
        match process::block_on_logged(start_log, &log, self.revoke(config, terminal, &operator)) {
            Ok((ended, unknown)) => {
                unknown.iter().try_for_each(|id| refuse_unknown(id, terminal))?;
                for ended in &ended {
                    writeln!(terminal.out, "{}: revoked", ended.grant.id)?;
                }
                Ok(if unknown.is_empty() { Outcome::Done } else { Outcome::Failed })
            }
            Err(words) => process::end(Err(words), terminal),
        }
    }

    /// The keys that were revoked, and the ids of which there is no live key.
    #[expect(clippy::future_not_send, reason = "a terminal is used by one thread")]
    async fn revoke(
        self,
        config: Config,
        terminal: &mut Terminal<'_>,
        operator: &str,
    ) -> Result<(Vec<EndedGrant>, Vec<String>), String> {
        let key = if self.key_stdin { Some(read_key(terminal)?) } else { None };
        let store = database::open(&config).await?;
        let live = database::api_keys(&store, None).await?;
        let Chosen { ids, unknown, question } = match key {
            Some(key) => by_key(&key, &live, &store).await?,
            None => by_ids(self.ids, &live),
        };
        let must_ask = !ids.is_empty() && !self.yes;
        if must_ask && !confirm(&question, terminal).map_err(|error| error.to_string())? {
            return Ok((Vec::new(), unknown));
        }
        let ends = database::grant_ends(&config, &store);
        let (chosen, _ended_meanwhile) =
            ends.chosen(ids.iter().map(String::as_str)).await.map_err(database::message)?;
        let report = ends.end_chosen(chosen, operator).await;
        store.close().await;
        Ok((report.map_err(database::message)?.ended, unknown))
    }
}

fn by_ids(ids: Vec<String>, live: &[ListedApiKey]) -> Chosen {
    let is_live = |id: &String| live.iter().any(|key| key.id.as_str() == *id);
    let (ids, unknown): (Vec<String>, Vec<String>) = ids.into_iter().partition(is_live);
    let question = format!("Revoke {}?", pluralize(ids.len(), "key"));
    Chosen { ids, unknown, question }
}

async fn by_key(key: &Token<ApiKey>, live: &[ListedApiKey], store: &Store) -> Result<Chosen, String> {
    let found = store.api_key(&key.sha256()).await.map_err(database::message)?;
    let listed = found.and_then(|found| live.iter().find(|key| key.id == found.id)).ok_or(
        "this key is not live here\n  hint: it was revoked or has expired, or it is of another gateway; nothing was done",
    )?;
    let question = format!("Revoke key {} {}?", listed.id, quoted(&listed.name));
    Ok(Chosen { ids: vec![listed.id.to_string()], unknown: Vec::new(), question })
}

/// Reads a key from standard input.
fn read_key(terminal: &mut Terminal<'_>) -> Result<Token<ApiKey>, String> {
    let said = |error: io::Error| error.to_string();
    write!(terminal.err, "The key: ").and_then(|()| terminal.err.flush()).map_err(said)?;
    let mut line = String::new();
    terminal.input.read_line(&mut line).map_err(said)?;
    writeln!(terminal.err).map_err(said)?;
    let line = SecretText::from(line);
    let key = Token::parse(line.expose().trim());
    key.ok_or_else(|| {
        let prefix = ApiKey::PREFIX;
        format!("standard input has no whole API key\n  hint: one line, all characters of the key, which begins with {prefix}")
    })
}

/// Says that an id names no live key. A key in its place is not repeated: the output may be recorded.
fn refuse_unknown(id: &str, terminal: &mut Terminal<'_>) -> io::Result<()> {
    if id.starts_with(ApiKey::PREFIX) {
        writeln!(terminal.err, "error: this is a key, and not the id of one")?;
        return writeln!(
            terminal.err,
            "  hint: `portcullis api-keys revoke --key-stdin` takes it; it may be in the history of your shell now"
        );
    }
    writeln!(terminal.err, "error: {}: there is no such live key", escaped(id))?;
    writeln!(terminal.err, "  hint: `portcullis api-keys list` shows the ids, which begin with k_")
}
