//! The token endpoint's successful answer (RFC 6749 5.1).

use std::fmt;

use serde::Serialize;

use super::scope::ScopeSet;

/// An answer that carries tokens; prints without them.
#[derive(Clone, Serialize)]
pub struct TokenResponse {
    /// The access token.
    pub access_token: String,
    /// Always `Bearer` (RFC 6750).
    pub token_type: &'static str,
    /// Seconds until the access token is no longer good.
    pub expires_in: u64,
    /// The next refresh token, when one is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// What was granted, as far as the client named it. Left out when it named nothing that is known here: some clients
    /// refuse an answer that names more than they asked for.
    #[serde(skip_serializing_if = "ScopeSet::is_empty")]
    pub scope: ScopeSet,
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("expires_in", &self.expires_in)
            .field("refresh_token", &self.refresh_token.is_some())
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
