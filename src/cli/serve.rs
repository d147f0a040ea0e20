//! `portcullis serve`: runs the gateway.

use std::io;
use std::sync::Arc;

use clap::Args;

use super::online::{self, Asked};
use super::{ConfigFile, Outcome, Terminal, load, process};
use crate::app::Ports;
use crate::config::{Config, Needs, OutboundProxy, Problem};
use crate::identity::Identities;

/// Run the gateway that a configuration file describes
///
/// Environment variables override the file: `PORTCULLIS_SERVER__LISTEN`, for lists by id
/// `PORTCULLIS_UPSTREAM__EXPENSES__URL`. Changes take effect at a restart; SIGTERM lets open requests finish.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Example:\n  portcullis keys generate --out portcullis.key\n  portcullis check --config portcullis.toml\n  portcullis serve --config portcullis.toml"
)]
pub(super) struct Serve {
    #[command(flatten)]
    file: ConfigFile,
}

impl Serve {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let Some(config) = load(Needs::Everything, &self.file.config, terminal)? else { return Ok(Outcome::Failed) };
        let config = Arc::new(config);
        let ended = process::block_on_logged(terminal.start_log, &config.log, async {
            let ports = Ports::take(&config.server).map_err(|error| error.to_string())?;
            let started = process::start(Arc::clone(&config), ports).await;
            let (app, listeners) = started.map_err(|error| error.to_string())?;
            announce(&config);
            let identities = app.authority().map(|authority| authority.identities().clone());
            check_online(Arc::clone(&config), identities);
            process::run(app, listeners, &config).await
        });
        process::end(ended, terminal)
    }
}

/// Checks the upstreams and providers in the background; failures are warnings.
fn check_online(config: Arc<Config>, identities: Option<Identities>) {
    tokio::spawn(async move {
        let asked = online::check(&config, identities.as_ref()).await;
        for Problem { subject, what, hint, .. } in asked.into_iter().flat_map(Asked::into_problems) {
            tracing::warn!(about = subject, hint, "{what}");
        }
    });
}

/// Logs the effective configuration that operators look for first.
fn announce(config: &Config) {
    if !config.issues_tokens() {
        announce_gateway(config);
        return;
    }
    tracing::info!(issuer = %config.public_url, listen = %config.server.listen, "serving");
    let lifetimes = &config.lifetimes;
    tracing::info!(
        code = lifetimes.code.as_secs(),
        consent = lifetimes.consent.as_secs(),
        authorization = lifetimes.authorization.as_secs(),
        access_token = lifetimes.access_token.as_secs(),
        refresh_idle = lifetimes.refresh_idle.as_secs(),
        max_grant_age = lifetimes.max_grant_age.as_secs(),
        replay_window = lifetimes.replay_window.as_secs(),
        unused_client = lifetimes.unused_client.as_secs(),
        used_client = lifetimes.used_client.as_secs(),
        jwks_max_age = lifetimes.jwks_max_age.as_secs(),
        "lifetimes in seconds"
    );
    announce_upstreams(config);
}

/// The same where there is no authorization server.
fn announce_gateway(config: &Config) {
    tracing::info!(listen = %config.server.listen, "serving: every upstream accepts the tokens of other issuers alone");
    if config.secrets.keys.is_empty() {
        tracing::info!(
            "there is no root key: MCP sessions end when this process does, and no other process knows them; with several \
             processes, give all of them the same key (secrets.keys)"
        );
    }
    announce_upstreams(config);
}

fn announce_upstreams(config: &Config) {
    if let OutboundProxy::Through(proxies) = &config.outbound.proxy {
        tracing::info!(https = ?proxies.https, http = ?proxies.http, "identity providers are called through a proxy");
    }
    for upstream in &config.upstreams {
        let (id, resource) = (&upstream.settings.id, &upstream.plain.resource);
        let accepts = upstream.settings.accepts.authorization_servers(config.public_url.as_str()).join(" ");
        tracing::info!(upstream = id, resource, url = %upstream.settings.reach.url(), accepts, "upstream");
    }
}
