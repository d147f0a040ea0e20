//! `[[identity]]`: who signs people in.

use serde::Deserialize;
use url::Url;

use super::CaFile;
use super::client::check_name;
use super::id::{Seen, check_identity_id, taken};
use super::problem::{Mistake, nearest};
use super::reading::{Reading, Section};
use super::secret_source::SecretSource;
use crate::oauth::redirect_uri::is_loopback;
use crate::oauth::scope::{OFFLINE_ACCESS, ScopeSet};
use crate::secret::SecretText;

/// One identity provider.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Permanent: subjects begin with it.
    pub id: String,
    /// What the button of the consent page calls it.
    pub name: String,
    /// What it is.
    pub kind: IdentityKind,
}

/// What an identity provider is.
#[derive(Debug, Clone)]
pub enum IdentityKind {
    /// An OpenID Connect provider.
    Oidc(Box<OidcSettings>),
    /// People whom we know by ourselves.
    Local(Vec<LocalUser>),
}

/// How a provider departs from the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum OidcFlavour {
    /// `kind = "keycloak"`.
    #[serde(rename = "keycloak")]
    Keycloak,
    /// `kind = "oidc"`.
    #[serde(rename = "oidc")]
    Generic,
}

/// How long a grant can outlive the user's session at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Ask for `offline_access`.
    #[default]
    Offline,
    /// Tokens end with the provider's session.
    Session,
    /// The provider is never asked again.
    None,
}

/// An OpenID Connect provider.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// What differs.
    pub flavour: OidcFlavour,
    /// Compared byte for byte.
    pub issuer: String,
    /// Where its metadata lies, when we reach it under another name than its users.
    pub discovery: Url,
    /// Ours at the provider.
    pub client_id: String,
    /// Ours at the provider; a public client has none.
    pub client_secret: Option<SecretText>,
    /// What is asked besides `openid`.
    pub scopes: ScopeSet,
    /// How long grants last there.
    pub standing: Standing,
    /// The ID token's claim that holds the groups.
    pub groups_claim: String,
    /// Whether its e-mail addresses are believed although it does not say that they were verified.
    pub trust_email: bool,
    /// The issuer whose place it takes under the same id.
    pub replaces_issuer: Option<String>,
    /// Certificates that are trusted for this provider besides the global ones.
    pub ca_file: Option<CaFile>,
}

/// A user whom we know by ourselves.
#[derive(Debug, Clone)]
pub struct LocalUser {
    /// Immutable; the key of the subject.
    pub id: String,
    /// What is typed on the sign-in page.
    pub username: String,
    /// An argon2id hash in PHC format.
    pub password_hash: SecretText,
    /// A full name, for people.
    pub name: Option<String>,
    /// An address.
    pub email: Option<String>,
    /// Groups.
    pub groups: Vec<String>,
}

/// Where providers say what they offer (OpenID Connect Discovery 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    id: String,
    name: Option<String>,
    kind: OidcFlavour,
    issuer: String,
    discovery: Option<String>,
    client_id: String,
    client_secret: Option<SecretSource>,
    scopes: Option<Vec<String>>,
    standing: Option<Standing>,
    groups_claim: Option<String>,
    trust_email: Option<bool>,
    replaces_issuer: Option<String>,
    ca_file: Option<String>,
}

/// Reads one entry. `seen` holds the ids of those before it.
pub(super) fn read(section: &Section<'_>, seen: &mut Seen, reading: &mut Reading<'_>) -> Option<Identity> {
    if let Some(mistake) = section.node().text("kind").and_then(unknown_kind) {
        reading.error(&section.at("kind"), mistake);
        if section.node().text("kind").is_some_and(is_later_kind) {
            return None;
        }
        reading.give_up(section, "kind");
    }
    let written: Written = reading.shape(section)?;
    let at = section.at("id");
    let id = check_identity_id(&written.id)
        .and_then(|()| seen.once(&written.id, &at.place).map_err(|before| taken(&before)));
    reading.keep(&at, id);
    if let Some(name) = &written.name {
        reading.keep(&section.at("name"), check_name(name));
    }
    let name = written.name.clone().unwrap_or_else(|| default_name(written.kind, &written.id));
    let id = written.id.clone();
    let kind = IdentityKind::Oidc(Box::new(settings(written, section, reading)?));
    Some(Identity { id, name, kind })
}

/// What people call a provider that the operator gave no name: the product's, where there is one.
fn default_name(kind: OidcFlavour, id: &str) -> String {
    match kind {
        OidcFlavour::Keycloak => "Keycloak".to_owned(),
        OidcFlavour::Generic => id.to_owned(),
    }
}

/// Whether a kind has keys of its own, which this version does not know.
pub(super) fn is_later_kind(kind: &str) -> bool {
    matches!(kind, "entra" | "local")
}

/// What can be said of a kind that this version has not.
fn unknown_kind(kind: &str) -> Option<Mistake> {
    match kind {
        "entra" => Some(Mistake::new("\"entra\" is not in this version").hint("\"keycloak\" and \"oidc\" are")),
        "local" => Some(
            Mistake::new("\"local\" is not in this version")
                .hint("`portcullis dev` has users of its own; here \"keycloak\" and \"oidc\" sign people in"),
        ),
        "keycloak" | "oidc" => None,
        other if nearest(other, &["keycloak", "oidc"]).is_some() => None,
        _ => {
            Some(Mistake::new("must be \"keycloak\" or \"oidc\"").hint("\"oidc\" is any other OpenID Connect provider"))
        }
    }
}

