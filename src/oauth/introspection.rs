//! Answers of token introspection (RFC 7662 2.2).

use serde::Serialize;

use super::claims::AccessTokenClaims;
use super::dpop::Confirmation;
use super::scope::ScopeSet;

/// The answer for every token that is not active, whatever the reason (RFC 7662 2.2).
pub const INACTIVE: &[u8] = br#"{"active":false}"#;

/// What a resource server is told of an active access token. Not `username`: what we know of the user beyond `sub` is not the
/// resource server's to know.
#[derive(Debug, Serialize)]
pub struct ActiveToken<'a> {
    active: bool,
    scope: &'a ScopeSet,
    client_id: &'a str,
    token_type: &'static str,
    exp: i64,
    iat: i64,
    sub: &'a str,
    aud: &'a str,
    iss: &'a str,
    jti: &'a str,
    sid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
}

impl<'a> ActiveToken<'a> {
    /// The answer for a token that is good until `exp`, which may be earlier than the token says.
    #[must_use]
    pub const fn new(claims: &'a AccessTokenClaims, exp: i64) -> Self {
        Self {
            active: true,
            scope: &claims.scope,
            client_id: claims.client_id.as_str(),
            token_type: claims.token_type(),
            exp,
            iat: claims.iat,
            sub: claims.sub.as_str(),
            aud: claims.aud.as_str(),
            iss: claims.iss.as_str(),
            jti: claims.jti.as_str(),
            sid: claims.sid.as_str(),
            cnf: claims.cnf,
        }
    }
}
