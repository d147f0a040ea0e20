//! Who calls under a token of another issuer: what its claims say of user, client and scopes.
//!
//! Defends against: users of two issuers who become one (a subject begins with the issuer's id), and rules about groups that
//! a list left out would bypass.

use serde_json::Value;

use super::rules::Fault;
use crate::config::{AcceptedIssuer, IssuerKind, TenantId, Upstream};
use crate::gateway::refusal::TokenFault;
use crate::keys::Members;
use crate::model::caller::Caller;
use crate::model::ids::{IdentityId, Subject};
use crate::model::user::User;
use crate::oauth::scope::ScopeSet;

/// The longest user id, in bytes.
const LONGEST: usize = 255;

/// The caller that claims name, at an upstream. `tenant` is that of Entra.
pub(super) fn caller(
    claims: &Members,
    tenant: Option<&TenantId>,
    accepted: &AcceptedIssuer,
    upstream: &Upstream,
) -> Result<Caller, Fault> {
    let identity = IdentityId::from(accepted.issuer.id.as_str());
    let key = user_key(claims, tenant)?;
    Ok(Caller {
        subject: Subject::new(&identity, &key).as_str().into(),
        identity,
        client: client(claims).into(),
        scope: scope(claims, accepted, upstream),
        user: user(claims, accepted, upstream)?,
    })
}

/// The issuer's own unchanging id of the user. Entra's `sub` differs from client to client: there `oid` is the user.
fn user_key(claims: &Members, tenant: Option<&TenantId>) -> Result<String, Fault> {
    let Some(tenant) = tenant else {
        let words = "it names no user (sub): with Keycloak, assign the client scope \"basic\" to the client";
        return printable(claims, "sub", words).map(str::to_owned);
    };
    let oid = printable(claims, "oid", "it names no user (oid)")?;
    Ok(format!("{tenant}.{oid}"))
}

/// A text that becomes a part of a subject.
fn printable<'a>(claims: &'a Members, name: &str, missing: &'static str) -> Result<&'a str, Fault> {
    let text = claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let text = text.ok_or((TokenFault::Other, missing))?;
    if is_id(text) {
        Ok(text)
    } else {
        Err((TokenFault::Other, "the id of its user is too long, or not printable ASCII"))
    }
}

/// Whether a text can be an id: ids end up in logs and headers, and are parts of keys.
fn is_id(text: &str) -> bool {
    text.len() <= LONGEST && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The client, under the name that most issuers use (RFC 9068 2.2), or under one of the others.
fn client(claims: &Members) -> &str {
    let named = ["client_id", "azp", "appid", "cid"].iter().find_map(|name| claims.get(name).and_then(Value::as_str));
    named.filter(|name| is_id(name)).unwrap_or_default()
}

/// The scopes of the upstream that the token has, by our names. What the upstream does not know means nothing here.
fn scope(claims: &Members, accepted: &AcceptedIssuer, upstream: &Upstream) -> ScopeSet {
    let known = upstream.settings.scopes.known();
    let places = accepted.issuer.scope_claims.iter();
    let values = places.filter_map(|place| claims.at(place)).flat_map(words);
    values.map(|scope| accepted.our_name(scope).to_owned()).filter(|scope| known.contains(scope)).collect()
}

/// The words of a text, or the texts of a list.
fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => text.split(' ').filter(|word| !word.is_empty()).collect(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn user(claims: &Members, accepted: &AcceptedIssuer, upstream: &Upstream) -> Result<User, Fault> {
    let issuer = &accepted.issuer;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let verified = claims.get("email_verified") == Some(&Value::Bool(true)) && issuer.kind != IssuerKind::Entra;
    Ok(User {
        name: text("name"),
        preferred_username: ["preferred_username", "upn", "username"].iter().find_map(|name| text(name)),
        // an address that nobody verified may be another person's
        email: text("email").filter(|_| verified || issuer.trust_email),
        groups: groups(claims, &issuer.groups_claim, upstream)?,
    })
}

/// The groups. A token that leaves them out because they are too many says nothing of any of them: a rule that keeps some
/// group out could not hold.
fn groups(claims: &Members, place: &str, upstream: &Upstream) -> Result<Vec<String>, Fault> {
    let is_told = !upstream.settings.request_headers.groups.names.is_empty();
    match claims.at(place) {
        Some(Value::String(group)) => Ok(vec![group.clone()]),
        Some(Value::Array(groups)) => Ok(groups.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        _ if is_told && has_overage(claims) => Err((
            TokenFault::Other,
            "the user is in more groups than the issuer writes into a token (overage): have it send only the groups that are \
             assigned to the application, or set groups = [] for this upstream",
        )),
        _ => Ok(Vec::new()),
    }
}

/// Entra's sign that groups were left out.
fn has_overage(claims: &Members) -> bool {
    let elsewhere = claims.get("_claim_names").and_then(|names| names.get("groups")).is_some();
    elsewhere || claims.get("hasgroups").is_some_and(|has| has == true || has == "true")
}
