//! The result of a sign-in's first answer, for repeated ones: browsers send callbacks and forms twice.
//!
//! Defends against: replay. The first answer of an authorization is kept, and a later one undoes nothing. It leads as far as
//! the first did, because a browser that sends a request twice shows only the second response.

use std::time::Duration;

use tokio::time::Instant;

use super::answered::{Answered, EarlierAnswer, EarlierOutcome, Told};
use super::authorization_response::Recipient;
use super::bound::{Bound, is_pending};
use super::code::Codes;
use super::fault::Fault;
use super::provider_leg::ProviderLeg;
use super::sessions::Sessions;
use crate::clock::Clock;
use crate::model::authorization::{Authorization, Binding, Stage};
use crate::model::ids::AuthorizationId;
use crate::storage::Store;

/// How long a second answer waits for the first one to be processed, and how often it checks.
const FIRST_ANSWER: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_millis(100);

/// Finds the outcomes of first answers. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct FirstAnswers {
    pub(in crate::issuer) codes: Codes,
    pub(in crate::issuer) sessions: Sessions,
    pub(in crate::issuer) leg: ProviderLeg,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
}

impl FirstAnswers {
    /// What a repeated answer gets: the way to the provider, when the first began another round there (state, nonce and PKCE
    /// pair follow from the round, so it is the very same request), or what is left to do.
    pub(super) async fn repeated(&self, bound: &Bound<'_>) -> Result<Answered, Fault> {
        let Bound { provider, authorization, binding, recipient } = bound;
        let Some(authorization) = self.settled(&authorization.id).await? else {
            return Ok(Answered::Earlier(EarlierOutcome::Left(EarlierAnswer::Over)));
        };
        if is_pending(&authorization, self.clock.now())? {
            return self.leg.location(provider, &authorization, binding).map(Answered::ToProvider);
        }
        self.outcome(&authorization, binding, recipient).await.map(Answered::Earlier)
    }

    /// The authorization after its first answer; waits while that is being processed (`Claimed`).
    pub(super) async fn settled(&self, id: &AuthorizationId) -> Result<Option<Authorization>, Fault> {
        let deadline = Instant::now() + FIRST_ANSWER;
        loop {
            let found = self.store.authorization(id).await?;
            let in_work = found.as_ref().is_some_and(|authorization| authorization.stage == Stage::Claimed);
            if !in_work || Instant::now() >= deadline {
                return Ok(found);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What the browser that holds the binding can still do.
    pub(super) async fn outcome(
        &self,
        authorization: &Authorization,
        binding: &Binding,
        recipient: &Recipient,
    ) -> Result<EarlierOutcome, Fault> {
        let outcome = match recipient {
            Recipient::Client(_) if authorization.stage == Stage::Denied => {
                Some(EarlierOutcome::Left(EarlierAnswer::Denied))
            }
            Recipient::Client(client) => {
                let unredeemed = self.codes.finish(authorization, binding, client).await?;
                unredeemed.map(|redirect| EarlierOutcome::Left(EarlierAnswer::Finish(redirect.location)))
            }
            Recipient::Account => self.sessions.opened_by(authorization, binding).await?.map(EarlierOutcome::Account),
            Recipient::Device(_) => told(authorization.stage).map(EarlierOutcome::Told),
        };
        Ok(outcome.unwrap_or(EarlierOutcome::Left(EarlierAnswer::Over)))
    }
}

/// The outcome of a device's sign-in.
fn told(stage: Stage) -> Option<Told> {
    match stage {
        Stage::CodeIssued | Stage::Redeemed => Some(Told::DeviceConnected { user: None }),
        Stage::Denied => Some(Told::DeviceDenied),
        Stage::Refused => Some(Told::DeviceFailed),
        Stage::Pending | Stage::Claimed => None,
    }
}
