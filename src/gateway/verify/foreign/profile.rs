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
use crate::policy::{self, Person};
use crate::rights::{GroupReader, SaidAddress, domain_of};

/// The longest user id, in bytes.
const LONGEST: usize = 255;

/// What a token is read with.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) accepted: &'a AcceptedIssuer,
    pub(super) upstream: &'a Upstream,
    /// How the issuer's claims are read as groups.
    pub(super) groups: &'a GroupReader,
}

/// The caller that claims name, at an upstream. `tenant` is that of Entra.
pub(super) fn caller(claims: &Members, tenant: Option<&TenantId>, at: At<'_>) -> Result<Caller, Fault> {
    let issuer = &at.accepted.issuer;
    let identity = IdentityId::from(issuer.id.as_str());
    let key = user_key(claims, tenant)?;
    let (scope, user) = (scope(claims, at.accepted, at.upstream), user(claims, at)?);
    let person = Person { identity: &identity, key: &key, user: &user };
    let admitted = policy::admit(&person, &issuer.admission, "issuer");
    let admitted = admitted.and_then(|()| policy::admit_to(&person, at.upstream, &scope));
    let subject = Subject::new(&identity, &key).as_str().into();
    let (scope, kept_out) = match admitted {
        Ok(allowed) => (allowed, None),
        Err(not_admitted) => (scope, Some(Box::new(not_admitted))),
    };
    Ok(Caller { subject, identity, client: client(claims).into(), scope, user, kept_out })
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

fn user(claims: &Members, at: At<'_>) -> Result<User, Fault> {
    let issuer = &at.accepted.issuer;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let verified = claims.get("email_verified") == Some(&Value::Bool(true)) && issuer.kind != IssuerKind::Entra;
    let email = text("email");
    let domain = email.as_deref().filter(|_| verified).and_then(domain_of);
    let address = SaidAddress { is_said: email.is_some(), domain: domain.as_deref() };
    check_overage(claims, at)?;
    Ok(User {
        groups: at.groups.read(claims, address).all(),
        name: text("name"),
        preferred_username: ["preferred_username", "upn", "username"].iter().find_map(|name| text(name)),
        // an address that nobody verified may be another person's
        email: email.filter(|_| verified || issuer.trust_email),
        domain,
    })
}

/// A token that leaves groups out because they are too many says nothing of any of them: a server's rule that keeps some group
/// out could not hold.
fn check_overage(claims: &Members, at: At<'_>) -> Result<(), Fault> {
    let is_told = !at.upstream.settings.request_headers.groups.names.is_empty();
    let is_left_out = |place: &str| claims.at(place).is_none();
    if is_told && has_overage(claims) && !at.groups.places_of(is_left_out).is_empty() {
        return Err((
            TokenFault::Other,
            "the user is in more groups than the issuer writes into a token (overage): have it send only the groups that are \
             assigned to the application, or set groups = [] for this upstream",
        ));
    }
    Ok(())
}

/// Entra's sign that groups were left out.
fn has_overage(claims: &Members) -> bool {
    let elsewhere = claims.get("_claim_names").and_then(|names| names.get("groups")).is_some();
    elsewhere || claims.get("hasgroups").is_some_and(|has| has == true || has == "true")
}
