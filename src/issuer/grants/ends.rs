//! How grants end. Each time the holders of tokens are told, the audit log says why, and the provider's token for the grant is
//! revoked there. `operator.rs` has the ends that an operator asks for.

use std::time::Duration;

use super::provider_tokens::{EndedToken, ProviderTokens};
use crate::audit::{Actor, Audit, Event};
use crate::clock::Clock;
use crate::identity::Identities;
use crate::issuer::tasks::Tasks;
use crate::keys::Sealer;
use crate::model::grant::EndReason;
use crate::model::ids::{ClientId, GrantId, Subject};
use crate::model::provider_logout::ProviderLogout;
use crate::revocation::Revocation;
use crate::secret::Sha256;
use crate::storage::{EndedGrant, GrantFilter, GrantsOf, Store, StoreError};
use crate::telemetry::metrics::{self, Metrics};
use crate::wire::Arrival;

/// How many grants of each kind one transaction ends.
const BATCH: i64 = 100;

/// Ends grants. Cheap to clone.
#[derive(Clone)]
pub(crate) struct GrantEnds {
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) revocation: Revocation,
    pub(in crate::issuer) provider_tokens: ProviderTokens,
    pub(in crate::issuer) metrics: metrics::Grants,
    pub(in crate::issuer) audit: Audit,
}

impl GrantEnds {
    /// For a command that ends grants beside a running process, which learns of the ends by its feed. No one scrapes it.
    #[must_use]
    pub(crate) fn for_operator(
        store: Store,
        identities: Identities,
        sealer: Sealer,
        clock: Clock,
        audit: Audit,
    ) -> Self {
        let provider_tokens = ProviderTokens::new(identities, sealer, store.clone(), clock.clone(), Tasks::default());
        let (revocation, metrics) = (Revocation::new(clock.clone()), Metrics::default().grants);
        Self { store, clock, revocation, provider_tokens, metrics, audit }
    }

