//! Asks a provider, after a logout, whether a user's offline token still stands. What rests on a token that it refuses ends; while
//! it cannot be asked, nothing ends and nothing is forgotten.
//!
//! Defends against: access that outlives a logout until the next refresh, and a provider that still says yes because it is not
//! done with the logout: it is asked once more, twice.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::sleep;

use super::applied::AppliedLogouts;
use crate::audit::Actor;
use crate::clock::Clock;
use crate::identity::RenewError;
use crate::issuer::grants::{GrantEnds, ProviderTokens};
use crate::issuer::tokens::{Reason, Renewals, persist};
use crate::model::grant::Grant;
use crate::model::provider_logout::StandingCheck;
use crate::secret::random_id;
use crate::storage::{CheckLease, Checked, Store, StoreError};
use crate::telemetry::metrics::{self, CheckResult, TaskRuns};

/// How long after each good answer but the last it is asked again.
const NEXT_ASKS: [Duration; 2] = [Duration::from_secs(9), Duration::from_mins(1)];
/// How long after a failure it is asked again.
const AFTER_FAILURE: Duration = Duration::from_secs(10);
/// How soon a check is repeated that found a refresh in progress.
const BUSY: Duration = Duration::from_secs(1);
/// How long a process has a check to itself, and the lease of a grant for it.
const CLAIM: Duration = Duration::from_secs(30);
/// How often it is looked for what is to be done.
const PAUSE: Duration = Duration::from_secs(1);
/// How many checks one query reads, and how many are made at once.
const BATCH: i64 = 200;
const AT_ONCE: usize = 8;

/// Makes the checks that logouts ask for.
pub(in crate::issuer) struct StandingChecks {
    pub(in crate::issuer) applied: AppliedLogouts,
    pub(in crate::issuer) renewals: Arc<Renewals>,
    pub(in crate::issuer) provider_tokens: ProviderTokens,
    pub(in crate::issuer) ends: GrantEnds,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) metrics: metrics::Logouts,
    pub(in crate::issuer) runs: TaskRuns,
}

/// The providers that did not answer in this pass: their other checks wait.
#[derive(Default)]
struct Away(Mutex<BTreeSet<String>>);

impl Away {
    fn has(&self, identity: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(identity)
    }

    fn add(&self, identity: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(identity.to_owned());
    }
}

impl StandingChecks {
    /// Runs [`Self::pass`] every second, without end.
    pub(in crate::issuer) async fn run(&self) {
        loop {
            sleep(PAUSE).await;
            self.pass().await;
        }
    }

    /// Applies logouts that were left behind, and makes the checks that are due.
    pub(in crate::issuer) async fn pass(&self) {
        let applied = self.applied.apply_left_behind().await;
        let checked = self.make_due().await;
        self.runs.ran(applied.is_ok() && checked.is_ok());
        for error in [applied, checked].into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "what a logout asks for could not be done; retrying");
        }
    }

    async fn make_due(&self) -> Result<(), StoreError> {
        let (due, away) = (self.store.due_standing_checks(self.clock.now(), BATCH).await?, Away::default());
        let away = &away;
        let mut checks =
            stream::iter(due).map(|check| async move { self.make(&check, away).await }).buffer_unordered(AT_ONCE);
        let mut outcome = Ok(());
        while let Some(made) = checks.next().await {
            outcome = outcome.and(made);
        }
        outcome
    }

    async fn make(&self, check: &StandingCheck, away: &Away) -> Result<(), StoreError> {
        let (identity, now) = (check.subject.identity(), self.clock.now());
        if !self.store.claim_standing_check(check, now, now + CLAIM).await? {
            return Ok(());
        }
        let checked = if away.has(identity) {
            Checked::Again(now + AFTER_FAILURE, check.good)
        } else {
            self.ask(check, away).await?
        };
        self.store.note_standing_check(check, checked).await
    }

    async fn ask(&self, check: &StandingCheck, away: &Away) -> Result<Checked, StoreError> {
        let (holder, now) = (random_id("l_"), self.clock.now());
        match self.store.take_check_lease(&check.subject, &holder, now + CLAIM, now).await? {
            CheckLease::Nothing => Ok(Checked::Over),
            CheckLease::Busy => Ok(Checked::Again(now + BUSY, check.good)),
            CheckLease::Taken(grant) => {
                let checked = self.ask_about(check, &grant, &holder, away).await;
                // where the token was kept, or the grant ended, this changes nothing
                self.store.release_refresh_lease(&grant.id, &holder).await?;
                checked
            }
        }
    }

    async fn ask_about(
        &self,
        check: &StandingCheck,
        grant: &Grant,
        holder: &str,
        away: &Away,
    ) -> Result<Checked, StoreError> {
        let identity = grant.identity.as_str();
        let (asked, answer) = match self.renewals.inquire(grant, Actor::Upkeep).await {
            Ok(answered) => answered,
            Err(refusal) if matches!(refusal.reason, Reason::OAuth(_)) => {
                // this grant has ended: its token is not ours to use. Another one may rest on one that is
                return Ok(Checked::Again(self.clock.now() + BUSY, check.good));
            }
            Err(refusal) => return Ok(self.unavailable(check, away, &refusal.to_string())),
        };
        match answer {
            Ok(renewed) => {
                self.metrics.checked(identity, CheckResult::Stands);
                if renewed.token.is_some() {
                    self.keep(&self.renewals.renewed_grant(&asked, &renewed), holder).await?;
                }
                Ok(self.stands(check))
            }
            Err(RenewError::Ended(why)) => {
                self.metrics.checked(identity, CheckResult::Ended);
                let ended = self.ends.end_refused_token(&asked.subject, asked.standing.line).await?;
                tracing::info!(grant = %grant.id, identity, ended, why, "the offline access of a user ended with a logout");
                Ok(Checked::Over)
            }
            // nothing has ended, and the next refresh tells the client
            Err(RenewError::SignInAgain { .. }) => {
                self.metrics.checked(identity, CheckResult::Stands);
                Ok(Checked::Over)
            }
            Err(RenewError::Unavailable(why)) => Ok(self.unavailable(check, away, &why)),
        }
    }

    fn stands(&self, check: &StandingCheck) -> Checked {
        let next = usize::try_from(check.good).ok().and_then(|good| NEXT_ASKS.get(good));
        next.map_or(Checked::Over, |pause| Checked::Again(self.clock.now() + *pause, check.good + 1))
    }

    fn unavailable(&self, check: &StandingCheck, away: &Away, why: &str) -> Checked {
        let identity = check.subject.identity();
        if !away.has(identity) {
            tracing::warn!(identity, why, "after a logout the provider cannot be asked what still stands; retrying");
        }
        away.add(identity);
        self.metrics.checked(identity, CheckResult::Unavailable);
        Checked::Again(self.clock.now() + AFTER_FAILURE, check.good)
    }

    /// Keeps the token that the provider gave. It may have spent its old one by now: a store that fails for a moment must not cost us
    /// the new one.
    async fn keep(&self, grant: &Grant, holder: &str) -> Result<(), StoreError> {
        let kept =
            persist(&grant.id, || self.store.keep_checked(&grant.subject, &grant.id, holder, &grant.standing)).await?;
        if !kept {
            self.provider_tokens.give_up(&grant.identity, &grant.subject, &grant.standing).await;
        }
        Ok(())
    }
}
