//! The kinds of issuers: what is allowed in `[[issuer]]`, and what is the default for each.

use serde::Deserialize;
use url::Url;

use super::identity::web_url;
use super::problem::Mistake;
use super::reading::{Reading, Section};
use super::tenant::TenantId;
use crate::oauth::redirect_uri::is_loopback;

/// What is known of the tokens of an issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IssuerKind {
    /// Any server that follows RFC 9068, or comes near to it.
    Oidc,
    /// Keycloak: the claim `typ` tells access tokens from others.
    Keycloak,
    /// Microsoft Entra ID: several tenants, users are known by `tid` and `oid`.
    Entra,
}

/// The algorithms that may be allowed: asymmetric ones only.
const ALGORITHMS: [&str; 9] = ["ES256", "ES384", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];
/// The type of access tokens in their header (RFC 9068 2.1).
const ACCESS_TOKEN: &str = "at+jwt";
/// How tokens are typed whose issuer does not follow RFC 9068: not at all, or as any other JWT.
const UNTYPED: &str = "jwt";
/// Keycloak puts this audience into the tokens of every client of a realm.
const KEYCLOAK_ACCOUNT: &str = "account";
/// The audiences of Microsoft Graph.
const GRAPH: [&str; 3] =
    ["00000003-0000-0000-c000-000000000000", "https://graph.microsoft.com", "https://graph.microsoft.com/"];

/// The issuer template of an endpoint of Entra that serves many tenants.
pub(super) fn many_tenants(issuer: &str) -> Option<String> {
    let url = Url::parse(issuer).ok()?;
    let tenant = url.path_segments()?.next()?;
    matches!(tenant, "common" | "organizations" | "consumers")
        .then(|| issuer.replacen(&format!("/{tenant}"), "/{tenantid}", 1))
}

/// Clients are sent there.
pub(super) fn check_advertised(url: &str, issuer: &str) -> Result<(), Mistake> {
    let secure = web_url(url).is_some_and(|url| url.scheme() == "https" || is_loopback(&url));
    if url == issuer || secure {
        return Ok(());
    }
    Err(Mistake::new("must be an https URL").hint("the issuer in the metadata that clients read there, byte for byte"))
}

/// The tenants whose tokens are accepted.
pub(super) fn tenants(
    written: Option<Vec<String>>,
    issuer: &str,
    kind: IssuerKind,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> Vec<TenantId> {
    let at = section.at("tenants");
    let template = kind == IssuerKind::Entra && many_tenants(issuer).is_some();
    let written = written.unwrap_or_default();
    if template && written.is_empty() {
        let mistake = Mistake::new("is missing: users of every organization could call");
        reading
            .error(&at, mistake.hint("list the directory (tenant) ids whose users may, or name one tenant in issuer"));
    }
    if !template && section.has("tenants") {
        let mistake = Mistake::new("has no effect: issuer names one tenant");
        reading.error(&at, mistake.hint("remove it, or write \"organizations\" for the tenant in issuer"));
    }
    let tenants = written.iter().enumerate().filter_map(|(index, tenant)| {
        let hint = "the directory (tenant) id of its overview page, a GUID";
        let tenant = TenantId::parse(tenant).ok_or_else(|| Mistake::new("is not the id of a tenant").hint(hint));
        reading.keep(&section.item("tenants", index), tenant)
    });
    tenants.collect()
}

/// Who answers there decides who may call, so it must be https; http only on this machine.
pub(super) fn check_endpoint(text: &str) -> Result<Url, Mistake> {
    let url = web_url(text).filter(|url| url.scheme() == "https" || is_loopback(url));
    url.ok_or_else(|| {
        Mistake::new("must be an https URL: an attacker who answers there could act as any user")
            .hint("leave it out to use what the issuer's metadata says")
    })
}

/// Checks an audience: one that every token of the issuer has separates nothing.
pub(super) fn check_audience(audience: &str, kind: IssuerKind) -> Result<(), Mistake> {
    if audience.is_empty() || audience.len() > 255 || !audience.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Mistake::new("is not an audience").hint("1 to 255 printable characters, without spaces"));
    }
    if kind == IssuerKind::Keycloak && audience == KEYCLOAK_ACCOUNT {
        return Err(Mistake::new("is in the tokens of every client of the realm")
            .hint("add an audience mapper to a client scope of Keycloak, with the URL of this server"));
    }
    if GRAPH.contains(&audience) {
        return Err(Mistake::new("is Microsoft Graph, whose tokens nobody else can verify")
            .hint("expose an API in the app registration; write its client id and Application ID URI"));
    }
    Ok(())
}

pub(super) fn algorithms(
    written: Option<Vec<String>>,
    kind: IssuerKind,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> Vec<String> {
    let default = || match kind {
        IssuerKind::Entra => vec!["RS256".to_owned()],
        IssuerKind::Oidc | IssuerKind::Keycloak => ALGORITHMS.map(str::to_owned).to_vec(),
    };
    let algorithms = written.unwrap_or_else(default);
    if algorithms.is_empty() {
        reading.error(&section.at("algorithms"), Mistake::new("is empty").hint("leave it out for the default"));
    }
    for (index, _) in algorithms.iter().enumerate().filter(|(_, name)| !ALGORITHMS.contains(&name.as_str())) {
        let mistake = Mistake::new("is not an asymmetric signature algorithm that Portcullis knows");
        reading.error(&section.item("algorithms", index), mistake.hint(format!("one of {}", ALGORITHMS.join(", "))));
    }
    algorithms
}

pub(super) fn default_scope_claims(kind: IssuerKind) -> Vec<String> {
    let claims: &[&str] = match kind {
        IssuerKind::Keycloak => &["scope"],
        IssuerKind::Entra => &["scp", "roles"],
        IssuerKind::Oidc => &["scope", "scp"],
    };
    claims.iter().map(|claim| (*claim).to_owned()).collect()
}

pub(super) fn default_typ(kind: IssuerKind) -> String {
    match kind {
        IssuerKind::Oidc => ACCESS_TOKEN,
        IssuerKind::Keycloak | IssuerKind::Entra => UNTYPED,
    }
    .to_owned()
}

/// Types that say what a token is, and that it is not an access token.
pub(super) fn check_typ(typ: &str) -> Result<(), Mistake> {
    let plain = typ.bytes().all(|byte| byte.is_ascii_graphic()) && !typ.is_empty() && typ.len() <= 64;
    if plain && (typ == UNTYPED || typ == ACCESS_TOKEN || typ.ends_with("at+jwt")) {
        return Ok(());
    }
    Err(Mistake::new("is not the type of an access token")
        .hint("\"at+jwt\", or \"JWT\" where the issuer does not tell access tokens from others"))
}

#[cfg(test)]
mod tests {
    use super::many_tenants;

    #[test]
    fn an_endpoint_of_many_tenants_becomes_the_template_of_their_issuers() {
        for (issuer, template) in [
            (
                "https://login.microsoftonline.com/organizations/v2.0",
                Some("https://login.microsoftonline.com/{tenantid}/v2.0"),
            ),
            ("https://login.microsoftonline.us/common/v2.0", Some("https://login.microsoftonline.us/{tenantid}/v2.0")),
            ("https://login.microsoftonline.com/contoso.com/v2.0", None),
            ("nonsense", None),
        ] {
            assert_eq!(many_tenants(issuer).as_deref(), template, "{issuer}");
        }
    }
}
