//! What is wrong with an identity provider, by what it answered.

mod authorization;
mod console;
mod discovery;
mod subject;
#[cfg(test)]
mod testing;
mod token;

use std::collections::BTreeSet;
use std::time::Duration;

use self::console::Spot;
pub(super) use self::subject::Subject;
use super::finding::{Finding, Id};
use crate::clock::Timestamp;
use crate::config::{EntraCredential, OidcFlavour};
use crate::identity::{Beyond, Examination, NoKeys};
use crate::outbound::Diagnosis;

/// All faults, the fundamental ones first. `now` is when the answers came.
pub(super) fn diagnose(subject: &Subject<'_>, examination: &Examination, now: Timestamp) -> Vec<Finding> {
    let mut findings = discovery::diagnose(subject, examination, now);
    findings.extend(certificate(subject, now));
    if let Some(beyond) = &examination.beyond {
        findings.extend(diagnose_keys(subject, beyond));
        let refused = authorization::diagnose(subject, beyond);
        // who is not known there has no secret there either
        let known = !refused.iter().any(|finding| is_about_the_client_itself(finding.id));
        findings.extend(refused);
        if let Some(diagnosis) = &beyond.no_credential {
            findings.push(no_credential(subject, diagnosis));
        } else if known {
            findings.extend(token::diagnose(subject, beyond));
        }
    }
    // both endpoints may say the same
    let mut told = BTreeSet::new();
    findings.retain(|finding| told.insert(finding.id));
    findings
}

const fn is_about_the_client_itself(id: Id) -> bool {
    use Id::{ProviderClientDisabled, ProviderClientUnknown, ProviderHttps, ProviderRealmDisabled, ProviderTenant};
    matches!(
        id,
        ProviderClientUnknown | ProviderClientDisabled | ProviderRealmDisabled | ProviderHttps | ProviderTenant
    )
}

fn diagnose_keys(subject: &Subject<'_>, beyond: &Beyond) -> Option<Finding> {
    let key = subject.key_of_address();
    match &beyond.keys {
        Ok(()) => None,
        Err(NoKeys::Unread(diagnosis)) => {
            let (cause, hint) = diagnosis.clone().into_parts();
            let finding =
                subject.finding(Id::ProviderKeysUnreachable, key, format!("its keys cannot be read: {cause}"));
            Some(finding.mend(hint.unwrap_or_else(|| {
                "this machine must reach `jwks_uri` of the provider's metadata, whatever name that has".to_owned()
            })))
        }
        Err(NoKeys::Unusable(words)) => {
            let finding = subject.finding(Id::ProviderKeysUnusable, key, format!("its key set is not usable: {words}"));
            let finding = finding.elsewhere(subject.there(Spot::SignatureAlgorithm));
            Some(finding.mend("the provider must publish an RSA, P-256, P-384 or Ed25519 key for signatures"))
        }
    }
}

/// How long before its end a certificate is worth a word.
const NOTICE: Duration = Duration::from_hours(30 * 24);

/// Whether our certificate there has ended, or will.
fn certificate(subject: &Subject<'_>, now: Timestamp) -> Option<Finding> {
    let OidcFlavour::Entra(entra) = &subject.settings.flavour else { return None };
    let Some(EntraCredential::Certificate(certificate)) = &entra.credential else { return None };
    let end = Timestamp(certificate.not_after()?);
    if now + NOTICE < end {
        return None;
    }
    let (id, word) = if now < end {
        (Id::ProviderCertificateEnds, "ends")
    } else {
        (Id::ProviderCertificate, "has ended: it ended")
    };
    let what = format!("our certificate {word} at {} UTC", end.in_utc());
    let finding = subject.finding(id, "client_certificate", what).elsewhere(subject.there(Spot::Certificates));
    Some(finding.mend("make a new one, upload it there beside the old one, then change client_certificate"))
}

fn no_credential(subject: &Subject<'_>, diagnosis: &Diagnosis) -> Finding {
    let key = match &subject.settings.flavour {
        OidcFlavour::Entra(entra) => match entra.credential {
            Some(EntraCredential::TokenFile(_)) => "federated_token_file",
            Some(EntraCredential::ManagedIdentity(_)) => "managed_identity",
            Some(EntraCredential::Certificate(_)) => "client_certificate",
            None => "client_secret",
        },
        OidcFlavour::Generic | OidcFlavour::Keycloak => "client_secret",
    };
    let (cause, hint) = diagnosis.clone().into_parts();
    let hint = hint.unwrap_or_else(|| "the process must be able to read it; `serve` runs as its own user".to_owned());
    subject.finding(Id::ProviderCredential, key, cause).mend(hint)
}
