//! Verifies our own access tokens: signature, `typ`, algorithm, issuer and times. Callers check the audience.
//!
//! Defends against: unsigned tokens, algorithm confusion (RFC 8725), ID tokens used as access tokens, clock manipulation.

use std::time::Duration;

use jsonwebtoken::Header;
use serde::Deserialize;

use super::error::VerifyError;
use super::key_ring::KeyRing;
use super::signing_key::KeyWatch;
use crate::clock::Timestamp;
use crate::oauth::claims::{ACCESS_TOKEN_TYPE, AccessTokenClaims};

/// The maximum length of our access tokens, in bytes.
pub(crate) const MAX_ACCESS_TOKEN: usize = 8 * 1024;
/// How far the clock of another process may be ahead of ours.
const SKEW: Duration = Duration::from_mins(1);

/// When a token is valid. Checked at every use: neither a cache nor a clock that is set back extends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    issued_at: Timestamp,
    expires_at: Timestamp,
}

impl Validity {
    /// Always valid, for tests.
    #[cfg(test)]
    pub(crate) const ALWAYS: Self = Self { issued_at: Timestamp(i64::MIN), expires_at: Timestamp(i64::MAX) };

    /// Valid until then: for what was not issued as a token.
    #[must_use]
    pub(crate) const fn until(expires_at: Timestamp) -> Self {
        Self { issued_at: Timestamp(i64::MIN), expires_at }
    }

    /// Valid in between: for the tokens of other issuers, whose leeway is in the end.
    #[must_use]
    pub(crate) const fn between(issued_at: Timestamp, expires_at: Timestamp) -> Self {
        Self { issued_at, expires_at }
    }

    /// No token lives longer than one issued now: a shortened lifetime applies to existing tokens at once.
    fn of(iat: i64, exp: i64, lifetime: Duration) -> Self {
        let issued_at = Timestamp(iat);
        Self { issued_at, expires_at: Timestamp(exp).min(issued_at + lifetime) }
    }

    /// The first second in which the token is no longer valid.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Checks the times of a token. It expires in the second of `exp`, without leeway, because our own clock set it.
    ///
    /// # Errors
    /// A message for our log.
    pub fn check(&self, now: Timestamp) -> Result<(), &'static str> {
        if now >= self.expires_at {
            return Err("the token has expired");
        }
        if self.issued_at > now + SKEW {
            // issued while a clock was ahead: it would outlive every other token once the clock is corrected
            return Err("the token was made in the future");
        }
        Ok(())
    }
}

/// The expectations for a token.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Our issuer.
    pub issuer: &'a str,
    /// The configured lifetime of access tokens.
    pub lifetime: Duration,
    /// The current time.
    pub now: Timestamp,
}

/// A token of ours whose signature holds and whose time it is.
#[derive(Debug)]
pub struct VerifiedToken {
    /// What it says.
    pub claims: AccessTokenClaims,
    /// When it is good.
    pub validity: Validity,
    /// Whether its key is withdrawn: what remembers the token asks at every use.
    pub key: KeyWatch,
}

/// Verifies one of our access tokens. An unknown `kid` waits for the next read of our keys: see
/// [`KeyRing::find_in_store`].
///
/// # Errors
/// See [`VerifyError`].
pub async fn verify_access_token(
    ring: &KeyRing,
    token: &str,
    expected: &Expected<'_>,
) -> Result<VerifiedToken, VerifyError> {
    if token.len() > MAX_ACCESS_TOKEN {
        return Err(VerifyError::Invalid("it is longer than any of ours"));
    }
    let header = header(token)?;
    let kid = header.kid.as_deref().ok_or(VerifyError::Invalid("it has no kid"))?;
    let key = if let Some(key) = ring.find(kid) {
        key
    } else {
        check_unverified(token, expected)?;
        ring.find_in_store(kid).await?
    };
    if !key.is_algorithm(header.alg) {
        return Err(VerifyError::Invalid("its algorithm is not that of its key"));
    }
    let claims: AccessTokenClaims = jsonwebtoken::decode(token, key.public(), key.validation())
        .map_err(|_cause| VerifyError::Invalid("its signature or its claims are wrong"))?
        .claims;
    let validity = Validity::of(claims.iat, claims.exp, expected.lifetime);
    check(&claims.iss, validity, expected)?;
    Ok(VerifiedToken { claims, validity, key: key.watch().clone() })
}

/// Parses the header. The algorithm `none` does not parse: `jsonwebtoken` does not support it.
fn header(token: &str) -> Result<Header, VerifyError> {
    let header = jsonwebtoken::decode_header(token).or(Err(VerifyError::Invalid("it is not a signed JWT")))?;
    let typ = header.typ.as_deref().ok_or(VerifyError::Invalid("it has no typ"))?;
    // RFC 9068 4 allows the full media type; RFC 7515 4.1.9: case does not matter
    let (full, short) = (format!("application/{ACCESS_TOKEN_TYPE}"), ACCESS_TOKEN_TYPE);
    if !typ.eq_ignore_ascii_case(short) && !typ.eq_ignore_ascii_case(&full) {
        return Err(VerifyError::Invalid("its typ is not at+jwt"));
    }
    Ok(header)
}

fn check(iss: &str, validity: Validity, expected: &Expected<'_>) -> Result<(), VerifyError> {
    if iss != expected.issuer {
        return Err(VerifyError::Invalid("its issuer is not ours"));
    }
    validity.check(expected.now).map_err(VerifyError::Invalid)
}

/// Checks the unverified claims of a token with an unknown `kid`: the store is read only for a token that could be valid.
fn check_unverified(token: &str, expected: &Expected<'_>) -> Result<(), VerifyError> {
    #[derive(Deserialize)]
    struct Unverified {
        iss: String,
        iat: i64,
        exp: i64,
    }
    #[expect(clippy::disallowed_methods, reason = "read only to decide whether the store is asked for the key")]
    let claims = jsonwebtoken::dangerous::insecure_decode::<Unverified>(token)
        .or(Err(VerifyError::Invalid("its claims are not ours")))?
        .claims;
    check(&claims.iss, Validity::of(claims.iat, claims.exp, expected.lifetime), expected)
}

#[cfg(test)]
mod tests;
