//! `grant_type=authorization_code` (RFC 6749 4.1.3, RFC 7636 4.5, RFC 8707 2.2): a code becomes a grant.
//!
//! Defends against: stolen and injected codes (client, `redirect_uri`, PKCE and `resource` must be those of the request, and the
//! client must still have that redirect URI),
//! replay (a code is redeemed once, by one conditional statement; a late second redemption ends the grant), and brute force
//! (a code is dead after five failures).

use std::time::Duration;

use super::new_grant::{Approved, NewGrants};
use super::proofs::{Proofs, check_code};
use super::refusal::TokenRefusal;
use super::requester::Requester;
use crate::audit::{Audit, Event};
use crate::clock::{Clock, Timestamp};
use crate::identity::Identities;
use crate::issuer::clients::Clients;
use crate::issuer::grants::GrantEnds;
use crate::issuer::resources::Resources;
use crate::model::authorization::{ClientRequest, MAX_CODE_FAILURES, Purpose};
use crate::model::client::Client;
use crate::model::grant::{EndReason, Grant};
use crate::model::ids::{GrantId, IdentityId};
use crate::oauth::parameters::Parameters;
use crate::oauth::pkce::CodeVerifier;
use crate::secret::{Code, Sha256, Token};
use crate::storage::Store;
use crate::wire::Arrival;

/// A second redemption this soon after the first is the client's own retry; a later one is treated as theft.
const RETRY: Duration = Duration::from_secs(10);

/// Redeems codes.
pub(in crate::issuer) struct Redemptions {
    pub(in crate::issuer) clients: Clients,
    pub(in crate::issuer) resources: Resources,
    pub(in crate::issuer) identities: Identities,
    pub(in crate::issuer) new_grants: NewGrants,
    pub(in crate::issuer) proofs: Proofs,
    pub(in crate::issuer) ends: GrantEnds,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) audit: Audit,
}

impl Redemptions {
    /// Redeems a code: everything is checked before it is consumed, and consumed by one conditional statement.
    pub(super) async fn redeem(&self, by: &Requester<'_>, parameters: &Parameters) -> Result<Vec<u8>, TokenRefusal> {
        let Requester { client, arrival, .. } = *by;
        let code = parameters.one("code")?.ok_or_else(|| TokenRefusal::invalid_request("code is missing"))?;
        let unknown = || TokenRefusal::invalid_grant("the code is not known here, or has expired");
        let hash = Token::<Code>::parse(code).ok_or_else(unknown)?.sha256();
        let issued = self.store.issued_code(&hash).await?.ok_or_else(unknown)?;
        // only `device_code` redeems a device's code
        let Purpose::Client(request) = &issued.purpose else { return Err(unknown()) };
        // failures of a dead code are not counted: each would be a write that anyone with the code could cause
        let dead = issued.failed_redemptions >= MAX_CODE_FAILURES || self.clock.now() >= issued.code_expires_at;
        if let Err(refusal) = self.check(by, parameters, request, &issued.identity) {
            if !dead && issued.redeemed.is_none() {
                self.count_failure(client, &hash, arrival).await?;
            }
            return Err(refusal);
        }
        match &issued.redeemed {
            Some((at, grant)) => {
                self.end_if_replayed(*at, grant, by).await?;
                Err(TokenRefusal::invalid_grant("the code was redeemed before").of_grant(grant))
            }
            None if dead => Err(unknown()),
            None => {
                let receiver = self.clients.redirect_uri(client, &request.redirect_uri).ok();
                let approved = Approved {
                    access: request.clone().into_access(),
                    receiver: receiver.map(|uri| uri.receiver().clone()),
                    identity: issued.identity,
                    sign_in: issued.sign_in,
                };
                self.new_grants.begin(&hash, approved, by).await
            }
        }
    }

    async fn count_failure(&self, client: &Client, code: &Sha256, arrival: &Arrival) -> Result<(), TokenRefusal> {
        let failures = self.store.count_code_failure(code).await?;
        if failures == MAX_CODE_FAILURES {
            self.audit.record(&Event::CodeAttacked { client: &client.id, failures }, arrival);
        }
        Ok(())
    }

    /// Client, `redirect_uri`, PKCE, key and `resource`: what proves that this is the client that the code was made for.
    fn check(
        &self,
        by: &Requester<'_>,
        parameters: &Parameters,
        request: &ClientRequest,
        identity: &IdentityId,
    ) -> Result<(), TokenRefusal> {
        let client = by.client;
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
        if self.identities.get(identity.as_str()).is_none() {
            return Err(TokenRefusal::invalid_grant("the identity provider of this sign-in is no longer configured"));
        }
        if !request.challenge().is_some_and(|challenge| verifier.proves(&challenge)) {
            return Err(TokenRefusal::invalid_grant("code_verifier does not match the code_challenge"));
        }
        check_code(request.dpop_jkt.as_ref(), by)?;
        Ok(self.resources.check(parameters, &request.resource)?)
    }

    /// A second redemption that proves itself: at once it is a retry, later the code was stolen (OAuth 2.1 4.1.3). Only a code that
    /// is bound itself needs the key (`check_code`): the key of the grant may be that of a thief who was first. A recorded
    /// request, whose proof was used, proves nothing.
    async fn end_if_replayed(
        &self,
        redeemed_at: Timestamp,
        grant: &GrantId,
        by: &Requester<'_>,
    ) -> Result<(), TokenRefusal> {
        let late = self.clock.now() >= redeemed_at + RETRY;
        let stands = |grant: Grant| grant.ended_at.is_none();
        if late && self.store.grant(grant).await?.is_some_and(stands) {
            self.proofs.use_up(by).await?;
            self.ends.end(grant, EndReason::CodeReplayed, by.arrival).await?;
        }
        Ok(())
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
