//! One refresh of a grant at a time, here and in other processes: whoever waits finds what the first one left.

use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout_at};

use super::TokenRefusal;
use super::refresh_token::{Found, Presented};
use crate::issuer::Issuer;
use crate::model::grant::Grant;
use crate::model::ids::GrantId;
use crate::oauth::parameters::Parameters;
use crate::secret::random_id;

/// How long a refresh waits for another one of the same grant: clients give up after 10 seconds.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long one refresh may keep others out.
const LEASE: Duration = Duration::from_secs(30);

/// Whose turn it is.
pub(super) enum Turn {
    /// Somebody used the token meanwhile.
    Answer(Vec<u8>),
    /// Ours, until the turnstile is dropped and the lease given back.
    Ours { grant: Box<Grant>, lease: String, turnstile: OwnedMutexGuard<()> },
}

impl Issuer {
    /// Waits until this refresh is the only one of its grant, here and in other processes.
    pub(super) async fn take_turn(
        &self,
        presented: &Presented<'_>,
        parameters: &Parameters,
    ) -> Result<Turn, TokenRefusal> {
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

    /// After a rotation the lease is gone already, and this changes nothing; a lease that stays ends by itself.
    pub(super) async fn give_back(&self, grant: &GrantId, lease: &str) {
        if let Err(error) = self.store().release_refresh_lease(grant, lease).await {
            tracing::warn!(%grant, %error, "a refresh lease could not be given back");
        }
    }
}
