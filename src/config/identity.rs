//! `[[identity]]`: the identity providers that sign users in.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use url::Url;

use super::CaFile;
use super::admission::{self, About, Admission, Place, RuleWritten};
use super::authorize_params;
use super::entra::EntraSettings;
use super::group_sources::{self, GroupSources, SourceWritten};
use super::id::{Seen, check_identity_id, duplicate};
use super::name::check_name;
use super::needs::SecretFor;
use super::problem::{Mistake, nearest};
use super::reading::{Reading, Section};
use super::scope::check_scope;
use super::secret_source::SecretSource;
use crate::oauth::redirect_uri::is_loopback;
use crate::oauth::scope::{OFFLINE_ACCESS, ScopeSet};
use crate::secret::SecretText;

/// One identity provider.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its permanent id, the prefix of its users' subjects.
    pub id: String,
    /// Its name on the button of the consent page.
    pub name: String,
    /// Its kind.
    pub kind: IdentityKind,
    /// Which of its users may sign in.
    pub admission: Admission,
}

impl Identity {
    /// Whether it is one that can report logouts (OpenID Connect Back-Channel Logout).
    #[must_use]
    pub fn may_send_logout_tokens(&self) -> bool {
        matches!(&self.kind, IdentityKind::Oidc(settings) if settings.flavour.sends_logout_tokens())
    }
}

/// The kind of an identity provider.
#[derive(Debug, Clone)]
pub enum IdentityKind {
    /// An OpenID Connect provider.
    Oidc(Box<OidcSettings>),
    /// Built-in users with passwords.
    Local(Vec<LocalUser>),
}

/// How a provider deviates from the standard.
#[derive(Debug, Clone)]
pub enum OidcFlavour {
    /// `kind = "keycloak"`.
    Keycloak,
    /// `kind = "entra"`.
    Entra(Arc<EntraSettings>),
    /// `kind = "oidc"`.
    Generic,
}

impl OidcFlavour {
    /// Whether it can report logouts (OpenID Connect Back-Channel Logout). Entra ID knows front-channel logout alone.
    #[must_use]
    pub const fn sends_logout_tokens(&self) -> bool {
        matches!(self, Self::Keycloak | Self::Generic)
    }
}

/// The kinds that share their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Kind {
    #[serde(rename = "keycloak")]
    Keycloak,
    #[serde(rename = "oidc")]
    Oidc,
}

/// How long a grant may outlive the user's session at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Requests `offline_access`: the grant outlives the session.
    #[default]
    Offline,
    /// Grants and tokens end with the provider's session.
    Session,
    /// The provider is not asked again; the grant lasts for `max_grant_age`.
    None,
}

/// An OpenID Connect provider.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// The deviations from the standard.
    pub flavour: OidcFlavour,
    /// The issuer; compared byte for byte.
    pub issuer: String,
    /// The URL of its metadata, which may be an internal address.
    pub discovery: Url,
    /// Our client id at the provider.
    pub client_id: String,
    /// Our client secret at the provider; `None` for a public client, and for a command that goes on without it.
    pub client_secret: Option<SecretText>,
    /// The scopes requested besides `openid`.
    pub scopes: ScopeSet,
    /// Further parameters of the authorization request, none of them ours.
    pub authorize_params: Vec<(String, String)>,
    /// How long grants of its users last.
    pub standing: Standing,
    /// What becomes the groups of its users.
    pub groups: GroupSources,
    /// Whether e-mail addresses are accepted without `email_verified`.
    pub trust_email: bool,
    /// The issuer that it replaces under the same id.
    pub replaces_issuer: Option<String>,
    /// Roots that are trusted for this provider besides the global ones.
    pub ca_file: Option<CaFile>,
}

/// A built-in user.
#[derive(Debug, Clone)]
pub struct LocalUser {
    /// Permanent id, the second part of the subject.
    pub id: String,
    /// The name typed on the sign-in page.
    pub username: String,
    /// An argon2id hash in PHC format.
    pub password_hash: SecretText,
    /// Display name.
    pub name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Group names.
    pub groups: Vec<String>,
}

/// The longest list of scopes, so that no parameter of the authorization request comes near 4000 characters.
pub(super) const MAX_SCOPES: usize = 3000;

/// The path of provider metadata (OpenID Connect Discovery 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    id: String,
    name: Option<String>,
    kind: Kind,
    issuer: String,
    discovery: Option<String>,
    client_id: String,
    client_secret: Option<SecretSource>,
    scopes: Option<Vec<String>>,
    authorize_params: Option<BTreeMap<String, String>>,
    standing: Option<Standing>,
    groups_claim: Option<String>,
    groups_from: Option<Vec<SourceWritten>>,
    allow: Option<Vec<RuleWritten>>,
    ask: Option<String>,
    trust_email: Option<bool>,
    replaces_issuer: Option<String>,
    ca_file: Option<String>,
}

