//! The access token (RFC 9068) and the response that carries it (RFC 6749 5.1).

use std::sync::Arc;
use std::time::Duration;

use super::refusal::TokenRefusal;
use crate::clock::Timestamp;
use crate::keys::KeyRing;
use crate::model::grant::Grant;
use crate::oauth::claims::AccessTokenClaims;
use crate::oauth::dpop::{Confirmation, Thumbprint};
use crate::oauth::scope::{OFFLINE_ACCESS, ScopeSet};
use crate::oauth::token::TokenResponse;
use crate::secret::{Refresh, Token, random_id};
use crate::storage::NewRefreshToken;

/// A refresh token on its way to the client, and what is stored of it.
pub(super) struct FreshRefreshToken {
    pub(super) token: Token<Refresh>,
    pub(super) stored: NewRefreshToken,
}

/// Makes access tokens and refresh tokens. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct AccessTokens {
    pub(in crate::issuer) issuer: Arc<str>,
    pub(in crate::issuer) ring: KeyRing,
    /// How long an access token lives.
    pub(in crate::issuer) lifetime: Duration,
    /// How long an unused refresh token lives.
    pub(in crate::issuer) refresh_idle: Duration,
}

/// What an access token grants, and what its response names.
pub(super) struct Answered<'a> {
    /// What the token allows: the grant's scope or less.
    pub(super) allowed: &'a ScopeSet,
    /// What the client named, in this request or when it asked for the grant; `None` when it named nothing.
    pub(super) named: Option<&'a ScopeSet>,
    /// The key that it is bound to; a bearer token has none.
    pub(super) key: Option<Thumbprint>,
}

impl Answered<'_> {
    /// A response never names more than was asked for: the official Python client from 1.9.4 to 1.21.0 refuses it. When
    /// nothing was asked for, it names everything, and `offline_access` if the client may refresh.
    fn in_answer(&self, refreshes: bool) -> ScopeSet {
        let allowed = self.allowed.clone();
        let all = if refreshes { allowed.with(OFFLINE_ACCESS) } else { allowed };
        match self.named {
            Some(named) => all.intersection(named),
            None => all,
        }
    }
}

impl AccessTokens {
    /// A refresh token for a grant: it expires when unused, with its grant, or with the session at the provider. `bound`: its client
    /// proves a key.
    pub(super) fn fresh_refresh_token(&self, grant: &Grant, bound: bool, now: Timestamp) -> FreshRefreshToken {
        let token = Token::<Refresh>::generate();
        let idle = now + self.refresh_idle;
        let expires_at = idle.min(grant.expires_at).min(grant.standing.ends_at.unwrap_or(idle));
        FreshRefreshToken { stored: NewRefreshToken { hash: token.sha256(), expires_at, bound }, token }
    }

    /// Signs an access token and writes the response.
    pub(super) fn response(
        &self,
        grant: &Grant,
        answered: &Answered<'_>,
        refresh_token: Option<&Token<Refresh>>,
        now: Timestamp,
    ) -> Result<Vec<u8>, TokenRefusal> {
        let full = now + self.lifetime;
        let exp = full.min(grant.expires_at).min(grant.standing.ends_at.unwrap_or(full));
        if exp <= now {
            return Err(TokenRefusal::invalid_grant("the grant, or the session at the identity provider, has ended"));
        }
        if exp < full {
            tracing::info!(grant = %grant.id, seconds = exp.since(now).as_secs(), "an access token expires early: with its grant, or with the session at the provider");
        }
        let claims = AccessTokenClaims {
            iss: self.issuer.as_ref().to_owned(),
            sub: grant.subject.to_string(),
            aud: grant.resource.clone(),
            client_id: grant.client_id.to_string(),
            scope: answered.allowed.clone(),
            iat: now.0,
            exp: exp.0,
            jti: random_id("t_"),
            sid: grant.id.to_string(),
            cnf: answered.key.map(|jkt| Confirmation { jkt }),
        };
        let access_token = self.ring.sign(&claims).map_err(TokenRefusal::unavailable)?;
        let response = TokenResponse {
            access_token,
            token_type: claims.token_type(),
            expires_in: exp.since(now).as_secs(),
            refresh_token: refresh_token.map(|token| token.expose().to_owned()),
            scope: answered.in_answer(refresh_token.is_some()),
        };
        serde_json::to_vec(&response).map_err(TokenRefusal::unavailable)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Answered;
    use crate::oauth::scope::ScopeSet;

    proptest! {
        #[test]
        fn a_response_never_names_more_than_was_asked_for_or_than_the_token_allows(
            allowed in "([a-c] ?){1,3}", named in "([a-d] ?|offline_access ?){0,4}", refreshes: bool,
        ) {
            let (allowed, named) = (ScopeSet::parse(&allowed).unwrap(), ScopeSet::parse(&named).unwrap());
            let answer = Answered { allowed: &allowed, named: Some(&named), key: None }.in_answer(refreshes);
            prop_assert!(answer.without(&named).is_empty());
            prop_assert!(answer.without(&allowed.clone().with("offline_access")).is_empty());
            prop_assert_eq!(answer.contains("offline_access"), refreshes && named.contains("offline_access"));
            let all = Answered { allowed: &allowed, named: None, key: None }.in_answer(refreshes);
            prop_assert_eq!(all, if refreshes { allowed.with("offline_access") } else { allowed });
        }
    }
}
