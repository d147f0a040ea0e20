//! `grant_type=refresh_token` (RFC 6749 6, OAuth 2.1 4.3): rotated on every use, the provider asked every time.
//!
//! A client whose answer got lost comes again with the old token and gets the same answer; whoever comes later, or after the
//! successor was used, is a second holder of the family, and the grant ends.

use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout_at};

use super::{TokenRefusal, is_of};
use crate::clock::Timestamp;
use crate::identity::{RenewError, Renewed};
use crate::issuer::Issuer;
use crate::keys::{open_with, seal_with};
use crate::model::authorization::ProviderStanding;
use crate::model::client::Client;
use crate::model::grant::{EndReason, Grant, Replay, StoredRefreshToken};
use crate::model::ids::GrantId;
use crate::model::user::User;
use crate::oauth::parameters::Parameters;
use crate::oauth::scope::ScopeSet;
use crate::secret::{Refresh, Sha256, Token, random_id};
use crate::storage::Rotation;

/// How long a refresh waits for another one of the same grant: clients give up after 10 seconds.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long one refresh may keep others out.
const LEASE: Duration = Duration::from_secs(30);

/// How often, and how far apart, a rotation is written that the provider has agreed to.
const ROTATION_TRIES: u32 = 4;
const ROTATION_PAUSE: Duration = Duration::from_millis(300);

/// A refresh whose client is authenticated.
struct Presented<'a> {
    client: &'a Client,
    token: Token<Refresh>,
    hash: Sha256,
    /// What else the client said: a retry says the same.
    parameters_hash: Sha256,
    scope: Option<ScopeSet>,
}

