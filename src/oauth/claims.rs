//! The claims of our access tokens (RFC 9068). Name, e-mail and groups are left out: hosted clients could read them.

use serde::{Deserialize, Serialize};

use super::dpop::{Confirmation, TOKEN_TYPE};
use super::scope::ScopeSet;

/// The `typ` of our tokens' header (RFC 9068 2.1): no ID token can pass for one.
pub const ACCESS_TOKEN_TYPE: &str = "at+jwt";

/// The `typ` of the assertions about users that we sign for servers behind us: none can pass for an access token.
pub const ASSERTION_TYPE: &str = "user-assertion+jwt";

/// The claims of an access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    /// The issuer, byte for byte.
    pub iss: String,
    /// The user, as `{identity}|{key}`.
    pub sub: String,
    /// The one resource that may accept the token.
    pub aud: String,
    /// The client that it was issued to.
    pub client_id: String,
    /// The granted scope.
    pub scope: ScopeSet,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// The first second in which it is no longer valid.
    pub exp: i64,
    /// Its unique id.
    pub jti: String,
    /// The grant, whose end revokes it.
    pub sid: String,
    /// The key that it is bound to; a bearer token has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
}

impl AccessTokenClaims {
    /// How the token is sent (RFC 6749 7.1, RFC 9449 5).
    #[must_use]
    pub const fn token_type(&self) -> &'static str {
        if self.cnf.is_some() { TOKEN_TYPE } else { "Bearer" }
    }
}
