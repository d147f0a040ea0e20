//! `grant_type=authorization_code` (RFC 6749 4.1.3, RFC 7636 4.5, RFC 8707 2.2): a code becomes a grant.
//!
//! Defends against: stolen and injected codes (client, `redirect_uri`, PKCE and `resource` must be those of the request, and the
//! client must still have that redirect URI),
//! replay (a code is redeemed once, by one conditional statement; a late second redemption ends the grant), and brute force
//! (a code is dead after five failures).

use std::time::Duration;

use super::access_token::{AccessTokens, AnsweredScope};
use super::refusal::TokenRefusal;
use crate::audit::{Audit, Event};
use crate::clock::{Clock, Timestamp};
use crate::config::Lifetimes;
use crate::identity::{Identities, Provider};
use crate::issuer::clients::Clients;
use crate::issuer::grants::GrantEnds;
use crate::issuer::resources::Resources;
use crate::model::authorization::{IssuedCode, MAX_CODE_FAILURES};
use crate::model::client::{Client, ClientOrigin};
use crate::model::grant::{EndReason, Grant};
use crate::model::ids::GrantId;
use crate::oauth::parameters::Parameters;
use crate::oauth::pkce::CodeVerifier;
use crate::secret::{Code, Sha256, Token};
use crate::storage::{Redemption, Store, StoreError};
use crate::telemetry::metrics;
use crate::wire::Arrival;

/// A second redemption this soon after the first is a client's own retry; a later one is taken for a thief's.
const RETRY: Duration = Duration::from_secs(10);

/// Redeems codes.
pub(in crate::issuer) struct Redemptions {
    pub(in crate::issuer) clients: Clients,
    pub(in crate::issuer) resources: Resources,
    pub(in crate::issuer) identities: Identities,
    pub(in crate::issuer) access_tokens: AccessTokens,
    pub(in crate::issuer) ends: GrantEnds,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) lifetimes: Lifetimes,
    pub(in crate::issuer) counted: metrics::Grants,
    pub(in crate::issuer) audit: Audit,
}

impl Redemptions {
    /// Redeems a code: everything is checked before it is consumed, and consumed by one conditional statement.
    pub(super) async fn redeem(
        &self,
        client: &Client,
        parameters: &Parameters,
        arrival: &Arrival,
    ) -> Result<Vec<u8>, TokenRefusal> {
        let code = parameters.one("code")?.ok_or_else(|| TokenRefusal::invalid_request("code is missing"))?;
        let unknown = || TokenRefusal::invalid_grant("the code is not known here, or has expired");
        let hash = Token::<Code>::parse(code).ok_or_else(unknown)?.sha256();
        let issued = self.store.issued_code(&hash).await?.ok_or_else(unknown)?;
        // failures of a dead code are not counted: each would be a write that anyone who knows it could cause
        let dead = issued.failed_redemptions >= MAX_CODE_FAILURES || self.clock.now() >= issued.code_expires_at;
        if let Err(refusal) = self.check(client, parameters, &issued) {
            if !dead && issued.redeemed.is_none() {
                self.count_failure(client, &hash, arrival).await?;
            }
            return Err(refusal);
        }
        match &issued.redeemed {
            Some((at, grant)) => {
                self.end_if_replayed(*at, grant, arrival).await?;
                Err(TokenRefusal::invalid_grant("the code was redeemed before").of_grant(grant))
            }
            None if dead => Err(unknown()),
            None => self.consume(client, &hash, issued, arrival).await,
        }
    }

    async fn count_failure(&self, client: &Client, code: &Sha256, arrival: &Arrival) -> Result<(), TokenRefusal> {
        let failures = self.store.count_code_failure(code).await?;
        if failures == MAX_CODE_FAILURES {
            self.audit.record(&Event::CodeAttacked { client: &client.id, failures }, arrival);
        }
        Ok(())
    }

    /// Client, `redirect_uri`, PKCE and `resource`: what proves that this is the client that the code was made for.
    fn check(&self, client: &Client, parameters: &Parameters, issued: &IssuedCode) -> Result<(), TokenRefusal> {
        let request = &issued.request;
        if client.id != request.client_id {
            return Err(TokenRefusal::invalid_grant("the code was given to another client"));
        }
        let sent = parameters.one("redirect_uri")?;
        if sent.is_some_and(|uri| !self.clients.is_same_redirect_uri(uri, &request.redirect_uri)) {
            return Err(TokenRefusal::invalid_grant("redirect_uri is not the one that the code was sent to"));
        }
        if self.clients.redirect_uri(client, &request.redirect_uri).is_err() {
            return Err(TokenRefusal::invalid_grant(
                "the client does not have the redirect URI any more that the code was sent to",
            ));
        }
        let verifier = verifier(parameters)?;
        if self.identities.get(issued.identity.as_str()).is_none() {
            return Err(TokenRefusal::invalid_grant("the identity provider of this sign-in is no longer configured"));
        }
        if !request.challenge().is_some_and(|challenge| verifier.proves(&challenge)) {
            return Err(TokenRefusal::invalid_grant("code_verifier does not match the code_challenge"));
        }
        Ok(self.resources.check(parameters, &request.resource)?)
    }

