//! What can only be found out by asking: whether upstreams and identity providers answer as the configuration expects.

use futures_util::future::join_all;

use crate::config::{Config, Place, Problem, Severity, Upstream};
use crate::identity::{Identities, Provider};
use crate::oauth::paths;
use crate::upstream::probe;

/// Asks all at once. Takes as long as the slowest, a quarter of a minute at most.
pub(super) async fn look(config: &Config, identities: &Identities) -> Vec<Problem> {
    let upstreams = join_all(config.upstreams.iter().map(|upstream| upstream_problem(config, upstream)));
    let providers = join_all(identities.iter().map(|provider| provider_problem(config, provider)));
    let (upstreams, providers) = tokio::join!(upstreams, providers);
    upstreams.into_iter().chain(providers).flatten().collect()
}

async fn upstream_problem(config: &Config, upstream: &Upstream) -> Option<Problem> {
    let finding = probe(upstream, config.outbound.ca_file.as_ref()).await?;
    Some(Problem {
        place: Place::File,
        severity: if finding.is_fatal() { Severity::Error } else { Severity::Warning },
        subject: format!("upstream {:?}: url", upstream.settings.id),
        what: finding.to_string(),
        hint: Some(finding.hint().to_owned()),
    })
}

async fn provider_problem(config: &Config, provider: &Provider) -> Option<Problem> {
    let redirect_uri = config.public_url.join(&paths::callback(provider.id().as_str()));
    let what = provider.try_out(&redirect_uri).await.err()?;
    let subject = format!("identity {:?}", provider.id().as_str());
    Some(Problem { place: Place::File, severity: Severity::Error, subject, what, hint: None })
}
