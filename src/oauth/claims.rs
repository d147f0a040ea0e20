//! What an access token of ours says (RFC 9068). Name, e-mail and groups are not in it: hosted clients would read them.

use serde::{Deserialize, Serialize};

use super::scope::ScopeSet;

/// The `typ` of our tokens' header (RFC 9068 2.1): no ID token can be taken for one.
pub const ACCESS_TOKEN_TYPE: &str = "at+jwt";

/// The claims of an access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    /// The issuer, byte for byte.
    pub iss: String,
    /// The user, as `{identity}|{key}`.
    pub sub: String,
    /// The one resource that may accept the token.
    pub aud: String,
    /// The client that it was given to.
    pub client_id: String,
    /// What it allows.
    pub scope: ScopeSet,
    /// When it was made, in seconds since 1970.
    pub iat: i64,
    /// The first second in which it is no longer good.
    pub exp: i64,
    /// Its own id.
    pub jti: String,
    /// The grant that it lives under.
    pub sid: String,
}
