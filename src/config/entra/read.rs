//! Reads an entry with `kind = "entra"`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use url::Url;

use super::cloud::{WORLDWIDE, graph_of, is_b2c};
use super::credential::{self, CertificateWritten, ManagedIdentityWritten};
use super::settings::{EntraPrompt, EntraSettings, EntraTenant, GroupsOverage};
use crate::config::admission::RuleWritten;
use crate::config::authorize_params;
use crate::config::group_sources::{self, SourceWritten};
use crate::config::identity::{
    MAX_SCOPES, OidcFlavour, OidcSettings, Standing, check_filled, default_discovery, default_scopes, scopes, web_url,
};
use crate::config::needs::SecretFor;
use crate::config::problem::Mistake;
use crate::config::reading::{Reading, Section};
use crate::config::secret_source::SecretSource;
use crate::config::{PublicUrl, TenantId};
use crate::oauth::redirect_uri::is_loopback;
use crate::oauth::scope::ScopeSet;

/// The scopes of OpenID Connect, which belong to no API.
const OIDC_SCOPES: [&str; 3] = ["openid", "profile", "email"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Written {
    pub(in crate::config) id: String,
    pub(in crate::config) name: Option<String>,
    #[serde(rename = "kind")]
    _kind: Kind,
    tenant: String,
    authority: Option<String>,
    issuer: Option<String>,
    allowed_tenants: Option<Vec<String>>,
    client_id: String,
    client_secret: Option<SecretSource>,
    pub(super) client_certificate: Option<CertificateWritten>,
    pub(super) federated_token_file: Option<String>,
    pub(super) managed_identity: Option<ManagedIdentityWritten>,
    app_id_uri: Option<String>,
    scopes: Option<Vec<String>>,
    send_resource: Option<bool>,
    prompt: Option<PromptWritten>,
    authorize_params: Option<BTreeMap<String, String>>,
    standing: Option<Standing>,
    groups_claim: Option<String>,
    groups_from: Option<Vec<SourceWritten>>,
    pub(in crate::config) allow: Option<Vec<RuleWritten>>,
    pub(in crate::config) ask: Option<String>,
    groups_overage: Option<GroupsOverage>,
    graph_url: Option<String>,
    trust_email: Option<bool>,
    replaces_issuer: Option<String>,
    ca_file: Option<String>,
}

#[derive(Deserialize)]
enum Kind {
    #[serde(rename = "entra")]
    Entra,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum PromptWritten {
    SelectAccount,
    Login,
    Consent,
    Off,
}

/// Reads the settings. A wrong value is reported and the rest is still checked.
pub(in crate::config) fn read(
    written: Written,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> Option<OidcSettings> {
    check_filled(section, reading, &[("client_id", Some(&written.client_id))]);
    let authority_text = written.authority.as_deref().unwrap_or(WORLDWIDE);
    let authority = reading.keep(&section.at("authority"), check_authority(authority_text));
    let tenant = reading.keep(&section.at("tenant"), check_tenant(&written.tenant));
    if let Some(issuer) = &written.issuer {
        reading.keep(&section.at("issuer"), check_issuer(issuer));
    }
    let (authority, tenant) = (authority?, tenant?);
    let keys = credential::Written {
        certificate: written.client_certificate.as_ref(),
        token_file: written.federated_token_file.as_deref(),
        managed_identity: written.managed_identity.as_ref(),
    };
    let credential = credential::read(&keys, &authority, section, reading);
    let client_secret = written
        .client_secret
        .as_ref()
        .and_then(|source| reading.secret(&section.at("client_secret"), SecretFor::Provider, source));
    let scopes = scopes(written.scopes.clone().unwrap_or_else(default_scopes), section, reading);
    let settings = EntraSettings {
        allowed_tenants: allowed_tenants(&written, &tenant, section, reading),
        app_id_uri: app_id_uri(&written, &scopes, section, reading),
        send_resource: written.send_resource.unwrap_or_default(),
        prompt: prompt(&written, &authority, section, reading),
        credential,
        groups_overage: written.groups_overage.unwrap_or_default(),
        graph_url: graph_url(&written, &authority, section, reading)?,
        issuer: written.issuer.clone(),
        authority: authority.as_str().trim_end_matches('/').to_owned(),
        tenant,
    };
    check_agreement(&settings, &scopes, &written, section, reading);
    let issuer = issuer(&settings, &authority);
    let authorize_params = authorize_params::read(written.authorize_params, section, reading);
    let ca_file = reading.ca_file(section, written.ca_file);
    let groups =
        group_sources::Written { claim: written.groups_claim, from: written.groups_from, vouches_for_email: false };
    Some(OidcSettings {
        groups: group_sources::read(groups, section, reading),
        discovery: Url::parse(&default_discovery(&issuer)).ok()?,
        flavour: OidcFlavour::Entra(Arc::new(settings)),
        issuer,
        client_id: written.client_id,
        client_secret,
        scopes,
        standing: written.standing.unwrap_or_default(),
        trust_email: written.trust_email.unwrap_or_default(),
        authorize_params,
        replaces_issuer: written.replaces_issuer,
        ca_file,
    })
}

/// What we call the provider, in the database too. Its tokens name another issuer where the tenant is a domain or many.
fn issuer(settings: &EntraSettings, authority: &Url) -> String {
    let root = &settings.authority;
    if is_b2c(authority) && authority.path() != "/" {
        format!("{root}/v2.0")
    } else {
        format!("{root}/{}/v2.0", settings.tenant.as_str())
    }
}

fn check_authority(text: &str) -> Result<Url, Mistake> {
    const HINT: &str = "such as \"https://login.microsoftonline.us\", \"https://NAME.ciamlogin.com\", or \
        \"https://NAME.b2clogin.com/NAME.onmicrosoft.com/POLICY\"";
    let url = web_url(text)
        .filter(|url| url.query().is_none())
        .ok_or_else(|| Mistake::new("is not an authority").hint(HINT))?;
    if url.scheme() != "https" && !is_loopback(&url) {
        return Err(Mistake::new("must be https").hint(HINT));
    }
    if url.path().contains("/v2.0") || url.path().contains("/oauth2") || url.path().contains("/.well-known") {
        return Err(Mistake::new("goes on too long: the version and the endpoints are added to it").hint(HINT));
    }
    Ok(url)
}

/// The issuer in the metadata, which is a template where they serve many tenants.
fn check_issuer(text: &str) -> Result<Url, Mistake> {
    let url = web_url(&text.replace("{tenantid}", "tenant")).filter(|url| url.scheme() == "https" || is_loopback(url));
    url.ok_or_else(|| {
        Mistake::new("is not an issuer").hint("copy it from \"issuer\" in the openid-configuration below `authority`")
    })
}

fn check_tenant(text: &str) -> Result<EntraTenant, Mistake> {
    if let Some(id) = TenantId::parse(text) {
        return Ok(EntraTenant::Id(id));
    }
    let domain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    match text {
        "organizations" => Ok(EntraTenant::Organizations),
        "common" => Ok(EntraTenant::Common),
        "consumers" => Err(Mistake::new("is not supported by this name")
            .hint("personal accounts are the tenant \"9188040d-6c67-4c5b-b112-36a304b66dad\"")),
        text if text.contains('.') && text.bytes().all(domain) && !text.starts_with(['.', '-']) => {
            Ok(EntraTenant::Domain(text.to_ascii_lowercase()))
        }
        _ => Err(Mistake::new("is not a tenant").hint(
            "write the Directory (tenant) ID of the app registration's overview, a verified domain, or \"organizations\" or \
             \"common\" with allowed_tenants",
        )),
    }
}

/// Endpoints for many tenants let the users of every organisation in the world in; only a list keeps them out.
fn allowed_tenants(
    written: &Written,
    tenant: &EntraTenant,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> Vec<TenantId> {
    let listed = written.allowed_tenants.as_deref().unwrap_or_default();
    if tenant.is_many() && listed.is_empty() {
        let mistake = Mistake::new("lets users of every tenant in the world sign in");
        let hint = "list those that may: allowed_tenants = [\"TENANT-ID\"]";
        reading.error(&section.at("tenant"), mistake.hint(hint));
    }
    if !tenant.is_many() && section.has("allowed_tenants") {
        let mistake = Mistake::new("has no effect: only the users of `tenant` can sign in");
        let hint = "remove it, or set tenant = \"organizations\"";
        reading.error(&section.at("allowed_tenants"), mistake.hint(hint));
    }
    let mut allowed = Vec::new();
    for (index, text) in listed.iter().enumerate() {
        let id = TenantId::parse(text).ok_or_else(|| {
            Mistake::new("is not the id of a tenant").hint("a GUID: domains change hands, and tokens do not name them")
        });
        allowed.extend(reading.keep(&section.item("allowed_tenants", index), id));
    }
    allowed
}

fn app_id_uri(
    written: &Written,
    scopes: &ScopeSet,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> Option<String> {
    if let Some(uri) = &written.app_id_uri {
        let printable = ScopeSet::parse(uri).is_ok_and(|set| set.contains(uri));
        if !printable || uri.ends_with('/') {
            let mistake = Mistake::new("is not an Application ID URI, which has no slash at its end");
            let hint = "copy it from \"Expose an API\" of the app registration, such as \"api://CLIENT-ID\"";
            reading.error(&section.at("app_id_uri"), mistake.hint(hint));
        }
    }
    let bare = |scope: &str| !scope.contains('/') && !OIDC_SCOPES.contains(&scope);
    if written.app_id_uri.is_none() && scopes.iter().any(bare) {
        let mistake = Mistake::new("have a name of no API, which Entra ID would look for in Microsoft Graph");
        let hint =
            "set app_id_uri to your own API, or write the scope whole: \"https://graph.microsoft.com/User.Read\"";
        reading.error(&section.at("scopes"), mistake.hint(hint));
    }
    written.app_id_uri.clone()
}

fn prompt(written: &Written, authority: &Url, section: &Section<'_>, reading: &mut Reading<'_>) -> Option<EntraPrompt> {
    let b2c = is_b2c(authority);
    match written.prompt {
        Some(PromptWritten::SelectAccount) if b2c => {
            let mistake = Mistake::new("is not known to Azure AD B2C").hint("write \"login\" or \"off\"");
            reading.error(&section.at("prompt"), mistake);
            None
        }
        None if b2c => Some(EntraPrompt::Login),
        None | Some(PromptWritten::SelectAccount) => Some(EntraPrompt::SelectAccount),
        Some(PromptWritten::Login) => Some(EntraPrompt::Login),
        Some(PromptWritten::Consent) => Some(EntraPrompt::Consent),
        Some(PromptWritten::Off) => None,
    }
}

fn graph_url(written: &Written, authority: &Url, section: &Section<'_>, reading: &mut Reading<'_>) -> Option<String> {
    let Some(text) = &written.graph_url else { return Some(graph_of(authority).to_owned()) };
    let url = web_url(text).filter(|url| url.query().is_none() && (url.scheme() == "https" || is_loopback(url)));
    let url =
        url.ok_or_else(|| Mistake::new("must be an https URL").hint("such as \"https://dod-graph.microsoft.us\""));
    reading.keep(&section.at("graph_url"), url).map(|url| url.as_str().trim_end_matches('/').to_owned())
}

/// What must agree within the entry.
fn check_agreement(
    settings: &EntraSettings,
    scopes: &ScopeSet,
    written: &Written,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) {
    if settings.send_resource && settings.app_id_uri.is_none() {
        let mistake = Mistake::new("needs `app_id_uri`, which is what is sent");
        reading.error(&section.at("send_resource"), mistake.hint("set app_id_uri, or remove send_resource"));
    }
    let ours = |scope: &str| !scope.contains('/') && !OIDC_SCOPES.contains(&scope);
    if settings.groups_overage == GroupsOverage::Graph && !(settings.app_id_uri.is_some() && scopes.iter().any(ours)) {
        let mistake =
            Mistake::new("needs a token for our own API, which Microsoft Graph is asked with on behalf of the user");
        let hint = "set app_id_uri, and name a scope of that API in scopes";
        reading.error(&section.at("groups_overage"), mistake.hint(hint));
    }
    let prefix = settings.app_id_uri.as_ref().map_or(0, String::len);
    if scopes.iter().map(|scope| scope.len() + prefix + 2).sum::<usize>() > MAX_SCOPES {
        let mistake =
            Mistake::new(format!("are longer than {MAX_SCOPES} characters together, with app_id_uri in front of each"));
        reading.error(&section.at("scopes"), mistake.hint("name fewer, or a single one: \".default\""));
    }
    if written.standing == Some(Standing::Session) {
        let mistake = Mistake::new("has no meaning here: refresh tokens of Entra ID belong to no session");
        reading.error(&section.at("standing"), mistake.hint("write \"offline\" or \"none\""));
    }
    if settings.tenant.is_many() && written.trust_email == Some(true) {
        let mistake = Mistake::new("would let an administrator of any listed tenant take any address");
        reading.error(&section.at("trust_email"), mistake.hint("remove it"));
    }
}

/// Warns of a redirect URI that app registrations do not take: http is for localhost, which is written as such.
pub(in crate::config) fn check_redirect_uri(
    ours: &PublicUrl,
    settings: &OidcSettings,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) {
    let host = Url::parse(ours.as_str()).ok().and_then(|url| url.host_str().map(str::to_owned));
    if ours.is_https() || !matches!(settings.flavour, OidcFlavour::Entra(_)) || host.as_deref() == Some("localhost") {
        return;
    }
    let mistake = Mistake::new("cannot send users back to public_url: app registrations take http for localhost alone");
    let hint = "write public_url = \"http://localhost:PORT\"; 127.0.0.1 can be registered through the manifest only";
    reading.warn(&section.at("kind"), mistake.hint(hint));
}
