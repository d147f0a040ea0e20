//! `grant_type=authorization_code` (RFC 6749 4.1.3, RFC 7636 4.5, RFC 8707 2.2).

use std::time::Duration;

use super::access_token::AnsweredScope;
use super::{TokenRefusal, is_of};
use crate::audit::{self, Event};
use crate::clock::Timestamp;
use crate::identity::Provider;
use crate::issuer::Issuer;
use crate::model::authorization::{IssuedCode, MAX_CODE_FAILURES};
use crate::model::client::{Client, ClientOrigin};
use crate::model::grant::{EndReason, Grant};
use crate::model::ids::GrantId;
use crate::oauth::parameters::Parameters;
use crate::oauth::pkce::CodeVerifier;
use crate::secret::{Code, Sha256, Token};
use crate::storage::Redemption;

/// A second redemption this soon after the first is a client's own retry, not a thief.
const RETRY: Duration = Duration::from_secs(10);

impl Issuer {
    /// Redeems a code: everything is checked before it is consumed, and consumed by one conditional statement.
    pub(super) async fn redeem_code(&self, client: &Client, parameters: &Parameters) -> Result<Vec<u8>, TokenRefusal> {
        let code = parameters.one("code")?.ok_or_else(|| TokenRefusal::invalid_request("code is missing"))?;
        let unknown = || TokenRefusal::invalid_grant("the code is not known here, or has expired");
        let hash = Token::<Code>::parse(code).ok_or_else(unknown)?.sha256();
        let issued = self.store().issued_code(&hash).await?.ok_or_else(unknown)?;
        // of a code that nobody can redeem any more nothing is written: who knows it could make us write without end
        let dead = issued.failures >= MAX_CODE_FAILURES || self.now() >= issued.code_expires_at;
        if let Err(refusal) = self.check_code(client, parameters, &issued) {
            if !dead && issued.redeemed.is_none() {
                self.count_failure(client, &hash).await?;
            }
            return Err(refusal);
        }
        match &issued.redeemed {
            Some((at, grant)) => self.redeemed_again(*at, grant).await,
            None if dead => Err(unknown()),
            None => self.redeem(client, &hash, issued).await,
        }
    }

    async fn count_failure(&self, client: &Client, code: &Sha256) -> Result<(), TokenRefusal> {
        let failures = self.store().count_code_failure(code).await?;
        if failures == MAX_CODE_FAILURES {
            audit::record(&Event::CodeAttacked { client: &client.id, failures });
        }
        Ok(())
    }

    /// Client, `redirect_uri`, PKCE and `resource`: what proves that this is the client that the code was made for.
    fn check_code(&self, client: &Client, parameters: &Parameters, issued: &IssuedCode) -> Result<(), TokenRefusal> {
        let request = &issued.authorization.request;
        if !is_of(client, &request.client_id) {
            return Err(TokenRefusal::invalid_grant("the code was given to another client"));
        }
        if parameters.one("redirect_uri")?.is_some_and(|uri| !self.is_one_redirect_uri(uri, &request.redirect_uri)) {
            return Err(TokenRefusal::invalid_grant("redirect_uri is not the one that the code was sent to"));
        }
        let verifier = parameters
            .one("code_verifier")?
            .ok_or_else(|| TokenRefusal::invalid_request("code_verifier is missing: PKCE is required"))?;
        let verifier = CodeVerifier::parse(verifier).ok_or_else(|| {
            TokenRefusal::invalid_request(
                "code_verifier must be 43 to 128 letters, digits, dots, hyphens, underscores or tildes",
            )
        })?;
        if self.0.parts.identities.get(issued.authorization.identity.as_str()).is_none() {
            return Err(TokenRefusal::invalid_grant("the identity provider of this sign-in is no longer here"));
        }
        let proven = issued.authorization.code_challenge().is_some_and(|challenge| verifier.proves(&challenge));
        if !proven {
            return Err(TokenRefusal::invalid_grant("code_verifier does not match the code_challenge"));
        }
        Ok(self.check_resource(parameters, &request.resource)?)
    }

    /// A second redemption that proves itself: at once it is a retry, later the code was stolen (OAuth 2.1 4.1.3).
    async fn redeemed_again(&self, at: Timestamp, grant: &GrantId) -> Result<Vec<u8>, TokenRefusal> {
        let late = self.now() >= at + RETRY;
        if late && self.store().grant(grant).await?.is_some_and(|grant| grant.ended_at.is_none()) {
            self.end_grant(grant, EndReason::CodeReplayed).await?;
        }
        Err(TokenRefusal::invalid_grant("the code was redeemed before"))
    }

    async fn redeem(&self, client: &Client, hash: &Sha256, issued: IssuedCode) -> Result<Vec<u8>, TokenRefusal> {
        let now = self.now();
        let wants_refresh = issued.authorization.request.refresh;
        if wants_refresh && !issued.sign_in.standing.renewable {
            tracing::warn!(
                identity = %issued.authorization.identity, client = %client.id,
                "the identity provider gave no refresh token, so this client gets none and signs in again when its token \
                 ends: let the provider's client have refresh tokens, or set standing = \"none\""
            );
        }
        let gives_refresh = wants_refresh && issued.sign_in.standing.renewable;
        let grant = self.new_grant(issued, gives_refresh, now);
        let fresh = gives_refresh.then(|| self.fresh_refresh_token(&grant, now));
        let scope = AnsweredScope { allowed: &grant.scope, named: grant.named_scope.as_ref() };
        let response = self.token_response(&grant, &scope, fresh.as_ref().map(|fresh| &fresh.token), now)?;
        let stored = fresh.as_ref().map(|fresh| &fresh.stored);
        let provider = self.0.parts.identities.get(grant.identity.as_str());
        let redemption = Redemption {
            code: hash,
            grant: &grant,
            refresh_token: stored,
            // no provider has an empty one
            issuer: provider.map_or("", Provider::issuer),
            client_is_configured: client.origin == ClientOrigin::Configured,
            now,
        };
        let Some(made_room) = self.store().redeem_code(&redemption).await? else {
            return Err(TokenRefusal::invalid_grant("the code was redeemed or taken back before, or has expired"));
        };
        for ended in made_room {
            audit::record(&Event::MadeRoom { grant: &ended });
            self.0.parts.revocation.note_ended(&ended);
        }
        audit::record(&Event::Granted { grant: &grant, refresh: gives_refresh });
        Ok(response)
    }

    fn new_grant(&self, issued: IssuedCode, gives_refresh: bool, now: Timestamp) -> Grant {
        let lifetimes = &self.config().lifetimes;
        let age = if gives_refresh { lifetimes.max_grant_age } else { lifetimes.access_token };
        let IssuedCode { authorization, mut sign_in, code_expires_at: _, failures: _, redeemed: _ } = issued;
        if !gives_refresh {
            // nothing would ever ask the provider again, so there is no reason to hold its token; it is no offline one,
            // because that is asked for only where a refresh token will be given
            sign_in.standing.sealed_token = None;
        }
        Grant {
            id: GrantId::random(),
            subject: sign_in.subject,
            identity: authorization.identity,
            client_id: authorization.request.client_id,
            resource: authorization.request.resource,
            scope: authorization.request.scope,
            named_scope: authorization.request.named_scope,
            user: sign_in.user,
            standing: sign_in.standing,
            created_at: now,
            expires_at: now + age,
            ended_at: None,
        }
    }
}
