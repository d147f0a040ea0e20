//! How grants end: each once, stamped, with our copy of the provider's token and of the user's claims gone.
//!
//! Defends against: a provider's token that outlives the user's last grant (two grants that end at once must not each see the
//! other alive), and one user's devices filling the table (`MAX_LIVE_GRANTS`).

use std::time::Duration;

use super::engine::Transaction;
use super::error::Failure;
use super::exclusive::Exclusive;
use super::grants::columns;
use super::value::values;
use super::{Priority, Store, StoreError, provider_logouts, remembered_consents};
use crate::clock::Timestamp;
use crate::model::grant::{EndReason, Grant, MAX_LIVE_GRANTS};
use crate::model::ids::{ClientId, GrantId, IdentityId, Subject};
use crate::model::provider_logout::ProviderLogout;

/// How much longer than its last access token a dead grant stays, and how much later than its refresh token an unused one ends:
/// clocks differ, feeds are behind, a refresh takes its time.
pub(super) const MARGIN: Duration = Duration::from_mins(15);

sql! {
    /// Returns the provider's token for the last time; [`ERASE`] follows in the same transaction.
    END = concat!("
        UPDATE grants SET ended_at = $2, end_reason = $3, lease_holder = NULL, lease_until = NULL
        WHERE id = $1 AND ended_at IS NULL
        RETURNING ", columns!());

    /// No client acts for the user any more, so the user's claims are not needed.
    ERASE = "
        UPDATE grants SET user_claims = '{}', provider_token = NULL, receiver = NULL, address = NULL, agent = NULL
        WHERE id = $1";

    /// The inner `LIMIT` is there because SQLite has no `OFFSET` without one.
    END_SURPLUS = "
        UPDATE grants SET ended_at = $5, end_reason = $6, lease_holder = NULL, lease_until = NULL,
            user_claims = '{}', provider_token = NULL, receiver = NULL, address = NULL, agent = NULL
        WHERE ended_at IS NULL AND id IN (
            SELECT id FROM grants
            WHERE subject = $1 AND client_id = $2 AND resource = $3 AND ended_at IS NULL AND expires_at > $5 AND id <> $4
              AND basis IS NULL
            ORDER BY last_used_at DESC, created_at DESC, id LIMIT 1000 OFFSET $7)
        RETURNING id";

    /// A grant that rests on an assertion does not need the provider's token. The grant of a code that was not redeemed yet will.
    HAS_OTHER_LIVE = "
        SELECT EXISTS (SELECT 1 FROM grants
            WHERE subject = $1 AND identity = $2 AND id <> $3 AND ended_at IS NULL AND expires_at > $4 AND basis IS NULL)
          OR EXISTS (SELECT 1 FROM authorizations
            WHERE subject = $1 AND identity = $2 AND stage = 'code_issued' AND code_expires_at > $4)";

    EXPIRED = "SELECT id FROM grants WHERE ended_at IS NULL AND expires_at <= $1 ORDER BY expires_at LIMIT $2";

    /// Only the last of a grant's refresh tokens is unused. `$2`: an access token that was issued before it has expired.
    UNUSED = "
        SELECT g.id FROM refresh_tokens t JOIN grants g ON g.id = t.grant_id
        WHERE t.used_at IS NULL AND t.expires_at <= $1 AND g.ended_at IS NULL AND g.last_used_at <= $2
        ORDER BY t.expires_at LIMIT $3";

    OF_CLIENT = "SELECT id FROM grants WHERE client_id = $1 AND ended_at IS NULL LIMIT $2";

    OF_DISABLED = "
        SELECT g.id FROM disabled_clients d JOIN grants g ON g.client_id = d.client_id
        WHERE g.ended_at IS NULL LIMIT $1";

    OF_USER = "SELECT id FROM grants WHERE subject = $1 AND ended_at IS NULL LIMIT $2";

    OF_IDENTITY = "SELECT id FROM grants WHERE identity = $1 AND ended_at IS NULL LIMIT $2";

    /// Grants whose last access token has expired and whose refresh tokens are deleted.
    pub(super) DELETE_DEAD = "
        DELETE FROM grants WHERE id IN (
            SELECT g.id FROM grants g
            WHERE g.ended_at <= $1 AND NOT EXISTS (SELECT 1 FROM refresh_tokens t WHERE t.grant_id = g.id)
            LIMIT $2)";
}

/// A grant that this call ended, as it was before.
#[derive(Debug, Clone)]
pub struct EndedGrant {
    /// The grant, with the provider's token that the store no longer has.
    pub grant: Grant,
    /// Why it ended.
    pub reason: EndReason,
    /// Whether the user has no other live grant at that identity.
    pub was_last: bool,
}

/// Grants that end together.
#[derive(Debug, Clone, Copy)]
pub enum GrantsOf<'a> {
    /// All grants of a client.
    Client(&'a ClientId),
    /// All grants of disabled clients.
    DisabledClients,
    /// All grants of a user.
    User(&'a Subject),
    /// All grants at an identity provider.
    Identity(&'a IdentityId),
    /// Those that end with a logout at the provider.
    LoggedOut(&'a ProviderLogout),
}

impl Store {
    /// Ends a grant: stamps it, and deletes our copy of the provider's token and of the user's claims. `None` when it had
    /// ended before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end_grant(
        &self,
        id: &GrantId,
        reason: EndReason,
        now: Timestamp,
    ) -> Result<Option<EndedGrant>, StoreError> {
        self.write(Priority::Token, Exclusive::UsersOf(std::slice::from_ref(id)), async |tx| {
            let Some(grant) = end(tx, id, reason, now).await? else { return Ok(None) };
            let was_last = is_last(tx, &grant, now).await?;
            Ok(Some(EndedGrant { grant, reason, was_last }))
        })
        .await
    }

    /// Ends all of these grants that are live, in one transaction. A user's grants that end together do not count as alive for
    /// each other, so that each one's provider token can be revoked.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn end_grants(
        &self,
        ids: &[GrantId],
        reason: EndReason,
        now: Timestamp,
    ) -> Result<Vec<EndedGrant>, StoreError> {
        self.write(Priority::Token, Exclusive::Nothing, async |tx| {
            end_all(tx, ids.iter().map(|id| (id.clone(), reason)).collect(), now).await
        })
        .await
    }

    /// Whether the user has a live grant at this identity, or a code for one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn has_live_grant(
        &self,
        subject: &Subject,
        identity: &IdentityId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        // no grant has an empty id: "another one" is any
        self.holds(HAS_OTHER_LIVE, values![subject.as_str(), identity.as_str(), "", now]).await
    }

    /// Ends at most `batch` grants of each kind that can no longer be used: those that expired, and those whose last refresh
    /// token expired unused after the last access token (which lives `access_token` at most).
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn end_unusable_grants(
        &self,
        access_token: Duration,
        now: Timestamp,
        batch: i64,
    ) -> Result<Vec<EndedGrant>, StoreError> {
        self.write(Priority::Upkeep, Exclusive::Batch, async |tx| {
            let (refresh, access) = (now.before(MARGIN), now.before(access_token.saturating_add(MARGIN)));
            let expired: Vec<String> = tx.all(EXPIRED, values![now, batch]).await?;
            let unused: Vec<String> = tx.all(UNUSED, values![refresh, access, batch]).await?;
            let expired = expired.into_iter().map(|id| (id.into(), EndReason::Expired));
            let unused = unused.into_iter().map(|id| (id.into(), EndReason::Unused));
            end_all(tx, expired.chain(unused).collect(), now).await
        })
        .await
    }

    /// Ends at most `batch` of these grants.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn end_grants_of(
        &self,
        whose: GrantsOf<'_>,
        reason: EndReason,
        now: Timestamp,
        batch: i64,
    ) -> Result<Vec<EndedGrant>, StoreError> {
        self.write(Priority::Token, Exclusive::Nothing, async |tx| {
            let ids: Vec<String> = match whose {
                GrantsOf::Client(client) => tx.all(OF_CLIENT, values![client.as_str(), batch]).await?,
                GrantsOf::DisabledClients => tx.all(OF_DISABLED, values![batch]).await?,
                GrantsOf::User(subject) => tx.all(OF_USER, values![subject.as_str(), batch]).await?,
                GrantsOf::Identity(identity) => tx.all(OF_IDENTITY, values![identity.as_str(), batch]).await?,
                GrantsOf::LoggedOut(logout) => {
                    let ProviderLogout { session, subject, ends_offline, .. } = logout;
                    let (subject, all) = (subject.as_ref().map(Subject::as_str), session.is_none());
                    let those = values![session.as_ref(), subject, all, *ends_offline, batch];
                    tx.all(provider_logouts::GRANTS, those).await?
                }
            };
            end_all(tx, ids.into_iter().map(|id| (id.into(), reason)).collect(), now).await
        })
        .await
    }
}

