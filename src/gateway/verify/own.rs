//! Tokens of our own: the signature, and one read of the grant.

use std::sync::Arc;
use std::time::Duration;

use super::{EndedCredential, Unverified, Verified};
use crate::clock::Clock;
use crate::config::Config;
use crate::delegation::Delegation;
use crate::gateway::caller::{Under, VerifiedCaller};
use crate::gateway::refusal::ENDED;
use crate::keys::{Expected, KeyRing, VerifiedToken, VerifyError, verify_access_token};
use crate::model::caller::Caller;
use crate::model::grant::Grant;
use crate::model::ids::GrantId;
use crate::oauth::scope::ScopeSet;
use crate::policy::{self, Person};
use crate::revocation::Revocation;
use crate::storage::Store;

/// Verifies the tokens that our issuer makes.
pub(in crate::gateway) struct OwnTokens {
    pub(in crate::gateway) config: Arc<Config>,
    /// How long an access token lives today.
    pub(in crate::gateway) lifetime: Duration,
    pub(in crate::gateway) ring: KeyRing,
    pub(in crate::gateway) store: Store,
    pub(in crate::gateway) revocation: Revocation,
    pub(in crate::gateway) clock: Clock,
    pub(in crate::gateway) delegation: Arc<Delegation>,
}

impl OwnTokens {
    /// Verifies a token.
    ///
    /// # Errors
    /// When it is not good, or when that cannot be known now.
    pub(in crate::gateway) async fn verify(&self, token: &str) -> Result<Verified, Unverified> {
        let now = self.clock.now();
        let issuer = self.config.public_url.as_str();
        let expected = Expected { issuer, lifetime: self.lifetime, now };
        let verified = verify_access_token(&self.ring, token, &expected).await;
        let VerifiedToken { claims, validity, key } = verified.map_err(|error| match error {
            VerifyError::Invalid(why) => Unverified::Invalid(why),
            VerifyError::Unavailable => Unverified::Unavailable(error.to_string()),
        })?;
        let id = GrantId::from(claims.sid);
        // taken before the grant is read: an end that comes after the read reaches the watch
        let watch = self.revocation.watch(&id);
        let grant = self.store.grant(&id).await.map_err(|error| Unverified::Unavailable(error.to_string()))?;
        let grant = grant.ok_or(Unverified::Invalid("the token's grant is gone"))?;
        if grant.ended_at.is_some() {
            let ended = EndedCredential { grant: id, subject: claims.sub, client: grant.client_id };
            return Ok(Verified::Ended(Arc::new(ended)));
        }
        if !grant.is_live(now) {
            // not remembered: a refresh in progress may move this end
            return Err(Unverified::Invalid(ENDED));
        }
        let expires_at = grant.expires_at;
        let caller = self.caller(&claims.aud, claims.scope, grant);
        Ok(Verified::Good(Arc::new(VerifiedCaller {
            identity: self.delegation.headers(&caller, &claims.aud),
            caller,
            audience: claims.aud,
            key_bound_to: claims.cnf.map(|cnf| cnf.jkt),
            expires_at,
            under: Under::Grant(id, watch),
            key,
            validity,
        })))
    }

    /// Who calls. The rules of today hold: a grant may be from before one of them, and is asked about them at its next refresh.
    /// Of the scope of the token that counts which its user may still have, and what that implies.
    fn caller(&self, audience: &str, scope: ScopeSet, grant: Grant) -> Caller {
        let Grant { subject, identity, client_id, user, scope: granted, .. } = grant;
        let person = Person::of(&identity, subject.as_str(), &user);
        let provider = self.config.identities.iter().find(|provider| provider.id == identity.as_str());
        let upstream = self.config.upstreams.iter().find(|upstream| upstream.audience() == audience);
        let signed_in = provider.map_or(Ok(()), |provider| policy::admit(&person, &provider.admission, "identity"));
        let allowed = signed_in.and_then(|()| {
            let Some(upstream) = upstream else { return Ok(scope.clone()) };
            let allowed = policy::admit_to(&person, upstream, &granted)?;
            Ok(upstream.settings.scopes.hierarchy.covered(&scope, &allowed))
        });
        let (scope, kept_out) = match allowed {
            Ok(allowed) => (allowed, None),
            Err(not_admitted) => (scope, Some(Box::new(not_admitted))),
        };
        Caller { subject: subject.as_str().into(), identity, client: client_id, scope, user, kept_out }
    }
}
