//! How we prove who we are at Entra ID without a client secret.

use std::path::PathBuf;

use serde::Deserialize;
use url::Url;

use super::cloud::exchange_audience_of;
use super::settings::{EntraCredential, ManagedIdentity, ManagedIdentityEndpoint};
use crate::config::ClientCertificate;
use crate::config::needs::SecretFor;
use crate::config::problem::Mistake;
use crate::config::reading::{Reading, Section};
use crate::config::secret_source::SecretSource;

/// The instance metadata service of a virtual machine in Azure.
const IMDS: &str = "http://169.254.169.254/metadata/identity/oauth2/token";
/// The keys of an entry that each name a credential.
const KEYS: [&str; 4] = ["client_secret", "client_certificate", "federated_token_file", "managed_identity"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct CertificateWritten {
    certificate: String,
    key: SecretSource,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ManagedIdentityWritten {
    client_id: String,
}

/// The keys for a credential as they were written.
pub(super) struct Written<'a> {
    pub(super) certificate: Option<&'a CertificateWritten>,
    pub(super) token_file: Option<&'a str>,
    pub(super) managed_identity: Option<&'a ManagedIdentityWritten>,
}

/// Reads the credential; exactly one must be there.
pub(super) fn read(
    written: &Written<'_>,
    authority: &Url,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> Option<EntraCredential> {
    let written_ones: Vec<&str> = KEYS.into_iter().filter(|key| section.has(key)).collect();
    match written_ones.as_slice() {
        [_] => {}
        [] => {
            let mistake = Mistake::new("there is no credential: Entra ID demands one of a web application");
            reading.error(&section.at("client_id"), mistake.hint(format!("add one of {}", KEYS.join(", "))));
        }
        [_, second, ..] => {
            let mistake = Mistake::new("is a second credential").hint(format!("keep one of {}", KEYS.join(", ")));
            reading.error(&section.at(second), mistake);
        }
    }
    if let Some(certificate) = written.certificate {
        return self::certificate(certificate, section, reading).map(EntraCredential::Certificate);
    }
    if let Some(file) = written.token_file {
        return Some(EntraCredential::TokenFile(token_file(file, section, reading)));
    }
    let identity = written.managed_identity.filter(|_| reading.reads(SecretFor::Provider))?;
    managed_identity(identity, authority, section, reading).map(EntraCredential::ManagedIdentity)
}

fn certificate(
    written: &CertificateWritten,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> Option<ClientCertificate> {
    let key = reading.secret(&section.nested("client_certificate", "key"), SecretFor::Provider, &written.key)?;
    let path = reading.resolve(&written.certificate);
    reading.keep(&section.at("client_certificate"), ClientCertificate::read(&path, &key))
}

/// The file may appear with the pod that mounts it, so its absence is only a warning.
fn token_file(file: &str, section: &Section<'_>, reading: &mut Reading<'_>) -> PathBuf {
    let path = reading.resolve(file);
    if !path.is_file() {
        let mistake = Mistake::new("there is no such file now: nobody can sign in until it is there");
        let hint =
            "in Kubernetes the webhook of Azure Workload Identity mounts it, and sets AZURE_FEDERATED_TOKEN_FILE";
        reading.warn(&section.at("federated_token_file"), mistake.hint(hint));
    }
    path
}

fn managed_identity(
    written: &ManagedIdentityWritten,
    authority: &Url,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> Option<ManagedIdentity> {
    let at = section.nested("managed_identity", "client_id");
    if written.client_id.trim().is_empty() {
        reading.error(&at, Mistake::new("is empty").hint("the client id of the user-assigned managed identity"));
    }
    let endpoint = match (reading.variable("IDENTITY_ENDPOINT"), reading.variable("IDENTITY_HEADER")) {
        (None, _) => ManagedIdentityEndpoint::Machine(IMDS.to_owned()),
        (Some(url), Some(header)) if Url::parse(url).is_ok_and(|url| url.scheme() == "http") => {
            ManagedIdentityEndpoint::AppService { url: url.to_owned(), header: header.to_owned().into() }
        }
        (Some(_), _) => {
            let mistake = Mistake::new("IDENTITY_ENDPOINT is set, but it is no http URL or IDENTITY_HEADER is missing");
            let hint = "App Service and Container Apps set both: pass both on to this process, or neither";
            reading.error(&section.at("managed_identity"), mistake.hint(hint));
            return None;
        }
    };
    let audience = exchange_audience_of(authority).to_owned();
    Some(ManagedIdentity { client_id: written.client_id.clone(), audience, endpoint })
}