/// Ends several grants. Whether one was its user's last is asked when all have ended.
pub(super) async fn end_all(
    tx: &mut Transaction,
    mut ids: Vec<(GrantId, EndReason)>,
    now: Timestamp,
) -> Result<Vec<EndedGrant>, Failure> {
    // in one order, so that two that end the same grants cannot wait for each other
    ids.sort_by(|(a, _), (b, _)| a.cmp(b));
    let all: Vec<GrantId> = ids.iter().map(|(id, _)| id.clone()).collect();
    tx.exclusive(Exclusive::UsersOf(&all)).await?;
    let mut grants = Vec::new();
    for (id, reason) in ids {
        grants.extend(end(tx, &id, reason, now).await?.map(|grant| (grant, reason)));
    }
    let mut ended = Vec::new();
    for (grant, reason) in grants {
        let was_last = is_last(tx, &grant, now).await?;
        ended.push(EndedGrant { grant, reason, was_last });
    }
    Ok(ended)
}

/// Stamps a grant, erases what we hold of the user, and answers the grant as it was; `None` when it had ended before.
async fn end(tx: &mut Transaction, id: &GrantId, reason: EndReason, now: Timestamp) -> Result<Option<Grant>, Failure> {
    let ended: Option<Grant> = tx.optional(END, values![id.as_str(), now, reason.as_str()]).await?;
    let Some(grant) = ended else { return Ok(None) };
    tx.execute(ERASE, values![id.as_str()]).await?;
    if reason.forgets_consent() {
        remembered_consents::forget_like(tx, &grant).await?;
    }
    Ok(Some(Grant { ended_at: None, ..grant }))
}

/// Whether the user has no other live grant at the identity of this one.
async fn is_last(tx: &mut Transaction, grant: &Grant, now: Timestamp) -> Result<bool, Failure> {
    let others = values![grant.subject.as_str(), grant.identity.as_str(), grant.id.as_str(), now];
    let has_other: bool = tx.one(HAS_OTHER_LIVE, others).await?;
    Ok(!has_other)
}

/// Ends the least recently used grants of this user, client and resource, so that with the new one there are no more than
/// may live. The new one is at the same identity, so none of them was the user's last.
pub(super) async fn end_surplus(tx: &mut Transaction, new: &Grant, now: Timestamp) -> Result<Vec<GrantId>, Failure> {
    let surplus = values![
        new.subject.as_str(),
        new.client_id.as_str(),
        &new.resource,
        new.id.as_str(),
        now,
        EndReason::TooMany.as_str(),
        MAX_LIVE_GRANTS - 1,
    ];
    let ended: Vec<String> = tx.all(END_SURPLUS, surplus).await?;
    Ok(ended.into_iter().map(GrantId::from).collect())
}