    /// A second redemption that proves itself: at once it is a retry, later the code was stolen (OAuth 2.1 4.1.3).
    async fn end_if_replayed(
        &self,
        redeemed_at: Timestamp,
        grant: &GrantId,
        arrival: &Arrival,
    ) -> Result<(), StoreError> {
        let late = self.clock.now() >= redeemed_at + RETRY;
        if late && self.store.grant(grant).await?.is_some_and(|grant| grant.ended_at.is_none()) {
            self.ends.end(grant, EndReason::CodeReplayed, arrival).await?;
        }
        Ok(())
    }

    async fn consume(
        &self,
        client: &Client,
        hash: &Sha256,
        issued: IssuedCode,
        arrival: &Arrival,
    ) -> Result<Vec<u8>, TokenRefusal> {
        let now = self.clock.now();
        let gives_refresh = gives_refresh(client, &issued);
        let grant = self.new_grant(issued, gives_refresh, now);
        let fresh = gives_refresh.then(|| self.access_tokens.fresh_refresh_token(&grant, now));
        let scope = AnsweredScope { allowed: &grant.scope, named: grant.named_scope.as_ref() };
        let response = self.access_tokens.response(&grant, &scope, fresh.as_ref().map(|fresh| &fresh.token), now)?;
        let redemption = Redemption {
            code: hash,
            grant: &grant,
            refresh_token: fresh.as_ref().map(|fresh| &fresh.stored),
            // no provider has an empty one
            issuer: self.identities.get(grant.identity.as_str()).map_or("", Provider::issuer),
            client_is_configured: client.origin == ClientOrigin::Configured,
            now,
        };
        let Some(made_room) = self.store.redeem_code(&redemption).await? else {
            return Err(TokenRefusal::invalid_grant("the code was already redeemed, was revoked, or has expired"));
        };
        self.ends.note_made_room(&made_room, arrival);
        self.counted.begun(grant.identity.as_str());
        self.audit.record(&Event::Granted { grant: &grant, refresh: gives_refresh }, arrival);
        Ok(response)
    }

    fn new_grant(&self, issued: IssuedCode, gives_refresh: bool, now: Timestamp) -> Grant {
        let Lifetimes { max_grant_age, access_token, .. } = self.lifetimes;
        let age = if gives_refresh { max_grant_age } else { access_token };
        let IssuedCode { request, identity, mut sign_in, code_expires_at: _, failed_redemptions: _, redeemed: _ } =
            issued;
        if !gives_refresh {
            // the provider will never be asked again, so there is no reason to hold its token. It is not an offline one:
            // that is requested only where a refresh token will be given
            sign_in.standing.sealed_token = None;
        }
        Grant {
            id: GrantId::random(),
            subject: sign_in.subject,
            identity,
            client_id: request.client_id,
            resource: request.resource,
            scope: request.scope,
            named_scope: request.named_scope,
            user: sign_in.user,
            standing: sign_in.standing,
            created_at: now,
            expires_at: now + age,
            ended_at: None,
        }
    }
}

fn verifier(parameters: &Parameters) -> Result<CodeVerifier, TokenRefusal> {
    let verifier = parameters
        .one("code_verifier")?
        .ok_or_else(|| TokenRefusal::invalid_request("code_verifier is missing: PKCE is required"))?;
    CodeVerifier::parse(verifier).ok_or_else(|| {
        TokenRefusal::invalid_request(
            "code_verifier must be 43 to 128 letters, digits, dots, hyphens, underscores or tildes",
        )
    })
}

/// Whether the client gets a refresh token: it asked for one, and the provider gave what the renewals will need.
fn gives_refresh(client: &Client, issued: &IssuedCode) -> bool {
    let renewable = issued.sign_in.standing.renewable;
    if issued.request.refresh && !renewable {
        tracing::warn!(
            identity = %issued.identity, client = %client.id,
            "the identity provider gave no refresh token, so this client gets none and signs in again when its token ends: \
             let the provider's client have refresh tokens, or set standing = \"none\""
        );
    }
    issued.request.refresh && renewable
}