    /// Ends a grant and everything under it. Does nothing when it has ended.
    pub(in crate::issuer) async fn end<'a>(
        &self,
        id: &GrantId,
        reason: EndReason,
        origin: impl Into<Actor<'a>>,
    ) -> Result<(), StoreError> {
        let origin = origin.into();
        let ended = self.store.end_grant(id, reason, self.clock.now()).await?;
        let tokens = self.note_ends(ended.as_slice(), origin);
        self.provider_tokens.revoke_in_background(tokens);
        Ok(())
    }

    /// Ends all grants at a user's request. Remembered consents and unredeemed codes go first: grants could come of them. The
    /// user's sessions in other browsers end, too: one of them may be the reason.
    pub(in crate::issuer) async fn end_all_of_user(
        &self,
        subject: &Subject,
        session: &Sha256,
        arrival: &Arrival,
    ) -> Result<(), StoreError> {
        self.end_sessions(Some(subject.as_str()), Some(session), arrival.into()).await?;
        self.store.forget_consents_of(subject).await?;
        let cancelled = self.store.refuse_codes_of(subject).await?;
        let theirs = GrantFilter { subject: Some(subject.as_str().to_owned()), ..GrantFilter::default() };
        self.note_cancelled(&theirs, cancelled, arrival.into());
        self.end_all_of(GrantsOf::User(subject), EndReason::User, arrival.into()).await.map(drop)
    }

    /// Ends the sessions at the own page of a user, or of all users, except one that goes on; answers how many.
    pub(super) async fn end_sessions(
        &self,
        subject: Option<&str>,
        except: Option<&Sha256>,
        origin: Actor<'_>,
    ) -> Result<u64, StoreError> {
        let count = self.store.end_account_sessions(subject, except).await?;
        if count > 0 {
            self.audit.record(&Event::AccountSessionsEnded { subject, count }, origin);
        }
        Ok(count)
    }

    /// Ends the grants that can no longer be used, where an access token lives for `access_token`. It waits for the
    /// revocations, so it is for the background: a provider gets one at a time, however many grants end at once.
    pub(super) async fn end_unusable(&self, access_token: Duration) -> Result<(), StoreError> {
        let mut tokens = Vec::new();
        let batch = || self.store.end_unusable_grants(access_token, self.clock.now(), BATCH);
        let ended = self.end_all(&mut tokens, Actor::Upkeep, batch).await;
        self.provider_tokens.revoke_patiently(&tokens).await;
        ended.map(drop)
    }

    /// Ends all grants of a client or at an identity, and returns how many. Their tokens at the provider are revoked in the
    /// background.
    pub(super) async fn end_of(&self, whose: GrantsOf<'_>, reason: EndReason) -> Result<usize, StoreError> {
        self.end_all_of(whose, reason, Actor::Upkeep).await
    }

    async fn end_all_of(&self, whose: GrantsOf<'_>, reason: EndReason, origin: Actor<'_>) -> Result<usize, StoreError> {
        let mut tokens = Vec::new();
        let batch = || self.store.end_grants_of(whose, reason, self.clock.now(), BATCH);
        let ended = self.end_all(&mut tokens, origin, batch).await;
        self.provider_tokens.revoke_in_background(tokens);
        ended
    }

    /// Ends the grants that a logout at the provider ends, and returns how many.
    pub(in crate::issuer) async fn end_logged_out(
        &self,
        logout: &ProviderLogout,
        origin: Actor<'_>,
    ) -> Result<usize, StoreError> {
        self.end_all_of(GrantsOf::LoggedOut(logout), EndReason::BackChannelLogout, origin).await
    }

    /// Ends everything that rests on a user's offline token, because the provider refused it after a logout. There is nothing left
    /// to revoke. `line` is that of the token.
    pub(in crate::issuer) async fn end_refused_token(&self, subject: &Subject, line: i64) -> Result<usize, StoreError> {
        let (reason, now) = (EndReason::BackChannelLogout, self.clock.now());
        let ended = self.store.end_refused_token(subject, line, reason, now).await?;
        self.note_ends(&ended, Actor::Upkeep);
        Ok(ended.len())
    }

    /// Deletes a registered client that asks for it, and ends its grants. They end first: when that fails, the client is still
    /// there to ask again. They end once more afterwards, because a sign-in may have become a grant meanwhile.
    pub(in crate::issuer) async fn delete_client_itself(
        &self,
        id: &ClientId,
        arrival: &Arrival,
    ) -> Result<(), StoreError> {
        let its = GrantsOf::Client(id);
        self.end_all_of(its, EndReason::ClientDeleted, arrival.into()).await?;
        self.forget_client(id, arrival.into()).await?;
        self.end_all_of(its, EndReason::ClientDeleted, arrival.into()).await.map(drop)
    }

    /// Deletes a registered client and cancels its sign-ins in progress; returns how many, `None` when there is no such
    /// client.
    pub(super) async fn forget_client(&self, id: &ClientId, origin: Actor<'_>) -> Result<Option<u64>, StoreError> {
        let Some(cancelled) = self.store.delete_client(id).await? else { return Ok(None) };
        self.audit.record(&Event::ClientDeleted { client: id }, origin);
        self.note_cancelled(&GrantFilter::of_client(id), cancelled, origin);
        Ok(Some(cancelled))
    }

    /// Ends grants that the configuration does not allow any more, and returns how many were still live.
    pub(super) async fn end_removed(&self, ids: &[GrantId]) -> Result<usize, StoreError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let (ended, tokens) = self.end_these(ids, EndReason::ClientRemoved, Actor::Upkeep).await?;
        self.provider_tokens.revoke_in_background(tokens);
        Ok(ended.len())
    }

    /// Tells the holders of tokens that these grants ended to make room for a newer one.
    pub(in crate::issuer) fn note_made_room(&self, ended: &[GrantId], arrival: &Arrival) {
        self.metrics.ended(EndReason::TooMany.as_str(), ended.len() as u64);
        for grant in ended {
            self.audit.record(&Event::MadeRoom { grant }, arrival);
            self.revocation.note_ended(grant);
        }
    }

    /// Cancels the sign-ins in progress whose grants this filter would match; returns how many.
    pub(super) async fn cancel_sign_ins(&self, filter: &GrantFilter, origin: Actor<'_>) -> Result<u64, StoreError> {
        let cancelled = self.store.cancel_sign_ins(filter).await?;
        self.note_cancelled(filter, cancelled, origin);
        Ok(cancelled)
    }

    /// Ends these grants in one transaction. Answers those that were live, and what must be revoked now.
    pub(super) async fn end_these(
        &self,
        ids: &[GrantId],
        reason: EndReason,
        origin: Actor<'_>,
    ) -> Result<(Vec<EndedGrant>, Vec<EndedToken>), StoreError> {
        let ended = self.store.end_grants(ids, reason, self.clock.now()).await?;
        let tokens = self.note_ends(&ended, origin);
        Ok((ended, tokens))
    }

    /// Ends batch after batch until none is left, and returns how many grants ended. Adds to `tokens` what must be revoked
    /// now. That list is valid after a failure, too: the store no longer has the tokens of the batches before it.
    async fn end_all<F>(
        &self,
        tokens: &mut Vec<EndedToken>,
        origin: Actor<'_>,
        batch: impl Fn() -> F + Send,
    ) -> Result<usize, StoreError>
    where
        F: Future<Output = Result<Vec<EndedGrant>, StoreError>> + Send,
    {
        let mut count = 0;
        loop {
            let ended = batch().await?;
            if ended.is_empty() {
                return Ok(count);
            }
            count += ended.len();
            tokens.extend(self.note_ends(&ended, origin));
        }
    }

    /// Tells the holders of tokens and the audit log that grants have ended, and returns the providers' tokens that must be
    /// revoked now.
    fn note_ends(&self, ended: &[EndedGrant], origin: Actor<'_>) -> Vec<EndedToken> {
        for EndedGrant { grant, reason, .. } in ended {
            self.revocation.note_ended(&grant.id);
            self.metrics.ended(reason.as_str(), 1);
            self.audit.record(&Event::Ended { grant, reason: *reason }, origin);
        }
        self.provider_tokens.of(ended)
    }

    /// Tells the audit log which sign-ins were cancelled, if any.
    fn note_cancelled(&self, filter: &GrantFilter, count: u64, origin: Actor<'_>) {
        if count > 0 {
            let GrantFilter { subject, client, resource } = filter;
            let (subject, client, resource) = (subject.as_deref(), client.as_deref(), resource.as_deref());
            self.audit.record(&Event::SignInsCancelled { subject, client, resource, count }, origin);
        }
    }
}
