//! The state of a presented refresh token: unused, a retry, or a replay.
//!
//! Defends against: replay of a stolen refresh token (OAuth 2.1 4.3.1). A client that lost the response retries with the old
//! token and gets the same response; a token that comes from another client, after the replay window, or after its successor
//! was used, is held by two parties, and the grant ends.

use std::time::Duration;

use super::proofs::Proofs;
use super::refusal::TokenRefusal;
use super::requester::Requester;
use crate::audit::{Acting, Event, Right};
use crate::clock::Clock;
use crate::issuer::grants::GrantEnds;
use crate::issuer::resources::Resources;
use crate::keys::open_with;
use crate::model::grant::{EndReason, Grant, RefreshUse, Replay, StoredRefreshToken};
use crate::model::ids::GrantId;
use crate::oauth::dpop::Thumbprint;
use crate::oauth::parameters::Parameters;
use crate::oauth::scope::{ScopeSet, named_values};
use crate::policy;
use crate::secret::{Refresh, Sha256, Token};
use crate::storage::Store;

/// A refresh whose client is authenticated.
pub(super) struct Presented<'a> {
    pub(super) by: &'a Requester<'a>,
    pub(super) token: Token<Refresh>,
    pub(super) hash: Sha256,
    /// The other parameters of the request: a retry has the same.
    pub(super) parameters_hash: Sha256,
    /// The requested scope, if any.
    pub(super) scope: Option<ScopeSet>,
    parameters: &'a Parameters,
}

impl<'a> Presented<'a> {
    pub(super) fn read(by: &'a Requester<'a>, parameters: &'a Parameters) -> Result<Self, TokenRefusal> {
        let text = parameters.one("refresh_token")?;
        let text = text.ok_or_else(|| TokenRefusal::invalid_request("refresh_token is missing"))?;
        let token = Token::<Refresh>::parse(text)
            .ok_or_else(|| TokenRefusal::invalid_grant("the refresh token is not one of ours"))?;
        let scope = parameters.one("scope")?;
        let said = serde_json::json!([scope, parameters.all("resource").collect::<Vec<_>>()]);
        Ok(Self {
            by,
            hash: token.sha256(),
            token,
            parameters_hash: Sha256::of(said.to_string().as_bytes()),
            scope: scope.map(named_values).filter(|scope| !scope.is_empty()),
            parameters,
        })
    }
}

/// The state of a presented token.
pub(super) enum Found {
    /// It is unused.
    Unused(Box<Unused>),
    /// It was used, and this is a retry: the response of the first use.
    Answered(GrantId, Vec<u8>),
}

/// What an unused token refreshes.
pub(super) struct Unused {
    pub(super) grant: Grant,
    /// The key that the new tokens are bound to.
    pub(super) key: Option<Thumbprint>,
}

/// The outcome of the checks of a token and its grant.
enum Checked {
    Fresh(Option<Thumbprint>),
    Repeat(Vec<u8>),
}

/// Looks presented tokens up.
pub(in crate::issuer) struct PresentedTokens {
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) resources: Resources,
    pub(in crate::issuer) ends: GrantEnds,
    pub(in crate::issuer) proofs: Proofs,
    pub(in crate::issuer) replay_window: Duration,
}

impl PresentedTokens {
    /// Finds the token and its grant, and checks them: two reads.
    pub(super) async fn look_up(&self, presented: &Presented<'_>) -> Result<Found, TokenRefusal> {
        let stored = async || self.store.refresh_token(&presented.hash).await?.ok_or_else(unknown);
        let mut token = stored().await?;
        let grant = self.store.grant(&token.grant_id).await?.ok_or_else(unknown)?;
        if token.used.is_none() && !token.bound && grant.bound_to.is_some() {
            // it was used between the two reads, by the refresh that bound the grant: a thief's, perhaps
            token = stored().await?;
        }
        match self.check(presented, &token, &grant).await {
            Ok(Checked::Repeat(response)) => Ok(Found::Answered(grant.id, response)),
            Ok(Checked::Fresh(key)) => Ok(Found::Unused(Box::new(Unused { grant, key }))),
            Err(refusal) => Err(refusal.of_grant(&grant.id)),
        }
    }

