//! `[[issuer]]`: authorization servers of others, whose access tokens upstreams accept.

use serde::Deserialize;
use url::Url;

use super::CaFile;
use super::admission::{Admission, RuleWritten};
use super::claim::check_claim;
use super::group_sources::{self, GroupSources, SourceWritten};
use super::id::{Seen, check_identity_id, duplicate};
use super::identity::{admission, check_discovery, check_issuer, default_discovery, web_url};
use super::issuer_checks::{
    IssuerKind, algorithms, check_advertised, check_audience, check_endpoint, check_typ, default_scope_claims,
    default_typ, many_tenants, tenants,
};
use super::needs::SecretFor;
use super::problem::Mistake;
use super::reading::{Reading, Section};
use super::secret_source::SecretSource;
use super::tenant::TenantId;
use crate::oauth::redirect_uri::is_loopback;
use crate::oauth::scope::ScopeSet;
use crate::secret::SecretText;

/// The word for our own authorization server in `accepts`; no issuer can have it as its id.
pub(super) const OWN: &str = "own";

/// An authorization server whose access tokens are accepted.
#[derive(Debug, Clone)]
pub struct TokenIssuer {
    /// Its permanent id: the prefix of its users' subjects, and its name in logs and metrics.
    pub id: String,
    /// What is known of its tokens.
    pub kind: IssuerKind,
    /// The `iss` of its tokens, compared byte for byte. For Entra it may contain `{tenantid}`.
    pub issuer: String,
    /// The name under which clients find it, in the metadata of our resources.
    pub advertised: String,
    /// Where its metadata is.
    pub discovery: Url,
    /// Where its keys are, if not where its metadata says.
    pub jwks_uri: Option<Url>,
    /// How its tokens are verified.
    pub verification: Verification,
    /// Who its tokens must be for, unless the upstream says otherwise: one of these.
    pub audiences: Vec<String>,
    /// The claims that contain scopes: names, or JSON pointers.
    pub scope_claims: Vec<String>,
    /// What its names of scopes begin with that ours do not.
    pub scope_prefix: Option<String>,
    /// What becomes the groups of its users.
    pub groups: GroupSources,
    /// Which of its users may call.
    pub admission: Admission,
    /// The algorithms that may sign its tokens.
    pub algorithms: Vec<String>,
    /// The type in the header of its tokens besides `at+jwt`, in lower case; `jwt` is any JWT.
    pub typ: String,
    /// The tenants whose tokens are accepted; empty where `issuer` names one.
    pub tenants: Vec<TenantId>,
    /// Whether e-mail addresses are used without `email_verified`.
    pub trust_email: bool,
    /// Roots that are trusted for it besides the global ones.
    pub ca_file: Option<CaFile>,
}

/// How tokens are verified.
#[derive(Debug, Clone)]
pub enum Verification {
    /// They are JWTs: by the issuer's keys.
    Jwt,
    /// The issuer is asked (RFC 7662).
    Introspection {
        /// Our client id there.
        client_id: String,
        /// Our secret there.
        client_secret: SecretText,
        /// Where, if not where its metadata says.
        endpoint: Option<Url>,
    },
}

/// The word for [`Verification`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verify {
    Jwt,
    Introspection,
}

impl TokenIssuer {
    /// Whether the issuer is asked about each token.
    #[must_use]
    pub const fn introspects(&self) -> bool {
        matches!(self.verification, Verification::Introspection { .. })
    }

    /// The audience forms that these written ones stand for.
    pub(super) fn forms_of(&self, audiences: &[String]) -> Vec<String> {
        let mut forms: Vec<String> = Vec::new();
        let mut add = |form: String| {
            if !forms.contains(&form) {
                forms.push(form);
            }
        };
        for audience in audiences {
            add(audience.clone());
            // version 2 tokens of Entra name the client id, whatever was asked for; version 1 tokens any of these
            if self.kind == IssuerKind::Entra
                && let Some(client_id) = client_id_in(audience)
            {
                add(client_id.to_string());
                add(format!("api://{client_id}"));
                add(format!("api://{client_id}/"));
            }
            // the same resource (RFC 3986 6.2.3), which issuers and clients spell either way
            if audience.contains("://") {
                match audience.strip_suffix('/') {
                    Some(bare) => add(bare.to_owned()),
                    None => add(format!("{audience}/")),
                }
            }
        }
        forms
    }