fn settings(written: Written, section: &Section<'_>, reading: &mut Reading<'_>) -> Option<OidcSettings> {
    let issuer = reading.keep(&section.at("issuer"), check_issuer(&written.issuer));
    let is_keycloak = written.kind == OidcFlavour::Keycloak && !reading.is_invented(&section.at("kind"));
    if is_keycloak && issuer.as_ref().is_some_and(|issuer| !names_a_realm(issuer)) {
        let mistake = Mistake::new("Keycloak's issuers end in /realms/NAME, without a slash behind it")
            .hint("kind = \"oidc\" is for other providers");
        reading.warn(&section.at("issuer"), mistake);
    }
    let discovery = match &written.discovery {
        Some(discovery) => reading.keep(&section.at("discovery"), check_discovery(discovery)),
        None => issuer.and_then(|_| Url::parse(&default_discovery(&written.issuer)).ok()),
    };
    for (key, text) in [("client_id", Some(&written.client_id)), ("groups_claim", written.groups_claim.as_ref())] {
        if text.is_some_and(|text| text.trim().is_empty()) {
            reading.error(&section.at(key), Mistake::new("is empty"));
        }
    }
    if written.replaces_issuer.as_ref() == Some(&written.issuer) {
        let mistake = Mistake::new("is the issuer itself").hint("write the issuer of before, or leave it out");
        reading.error(&section.at("replaces_issuer"), mistake);
    }
    let client_secret = written.client_secret.map(|source| reading.secret(&section.at("client_secret"), &source));
    let default_scopes = || vec!["profile".to_owned(), "email".to_owned()];
    let scopes = scopes(written.scopes.unwrap_or_else(default_scopes), section, reading);
    let ca_file = reading.ca_file(section, written.ca_file);
    Some(OidcSettings {
        flavour: written.kind,
        issuer: written.issuer,
        discovery: discovery?,
        client_id: written.client_id,
        client_secret: client_secret.flatten(),
        scopes,
        standing: written.standing.unwrap_or_default(),
        groups_claim: written.groups_claim.unwrap_or_else(|| "groups".to_owned()),
        trust_email: written.trust_email.unwrap_or_default(),
        replaces_issuer: written.replaces_issuer,
        ca_file,
    })
}

fn names_a_realm(issuer: &Url) -> bool {
    let mut segments = issuer.path().rsplit('/');
    segments.next().is_some_and(|name| !name.is_empty()) && segments.next() == Some("realms")
}

fn default_discovery(issuer: &str) -> String {
    format!("{}{DISCOVERY}", issuer.trim_end_matches('/'))
}

/// An issuer is compared byte for byte with what the provider says; here only its form is judged (OpenID Connect
/// Discovery 3).
fn check_issuer(issuer: &str) -> Result<Url, Mistake> {
    const HINT: &str = "copy it from \"issuer\" in the provider's own openid-configuration, such as \"https://sso.example.com/realms/mcp\"";
    if issuer.contains(['{', '<']) || is_for_many_tenants(issuer) {
        return Err(Mistake::new("is a template: each tenant's tokens name another issuer")
            .hint("write your own tenant's: its id in place of {tenantid}, common, organizations or consumers"));
    }
    let url =
        web_url(issuer).filter(|url| url.query().is_none()).ok_or_else(|| Mistake::new("is no issuer").hint(HINT))?;
    if url.scheme() != "https" && !is_loopback(&url) {
        return Err(Mistake::new("must be https unless the provider runs on this machine").hint(
            "when only containers reach it by http, write its public https name here and the inner address into discovery",
        ));
    }
    if url.path().ends_with(DISCOVERY) {
        return Err(Mistake::new("is the address of the metadata").hint(format!("leave {DISCOVERY} out")));
    }
    Ok(url)
}

/// Whether an issuer is one of those that Microsoft has for several tenants at once: no token names it.
fn is_for_many_tenants(issuer: &str) -> bool {
    let Ok(url) = Url::parse(issuer) else { return false };
    let path = url.path().trim_end_matches('/');
    matches!(path.strip_suffix("/v2.0").unwrap_or(path), "/common" | "/organizations" | "/consumers")
}

fn check_discovery(discovery: &str) -> Result<Url, Mistake> {
    web_url(discovery).ok_or_else(|| {
        Mistake::new("must be a whole http or https URL")
            .hint("such as \"http://keycloak:8080/realms/mcp/.well-known/openid-configuration\"")
    })
}

/// An http or https URL without a place for secrets.
pub(super) fn web_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'))?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let host = url.host_str().is_some_and(|host| !host.contains('*'));
    (plain && host && matches!(url.scheme(), "http" | "https")).then_some(url)
}

fn scopes(written: Vec<String>, section: &Section<'_>, reading: &mut Reading<'_>) -> ScopeSet {
    for (index, scope) in written.iter().enumerate() {
        let judged = if scope == OFFLINE_ACCESS {
            Err(Mistake::new("offline_access is asked for by standing").hint("standing = \"offline\" is the default"))
        } else {
            check_scope(scope)
        };
        reading.keep(&section.item("scopes", index), judged);
    }
    written.into_iter().filter(|scope| scope != "openid").collect()
}

/// Exactly one scope value (RFC 6749 3.3).
pub(super) fn check_scope(scope: &str) -> Result<(), Mistake> {
    let one = ScopeSet::parse(scope).is_ok_and(|set| set.contains(scope));
    if one {
        Ok(())
    } else {
        Err(Mistake::new("is not one scope").hint("printable ASCII without spaces, quotes and backslashes"))
    }
}
