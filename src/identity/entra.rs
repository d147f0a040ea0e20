//! Where Microsoft Entra ID departs from the standard.
//!
//! Defends against: a token of another tenant (every organisation in the world has one, and its administrator decides what
//! stands in its tokens), accounts found by an address (administrators and users write any address they like into one), and
//! rights by groups that a token leaves out.
//!
//! | file | what |
//! |---|---|
//! | `aadsts` | its error numbers: what they say, and which setting each is about |
//! | `assertions` | how we prove who we are without a client secret |
//! | `challenges` | what it wants to be asked with at the next sign-in |
//! | `graph` | the groups of a user in more groups than a token names |

mod aadsts;
mod assertions;
mod challenges;
mod graph;

pub(super) use aadsts::Aadsts;
pub(super) use assertions::Assertions;
pub(super) use challenges::Challenges;
pub(super) use graph::{NoGroups, groups_from_graph};

use serde_json::Value;

use super::exchange::{Explanation, Verdict};
use super::generic::{self, Meaning, SessionEnd, Symptom};
use super::id_token::Unbelieved;
use crate::config::{EntraSettings, EntraTenant, TenantId};
use crate::keys::{Members, SignedJwt, filled, first_segment, issuing_tenant};
use crate::oauth::scope::{OFFLINE_ACCESS, ScopeSet};

/// The scopes of OpenID Connect stay as they are: with a prefix they would be scopes of an API.
const OF_NO_API: [&str; 4] = ["openid", "profile", "email", OFFLINE_ACCESS];
/// What says, beside `invalid_grant`, that the user has to do something. `bad_token` and others say that the token is over.
const USER_MUST_ACT: [&str; 5] =
    ["basic_action", "additional_action", "message_only", "consent_required", "user_password_expired"];

/// Whether an issuer in the metadata is that of the configured authority and tenant.
pub(super) fn metadata_issuer_is(settings: &EntraSettings, stated: &str) -> bool {
    if let Some(configured) = &settings.issuer {
        return stated == configured;
    }
    let Some(segment) = tenant_segment(settings, stated) else { return false };
    match &settings.tenant {
        EntraTenant::Id(id) => segment == id.as_str(),
        EntraTenant::Domain(_) => TenantId::parse(segment).is_some(),
        EntraTenant::Organizations | EntraTenant::Common => segment.eq_ignore_ascii_case("{tenantid}"),
    }
}

/// Whether `iss` of a redirect names a tenant that the metadata stands for.
pub(super) fn answer_issuer_is(settings: &EntraSettings, metadata_issuer: Option<&str>, stated: &str) -> bool {
    let Some(issuer) = metadata_issuer else { return false };
    first_segment(stated).is_some_and(|tenant| filled(issuer, &tenant) == stated && is_allowed(settings, &tenant))
}

/// The segment that names the tenant, if the rest of the issuer fits the authority.
fn tenant_segment<'a>(settings: &EntraSettings, stated: &'a str) -> Option<&'a str> {
    let origin = url::Url::parse(&settings.authority).ok()?.origin().ascii_serialization();
    let (_scheme, rest) = stated.split_once("://")?;
    let segment = rest.split('/').nth(1)?;
    let version_2 = |root: &str| format!("{root}/{segment}/v2.0");
    // External ID is reached by the tenant's name and names itself by the tenant's id; the cloud in China has a former name
    let other_root = match origin.as_str() {
        "https://login.chinacloudapi.cn" => Some("https://login.partner.microsoftonline.cn".to_owned()),
        origin if origin.ends_with(".ciamlogin.com") => Some(format!("https://{segment}.ciamlogin.com")),
        _ => None,
    };
    let fits = [Some(origin), other_root].into_iter().flatten().any(|root| {
        let whole = version_2(&root);
        // Azure AD B2C ends it with a slash
        stated == whole || stated.strip_suffix('/') == Some(whole.as_str())
    });
    fits.then_some(segment)
}

fn is_allowed(settings: &EntraSettings, tenant: &TenantId) -> bool {
    !settings.tenant.is_many() || settings.allowed_tenants.contains(tenant)
}

/// The user's id: tenant and object id. `sub` differs for each client, and every other claim can change.
pub(super) fn key_of(settings: &EntraSettings, issuer: &str, token: &SignedJwt) -> Result<String, Unbelieved> {
    let tenant = issuing_tenant(issuer, token)?;
    if !is_allowed(settings, &tenant) {
        return Err(Unbelieved::NotAdmitted {
            why: format!("it is of a user of tenant {tenant}, which allowed_tenants does not list"),
            told: Explanation {
                verdict: Verdict::Denied,
                happened: "Your organisation's accounts may not be used here.".into(),
                hint: "Sign in with another account, or ask the people who run this server to admit your organisation."
                    .into(),
            },
        });
    }
    let oid = token.claims.text("oid")?.and_then(TenantId::parse).ok_or(
        "it has no oid: `scopes` must name profile, and a user flow of Azure AD B2C must return the User's Object ID",
    )?;
    Ok(format!("{tenant}.{oid}"))
}

