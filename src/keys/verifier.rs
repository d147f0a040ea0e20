//! Is this bearer an access token of ours? Signature, `typ`, algorithm, issuer and expiry; the audience is the caller's.

use std::time::Duration;

use jsonwebtoken::Header;
use serde::Deserialize;

use super::KeyRing;
use crate::clock::Timestamp;
use crate::oauth::claims::{ACCESS_TOKEN_TYPE, AccessTokenClaims};

/// Longer than any token of ours: what is longer is not worth reading.
const MAX_TOKEN: usize = 8 * 1024;
/// How far another process's clock may be ahead of ours.
const SKEW: Duration = Duration::from_mins(1);

/// Why a bearer is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It is not, or no longer, a token of ours; the words are for our log.
    #[error("the token is not valid: {0}")]
    Invalid(&'static str),
    /// Its key is not known and we could not look: 503, never 401, which would cost the user a sign-in.
    #[error("the signing keys cannot be read now")]
    Unknown,
}

/// Verifies an access token of ours. An unknown `kid` leads to one re-read of the keys for all who ask at the same time,
/// and not again within a floor of 10 seconds. `exp` is the first second in which the token is no longer good; there is
/// no leeway, because we wrote it.
///
/// # Errors
/// See [`VerifyError`].
pub async fn verify_access_token(
    ring: &KeyRing,
    issuer: &str,
    token: &str,
    now: Timestamp,
) -> Result<AccessTokenClaims, VerifyError> {
    if token.len() > MAX_TOKEN {
        return Err(VerifyError::Invalid("it is longer than any of ours"));
    }
    let header = header(token)?;
    let kid = header.kid.as_deref().ok_or(VerifyError::Invalid("it has no kid"))?;
    let key = match ring.find(kid) {
        Some(key) => key,
        None => ring.find_in_store(kid, issue_time(token, issuer, now)?).await?,
    };
    if !key.is_algorithm(header.alg) {
        return Err(VerifyError::Invalid("its algorithm is not that of its key"));
    }
    let claims: AccessTokenClaims = jsonwebtoken::decode(token, key.public(), key.validation())
        .map_err(|_cause| VerifyError::Invalid("its signature or its claims are wrong"))?
        .claims;
    judge(&claims.iss, claims.exp, issuer, now)?;
    Ok(claims)
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

fn judge(iss: &str, exp: i64, issuer: &str, now: Timestamp) -> Result<(), VerifyError> {
    if iss != issuer {
        return Err(VerifyError::Invalid("its issuer is not ours"));
    }
    if now >= Timestamp(exp) {
        return Err(VerifyError::Invalid("it has expired"));
    }
    Ok(())
}

/// What a token with an unknown `kid` says of itself: not worth a look into the store unless it could be good.
fn issue_time(token: &str, issuer: &str, now: Timestamp) -> Result<Timestamp, VerifyError> {
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
    judge(&claims.iss, claims.exp, issuer, now)?;
    if Timestamp(claims.iat) > now + SKEW {
        return Err(VerifyError::Invalid("it was made in the future"));
    }
    Ok(Timestamp(claims.iat))
}

#[cfg(test)]
mod tests;