/// Reads one entry of any kind but Entra ID's. `seen` holds the ids of those before it.
pub(super) fn read(section: &Section<'_>, seen: &mut Seen, reading: &mut Reading<'_>) -> Option<Identity> {
    let mistake = match section.node().text("kind") {
        Some(kind) => unknown_kind(kind),
        None => section.has("kind").then(|| Mistake::new(NO_KIND)),
    };
    if let Some(mistake) = mistake {
        reading.error(&section.at("kind"), mistake);
        if section.node().text("kind").is_some_and(is_future_kind) {
            return None;
        }
        reading.suppress(section, "kind");
    }
    let mut written: Written = reading.shape(section)?;
    check_names(&written.id, written.name.as_deref(), section, seen, reading);
    let admission = admission(written.allow.take(), written.ask.take(), section, reading);
    let name = written.name.clone().unwrap_or_else(|| default_name(written.kind, &written.id));
    let id = written.id.clone();
    let kind = IdentityKind::Oidc(Box::new(settings(written, section, reading)?));
    Some(Identity { id, name, kind, admission })
}

/// Who of a provider's users may sign in.
pub(super) fn admission(
    allow: Option<Vec<RuleWritten>>,
    ask: Option<String>,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> Admission {
    admission::read((allow, ask), &Place { section, path: &[], about: About::Provider }, reading)
}

/// Checks the id and the name of an entry.
pub(super) fn check_names(
    id: &str,
    name: Option<&str>,
    section: &Section<'_>,
    seen: &mut Seen,
    reading: &mut Reading<'_>,
) {
    let at = section.at("id");
    let unique =
        check_identity_id(id).and_then(|()| seen.insert(id, &at.location).map_err(|before| duplicate(&before)));
    reading.keep(&at, unique);
    if let Some(name) = name {
        reading.keep(&section.at("name"), check_name(name));
    }
}

/// The name of a provider without a configured one: that of the product, if known.
fn default_name(kind: Kind, id: &str) -> String {
    match kind {
        Kind::Keycloak => "Keycloak".to_owned(),
        Kind::Oidc => id.to_owned(),
    }
}

/// Whether a later version has this kind, with keys unknown to this one.
pub(super) fn is_future_kind(kind: &str) -> bool {
    kind == "local"
}

const KINDS: [&str; 3] = ["keycloak", "entra", "oidc"];
const NO_KIND: &str = "must be \"keycloak\", \"entra\" or \"oidc\"";

/// The mistake for an unknown kind.
fn unknown_kind(kind: &str) -> Option<Mistake> {
    match kind {
        "local" => Some(
            Mistake::new("\"local\" is not supported in this version")
                .hint("`portcullis dev` has built-in users; use \"keycloak\", \"entra\" or \"oidc\" here"),
        ),
        kind if KINDS.contains(&kind) => None,
        other => Some(Mistake::new(NO_KIND).hint(match nearest(other, &KINDS) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => "\"oidc\" is any other OpenID Connect provider".to_owned(),
        })),
    }
}

fn settings(written: Written, section: &Section<'_>, reading: &mut Reading<'_>) -> Option<OidcSettings> {
    let issuer = reading.keep(&section.at("issuer"), check_issuer(&written.issuer));
    let is_keycloak = written.kind == Kind::Keycloak && !reading.is_placeholder(&section.at("kind"));
    if is_keycloak && issuer.as_ref().is_some_and(|issuer| !names_a_realm(issuer)) {
        let mistake = Mistake::new("Keycloak's issuers end in /realms/NAME, without a trailing slash")
            .hint("for other providers, use kind = \"oidc\"");
        reading.warn(&section.at("issuer"), mistake);
    }
    let discovery = match &written.discovery {
        Some(discovery) => reading.keep(&section.at("discovery"), check_discovery(discovery)),
        None => issuer.and_then(|_| Url::parse(&default_discovery(&written.issuer)).ok()),
    };
    check_filled(section, reading, &[("client_id", Some(&written.client_id))]);
    let groups =
        group_sources::Written { claim: written.groups_claim, from: written.groups_from, vouches_for_email: true };
    let groups = group_sources::read(groups, section, reading);
    if written.replaces_issuer.as_ref() == Some(&written.issuer) {
        let mistake = Mistake::new("is the current issuer").hint("write the previous issuer, or remove it");
        reading.error(&section.at("replaces_issuer"), mistake);
    }
    let secret_at = section.at("client_secret");
    let client_secret =
        written.client_secret.and_then(|source| reading.secret(&secret_at, SecretFor::Provider, &source));
    let scopes = scopes(written.scopes.unwrap_or_else(default_scopes), section, reading);
    let authorize_params = authorize_params::read(written.authorize_params, section, reading);
    let ca_file = reading.ca_file(section, written.ca_file);
    Some(OidcSettings {
        flavour: match written.kind {
            Kind::Keycloak => OidcFlavour::Keycloak,
            Kind::Oidc => OidcFlavour::Generic,
        },
        issuer: written.issuer,
        discovery: discovery?,
        client_id: written.client_id,
        client_secret,
        scopes,
        authorize_params,
        standing: written.standing.unwrap_or_default(),
        groups,
        trust_email: written.trust_email.unwrap_or_default(),
        replaces_issuer: written.replaces_issuer,
        ca_file,
    })
}

