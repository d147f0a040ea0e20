//! The configuration, one file per section. It is read once, at start.
//!
//! Every section is validated here, so components use theirs without further checks. Unsafe configurations do not start.
//!
//! ```text
//! file ─► document (tree with locations) ─► sections ─► environment (variables override) ─► unknown keys
//!      ─► shape (the type of each value) ─► each section's file (its meaning) ─► consistency (between sections)
//! ```
//! A run reports the first syntax error, or else every unknown key, wrong type and wrong value.

mod accepts;
mod addresses;
mod admission;
mod api_keys;
mod assembly;
mod assertion_issuer;
mod authorize_params;
mod bounds;
mod ca_file;
mod claim;
mod client;
mod client_certificate;
mod client_documents;
mod consent;
mod consistency;
mod database_url;
mod device;
mod document;
mod dpop;
mod entra;
mod environment;
mod group_sources;
pub(crate) mod header_names;
mod id;
mod identities;
mod identity;
mod issuer_checks;
mod issuers;
mod lifetimes;
mod limits;
mod log;
mod name;
mod needs;
mod node_deserializer;
mod outbound;
mod pages;
mod path;
mod places;
mod postgres;
mod problem;
mod proxy;
mod public_url;
mod quantity;
mod reach;
mod reading;
mod registration;
mod request_headers;
mod rights;
mod root;
mod scope;
mod scopes;
mod secret_source;
mod secrets;
mod sections;
mod server;
mod server_credential;
mod shape;
mod shape_error;
mod spelling;
mod storage;
mod storage_server;
mod tenant;
mod token_issuer;
mod tokens;
mod upstream;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

pub use accepts::{AcceptedIssuer, Accepts};
pub use admission::{Admission, Allow, AllowRule};
pub use api_keys::ApiKeys;
pub use assertion_issuer::AssertionIssuer;
pub use bounds::Bounds;
pub use ca_file::CaFile;
pub use client::ConfiguredClient;
pub use client_certificate::ClientCertificate;
pub use client_documents::ClientDocuments;
pub use consent::Consent;
pub use device::Device;
pub use dpop::{BoundTokens, Dpop, ProofReplay};
pub use entra::{
    EntraCredential, EntraPrompt, EntraSettings, EntraTenant, GroupsOverage, ManagedIdentity, ManagedIdentityEndpoint,
};
pub use group_sources::{ClaimForm, GroupOrigin, GroupSource, GroupSources};
pub use identity::{Identity, IdentityKind, LocalUser, OidcFlavour, OidcSettings, Standing};
pub use issuer_checks::IssuerKind;
pub use lifetimes::Lifetimes;
pub use limits::Limits;
pub use log::{Log, LogFormat};
pub use needs::Needs;
pub use outbound::Outbound;
pub use pages::{Color, Logo, Pages, Support};
pub use places::Places;
pub use postgres::{Postgres, PostgresHost, PostgresServer, PostgresTls};
pub use problem::{Location, Problem, Problems, Severity};
pub use proxy::{OutboundProxy, Proxies, ProxyUrl};
pub use public_url::PublicUrl;
pub use reach::{Reach, ReachHttp, upstream_url};
pub use registration::Registration;
pub use request_headers::{AddedHeader, DroppedHeaders, ForwardedGroups, RequestHeaders};
pub use root::Config;
pub use scopes::{ScopeText, UpstreamScopes};
pub use secrets::{RootKey, Secrets};
pub use server::Server;
pub use server_credential::{
    AssertionClaim, AssertionSettings, CredentialSource, ProviderCredential, ProviderGrant, ServerCredential,
};
pub use spelling::Spelling;
pub use storage::{Database, Storage};
pub use tenant::TenantId;
pub use token_issuer::{TokenIssuer, Verification};
pub use tokens::{RefreshTokens, SigningAlgorithm, Tokens};
pub use upstream::{ResourceNames, Upstream, UpstreamSettings};

pub(crate) use admission::MAX_GROUP;
pub(crate) use consistency::reaches;
use problem::Mistake;
pub(crate) use problem::{io_message, pluralize};
pub(crate) use quantity::duration;
use reading::Reading;
use sections::Sections;

/// A configuration without errors.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Probable mistakes; may be empty.
    pub warnings: Problems,
    /// Where each setting was written.
    pub places: Places,
}

impl Config {
    /// Reads the file, applies the `PORTCULLIS_` variables, reads the secrets and validates everything. Uses no network.
    ///
    /// `environment` is that of the process; it also holds the secrets that the file refers to by `{ env = "…" }`. Relative
    /// paths in the file begin at the file's directory.
    ///
    /// # Errors
    /// Every problem, with its location.
    pub fn load(file: &Path, environment: impl IntoIterator<Item = (String, String)>) -> Result<Loaded, Problems> {
        Self::load_for(Needs::Everything, file, environment)
    }

    /// The same for a run that needs fewer secrets. Those that it does not read are missing from the configuration.
    ///
    /// # Errors
    /// Every problem, with its location.
    pub fn load_for(
        needs: Needs,
        file: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, Problems> {
        let environment: BTreeMap<_, _> = environment.into_iter().collect();
        let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let mut reading = Reading::new(needs, absolute.parent().unwrap_or(&absolute), &environment);
        let config = read(file, &mut reading);
        let problems = Problems::new(file.display().to_string(), reading.finish());
        match config {
            Some((config, places)) if problems.list().iter().all(|problem| problem.severity == Severity::Warning) => {
                Ok(Loaded { config, warnings: problems, places })
            }
            _ => Err(problems),
        }
    }
}

fn read(file: &Path, reading: &mut Reading<'_>) -> Option<(Config, Places)> {
    let bytes = std::fs::read(file).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => "give the user that runs Portcullis read access",
            _ => "check --config FILE; relative paths begin at the current directory",
        };
        Mistake::new(format!("the configuration cannot be read: {}", io_message(&error))).hint(hint)
    });
    let text = bytes.and_then(|bytes| {
        let not_utf8 = || Mistake::new("the configuration is not UTF-8 text").hint("save it as UTF-8");
        String::from_utf8(bytes).ok().ok_or_else(not_utf8)
    });
    let text = match text {
        Ok(text) => text,
        Err(mistake) => {
            reading.error_at(Location::File, "", mistake);
            return None;
        }
    };
    match document::parse(&text) {
        Ok(root) => {
            let mut sections = Sections::take(root, reading);
            environment::overlay(&mut sections, reading);
            sections.spell(reading);
            Some((assembly::read(&sections, reading)?, Places::of(sections.all())))
        }
        Err((location, mistake)) => {
            reading.error_at(location, "", mistake);
            None
        }
    }
}
