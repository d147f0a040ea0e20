//! `portcullis doctor`: asks the real providers, MCP servers and the public URL what they are, and names the setting of each fault.
//!
//! Asking and diagnosing are separate. `identity`, `upstream` and `outbound` ask; the files here diagnose the answers and are pure, but for
//! `public_url`, which also asks.
//!
//! | file | what |
//! |---|---|
//! | `finding` | the kinds of faults and their ids; how one is printed |
//! | `provider` | identity providers: metadata, authorization request, credentials; the names of settings in their consoles |
//! | `upstream` | MCP servers |
//! | `public_url` | our own public URL, and what a proxy in front does to requests and answers |

mod finding;
mod provider;
mod public_url;
mod upstream;

use std::io::{self, Write};

use clap::Args;
use futures_util::future::join_all;
use serde_json::json;

use self::finding::{Finding, Id};
use self::provider::Subject;
use super::online::{self, Asked};
use super::shown::{self, escaped, pluralize};
use super::{ConfigFile, Outcome, Terminal, process};
use crate::clock::Clock;
use crate::config::{Config, IdentityKind, Loaded, Places, Problems, Severity};
use crate::identity::{Identities, Provider};
use crate::oauth::paths;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;

/// Ask the real providers, MCP servers and the public URL, and name the setting of each fault
///
/// Finds what a sign-in or a call would trip over: a redirect URI that is not registered, a wrong secret, scopes that are
/// refused, another issuer, keys that cannot be read, clocks that differ, an MCP server that refuses our Host, a proxy in front
/// that buffers or drops header fields. Each fault names the setting of this file, with its line, or of the provider's console, and
/// the mend.
///
/// Nothing is changed anywhere, and no user is signed in: providers get an authorization request without a user, and a made-up
/// code, refresh token and secret, which they may log. `serve` may be running, and should be, for the public URL.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  portcullis doctor\n  portcullis doctor --config portcullis.toml --json\n  \
    portcullis doctor --without-public-url    before the first start\n\n\
    docs/doctor.md explains every id, and what cannot be known from here.\n\n\
    Exit status: 0 all is well (there may be warnings), 1 there is a fault, 2 wrong usage.")]
pub(super) struct Doctor {
    #[command(flatten)]
    file: ConfigFile,
    /// Do not ask our own public URL: for use before `serve` runs, or where this machine cannot reach it
    #[arg(long)]
    without_public_url: bool,
    /// Print JSON for a program
    #[arg(long)]
    json: bool,
}

/// What was asked, and the faults.
struct Examined {
    /// What the configuration calls it.
    about: String,
    /// Where it is.
    place: String,
    findings: Vec<Finding>,
}

impl Doctor {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let file = self.file.config.display().to_string();
        let Loaded { config, warnings, places } = match Config::load(&self.file.config, terminal.environment.drain(..))
        {
            Ok(loaded) => loaded,
            Err(problems) => return self.refused(&problems, terminal),
        };
        let examined = match process::block_on(async { Ok(examine(&config, !self.without_public_url).await) }) {
            Ok(examined) => examined,
            Err(words) => return process::end(Err(words), terminal),
        };
        let report = Report { file, places, warnings, examined };
        if self.json {
            report.write_json(terminal.out)?;
        } else {
            report.write(terminal)?;
        }
        Ok(if report.count(Severity::Error) == 0 { Outcome::Done } else { Outcome::Failed })
    }

    /// A file that `serve` would refuse.
    fn refused(&self, problems: &Problems, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        if self.json {
            let document = json!({"well": false, "configuration": problems.to_json(), "asked": [], "findings": []});
            writeln!(terminal.out, "{}", shown::json(&document)?)?;
        } else {
            writeln!(terminal.err, "{problems}")?;
        }
        Ok(Outcome::Failed)
    }
}

