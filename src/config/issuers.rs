//! All `[[issuer]]` entries, and what must agree between them and other sections.

use std::sync::Arc;

use super::accepts::{Issuers, accepts_own};
use super::problem::Mistake;
use super::reading::{Reading, Section};
use super::sections::Sections;
use super::upstream::UpstreamSettings;
use super::{Identity, IdentityKind, IssuerKind, OidcFlavour, PublicUrl, TokenIssuer, token_issuer};

/// Whether an upstream accepts our own tokens; a file without upstreams is read as if one did.
pub(super) fn issues_tokens(sections: &Sections) -> bool {
    let mut upstreams = sections.list("upstream").peekable();
    upstreams.peek().is_none() || upstreams.any(|section| accepts_own(section.node()))
}

/// Sections that have no effect without an authorization server of our own.
pub(super) fn warn_of_no_authorization_server(issues: bool, sections: &Sections, reading: &mut Reading<'_>) {
    if issues {
        return;
    }
    for list in ["identity", "client", "assertion_issuer"] {
        if let Some(section) = sections.list(list).next() {
            let mistake = Mistake::new("has no effect: no upstream accepts \"own\", so nobody signs in here");
            reading.warn(&section.at("id"), mistake.hint("remove it, or add \"own\" to the accepts of an upstream"));
        }
    }
}

/// Reads every `[[issuer]]`.
pub(super) fn read(
    sections: &Sections,
    identities: &[Identity],
    public_url: Option<&PublicUrl>,
    reading: &mut Reading<'_>,
) -> Issuers {
    let mut taken = token_issuer::Taken::default();
    let (mut issuers, mut complete) = (Vec::new(), !sections.is_unreadable("issuer"));
    for section in sections.list("issuer") {
        let Some(issuer) = token_issuer::read(&section, &mut taken, reading) else {
            complete = false;
            continue;
        };
        if identities.iter().any(|identity| identity.id == issuer.id && !has_users_of(identity, &issuer)) {
            let mistake = Mistake::new("is not the issuer of the identity with this id: users of both would be one");
            reading.error(&section.at("issuer"), mistake.hint("write that identity's issuer, or choose another id"));
        }
        if public_url.is_some_and(|ours| ours.as_str() == issuer.issuer) {
            let mistake = Mistake::new("is public_url: that is Portcullis itself");
            reading.error(&section.at("issuer"), mistake.hint("write \"own\" in the accepts of the upstream instead"));
        }
        issuers.push(Arc::new(issuer));
    }
    Issuers { read: issuers, complete }
}

/// Whether the users of an identity are those of an issuer, by the same ids.
fn has_users_of(identity: &Identity, issuer: &TokenIssuer) -> bool {
    let IdentityKind::Oidc(settings) = &identity.kind else { return false };
    match (&settings.flavour, issuer.kind) {
        // both name users by tenant and object, and version 1 tokens another issuer
        (OidcFlavour::Entra(_), IssuerKind::Entra) => settings.issuer == issuer.advertised,
        (OidcFlavour::Entra(_), _) | (_, IssuerKind::Entra) => false,
        _ => settings.issuer == issuer.issuer,
    }
}

/// Warns of issuers whose tokens open nothing, and of audiences that open more than one upstream.
pub(super) fn warn_of_unused(
    sections: &Sections,
    issuers: &Issuers,
    upstreams: &[(Section<'_>, UpstreamSettings)],
    reading: &mut Reading<'_>,
) {
    // one with a mistake of its own may be meant
    if !issuers.complete || sections.list("upstream").count() != upstreams.len() {
        return;
    }
    for section in sections.list("issuer") {
        let Some(id) = section.node().text("id") else { continue };
        let accepting: Vec<_> = upstreams.iter().filter(|(_, settings)| settings.accepts.of(id).is_some()).collect();
        if accepting.is_empty() {
            let mistake = Mistake::new("no upstream accepts tokens of this issuer");
            reading.warn(&section.at("id"), mistake.hint("add this id to the accepts of an [[upstream]]"));
        }
        let shared: Vec<_> = accepting.iter().filter(|(upstream, _)| !upstream.has("audiences")).collect();
        if shared.len() > 1 {
            let mistake = Mistake::new(format!(
                "open {} upstreams: whoever gets a token for one of them can call the others",
                shared.len()
            ));
            let hint = "give each of these upstreams audiences of its own";
            reading.warn(&section.at("audiences"), mistake.hint(hint));
        }
    }
}
