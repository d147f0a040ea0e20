//! Identity assertions (ID-JAG, `draft-ietf-oauth-identity-assertion-authz-grant`; RFC 7523 3): what an identity provider says
//! of a user, for one client and one resource here.
//!
//! Defends against: an assertion for another authorization server, client or resource (confused deputy), an ID token or
//! access token in place of an assertion (`typ`), an old one (the times), and one that is bound to a key which the client
//! does not prove. The signature, and with it the algorithm, is verified by `keys` before anything here is read; that an
//! assertion is used once is the token endpoint's to see to.

use std::time::Duration;

use serde_json::Value;

use crate::clock::Timestamp;
use crate::keys::{Members, PublicKeys, SignedJwt, SignedJwtError, verify_signed_jwt};
use crate::model::user::User;
use crate::oauth::scope::ScopeSet;
use crate::rights::domain_of;

/// The `typ` of an assertion.
const TYPE: &str = "oauth-id-jag+jwt";
/// How far the issuer's clock and ours may differ.
const LEEWAY: Duration = Duration::from_mins(1);
/// Assertions are made to be exchanged at once. One that lives longer would have to be remembered for longer (replay).
const LONGEST_LIFE: Duration = Duration::from_hours(1);
/// The longest text of a claim, in bytes.
const LONGEST: usize = 255;

/// What an assertion must be for us to believe it.
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    /// Our own issuer.
    pub(crate) audience: &'a str,
    pub(crate) now: Timestamp,
}

/// A believed assertion.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Assertion {
    /// The issuer's own unchanging id of the user.
    pub(crate) key: String,
    /// What it says of the user.
    pub(crate) user: User,
    /// Its id: it counts once.
    pub(crate) jti: String,
    /// From when on it is refused for its age.
    pub(crate) refused_from: Timestamp,
    /// The client that may use it.
    pub(crate) client_id: String,
    /// The resource that it is for.
    pub(crate) resource: String,
    /// The scopes that the issuer allows; `None`: it leaves them to us.
    pub(crate) scope: Option<ScopeSet>,
}

/// Why an assertion is not believed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AssertionError {
    /// No key of the set can have signed it; a newer set may.
    UnknownKey,
    /// It is wrong, and why. Never a part of it.
    Untrue(&'static str),
}

impl From<SignedJwtError> for AssertionError {
    fn from(error: SignedJwtError) -> Self {
        match error {
            SignedJwtError::UnknownKey => Self::UnknownKey,
            SignedJwtError::Invalid(why) => Self::Untrue(why),
        }
    }
}

/// Verifies an assertion with the keys of its issuer.
pub(crate) fn verify(assertion: &str, keys: &PublicKeys, expected: &Expected<'_>) -> Result<Assertion, AssertionError> {
    let token = verify_signed_jwt(assertion, keys)?;
    check(&token, expected).map_err(AssertionError::Untrue)
}

fn check(token: &SignedJwt, expected: &Expected<'_>) -> Result<Assertion, &'static str> {
    let claims = &token.claims;
    if token.typ.as_deref() != Some(TYPE) {
        return Err("its typ is not oauth-id-jag+jwt");
    }
    if text(claims, "iss", "its iss is missing")? != expected.issuer {
        return Err("its iss is not its issuer's");
    }
    check_audience(claims, expected.audience)?;
    if claims.get("cnf").is_some() {
        return Err("it is bound to a key (cnf), and no proof of one is read here");
    }
    let refused_from = check_times(claims, expected.now)?;
    let verified = claims.get("email_verified") == Some(&Value::Bool(true));
    let email = optional_text(claims, "email")?.filter(|_| verified);
    Ok(Assertion {
        key: subject(claims)?,
        user: User {
            name: optional_text(claims, "name")?.map(str::to_owned),
            preferred_username: optional_text(claims, "preferred_username")?.map(str::to_owned),
            // an unverified address may be another person's
            email: email.map(str::to_owned),
            domain: email.and_then(domain_of),
            groups: Vec::new(),
        },
        jti: text(claims, "jti", "its jti is missing")?.to_owned(),
        refused_from,
        client_id: text(claims, "client_id", "its client_id is missing")?.to_owned(),
        resource: resource(claims)?,
        scope: optional_text(claims, "scope")?.map(ScopeSet::parse).transpose().or(Err("its scope is malformed"))?,
    })
}

/// We alone: an assertion that others may use too could be taken from them.
fn check_audience(claims: &Members, ours: &str) -> Result<(), &'static str> {
    let audience = match claims.get("aud") {
        Some(Value::Array(audiences)) if audiences.len() == 1 => audiences.first(),
        other => other,
    };
    if audience.and_then(Value::as_str) == Some(ours) { Ok(()) } else { Err("its aud is not this issuer alone") }
}

/// The times; answers from when on it is refused.
fn check_times(claims: &Members, now: Timestamp) -> Result<Timestamp, &'static str> {
    let exp = time(claims, "exp")?.ok_or("its exp is missing")?;
    let iat = time(claims, "iat")?.ok_or("its iat is missing")?;
    if now >= exp + LEEWAY {
        return Err("it has expired");
    }
    if iat > now + LEEWAY {
        return Err("it comes from the future");
    }
    if exp.since(iat) > LONGEST_LIFE {
        return Err("it lives longer than an hour");
    }
    match time(claims, "nbf")? {
        Some(nbf) if nbf > now + LEEWAY => Err("it is not good yet (nbf)"),
        _ => Ok(exp + LEEWAY),
    }
}

