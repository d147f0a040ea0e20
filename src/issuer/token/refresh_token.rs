//! `grant_type=refresh_token` (RFC 6749 6, OAuth 2.1 4.3): rotated on every use, the provider asked every time.
//!
//! A client whose answer got lost comes again with the old token and gets the same answer; whoever comes later, or after the
//! successor was used, is a second holder of the family, and the grant ends.

use std::time::Duration;

use super::access_token::AnsweredScope;
use super::turn::Turn;
use super::{TokenRefusal, is_of};
use crate::clock::Timestamp;
use crate::issuer::Issuer;
use crate::keys::{open_with, seal_with};
use crate::model::client::Client;
use crate::model::grant::{EndReason, Grant, Replay, StoredRefreshToken};
use crate::oauth::parameters::Parameters;
use crate::oauth::scope::{ScopeSet, named_values};
use crate::policy;
use crate::secret::{Refresh, Sha256, Token};
use crate::storage::Rotation;

/// How often, and how far apart, a rotation is written that the provider has agreed to.
const ROTATION_TRIES: u32 = 4;
const ROTATION_PAUSE: Duration = Duration::from_millis(300);

/// A refresh whose client is authenticated.
pub(super) struct Presented<'a> {
    client: &'a Client,
    token: Token<Refresh>,
    hash: Sha256,
    /// What else the client said: a retry says the same.
    parameters_hash: Sha256,
    /// What it names; `None` when it names nothing.
    scope: Option<ScopeSet>,
}

/// What a look at the stored token says.
pub(super) enum Found {
    /// It is unused: go on.
    Unused(Box<Grant>),
    /// It was used, and this is what it gets.
    Answer(Vec<u8>),
}

impl Issuer {
    /// Answers a refresh.
    pub(super) async fn refresh(&self, client: &Client, parameters: &Parameters) -> Result<Vec<u8>, TokenRefusal> {
        let presented = presented(client, parameters)?;
        if let Found::Answer(response) = self.look_up(&presented, parameters).await? {
            return Ok(response);
        }
        match self.take_turn(&presented, parameters).await? {
            Turn::Answer(response) => Ok(response),
            Turn::Ours { grant, lease, turnstile } => {
                let answer = self.rotate(&presented, parameters, &grant, &lease).await;
                if answer.is_err() {
                    self.give_back(&grant.id, &lease).await;
                }
                drop(turnstile);
                answer
            }
        }
    }

    /// Finds the token and judges it.
    pub(super) async fn look_up(
        &self,
        presented: &Presented<'_>,
        parameters: &Parameters,
    ) -> Result<Found, TokenRefusal> {
        let unknown = || TokenRefusal::invalid_grant("the refresh token is not known here, or has expired");
        let stored = self.store().refresh_token(&presented.hash).await?.ok_or_else(unknown)?;
        let grant = self.store().grant(&stored.grant_id).await?.ok_or_else(unknown)?;
        let now = self.now();
        if !grant.is_live(now) {
            return Err(TokenRefusal::invalid_grant("the grant has ended"));
        }
        if stored.used.is_some() {
            return self.replayed(presented, &stored, &grant, now).await.map(Found::Answer);
        }
        if !is_of(presented.client, &grant.client_id) {
            return Err(TokenRefusal::invalid_grant("the refresh token was given to another client"));
        }
        if now >= stored.expires_at {
            return Err(unknown());
        }
        self.check_opens(&grant)?;
        self.check_resource(parameters, &grant.resource)?;
        Ok(Found::Unused(Box::new(grant)))
    }

    /// A grant from before the operator asked for another scope, or took the server away, opens nothing any more. Tokens
    /// from it would be refused at every call, and clients do not sign in anew for that; after `invalid_grant` they do.
    fn check_opens(&self, grant: &Grant) -> Result<(), TokenRefusal> {
        let upstream = self.upstream_of(&grant.resource);
        let opens = upstream.is_some_and(|upstream| policy::missing(&grant.scope, upstream).is_empty());
        if opens {
            Ok(())
        } else {
            Err(TokenRefusal::invalid_grant("the grant does not open its server any more: sign in again"))
        }
    }