pub(super) fn check_filled(section: &Section<'_>, reading: &mut Reading<'_>, texts: &[(&str, Option<&String>)]) {
    for (key, text) in texts {
        if text.is_some_and(|text| text.trim().is_empty()) {
            reading.error(&section.at(key), Mistake::new("is empty"));
        }
    }
}

pub(super) fn default_scopes() -> Vec<String> {
    vec!["profile".to_owned(), "email".to_owned()]
}

fn names_a_realm(issuer: &Url) -> bool {
    let mut segments = issuer.path().rsplit('/');
    segments.next().is_some_and(|name| !name.is_empty()) && segments.next() == Some("realms")
}

pub(super) fn default_discovery(issuer: &str) -> String {
    format!("{}{DISCOVERY}", issuer.trim_end_matches('/'))
}

/// Checks the form of an issuer (OpenID Connect Discovery 3). Sign-in compares it byte for byte with the provider's.
pub(super) fn check_issuer(issuer: &str) -> Result<Url, Mistake> {
    const HINT: &str = "copy it from \"issuer\" in the provider's own openid-configuration, such as \"https://sso.example.com/realms/mcp\"";
    if issuer.contains(['{', '<']) || is_for_many_tenants(issuer) {
        return Err(Mistake::new("is a template: each tenant's tokens name another issuer")
            .hint("for Microsoft Entra ID use kind = \"entra\", which knows tenants"));
    }
    let url = web_url(issuer)
        .filter(|url| url.query().is_none())
        .ok_or_else(|| Mistake::new("is not an issuer").hint(HINT))?;
    if url.scheme() != "https" && !is_loopback(&url) {
        return Err(Mistake::new("must be https unless the provider runs on this machine").hint(
            "if containers reach it over http, write its public https name here and the internal address into discovery",
        ));
    }
    if url.path().ends_with(DISCOVERY) {
        return Err(Mistake::new("is the URL of the metadata").hint(format!("remove {DISCOVERY}")));
    }
    Ok(url)
}

/// Whether an issuer is one of Microsoft's multi-tenant endpoints, which no token names.
fn is_for_many_tenants(issuer: &str) -> bool {
    let Ok(url) = Url::parse(issuer) else { return false };
    let path = url.path().trim_end_matches('/');
    matches!(path.strip_suffix("/v2.0").unwrap_or(path), "/common" | "/organizations" | "/consumers")
}

pub(super) fn check_discovery(discovery: &str) -> Result<Url, Mistake> {
    web_url(discovery).ok_or_else(|| {
        Mistake::new("must be an absolute http or https URL")
            .hint("such as \"http://keycloak:8080/realms/mcp/.well-known/openid-configuration\"")
    })
}

/// Parses an absolute http or https URL without user information, fragment or wildcard.
pub(super) fn web_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'))?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let host = url.host_str().is_some_and(|host| !host.contains('*'));
    (plain && host && matches!(url.scheme(), "http" | "https")).then_some(url)
}

pub(super) fn scopes(written: Vec<String>, section: &Section<'_>, reading: &mut Reading<'_>) -> ScopeSet {
    for (index, scope) in written.iter().enumerate() {
        let checked = if scope == OFFLINE_ACCESS {
            Err(Mistake::new("offline_access is requested through standing")
                .hint("standing = \"offline\" is the default"))
        } else {
            check_scope(scope)
        };
        reading.keep(&section.item("scopes", index), checked);
    }
    if written.iter().map(|scope| scope.len() + 1).sum::<usize>() > MAX_SCOPES {
        let mistake = Mistake::new(format!("are longer than {MAX_SCOPES} characters together"));
        reading
            .error(&section.at("scopes"), mistake.hint("Keycloak drops a parameter of 4000 characters without a word"));
    }
    written.into_iter().filter(|scope| scope != "openid").collect()
}
