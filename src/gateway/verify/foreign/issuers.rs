//! The issuers whose tokens are accepted, as we call them, and how their tokens were checked.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;

use super::rules::Fault;
use crate::clock::Clock;
use crate::config::{Config, TokenIssuer};
use crate::gateway::refusal::TokenFault;
use crate::gateway::verify::Unverified;
use crate::keys::IssuerClient;
use crate::rights::GroupReader;
use crate::telemetry::metrics::{Metrics, TokenCheck};

/// One issuer.
pub(super) struct Issuer {
    pub(super) client: IssuerClient,
    groups: GroupReader,
    cached: Counter,
    verified: Counter,
    refused: Counter,
    unknown: Counter,
}

/// All of them. Cheap to clone.
#[derive(Clone)]
pub(super) struct Issuers(Arc<[Issuer]>);

impl Issuers {
    pub(super) fn new(config: &Config, clock: &Clock, metrics: &Metrics) -> Self {
        let issuer = |settings: Arc<TokenIssuer>| {
            let of = |result| metrics.calls.issuer_checks(&settings.id, result);
            let calls = metrics.providers.of(&settings.id);
            Issuer {
                cached: of(TokenCheck::Cached),
                verified: of(TokenCheck::Verified),
                refused: of(TokenCheck::Refused),
                unknown: of(TokenCheck::Unknown),
                groups: GroupReader::new(settings.id.clone(), settings.groups.clone()),
                client: IssuerClient::new(Arc::clone(&settings), &config.outbound, clock, calls),
            }
        };
        Self(config.token_issuers().into_iter().map(issuer).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &IssuerClient> {
        self.0.iter().map(|issuer| &issuer.client)
    }

    pub(super) fn client(&self, id: &str) -> Result<&IssuerClient, Unverified> {
        let client = self.iter().find(|client| client.settings().id == id);
        client.ok_or_else(|| Unverified::Unavailable("the issuer is not configured".to_owned()))
    }

    /// How the groups of users are read from the tokens of the issuer with this id.
    pub(super) fn groups(&self, id: &str) -> Result<&GroupReader, Fault> {
        let issuer = self.0.iter().find(|issuer| issuer.client.settings().id == id);
        issuer.map(|issuer| &issuer.groups).ok_or((TokenFault::Issuer, "its issuer is not configured"))
    }

    /// Counts a check of a token of the issuer with this id.
    pub(super) fn count(&self, id: &str, result: TokenCheck) {
        let Some(issuer) = self.0.iter().find(|issuer| issuer.client.settings().id == id) else { return };
        match result {
            TokenCheck::Cached => issuer.cached.inc(),
            TokenCheck::Verified => issuer.verified.inc(),
            TokenCheck::Refused => issuer.refused.inc(),
            TokenCheck::Unknown => issuer.unknown.inc(),
        };
    }
}

pub(super) const fn unfit((fault, why): Fault) -> Unverified {
    Unverified::Unfit(fault, why)
}