/// Seconds since 1970 (RFC 7519 2, `NumericDate`).
fn time(claims: &Members, name: &str) -> Result<Option<Timestamp>, &'static str> {
    let Some(claim) = claims.get(name) else { return Ok(None) };
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
    let seconds = claim.as_i64().or_else(|| claim.as_f64().map(|seconds| seconds.floor() as i64));
    seconds.filter(|seconds| *seconds >= 0).map(|seconds| Some(Timestamp(seconds))).ok_or("one of its times is none")
}

/// The same rule as for the `sub` of ID tokens: both become subjects.
fn subject(claims: &Members) -> Result<String, &'static str> {
    let sub = text(claims, "sub", "its sub is missing")?;
    if sub.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        Ok(sub.to_owned())
    } else {
        Err("its sub is not printable ASCII")
    }
}

/// One resource; some issuers write a list of one.
fn resource(claims: &Members) -> Result<String, &'static str> {
    let resource = match claims.get("resource") {
        Some(Value::Array(resources)) if resources.len() == 1 => resources.first(),
        other => other,
    };
    resource.and_then(Value::as_str).map(str::to_owned).ok_or("its resource is not one resource")
}

fn text<'a>(claims: &'a Members, name: &str, missing: &'static str) -> Result<&'a str, &'static str> {
    let text = optional_text(claims, name)?.ok_or(missing)?;
    if text.is_empty() || text.len() > LONGEST { Err("one of its claims is empty or too long") } else { Ok(text) }
}

fn optional_text<'a>(claims: &'a Members, name: &str) -> Result<Option<&'a str>, &'static str> {
    claims.text(name).map_err(|_cause| "one of its claims is no text")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Expected, TYPE, check};
    use crate::clock::Timestamp;
    use crate::keys::SignedJwt;

    const NOW: i64 = 1_800_000_000;
    const EXPECTED: Expected<'_> =
        Expected { issuer: "https://acme.okta.com", audience: "https://mcp.example.com", now: Timestamp(NOW) };

    fn claims() -> Value {
        json!({"iss": "https://acme.okta.com", "aud": "https://mcp.example.com", "sub": "00u1", "jti": "j",
            "iat": NOW, "exp": NOW + 300, "client_id": "agent", "resource": "https://mcp.example.com/mcp",
            "scope": "mcp:access", "name": "Ada", "email": "ada@example.com"})
    }

    fn checked(claims: Value) -> Result<super::Assertion, &'static str> {
        check(&SignedJwt { typ: Some(TYPE.to_owned()), ..SignedJwt::of_claims(claims) }, &EXPECTED)
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[name] = value;
        claims
    }

    #[test]
    fn an_assertion_names_its_user_client_and_resource_and_only_a_verified_address() {
        let assertion = checked(claims()).unwrap();
        assert_eq!((assertion.key.as_str(), assertion.client_id.as_str()), ("00u1", "agent"));
        assert_eq!((assertion.user.name.as_deref(), assertion.user.email), (Some("Ada"), None));
        assert_eq!(assertion.refused_from, Timestamp(NOW + 360));
        let verified = checked(with("email_verified", json!(true))).unwrap();
        assert_eq!(verified.user.email.as_deref(), Some("ada@example.com"));
        assert!(checked(with("aud", json!(["https://mcp.example.com"]))).is_ok());
        assert!(checked(with("resource", json!(["https://mcp.example.com/mcp"]))).is_ok());
        let mut unscoped = claims();
        unscoped.as_object_mut().unwrap().remove("scope");
        assert_eq!(checked(unscoped).unwrap().scope, None);
    }

    #[test]
    fn an_assertion_without_one_of_its_claims_is_not_believed() {
        for name in ["iss", "aud", "sub", "jti", "iat", "exp", "client_id", "resource"] {
            let mut lacking = claims();
            lacking.as_object_mut().unwrap().remove(name);
            assert!(checked(lacking).is_err(), "{name}");
        }
    }

    #[test]
    fn an_assertion_for_others_or_for_another_time_is_not_believed() {
        for (name, value) in [
            ("iss", json!("https://acme.okta.com/")),
            ("aud", json!("https://mcp.example.com/")),
            ("aud", json!("https://mcp.example.com/token")),
            ("aud", json!(["https://mcp.example.com", "https://other.example"])),
            ("aud", json!([])),
            ("exp", json!(NOW - 60)),
            ("exp", json!(NOW + 3601)),
            ("exp", json!("soon")),
            ("iat", json!(NOW + 61)),
            ("nbf", json!(NOW + 61)),
            ("sub", json!("")),
            ("sub", json!("a\u{202e}")),
            ("sub", json!("x".repeat(256))),
            ("jti", json!("")),
            ("jti", json!(7)),
            ("client_id", json!(["agent"])),
            ("resource", json!(["https://a/mcp", "https://b/mcp"])),
            ("scope", json!("a\"b")),
            ("cnf", json!({"jkt": "x"})),
        ] {
            assert!(checked(with(name, value.clone())).is_err(), "{name}: {value}");
        }
    }

    #[test]
    fn a_token_of_another_type_is_no_assertion() {
        for typ in [None, Some("jwt"), Some("at+jwt"), Some("oauth-id-jag"), Some("id-jag+jwt")] {
            let token = SignedJwt { typ: typ.map(str::to_owned), ..SignedJwt::of_claims(claims()) };
            assert!(check(&token, &EXPECTED).is_err(), "{typ:?}");
        }
    }
}
