//! `portcullis check`: what is wrong with a configuration, without starting anything.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use super::{Outcome, Terminal, load};
use crate::config::Config;
use crate::oauth::paths;

/// Name every mistake of a configuration file, with its line and its mend; asks no network
///
/// Reads the file as `serve` would: with the `PORTCULLIS_` variables of the environment over it, and with the secrets
/// that it names. Nothing is started, and nobody is asked.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Example:\n  portcullis check --config portcullis.toml\n\nExit status: 0 the file is good, 1 it is not."
)]
pub(super) struct Check {
    /// The configuration file (config.example.toml shows every key)
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
}

impl Check {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let Some(config) = load(&self.config, terminal)? else { return Ok(Outcome::Failed) };
        writeln!(terminal.out, "{}: ok", self.config.display())?;
        summarize(&config, terminal.out)?;
        Ok(Outcome::Done)
    }
}

/// What the operator has to carry elsewhere.
fn summarize(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n  public URL, and issuer of all tokens\n    {}", config.public_url)?;
    writeln!(out, "\n  server URLs for clients")?;
    let longest = config.upstreams.iter().map(|upstream| upstream.settings.id.len()).max().unwrap_or_default();
    for upstream in &config.upstreams {
        writeln!(out, "    {:longest$}  {}", upstream.settings.id, upstream.plain.resource)?;
    }
    writeln!(out, "\n  redirect URIs to register at the identity providers")?;
    let longest = config.identities.iter().map(|identity| identity.id.len()).max().unwrap_or_default();
    for identity in &config.identities {
        let redirect_uri = config.public_url.join(&paths::callback(&identity.id));
        writeln!(out, "    {:longest$}  {redirect_uri}", identity.id)?;
    }
    Ok(())
}
