//! Checks over the network: whether the database, upstreams, identity providers and other issuers answer as the configuration
//! expects.

use std::io::{self, Write};
use std::sync::Arc;

use futures_util::future::join_all;

use super::database;
use super::shown::escaped;
use crate::clock::Clock;
use crate::config::{Config, Location, Problem, Severity, TokenIssuer, Upstream};
use crate::identity::{AssertionIssuers, Identities, Provider};
use crate::keys::IssuerClient;
use crate::oauth::paths;
use crate::storage::{Inspection, SchemaState, Store};
use crate::telemetry::metrics::Metrics;
use crate::upstream::{self, Finding};

/// What was asked, and what came of it.
pub(super) struct Asked {
    /// What the configuration calls it.
    pub(super) subject: String,
    /// Where it is.
    pub(super) place: String,
    /// What it answered, in words, unless it failed.
    answer: String,
    /// What is wrong with it.
    problems: Vec<Problem>,
}

impl Asked {
    /// One line.
    pub(super) fn write(&self, width: usize, out: &mut dyn Write) -> io::Result<()> {
        // errors come before warnings
        let answer = match self.problems.iter().map(|problem| problem.severity).min() {
            None => self.answer.as_str(),
            Some(Severity::Warning) => "answers, with a warning (above)",
            Some(Severity::Error) => "failed (see the error above)",
        };
        writeln!(out, "    {:width$}  {}: {answer}", self.subject, escaped(&self.place))
    }

    pub(super) fn width(&self) -> usize {
        self.subject.len()
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

/// Checks what `serve` calls, all of it at once; takes as long as the slowest, at most 15 s.
pub(super) async fn check(config: &Config, identities: Option<&Identities>) -> Vec<Asked> {
    let upstreams = join_all(config.upstreams.iter().map(|upstream| ask_upstream(config, upstream)));
    let providers = identities.into_iter().flat_map(Identities::iter);
    let providers = join_all(providers.map(|provider| ask_provider(config, provider)));
    let (upstreams, providers, issuers, others) =
        tokio::join!(upstreams, providers, ask_assertion_issuers(config), ask_token_issuers(config));
    upstreams.into_iter().chain(providers).chain(issuers).chain(others).collect()
}

/// Whether the keys of the issuers of assertions can be read.
pub(super) async fn ask_assertion_issuers(config: &Config) -> Vec<Asked> {
    let issuers = AssertionIssuers::new(config, &Clock::system(), &Metrics::default().providers);
    let issuers = config.assertion_issuers.iter().zip(issuers.try_out().await);
    let asked = issuers.map(|(settings, failure)| Asked {
        subject: format!("assertion_issuer {}", settings.id),
        place: settings.jwks_uri.to_string(),
        answer: "its keys can be read".to_owned(),
        problems: failure.map(|cause| issuer_problem(&settings.id, &cause)).into_iter().collect(),
    });
    asked.collect()
}

/// Whether the other issuers of access tokens answer.
pub(super) async fn ask_token_issuers(config: &Config) -> Vec<Asked> {
    join_all(config.token_issuers().into_iter().map(|issuer| ask_token_issuer(config, issuer))).await
}

/// Whether the metadata and keys of an issuer can be read, or its introspection endpoint answers us.
async fn ask_token_issuer(config: &Config, issuer: Arc<TokenIssuer>) -> Asked {
    let (place, asks, id) = (issuer.issuer.clone(), issuer.introspects(), issuer.id.clone());
    let calls = Metrics::default().providers.of(&id);
    let client = IssuerClient::new(issuer, &config.outbound, &Clock::system(), calls);
    let failure = client.try_out().await.err().map(|diagnosis| {
        let (what, hint) = diagnosis.into_parts();
        Problem { location: Location::File, severity: Severity::Error, subject: format!("issuer {id:?}"), what, hint }
    });
    let answer = if asks { "its introspection endpoint answers" } else { "its keys can be read" };
    let problems = failure.into_iter().collect();
    Asked { subject: format!("issuer {id}"), place, answer: answer.to_owned(), problems }
}

/// Looks at the database, and changes nothing there.
pub(super) async fn ask_database(config: &Config) -> Asked {
    let (subject, inspected) = ("database".to_owned(), Store::inspect(&config.storage).await);
    match inspected {
        Ok(Inspection { place, schema, pooled }) => {
            let schema = match schema {
                SchemaState::Absent => "not made yet, which `serve` does at its first start".to_owned(),
                SchemaState::Current => "can be written, and its schema is that of this version".to_owned(),
                SchemaState::Older(missing) => {
                    format!("can be written; the next start of `serve` applies {}", missing.join(", "))
                }
            };
            let pooler = if pooled { "; a pooler stands before it" } else { "" };
            Asked { subject, place, answer: format!("{schema}{pooler}"), problems: Vec::new() }
        }
        Err(error) => {
            let problem = Problem {
                location: Location::File,
                severity: Severity::Error,
                subject: "storage: url".to_owned(),
                what: database::message(error).trim_start_matches("storage: ").to_owned(),
                hint: None,
            };
            Asked { subject, place: "storage.url".to_owned(), answer: String::new(), problems: vec![problem] }
        }
    }
}

fn issuer_problem(id: &str, cause: &str) -> Problem {
    Problem {
        location: Location::File,
        severity: Severity::Error,
        subject: format!("assertion_issuer {id:?}: jwks_uri"),
        what: format!("the keys of this issuer cannot be read: {cause}"),
        hint: Some("its discovery document names jwks_uri; a private CA needs ca_file".to_owned()),
    }
}

async fn ask_upstream(config: &Config, upstream: &Upstream) -> Asked {
    let problem = |finding: Finding| Problem {
        location: Location::File,
        severity: if finding.is_fatal() { Severity::Error } else { Severity::Warning },
        subject: format!("upstream {:?}: url", upstream.settings.id),
        what: finding.to_string(),
        hint: Some(finding.hint().to_owned()),
    };
    let findings = upstream::Upstream::probe(&upstream.settings, config.outbound.ca_file.as_ref()).await;
    Asked {
        subject: format!("upstream {}", upstream.settings.id),
        place: upstream.settings.reach.url().to_string(),
        answer: "answers as an MCP server may".to_owned(),
        problems: findings.into_iter().map(problem).collect(),
    }
}

async fn ask_provider(config: &Config, provider: &Provider) -> Asked {
    let redirect_uri = config.public_url.join(&paths::callback(provider.id().as_str()));
    let failure = provider.try_out(&redirect_uri).await.err().map(|diagnosis| {
        let (what, hint) = diagnosis.into_parts();
        let subject = format!("identity {:?}", provider.id().as_str());
        Problem { location: Location::File, severity: Severity::Error, subject, what, hint }
    });
    Asked {
        subject: format!("identity {}", provider.id()),
        place: provider.issuer().to_owned(),
        answer: "its metadata, its keys and its token endpoint answer".to_owned(),
        problems: failure.into_iter().collect(),
    }
}