    /// What scopes begin with there, for a resource with these audiences.
    pub(super) fn prefix_for(&self, audiences: &[String]) -> String {
        match (&self.scope_prefix, self.kind, audiences.first()) {
            (Some(prefix), _, _) => prefix.clone(),
            (None, IssuerKind::Entra, Some(audience)) => format!("{}/", audience.trim_end_matches('/')),
            (None, _, _) => String::new(),
        }
    }
}

/// The client id of an application of Entra in one of the forms of its own audience.
fn client_id_in(audience: &str) -> Option<TenantId> {
    let bare = audience.strip_prefix("api://").map_or(audience, |rest| rest.trim_end_matches('/'));
    // a GUID as well
    TenantId::parse(bare)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    id: String,
    kind: IssuerKind,
    issuer: String,
    audiences: Vec<String>,
    authorization_server: Option<String>,
    discovery: Option<String>,
    jwks_uri: Option<String>,
    verify: Option<Verify>,
    client_id: Option<String>,
    client_secret: Option<SecretSource>,
    introspection_endpoint: Option<String>,
    scope_claims: Option<Vec<String>>,
    scope_prefix: Option<String>,
    groups_claim: Option<String>,
    groups_from: Option<Vec<SourceWritten>>,
    allow: Option<Vec<RuleWritten>>,
    ask: Option<String>,
    algorithms: Option<Vec<String>>,
    typ: Option<String>,
    tenants: Option<Vec<String>>,
    trust_email: Option<bool>,
    ca_file: Option<String>,
}

/// Values that must be unique among these issuers.
#[derive(Default)]
pub(super) struct Taken {
    ids: Seen,
    issuers: Seen,
}

/// Reads one entry. `others` holds the values of those before it.
pub(super) fn read(section: &Section<'_>, others: &mut Taken, reading: &mut Reading<'_>) -> Option<TokenIssuer> {
    let mut written: Written = reading.shape(section)?;
    check_names(&written, section, others, reading);
    let (issuer, discovery) = places(&written, section, reading);
    let jwks_uri = written.jwks_uri.as_deref();
    let jwks_uri = jwks_uri.map(|url| reading.keep(&section.at("jwks_uri"), check_endpoint(url)));
    let verification = verification(&mut written, section, reading);
    for (index, audience) in written.audiences.iter().enumerate() {
        reading.keep(&section.item("audiences", index), check_audience(audience, written.kind));
    }
    if written.audiences.is_empty() {
        let mistake = Mistake::new("is empty: a token for any other server would open this one");
        reading.error(&section.at("audiences"), mistake.hint("list the values that `aud` may have in its tokens"));
    }
    let algorithms = algorithms(written.algorithms, written.kind, section, reading);
    let scope_claims = written.scope_claims.unwrap_or_else(|| default_scope_claims(written.kind));
    for (index, claim) in scope_claims.iter().enumerate() {
        reading.keep(&section.item("scope_claims", index), check_claim(claim));
    }
    let groups = group_sources::Written {
        claim: written.groups_claim,
        from: written.groups_from,
        vouches_for_email: written.kind != IssuerKind::Entra,
    };
    let groups = group_sources::read(groups, section, reading);
    let admission = admission(written.allow, written.ask, section, reading);
    if let Some(prefix) = &written.scope_prefix {
        let is_scope = ScopeSet::parse(prefix).is_ok_and(|set| set.iter().count() <= 1) && !prefix.contains(' ');
        let mistake = || Mistake::new("has characters that a scope cannot have").hint("such as \"api://expenses/\"");
        reading.keep(&section.at("scope_prefix"), if is_scope { Ok(()) } else { Err(mistake()) });
    }
    let tenants = tenants(written.tenants, &written.issuer, written.kind, section, reading);
    let advertised = written.authorization_server.unwrap_or_else(|| written.issuer.clone());
    reading.keep(&section.at("authorization_server"), check_advertised(&advertised, &written.issuer));
    let typ = written.typ.map_or_else(|| default_typ(written.kind), |typ| typ.to_ascii_lowercase());
    reading.keep(&section.at("typ"), check_typ(&typ));
    Some(TokenIssuer {
        ca_file: reading.ca_file(section, written.ca_file),
        id: written.id,
        kind: written.kind,
        issuer: issuer?,
        advertised,
        discovery: discovery?,
        jwks_uri: jwks_uri.map_or(Some(None), |url| url.map(Some))?,
        verification: verification?,
        audiences: written.audiences,
        scope_claims,
        scope_prefix: written.scope_prefix,
        groups,
        admission,
        algorithms,
        typ,
        tenants,
        trust_email: written.trust_email.unwrap_or_default(),
    })
}

