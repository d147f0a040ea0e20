//! The access token and the answer that carries it.

use super::TokenRefusal;
use crate::clock::Timestamp;
use crate::issuer::Issuer;
use crate::model::grant::Grant;
use crate::oauth::claims::AccessTokenClaims;
use crate::oauth::scope::{OFFLINE_ACCESS, ScopeSet};
use crate::oauth::token::TokenResponse;
use crate::secret::{Refresh, Token, random_id};
use crate::storage::NewRefreshToken;

/// A refresh token on its way to the client, and what we remember of it.
pub(super) struct FreshRefreshToken {
    pub(super) token: Token<Refresh>,
    pub(super) stored: NewRefreshToken,
}

impl Issuer {
    /// A refresh token for a grant: it ends when nobody uses it, with its grant, or when the provider said.
    pub(super) fn fresh_refresh_token(&self, grant: &Grant, now: Timestamp) -> FreshRefreshToken {
        let token = Token::<Refresh>::generate();
        let idle = now + self.config().lifetimes.refresh_idle;
        let expires_at = idle.min(grant.expires_at).min(grant.standing.ends_at.unwrap_or(idle));
        FreshRefreshToken { stored: NewRefreshToken { hash: token.sha256(), expires_at }, token }
    }

    /// Signs an access token and writes the answer. `scope` is the grant's or less.
    pub(super) fn token_response(
        &self,
        grant: &Grant,
        scope: &ScopeSet,
        refresh_token: Option<&Token<Refresh>>,
        now: Timestamp,
    ) -> Result<Vec<u8>, TokenRefusal> {
        let full = now + self.config().lifetimes.access_token;
        let exp = full.min(grant.expires_at).min(grant.standing.ends_at.unwrap_or(full));
        if exp <= now {
            return Err(TokenRefusal::invalid_grant("the session at the identity provider has ended"));
        }
        if exp < full {
            tracing::info!(grant = %grant.id, seconds = exp.since(now).as_secs(), "an access token ends with its session");
        }
        let claims = AccessTokenClaims {
            iss: self.issuer().to_owned(),
            sub: grant.subject.to_string(),
            aud: grant.resource.clone(),
            client_id: grant.client_id.to_string(),
            scope: scope.clone(),
            iat: now.0,
            exp: exp.0,
            jti: random_id("t_"),
            sid: grant.id.to_string(),
        };
        let access_token =
            self.0.parts.ring.sign(&claims).map_err(|error| TokenRefusal::Unavailable(error.to_string()))?;
        let named = if refresh_token.is_some() { scope.clone().with(OFFLINE_ACCESS) } else { scope.clone() };
        let response = TokenResponse {
            access_token,
            token_type: "Bearer",
            expires_in: exp.since(now).as_secs(),
            refresh_token: refresh_token.map(|token| token.expose().to_owned()),
            scope: named,
        };
        serde_json::to_vec(&response).map_err(|error| TokenRefusal::Unavailable(error.to_string()))
    }
}
