//! `portcullis check`: validates a configuration without starting anything.

use std::io::{self, Write};

use clap::Args;

use super::online::{self, Asked};
use super::{ConfigFile, Outcome, Terminal, process, shown};
use crate::clock::Clock;
use crate::config::{Config, Loaded};
use crate::identity::Identities;
use crate::oauth::paths;
use crate::telemetry::metrics::Metrics;

/// Report every mistake in a configuration file, with its line and a hint
///
/// Reads the file as `serve` would, with the `PORTCULLIS_` variables of the environment and the secrets that the file
/// refers to. Nothing is started, and no server is contacted unless --online is given.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  portcullis check\n  portcullis check --config portcullis.toml --online\n\n\
    JSON is a list of objects with severity, file, line, column, variable, key, message and hint.\n\n\
    Exit status: 0 the file is valid, 1 it is not."
)]
pub(super) struct Check {
    #[command(flatten)]
    file: ConfigFile,
    /// Also contact the database, the MCP servers, the identity providers and the assertion issuers, as far as that works without
    /// a user, and print what each answered; nothing is changed anywhere
    #[arg(long)]
    online: bool,
    /// Print JSON for a program, an empty list when all is well
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let file = &self.file.config;
        let (config, mut problems) = match Config::load(file, terminal.environment.drain(..)) {
            Ok(Loaded { config, warnings, .. }) => (Some(config), warnings),
            Err(problems) => (None, problems),
        };
        let mut asked = Vec::new();
        if let Some(config) = config.as_ref().filter(|_| self.online) {
            match process::block_on(async { Ok(ask_all(config).await) }) {
                Ok(answers) => asked = answers,
                Err(words) => return process::end(Err(words), terminal),
            }
            problems.extend(asked.iter().flat_map(Asked::problems).cloned().collect());
        }
        let outcome = if problems.has_errors() { Outcome::Failed } else { Outcome::Done };
        if self.json {
            writeln!(terminal.out, "{}", shown::json(&problems.to_json())?)?;
            return Ok(outcome);
        }
        if !problems.is_empty() {
            writeln!(terminal.err, "{problems}")?;
        }
        if let Some(config) = config.filter(|_| outcome == Outcome::Done) {
            writeln!(terminal.out, "{}: ok", file.display())?;
            summarize(&config, terminal.out)?;
        }
        if !asked.is_empty() {
            writeln!(terminal.out, "\n  what was asked, and what answered")?;
            let width = asked.iter().map(Asked::width).max().unwrap_or_default();
            asked.iter().try_for_each(|asked| asked.write(width, terminal.out))?;
        }
        Ok(outcome)
    }
}

/// Asks everything that `serve` needs, the database first.
async fn ask_all(config: &Config) -> Vec<Asked> {
    let identities = Identities::new(config, &Clock::system(), &Metrics::default().providers);
    let database = async {
        // without an authorization server nothing is stored
        if config.issues_tokens() { Some(online::ask_database(config).await) } else { None }
    };
    let (database, others) = tokio::join!(database, online::check(config, Some(&identities)));
    database.into_iter().chain(others).collect()
}

/// Prints the URLs that clients and identity providers need.
fn summarize(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    let issuers = config.token_issuers();
    let role = match (config.issues_tokens(), issuers.is_empty()) {
        (true, true) => "public URL, and issuer of all tokens",
        (true, false) => "public URL, and issuer of our own tokens",
        (false, _) => "public URL",
    };
    writeln!(out, "\n  {role}\n    {}", config.public_url)?;
    writeln!(out, "\n  server URLs for clients")?;
    let longest = config.upstreams.iter().map(|upstream| upstream.settings.id.len()).max().unwrap_or_default();
    for upstream in &config.upstreams {
        writeln!(out, "    {:longest$}  {}", upstream.settings.id, upstream.plain.resource)?;
    }
    if !issuers.is_empty() {
        writeln!(out, "\n  other issuers whose tokens are accepted")?;
    }
    let longest = issuers.iter().map(|issuer| issuer.id.len()).max().unwrap_or_default();
    for issuer in &issuers {
        writeln!(out, "    {:longest$}  {}", issuer.id, issuer.issuer)?;
    }
    if config.identities.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n  redirect URIs to register at the identity providers")?;
    let longest = config.identities.iter().map(|identity| identity.id.len()).max().unwrap_or_default();
    for identity in &config.identities {
        let redirect_uri = config.public_url.join(&paths::callback(&identity.id));
        writeln!(out, "    {:longest$}  {redirect_uri}", identity.id)?;
    }
    let mut reporting = config.identities.iter().filter(|identity| identity.may_send_logout_tokens()).peekable();
    if reporting.peek().is_some() {
        writeln!(out, "\n  back-channel logout URLs to enter there, if users shall be signed out here as well")?;
    }
    for identity in reporting {
        let url = config.public_url.join(&paths::back_channel_logout(&identity.id));
        writeln!(out, "    {:longest$}  {url}", identity.id)?;
    }
    Ok(())
}
