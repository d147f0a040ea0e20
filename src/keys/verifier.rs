//! Is this bearer an access token of ours? Signature, `typ`, algorithm, issuer and times; the audience is the caller's.
//!
//! Defends against forged tokens: algorithm confusion, ID tokens in place of access tokens (`typ`), and tokens that a cache
//! or a clock would prolong.

use std::time::Duration;

use jsonwebtoken::Header;
use serde::Deserialize;

use super::error::VerifyError;
use super::key_ring::KeyRing;
use crate::clock::Timestamp;
use crate::oauth::claims::{ACCESS_TOKEN_TYPE, AccessTokenClaims};

/// No access token of ours is longer than this, in bytes.
pub(crate) const MAX_ACCESS_TOKEN: usize = 8 * 1024;
/// How far another process's clock may be ahead of ours.
const SKEW: Duration = Duration::from_mins(1);

/// When a token of ours is good: judged at every use, so that neither a cache nor a clock that is set prolongs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    issued_at: Timestamp,
    expires_at: Timestamp,
}

impl Validity {
    /// Good at every time, for tests.
    #[cfg(test)]
    pub(crate) const ALWAYS: Self = Self { issued_at: Timestamp(i64::MIN), expires_at: Timestamp(i64::MAX) };

    /// No token lives longer than those that are made today: a lifetime that the operator shortened counts at once.
    fn of(iat: i64, exp: i64, lifetime: Duration) -> Self {
        let issued_at = Timestamp(iat);
        Self { issued_at, expires_at: Timestamp(exp).min(issued_at + lifetime) }
    }

    /// Judges a token's times. `exp` is the first second in which it is no longer good; there is no leeway, because we
    /// wrote it.
    ///
    /// # Errors
    /// Words for our log.
    pub fn judge(&self, now: Timestamp) -> Result<(), &'static str> {
        if now >= self.expires_at {
            return Err("the token has expired");
        }
        if self.issued_at > now + SKEW {
            // made while a process's clock was ahead: once that is set right, it would outlive every other token
            return Err("the token was made in the future");
        }
        Ok(())
    }
}

/// What a token of ours must fit.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Us.
    pub issuer: &'a str,
    /// How long the access tokens live that are made today.
    pub lifetime: Duration,
    /// When it is judged.
    pub now: Timestamp,
}

/// Verifies an access token of ours. An unknown `kid` waits for the next reading of our keys: see
/// [`KeyRing::find_in_store`].
///
/// # Errors
/// See [`VerifyError`].
pub async fn verify_access_token(
    ring: &KeyRing,
    token: &str,
    expected: &Expected<'_>,
) -> Result<(AccessTokenClaims, Validity), VerifyError> {
    if token.len() > MAX_ACCESS_TOKEN {
        return Err(VerifyError::Invalid("it is longer than any of ours"));
    }
    let header = header(token)?;
    let kid = header.kid.as_deref().ok_or(VerifyError::Invalid("it has no kid"))?;
    let key = if let Some(key) = ring.find(kid) {
        key
    } else {
        judge_unverified(token, expected)?;
        ring.find_in_store(kid).await?
    };
    if !key.is_algorithm(header.alg) {
        return Err(VerifyError::Invalid("its algorithm is not that of its key"));
    }
    let claims: AccessTokenClaims = jsonwebtoken::decode(token, key.public(), key.validation())
        .map_err(|_cause| VerifyError::Invalid("its signature or its claims are wrong"))?
        .claims;
    let validity = Validity::of(claims.iat, claims.exp, expected.lifetime);
    judge(&claims.iss, validity, expected)?;
    Ok((claims, validity))
}

/// Reads the header. `jsonwebtoken` knows no `none`: such a header does not parse.
fn header(token: &str) -> Result<Header, VerifyError> {
    let header = jsonwebtoken::decode_header(token).or(Err(VerifyError::Invalid("it is not a signed JWT")))?;
    let typ = header.typ.as_deref().ok_or(VerifyError::Invalid("it has no typ"))?;
    // RFC 9068 4 allows the media type's full name; RFC 7515 4.1.9 makes case no difference.
    let (full, short) = (format!("application/{ACCESS_TOKEN_TYPE}"), ACCESS_TOKEN_TYPE);
    if !typ.eq_ignore_ascii_case(short) && !typ.eq_ignore_ascii_case(&full) {
        return Err(VerifyError::Invalid("its typ is not at+jwt"));
    }
    Ok(header)
}

fn judge(iss: &str, validity: Validity, expected: &Expected<'_>) -> Result<(), VerifyError> {
    if iss != expected.issuer {
        return Err(VerifyError::Invalid("its issuer is not ours"));
    }
    validity.judge(expected.now).map_err(VerifyError::Invalid)
}

/// What a token with an unknown `kid` says of itself: not worth a look into the store unless it could be good.
fn judge_unverified(token: &str, expected: &Expected<'_>) -> Result<(), VerifyError> {
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
    judge(&claims.iss, Validity::of(claims.iat, claims.exp, expected.lifetime), expected)
}

#[cfg(test)]
mod tests;
