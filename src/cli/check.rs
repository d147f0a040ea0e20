//! `portcullis check`: validates a configuration without starting anything.

use std::io::{self, Write};

use clap::Args;

use super::{ConfigFile, Outcome, Terminal, online, process, shown};
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
    /// Also contact the MCP servers and identity providers, as far as that works without a user; not the database
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
            Ok(Loaded { config, warnings }) => (Some(config), warnings),
            Err(problems) => (None, problems),
        };
        if let Some(config) = config.as_ref().filter(|_| self.online) {
            let identities = Identities::new(config, &Clock::system(), &Metrics::default().providers);
            match process::block_on(async { Ok(online::check(config, Some(&identities)).await) }) {
                Ok(found) => problems.extend(found),
                Err(words) => return process::end(Err(words), terminal),
            }
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
        Ok(outcome)
    }
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
    Ok(())
}