fn check_names(written: &Written, section: &Section<'_>, others: &mut Taken, reading: &mut Reading<'_>) {
    let at = section.at("id");
    let id = if written.id == OWN {
        Err(Mistake::new("is the word for Portcullis itself in accepts").hint("choose another id"))
    } else {
        check_identity_id(&written.id)
    };
    let id = id.and_then(|()| others.ids.insert(&written.id, &at.location).map_err(|before| duplicate(&before)));
    reading.keep(&at, id);
    let at = section.at("issuer");
    // "organizations" and "common" are one issuer
    let issuer = issuer_of_tokens(written);
    let once = others.issuers.insert(&issuer, &at.location).map_err(|before| duplicate(&before));
    reading.keep(&at, once);
}

/// The issuer that tokens name: a template where they come from many tenants of Entra.
fn issuer_of_tokens(written: &Written) -> String {
    let template = many_tenants(&written.issuer).filter(|_| written.kind == IssuerKind::Entra);
    template.unwrap_or_else(|| written.issuer.clone())
}

/// The issuer that tokens name, and where its metadata is.
fn places(written: &Written, section: &Section<'_>, reading: &mut Reading<'_>) -> (Option<String>, Option<Url>) {
    let template = written.kind == IssuerKind::Entra && many_tenants(&written.issuer).is_some();
    let checked = if template {
        web_url(&written.issuer).filter(|url| url.scheme() == "https" || is_loopback(url)).map(drop).ok_or_else(|| {
            Mistake::new("is not an issuer").hint("such as \"https://login.microsoftonline.com/organizations/v2.0\"")
        })
    } else {
        check_issuer(&written.issuer).map(drop)
    };
    let valid = reading.keep(&section.at("issuer"), checked).is_some();
    let discovery = match &written.discovery {
        Some(discovery) => reading.keep(&section.at("discovery"), check_discovery(discovery)),
        None => Url::parse(&default_discovery(&written.issuer)).ok().filter(|_| valid),
    };
    (valid.then(|| issuer_of_tokens(written)), discovery)
}

/// How tokens are verified; needs credentials of ours where the issuer is asked.
fn verification(written: &mut Written, section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Verification> {
    let asks = written.verify == Some(Verify::Introspection);
    for key in ["client_id", "client_secret", "introspection_endpoint"] {
        if !asks && section.has(key) {
            let mistake = Mistake::new("has no effect: tokens are verified by the issuer's keys");
            reading.error(&section.at(key), mistake.hint("add verify = \"introspection\", or remove it"));
        }
    }
    if !asks {
        return Some(Verification::Jwt);
    }
    if written.kind == IssuerKind::Entra {
        let mistake = Mistake::new("Entra has no introspection").hint("its tokens are JWTs: remove verify");
        reading.error(&section.at("verify"), mistake);
    }
    let endpoint = written.introspection_endpoint.as_deref();
    let endpoint = endpoint.map(|url| reading.keep(&section.at("introspection_endpoint"), check_endpoint(url)));
    let missing = |key| {
        Mistake::new(format!("{key} is missing: introspection needs credentials"))
            .hint("register a confidential client there; its secret is { env = \"NAME\" } or { file = \"…\" }")
    };
    let at = section.at("verify");
    let client_id = written.client_id.take().filter(|id| !id.trim().is_empty()).ok_or_else(|| missing("client_id"));
    let client_id = reading.keep(&at, client_id);
    let client_secret = match written.client_secret.take() {
        Some(_) if !reading.reads(SecretFor::Serving) => Some(SecretText::from(String::new())),
        Some(source) => reading.secret(&section.at("client_secret"), SecretFor::Serving, &source),
        None => reading.keep(&at, Err(missing("client_secret"))),
    };
    Some(Verification::Introspection {
        client_id: client_id?,
        client_secret: client_secret?,
        endpoint: endpoint.map_or(Some(None), |url| url.map(Some))?,
    })
}