    /// A bound token is refused without the key, used or not: a thief of the token alone must not be able to end the owner's
    /// grant. A used bearer token ends the grant whatever key it comes with: a thief who used it first may have bound the grant to
    /// a key of their own, and the owner has none.
    async fn check(
        &self,
        presented: &Presented<'_>,
        stored: &StoredRefreshToken,
        grant: &Grant,
    ) -> Result<Checked, TokenRefusal> {
        let now = self.clock.now();
        if !grant.is_live(now) {
            return Err(TokenRefusal::invalid_grant("the grant has ended"));
        }
        let key = self.key(presented, stored, grant);
        if let Some(used) = &stored.used {
            let proven = grant.bound_to.is_none() || key.is_ok();
            if stored.bound {
                key?;
            }
            return self.replayed(presented, used, proven, grant).await.map(Checked::Repeat);
        }
        let key = key?;
        if presented.by.client.id != grant.client_id {
            return Err(TokenRefusal::invalid_grant("the refresh token was given to another client"));
        }
        if now >= stored.expires_at {
            return Err(unknown());
        }
        self.check_opens(grant)?;
        self.resources.check(presented.parameters, &grant.resource)?;
        Ok(Checked::Fresh(key))
    }

    /// The key for the new tokens. A bound token that came without the key of its grant may have been stolen.
    fn key(
        &self,
        presented: &Presented<'_>,
        stored: &StoredRefreshToken,
        grant: &Grant,
    ) -> Result<Option<Thumbprint>, TokenRefusal> {
        let Requester { client, arrival, .. } = presented.by;
        let key = self.proofs.key_under(grant, presented.by);
        if key.is_err() && stored.bound {
            let right = Right::Grant(&grant.id);
            let acting = Acting { right, subject: grant.subject.as_str(), client: &client.id };
            self.ends.audit.record(&Event::KeyNotProven { acting, how: "refresh token" }, *arrival);
        }
        key
    }

    /// A grant from before the operator required another scope, or removed the server, opens nothing any more. Tokens from
    /// it would be refused at every call, and clients do not sign in again for that; after `invalid_grant` they do.
    fn check_opens(&self, grant: &Grant) -> Result<(), TokenRefusal> {
        let upstream = self.resources.of_audience(&grant.resource);
        if upstream.is_some_and(|upstream| policy::missing(&grant.scope, upstream).is_empty()) {
            return Ok(());
        }
        Err(TokenRefusal::invalid_grant("the grant no longer covers what its server requires: sign in again"))
    }

    /// `proven`: whether the client has the key of the grant, if that has one. A client that lacks it is not the one that got the
    /// response, even within the window.
    async fn replayed(
        &self,
        presented: &Presented<'_>,
        used: &RefreshUse,
        proven: bool,
        grant: &Grant,
    ) -> Result<Vec<u8>, TokenRefusal> {
        let refused = || TokenRefusal::invalid_grant("the refresh token was used before");
        let same_holder = proven && presented.by.client.id == grant.client_id;
        let now = self.clock.now();
        match used.replayed(same_holder, &presented.parameters_hash, now, self.replay_window) {
            Replay::Repeat(sealed) => {
                open_with(presented.token.expose().as_bytes(), &sealed).map_err(|_unsealable| refused())
            }
            Replay::Refuse => Err(refused()),
            Replay::End => {
                // a request that was recorded as a whole comes from someone without the key, so it ends nothing
                self.proofs.use_up(presented.by).await?;
                self.ends.end(&grant.id, EndReason::RefreshTokenReplayed, presented.by.arrival).await?;
                Err(refused())
            }
        }
    }
}

fn unknown() -> TokenRefusal {
    TokenRefusal::invalid_grant("the refresh token is not known here, or has expired")
}
