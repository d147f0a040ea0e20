//! `[[assertion_issuer]]`: identity providers whose assertions clients exchange for access tokens (enterprise-managed
//! authorization, ID-JAG). Without an entry the grant does not exist here.

use serde::Deserialize;
use url::Url;

use super::CaFile;
use super::bounds::{self, Bounds, Places};
use super::id::{Seen, check_identity_id, duplicate};
use super::identity::{check_issuer, web_url};
use super::problem::Mistake;
use super::reading::{Reading, Section};
use crate::oauth::redirect_uri::is_loopback;

/// An issuer of assertions that is trusted.
#[derive(Debug, Clone)]
pub struct AssertionIssuer {
    /// The prefix of its users' subjects. An identity provider with the same id is the same issuer.
    pub id: String,
    /// The `iss` of its assertions; compared byte for byte.
    pub issuer: String,
    /// Where its keys are.
    pub jwks_uri: Url,
    /// The ids of the clients that may use its assertions.
    pub clients: Vec<String>,
    /// What its assertions may open.
    pub bounds: Bounds,
    /// Roots that are trusted for it besides the global ones.
    pub ca_file: Option<CaFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    id: String,
    issuer: String,
    jwks_uri: String,
    clients: Vec<String>,
    upstreams: Vec<String>,
    scopes: Option<Vec<String>>,
    ca_file: Option<String>,
}

/// Values that must be unique among these issuers.
#[derive(Default)]
pub(super) struct Taken {
    ids: Seen,
    issuers: Seen,
}

/// Reads one entry. `others` holds the values of those before it.
pub(super) fn read(section: &Section<'_>, others: &mut Taken, reading: &mut Reading<'_>) -> Option<AssertionIssuer> {
    let written: Written = reading.shape(section)?;
    let at = section.at("id");
    let id = check_identity_id(&written.id)
        .and_then(|()| others.ids.insert(&written.id, &at.location).map_err(|before| duplicate(&before)));
    reading.keep(&at, id);
    let at = section.at("issuer");
    let issuer = check_issuer(&written.issuer)
        .and_then(|_| others.issuers.insert(&written.issuer, &at.location).map_err(|before| duplicate(&before)));
    reading.keep(&at, issuer);
    let jwks_uri = reading.keep(&section.at("jwks_uri"), check_jwks_uri(&written.jwks_uri));
    if written.clients.is_empty() {
        let mistake = Mistake::new("is empty: no client could use an assertion");
        reading.error(&section.at("clients"), mistake.hint("list client ids, such as the URL of a metadata document"));
    }
    let bounds = bounds::read(written.upstreams, written.scopes, &places(section), reading);
    let ca_file = reading.ca_file(section, written.ca_file);
    Some(AssertionIssuer {
        id: written.id,
        issuer: written.issuer,
        jwks_uri: jwks_uri?,
        clients: written.clients,
        bounds,
        ca_file,
    })
}

/// Where the bounds of an entry are written.
pub(super) fn places(section: &Section<'_>) -> Places {
    Places { upstreams: section.at("upstreams"), scopes: section.at("scopes") }
}

/// Who answers there can sign in as any user, so it must be https; http only on this machine.
fn check_jwks_uri(text: &str) -> Result<Url, Mistake> {
    let url = web_url(text).filter(|url| url.scheme() == "https" || is_loopback(url));
    url.ok_or_else(|| {
        Mistake::new("must be an https URL: an attacker who answers there could act as any user")
            .hint("copy it from \"jwks_uri\" in the issuer's openid-configuration")
    })
}