/// `xms_edov` says that the owner of the address's domain is the tenant. An address without it can be anyone's.
pub(super) fn is_verified(claims: &Members) -> bool {
    match claims.get("xms_edov") {
        Some(Value::Bool(verified)) => *verified,
        Some(Value::Number(number)) => number.as_u64() == Some(1),
        Some(Value::String(text)) => matches!(text.as_str(), "1" | "true"),
        _ => false,
    }
}

/// Whether the user is in more groups than a token names in this claim: then it names none, and where to ask in their place.
pub(super) fn leaves_groups_out(claims: &Members, groups_claim: &str) -> bool {
    let elsewhere = claims.get("_claim_names").is_some_and(|names| names.get(groups_claim).is_some());
    elsewhere || groups_claim == "groups" && claims.get("hasgroups").is_some_and(|has| *has != Value::Bool(false))
}

/// The denial of a user whose groups are not known.
pub(super) fn too_many_groups() -> Explanation {
    Explanation {
        verdict: Verdict::Denied,
        happened: "You are in more groups than Microsoft Entra ID tells us, so we cannot know what you may do here."
            .into(),
        hint: "Ask the people who run this server: they can let it ask Microsoft for your groups, or be told of fewer."
            .into(),
    }
}

/// The scopes as the authorization endpoint wants them: those of our own API with its identifier in front.
pub(super) fn outward_scopes(settings: &EntraSettings, scopes: &ScopeSet) -> String {
    qualified(settings, scopes).collect::<Vec<_>>().join(" ")
}

/// The same for the token endpoint, which demands them and refuses those of a second API.
pub(super) fn token_scopes(settings: &EntraSettings, scopes: &ScopeSet) -> String {
    let all: Vec<String> = qualified(settings, scopes).collect();
    let resources = || all.iter().filter_map(|scope| resource(scope));
    let ours = settings.app_id_uri.as_deref();
    let one = resources().find(|resource| Some(*resource) == ours).or_else(|| resources().next());
    let asked = all.iter().filter(|scope| resource(scope).is_none_or(|of| Some(of) == one));
    asked.map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn qualified<'a>(settings: &'a EntraSettings, scopes: &'a ScopeSet) -> impl Iterator<Item = String> + 'a {
    scopes.iter().map(|scope| match &settings.app_id_uri {
        Some(uri) if !scope.contains('/') && !OF_NO_API.contains(&scope) => format!("{uri}/{scope}"),
        _ => scope.to_owned(),
    })
}

/// The API that a qualified scope belongs to.
fn resource(scope: &str) -> Option<&str> {
    scope.rsplit_once('/').map(|(resource, _)| resource)
}

/// A scope of our own API by its short name, others as they are.
pub(super) fn inward_scope<'a>(settings: &EntraSettings, scope: &'a str) -> &'a str {
    let ours = |uri: &String| scope.strip_prefix(uri.as_str())?.strip_prefix('/');
    settings.app_id_uri.as_ref().and_then(ours).unwrap_or(scope)
}

/// By the error, and by what it says beside; never by the number, which may change.
pub(super) fn meaning(error: &str, suberror: Option<&str>, has_claims: bool) -> Meaning {
    match error {
        "invalid_grant" if has_claims || suberror.is_some_and(|sub| USER_MUST_ACT.contains(&sub)) => {
            Meaning::UserMustAct
        }
        "interaction_required" | "login_required" | "consent_required" => Meaning::UserMustAct,
        // it never refuses offline_access alone: a round without would fail in the same way
        "invalid_scope" | "invalid_target" | "invalid_resource" => Meaning::Other,
        _ => generic::meaning(error),
    }
}

/// Which setting a symptom is about, where the answer has no number.
pub(super) fn hint(settings: &EntraSettings, symptom: Symptom<'_>, identity: &str) -> Option<String> {
    match symptom {
        Symptom::OtherIssuer => Some(
            "check `tenant` and `authority`; set `issuer` where the document names another host, as External ID does behind a \
             domain of its own"
                .to_owned(),
        ),
        Symptom::NoMetadata(status) if status.is_client_error() => Some(format!(
            "is there a tenant {:?} at {}? A policy of Azure AD B2C is the end of `authority`",
            settings.tenant.as_str(),
            settings.authority
        )),
        Symptom::Error(error) if generic::meaning(error) == Meaning::ClientRefused => Some(format!(
            "check `client_id`, `tenant` and the credential of identity {identity} against the app registration"
        )),
        Symptom::NoRefreshToken => Some(format!(
            "offline_access may be blocked for the application: see its permissions, or set standing = \"none\" for identity {identity}"
        )),
        Symptom::Error(_) | Symptom::NoMetadata(_) | Symptom::NoIss => generic::hint(symptom, identity),
    }
}

/// The userinfo endpoint is Microsoft Graph's: our access tokens are for another API, and it knows no more than the ID token.
pub(super) const fn says_all() -> bool {
    true
}

/// Refresh tokens belong to no session and have no stated end.
pub(super) const fn session_end() -> SessionEnd {
    SessionEnd::Never
}

#[cfg(test)]
mod tests;