/// Asks everything at once. Each answer has a limit of its own, so that this takes half a minute at most.
async fn examine(config: &Config, with_public_url: bool) -> Vec<Examined> {
    let clock = Clock::system();
    let identities = Identities::new(config, &clock, &Metrics::default().providers);
    let providers = join_all(identities.iter().map(|provider| examine_provider(config, provider, &clock)));
    let upstreams = join_all(config.upstreams.iter().map(|upstream| async {
        let settings = &upstream.settings;
        let findings = Upstream::examine(settings, config.outbound.ca_file.as_ref()).await;
        Examined {
            about: format!("upstream {}", settings.id),
            place: settings.reach.url().to_string(),
            findings: findings.iter().map(|finding| upstream::diagnose(&settings.id, finding)).collect(),
        }
    }));
    let database = async {
        // without an authorization server nothing is stored
        if config.issues_tokens() { vec![online::ask_database(config).await] } else { Vec::new() }
    };
    let ours = async { if with_public_url { Some(public_url::examine(config, &clock).await) } else { None } };
    let (database, providers, issuers, assertion_issuers, upstreams, ours) = tokio::join!(
        database,
        providers,
        online::ask_token_issuers(config),
        online::ask_assertion_issuers(config),
        upstreams,
        ours
    );
    let ours = ours.map(|findings| Examined {
        about: "public_url".to_owned(),
        place: config.public_url.to_string(),
        findings,
    });
    let mut examined: Vec<_> = database.into_iter().map(|asked| of(asked, Id::Database, "url")).collect();
    examined.extend(providers.into_iter().flatten());
    examined.extend(issuers.into_iter().map(|asked| of(asked, Id::IssuerUnusable, "issuer")));
    examined.extend(assertion_issuers.into_iter().map(|asked| of(asked, Id::AssertionIssuerUnusable, "jwks_uri")));
    examined.extend(upstreams);
    examined.extend(ours);
    examined
}

/// `None` for users of our own, who need no provider.
async fn examine_provider(config: &Config, provider: &Provider, clock: &Clock) -> Option<Examined> {
    let id = provider.id().as_str();
    let identity = config.identities.iter().find(|identity| identity.id == id)?;
    let IdentityKind::Oidc(settings) = &identity.kind else { return None };
    let redirect_uri = config.public_url.join(&paths::callback(id));
    let examination = provider.examine(&redirect_uri).await?;
    let subject = Subject { section: format!("identity {id:?}"), settings, redirect_uri };
    Some(Examined {
        about: format!("identity {id}"),
        place: settings.issuer.clone(),
        findings: provider::diagnose(&subject, &examination, clock.now()),
    })
}

/// What `check --online` asks as well.
fn of(asked: Asked, id: Id, key: &'static str) -> Examined {
    let (about, place) = (asked.subject.clone(), asked.place.clone());
    let findings = asked.into_problems().into_iter().map(|problem| {
        let section = problem.subject.split(": ").next().unwrap_or_default();
        let mend = problem.hint.unwrap_or_else(|| "correct this setting, or what it names".to_owned());
        Finding::new(id, section, key, problem.what).mend(mend)
    });
    Examined { about, place, findings: findings.collect() }
}

/// What is printed.
struct Report {
    file: String,
    places: Places,
    warnings: Problems,
    examined: Vec<Examined>,
}

impl Report {
    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.examined.iter().flat_map(|examined| &examined.findings)
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings().filter(|finding| finding.id.severity() == severity).count()
    }

    fn write(&self, terminal: &mut Terminal<'_>) -> io::Result<()> {
        if !self.warnings.is_empty() {
            writeln!(terminal.err, "{}", self.warnings)?;
        }
        let out = &mut *terminal.out;
        self.findings().try_for_each(|finding| finding.write(&self.file, &self.places, out))?;
        if self.findings().next().is_some() {
            writeln!(out)?;
        }
        let width = self.examined.iter().map(|examined| examined.about.len()).max().unwrap_or_default();
        for Examined { about, place, findings } in &self.examined {
            let words = if findings.is_empty() { "well".to_owned() } else { pluralize(findings.len(), "finding") };
            writeln!(out, "    {about:width$}  {}: {words}", escaped(place))?;
        }
        let (faults, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        let words = match (faults, warnings) {
            (0, 0) => "all is well".to_owned(),
            (0, _) => pluralize(warnings, "warning"),
            (_, 0) => pluralize(faults, "fault"),
            _ => format!("{}, {}", pluralize(faults, "fault"), pluralize(warnings, "warning")),
        };
        writeln!(out, "{}: {words}", self.file)
    }

    fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let asked = self.examined.iter().map(
            |Examined { about, place, findings }| json!({"about": about, "place": place, "findings": findings.len()}),
        );
        let document = json!({
            "well": self.count(Severity::Error) == 0,
            "configuration": self.warnings.to_json(),
            "asked": asked.collect::<Vec<_>>(),
            "findings": self.findings().map(|finding| finding.json(&self.file, &self.places)).collect::<Vec<_>>(),
        });
        writeln!(out, "{}", shown::json(&document)?)
    }
}