    async fn replayed(
        &self,
        presented: &Presented<'_>,
        stored: &StoredRefreshToken,
        grant: &Grant,
        now: Timestamp,
    ) -> Result<Vec<u8>, TokenRefusal> {
        let refused = || TokenRefusal::invalid_grant("the refresh token was used before");
        let Some(used) = &stored.used else { return Err(refused()) };
        let window = self.config().lifetimes.replay_window;
        let same_client = is_of(presented.client, &grant.client_id);
        match used.replayed(same_client, &presented.parameters_hash, now, window) {
            Replay::Repeat(sealed) => {
                open_with(presented.token.expose().as_bytes(), &sealed).map_err(|_unsealable| refused())
            }
            Replay::Refuse => Err(refused()),
            Replay::End => {
                self.end_grant(&grant.id, EndReason::RefreshTokenReplayed).await?;
                Err(refused())
            }
        }
    }

    /// Asks the provider, then makes everything true in one transaction.
    async fn rotate(
        &self,
        presented: &Presented<'_>,
        parameters: &Parameters,
        grant: &Grant,
        lease: &str,
    ) -> Result<Vec<u8>, TokenRefusal> {
        // an answer that is given again asks nobody, and does not count
        let within = self.0.refreshes.check(grant.id.as_str());
        let words = "this grant is refreshed too often: wait, and use the access token until it ends";
        within.map_err(|retry_after| TokenRefusal::TooMany { retry_after, words })?;
        let renewed = self.ask_provider(grant).await?;
        let now = self.now();
        let grant = self.renewed_grant(grant, &renewed);
        let narrowed = presented.scope.as_ref().map(|asked| asked.intersection(&grant.scope));
        let narrowed = narrowed.filter(|scope| !scope.is_empty());
        let scope = AnsweredScope {
            allowed: narrowed.as_ref().unwrap_or(&grant.scope),
            named: presented.scope.as_ref().or(grant.named_scope.as_ref()),
        };
        let fresh = self.fresh_refresh_token(&grant, now);
        let response = self.token_response(&grant, &scope, Some(&fresh.token), now)?;
        let rotation = Rotation {
            grant: &grant.id,
            lease,
            used: &presented.hash,
            parameters: &presented.parameters_hash,
            sealed_response: &seal_with(presented.token.expose().as_bytes(), &response),
            successor: &fresh.stored,
            standing: &grant.standing,
            user: renewed.user.as_ref(),
            now,
        };
        if self.rotate_at_last(&rotation).await? {
            return Ok(response);
        }
        self.give_back(&grant.id, lease).await;
        match self.look_up(presented, parameters).await {
            Ok(Found::Answer(response)) => Ok(response),
            Ok(Found::Unused(_)) => Err(TokenRefusal::Unavailable("the refresh lease was lost".to_owned())),
            Err(refusal) => {
                // the grant ended while the provider was asked: nobody holds the token that it has just given
                self.give_up_token(&grant.identity, &grant.subject, &grant.standing).await;
                Err(refusal)
            }
        }
    }

    /// The provider may have spent its old token by now: a store that fails for a moment must not cost us the new one.
    async fn rotate_at_last(&self, rotation: &Rotation<'_>) -> Result<bool, TokenRefusal> {
        let mut tries = 1;
        loop {
            match self.store().rotate_refresh_token(rotation).await {
                Ok(rotated) => return Ok(rotated),
                Err(error) if tries == ROTATION_TRIES => return Err(error.into()),
                Err(error) => tracing::warn!(grant = %rotation.grant, %error, "a rotation could not be written; again"),
            }
            tries += 1;
            tokio::time::sleep(ROTATION_PAUSE).await;
        }
    }
}

fn presented<'a>(client: &'a Client, parameters: &Parameters) -> Result<Presented<'a>, TokenRefusal> {
    let text = parameters.one("refresh_token")?;
    let text = text.ok_or_else(|| TokenRefusal::invalid_request("refresh_token is missing"))?;
    let token = Token::<Refresh>::parse(text)
        .ok_or_else(|| TokenRefusal::invalid_grant("the refresh token is not one of ours"))?;
    let scope = parameters.one("scope")?;
    let named = scope.map(named_values).filter(|scope| !scope.is_empty());
    let said = serde_json::json!([scope, parameters.all("resource").collect::<Vec<_>>()]);
    Ok(Presented {
        client,
        hash: token.sha256(),
        token,
        parameters_hash: Sha256::of(said.to_string().as_bytes()),
        scope: named,
    })
}
