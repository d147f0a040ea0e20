//! Checks over the network: whether upstreams, identity providers and other issuers answer as the configuration expects.

use std::sync::Arc;

use futures_util::future::join_all;

use crate::clock::Clock;
use crate::config::{Config, Location, Problem, Severity, TokenIssuer, Upstream};
use crate::identity::{AssertionIssuers, Identities, Provider};
use crate::keys::IssuerClient;
use crate::oauth::paths;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{self, Finding};

/// Checks all of them at once; takes as long as the slowest, at most 15 s.
pub(super) async fn check(config: &Config, identities: Option<&Identities>) -> Vec<Problem> {
    let issuers = AssertionIssuers::new(config, &Clock::system(), &Metrics::default().providers);
    let upstreams = join_all(config.upstreams.iter().map(|upstream| upstream_problems(config, upstream)));
    let providers = identities.into_iter().flat_map(Identities::iter);
    let providers = join_all(providers.map(|provider| provider_problem(config, provider)));
    let foreign = join_all(config.token_issuers().into_iter().map(|issuer| token_issuer_problem(config, issuer)));
    let (upstreams, providers, issuers, foreign) = tokio::join!(upstreams, providers, issuers.try_out(), foreign);
    let issuers = issuers.into_iter().map(issuer_problem);
    upstreams
        .into_iter()
        .flatten()
        .chain(providers.into_iter().flatten())
        .chain(issuers)
        .chain(foreign.into_iter().flatten())
        .collect()
}

/// Whether the metadata and keys of an issuer can be read, or its introspection endpoint answers us.
async fn token_issuer_problem(config: &Config, issuer: Arc<TokenIssuer>) -> Option<Problem> {
    let (subject, calls) = (format!("issuer {:?}", issuer.id), Metrics::default().providers.of(&issuer.id));
    let client = IssuerClient::new(issuer, &config.outbound, &Clock::system(), calls);
    let (what, hint) = client.try_out().await.err()?.into_parts();
    Some(Problem { location: Location::File, severity: Severity::Error, subject, what, hint })
}

fn issuer_problem((id, cause): (String, String)) -> Problem {
    Problem {
        location: Location::File,
        severity: Severity::Error,
        subject: format!("assertion_issuer {id:?}: jwks_uri"),
        what: format!("the keys of this issuer cannot be read: {cause}"),
        hint: Some("its discovery document names jwks_uri; a private CA needs ca_file".to_owned()),
    }
}

async fn upstream_problems(config: &Config, upstream: &Upstream) -> Vec<Problem> {
    let problem = |finding: Finding| Problem {
        location: Location::File,
        severity: if finding.is_fatal() { Severity::Error } else { Severity::Warning },
        subject: format!("upstream {:?}: url", upstream.settings.id),
        what: finding.to_string(),
        hint: Some(finding.hint().to_owned()),
    };
    let findings = upstream::Upstream::probe(&upstream.settings, config.outbound.ca_file.as_ref()).await;
    findings.into_iter().map(problem).collect()
}

async fn provider_problem(config: &Config, provider: &Provider) -> Option<Problem> {
    let redirect_uri = config.public_url.join(&paths::callback(provider.id().as_str()));
    let (what, hint) = provider.try_out(&redirect_uri).await.err()?.into_parts();
    let subject = format!("identity {:?}", provider.id().as_str());
    Some(Problem { location: Location::File, severity: Severity::Error, subject, what, hint })
}