/// What a look at the stored token says.
enum Found {
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
    async fn look_up(&self, presented: &Presented<'_>, parameters: &Parameters) -> Result<Found, TokenRefusal> {
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
        self.check_resource(parameters, &grant.resource)?;
        Ok(Found::Unused(Box::new(grant)))
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

    /// Waits until this refresh is the only one of its grant, here and in other processes.
    async fn take_turn(&self, presented: &Presented<'_>, parameters: &Parameters) -> Result<Turn, TokenRefusal> {
        let deadline = Instant::now() + PATIENCE;
        let too_long = || TokenRefusal::Unavailable("another refresh of this grant takes too long".to_owned());
        loop {
            let grant = match self.look_up(presented, parameters).await? {
                Found::Answer(response) => return Ok(Turn::Answer(response)),
                Found::Unused(grant) => grant,
            };
            // only the waiting is bounded: a lease that was taken must find its way back
            let turnstile = timeout_at(deadline, self.0.refreshing.enter(&grant.id)).await;
            let turnstile = turnstile.map_err(|_elapsed| too_long())?;
            let (lease, now) = (random_id("l_"), self.now());
            if self.store().take_refresh_lease(&grant.id, &lease, now + LEASE, now).await? {
                return self.under_lease(presented, parameters, (&grant.id, lease), turnstile).await;
            }
            // a wait for another process: meanwhile nobody here need wait for us
            drop(turnstile);
            if Instant::now() >= deadline {
                return Err(too_long());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Looks once more: whoever had the lease before us may have used the token, and has left the provider's next one.
    async fn under_lease(
        &self,
        presented: &Presented<'_>,
        parameters: &Parameters,
        (grant, lease): (&GrantId, String),
        turnstile: OwnedMutexGuard<()>,
    ) -> Result<Turn, TokenRefusal> {
        match self.look_up(presented, parameters).await {
            Ok(Found::Unused(grant)) => Ok(Turn::Ours { grant, lease, turnstile }),
            Ok(Found::Answer(response)) => {
                self.give_back(grant, &lease).await;
                Ok(Turn::Answer(response))
            }
            Err(refusal) => {
                self.give_back(grant, &lease).await;
                Err(refusal)
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
        within.map_err(|retry_after| TokenRefusal::TooMany { retry_after })?;
        let renewed = self.ask_provider(grant).await?;
        let now = self.now();
        let grant = self.renewed_grant(grant, &renewed);
        let scope = presented.scope.as_ref().map(|asked| asked.intersection(&grant.scope));
        let scope = scope.filter(|scope| !scope.is_empty()).unwrap_or_else(|| grant.scope.clone());
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
        match self.look_up(presented, parameters).await? {
            Found::Answer(response) => Ok(response),
            Found::Unused(_) => Err(TokenRefusal::Unavailable("the refresh lease was lost".to_owned())),
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

    /// After a rotation the lease is gone already, and this changes nothing; a lease that stays ends by itself.
    async fn give_back(&self, grant: &GrantId, lease: &str) {
        if let Err(error) = self.store().release_refresh_lease(grant, lease).await {
            tracing::warn!(%grant, %error, "a refresh lease could not be given back");
        }
    }

    async fn ask_provider(&self, grant: &Grant) -> Result<Renewed, TokenRefusal> {
        let Some(provider) = self.0.parts.identities.get(grant.identity.as_str()) else {
            return Err(TokenRefusal::Unavailable(format!(
                "grant {} is of identity {}, which is not configured: add it again, or the user signs in anew",
                grant.id, grant.identity
            )));
        };
        let token = self.open_provider_token(grant);
        if token.is_none() && grant.standing.sealed_token.is_some() {
            return Err(TokenRefusal::Unavailable(format!(
                "the provider's token of grant {} cannot be opened",
                grant.id
            )));
        }
        let prefix = grant.identity.as_str().len() + 1;
        let key = grant.subject.as_str().get(prefix..).unwrap_or_default();
        match provider.renew(key, token.as_ref()).await {
            Ok(renewed) => Ok(renewed),
            Err(RenewError::Ended(why)) => {
                tracing::info!(grant = %grant.id, identity = %grant.identity, why, "the identity provider ended a grant");
                self.end_grant(&grant.id, EndReason::IdentityProvider).await?;
                Err(TokenRefusal::invalid_grant("the identity provider ended the user's session: sign in again"))
            }
            Err(RenewError::Unavailable(why)) => Err(TokenRefusal::Unavailable(format!("{}: {why}", grant.identity))),
        }
    }

    /// The grant with the provider's new token and news of the user.
    fn renewed_grant(&self, grant: &Grant, renewed: &Renewed) -> Grant {
        let mut grant = grant.clone();
        if let Some(token) = &renewed.token {
            grant.standing = ProviderStanding {
                sealed_token: Some(self.seal_provider_token(&grant.subject, &token.token)),
                // an answer may leave its scope unsaid (RFC 6749 5.1): what was offline stays so
                offline: token.offline || grant.standing.offline,
                ends_at: token.ends_at,
                renewable: true,
            };
        }
        if let Some(user) = &renewed.user {
            grant.user = User::clone(user);
        }
        grant
    }
}

/// Whose turn it is.
enum Turn {
    /// Somebody used the token meanwhile.
    Answer(Vec<u8>),
    /// Ours, until the turnstile is dropped and the lease given back.
    Ours { grant: Box<Grant>, lease: String, turnstile: OwnedMutexGuard<()> },
}

fn presented<'a>(client: &'a Client, parameters: &Parameters) -> Result<Presented<'a>, TokenRefusal> {
    let text = parameters.one("refresh_token")?;
    let text = text.ok_or_else(|| TokenRefusal::invalid_request("refresh_token is missing"))?;
    let token = Token::<Refresh>::parse(text)
        .ok_or_else(|| TokenRefusal::invalid_grant("the refresh token is not one of ours"))?;
    let scope = parameters.one("scope")?;
    let known = scope.map(|scope| scope.split(' ').map(str::to_owned).collect::<ScopeSet>());
    let said = serde_json::json!([scope, parameters.all("resource").collect::<Vec<_>>()]);
    Ok(Presented {
        client,
        hash: token.sha256(),
        token,
        parameters_hash: Sha256::of(said.to_string().as_bytes()),
        scope: known,
    })
}
