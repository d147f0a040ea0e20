//! What an assertion of a client must say (RFC 7521 4.2, RFC 7523 3), checked against its text alone: without keys and
//! without I/O.
//!
//! Defends against assertions that were made for another server. The audience is our issuer. The URL of our token endpoint is
//! accepted too, because RFC 7523 asked for it and hosted clients send it; an assertion that names another audience beside us
//! is refused. With the token endpoint as audience, a malicious server that a client also uses can name our token endpoint as
//! its own and replay what the client then sends to another endpoint of that server (audience injection, 2025). The revised
//! RFC 7523 closes this by allowing the issuer only, and marks such assertions by their `typ`: those are held to it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::clock::Timestamp;
use crate::keys::{Members, UnverifiedJwt};
use crate::secret::SecretText;

/// The algorithms that may sign assertions, as our metadata list them.
pub(crate) const ALGORITHMS: &[&str] =
    &["ES256", "ES384", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];

/// The `typ` of assertions whose audience is the issuer and nothing else (the revised RFC 7523).
pub(super) const EXPLICIT_TYPE: &str = "client-authentication+jwt";

/// The longest assertion, in bytes. An RSA signature of 8192 bits takes 1.4 KiB of it, a certificate chain in `x5c` the rest.
const MAX_ASSERTION: usize = 16 * 1024;
/// The longest `jti`, in bytes.
const MAX_JTI: usize = 256;
/// The tolerated clock skew of clients.
pub(super) const LEEWAY: Duration = Duration::from_mins(1);
/// How long an assertion may live: Authlib makes them for an hour. Its `jti` is remembered that long.
const MAX_LIFETIME: Duration = Duration::from_hours(1);
/// How many audiences are looked at.
const MAX_AUDIENCES: usize = 4;

/// The audiences that assertions must have. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AssertionRules {
    issuer: Arc<str>,
    token_endpoint: Arc<str>,
}

/// An assertion whose text is valid; its signature is not verified yet.
pub(crate) struct Assertion {
    pub(super) text: SecretText,
    pub(super) claims: Claims,
}

/// What an assertion says.
pub(super) struct Claims {
    pub(super) client: String,
    pub(super) jti: String,
    pub(super) issued_at: Option<Timestamp>,
    pub(super) expires_at: Timestamp,
}

impl Assertion {
    /// The client that it is about.
    pub(crate) fn client(&self) -> &str {
        &self.claims.client
    }
}

impl AssertionRules {
    pub(crate) fn new(issuer: Arc<str>, token_endpoint: &str) -> Self {
        Self { issuer, token_endpoint: token_endpoint.into() }
    }

    /// Checks what can be checked in the text of an assertion alone.
    ///
    /// # Errors
    /// The text is for the client's developer.
    pub(crate) fn read(&self, text: &str, now: Timestamp) -> Result<Assertion, &'static str> {
        if text.len() > MAX_ASSERTION {
            return Err("client_assertion is longer than 16 KiB");
        }
        let jwt = UnverifiedJwt::read(text).ok_or("client_assertion is not a signed JWT with unique members")?;
        let algorithm = jwt.header.text("alg").ok().flatten().unwrap_or_default();
        if !ALGORITHMS.contains(&algorithm) {
            return Err("client_assertion must be signed with a private key: alg as in our metadata");
        }
        let is_explicit = is_explicit(&jwt.header)?;
        let claims = self.check(&jwt.claims, is_explicit, now)?;
        Ok(Assertion { text: text.to_owned().into(), claims })
    }

    /// RFC 7523 3: issuer, audience and times.
    pub(super) fn check(&self, claims: &Members, is_explicit: bool, now: Timestamp) -> Result<Claims, &'static str> {
        let text = |name| claims.text(name).ok().flatten().filter(|text| !text.is_empty());
        let client = match (text("iss"), text("sub")) {
            (Some(iss), Some(sub)) if iss == sub => sub,
            _ => return Err("iss and sub of client_assertion must both be the client_id"),
        };
        if !self.is_for_us(claims.get("aud"), is_explicit) {
            return Err("aud of client_assertion must be our issuer, and nothing else");
        }
        let jti = text("jti").ok_or("client_assertion has no jti")?;
        if jti.len() > MAX_JTI {
            return Err("jti of client_assertion is longer than 256 bytes");
        }
        let time = |name| claims.time(name).or(Err("exp, iat or nbf of client_assertion is no time"));
        let expires_at = time("exp")?.ok_or("client_assertion has no exp")?;
        if now >= expires_at + LEEWAY {
            return Err("client_assertion has expired");
        }
        if expires_at > now + MAX_LIFETIME + LEEWAY {
            return Err("client_assertion lives longer than an hour");
        }
        let issued_at = time("iat")?;
        if [issued_at, time("nbf")?].into_iter().flatten().any(|begins| begins > now + LEEWAY) {
            return Err("client_assertion is not valid yet: check the clock");
        }
        Ok(Claims { client: client.to_owned(), jti: jti.to_owned(), issued_at, expires_at })
    }

    fn is_for_us(&self, aud: Option<&Value>, is_explicit: bool) -> bool {
        let is_ours = |audience: &Value| {
            let audience = audience.as_str().unwrap_or_default();
            // libraries that parse the issuer as a URL add a slash
            let is_issuer = audience.strip_suffix('/').unwrap_or(audience) == &*self.issuer;
            is_issuer || (!is_explicit && audience == &*self.token_endpoint)
        };
        match aud {
            Some(Value::Array(audiences)) => {
                (1..=MAX_AUDIENCES).contains(&audiences.len()) && audiences.iter().all(is_ours)
            }
            Some(audience) => is_ours(audience),
            None => false,
        }
    }
}

/// Whether the assertion says by its type that it is one (RFC 8725 3.11). Most have the type of any JWT, or none; a type of
/// something else is refused.
fn is_explicit(header: &Members) -> Result<bool, &'static str> {
    const WRONG: &str = "typ of client_assertion is that of another kind of JWT";
    let typ = header.text("typ").or(Err(WRONG))?.unwrap_or("JWT").to_ascii_lowercase();
    match typ.strip_prefix("application/").unwrap_or(&typ) {
        EXPLICIT_TYPE => Ok(true),
        "jwt" => Ok(false),
        _ => Err(WRONG),
    }
}
