//! How grants end: each once, stamped, with our copy of the provider's token and of the user's claims gone.

use std::time::Duration;

use super::error::Failure;
use super::expiry::GRANT_MARGIN;
use super::grants::{GrantRow, columns};
use super::{Store, StoreError, Transaction, Turn};
use crate::clock::Timestamp;
use crate::model::grant::{EndReason, Grant, MAX_LIVE_GRANTS};
use crate::model::ids::{ClientId, GrantId, IdentityId, Subject};

sql! {
    /// Answers the provider's token for the last time; [`ERASE`] follows in the same transaction.
    END = concat!("
        UPDATE grants SET ended_at = $2, end_reason = $3, lease_holder = NULL, lease_until = NULL
        WHERE id = $1 AND ended_at IS NULL
        RETURNING ", columns!());

    /// Nobody may act for the user any more, so nobody needs to know who it is.
    ERASE = "UPDATE grants SET user_claims = '{}', provider_token = NULL WHERE id = $1";

    /// The limit of the inner query is only there because SQLite has no `OFFSET` without one.
    END_SURPLUS = "
        UPDATE grants SET ended_at = $5, end_reason = $6, lease_holder = NULL, lease_until = NULL,
            user_claims = '{}', provider_token = NULL
        WHERE ended_at IS NULL AND id IN (
            SELECT id FROM grants
            WHERE subject = $1 AND client_id = $2 AND resource = $3 AND ended_at IS NULL AND expires_at > $5 AND id <> $4
            ORDER BY last_used_at DESC, created_at DESC, id LIMIT 1000 OFFSET $7)
        RETURNING id";

    HAS_OTHER_LIVE = "
        SELECT EXISTS (SELECT 1 FROM grants
            WHERE subject = $1 AND identity = $2 AND id <> $3 AND ended_at IS NULL AND expires_at > $4)";

    EXPIRED = "SELECT id FROM grants WHERE ended_at IS NULL AND expires_at <= $1 ORDER BY expires_at LIMIT $2";

    /// Of a grant's refresh tokens only the last is unused; `$2` is when its last access token was given at the latest.
    UNUSED = "
        SELECT g.id FROM refresh_tokens t JOIN grants g ON g.id = t.grant_id
        WHERE t.used_at IS NULL AND t.expires_at <= $1 AND g.ended_at IS NULL AND g.last_used_at <= $2
        ORDER BY t.expires_at LIMIT $3";

    OF_CLIENT = "SELECT id FROM grants WHERE client_id = $1 AND ended_at IS NULL LIMIT $2";

    OF_IDENTITY = "SELECT id FROM grants WHERE identity = $1 AND ended_at IS NULL LIMIT $2";

    /// Those whose last access token is dead, and whose refresh tokens went before them.
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
    /// All of a client.
    Client(&'a ClientId),
    /// All at an identity provider.
    Identity(&'a IdentityId),
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
        self.write(Turn::Token, async {
            let mut tx = self.begin().await?;
            let Some(grant) = end(&mut tx, id.as_str(), reason, now).await? else {
                tx.rollback().await?;
                return Ok(None);
            };
            let was_last = is_last(&mut tx, &grant, now).await?;
            tx.commit().await?;
            Ok(Some(EndedGrant { grant, reason, was_last }))
        })
        .await
    }

    /// Ends all of these grants that are live, in one transaction: of a user's grants that end together none is kept for
    /// another's sake, so that each one's provider token can be revoked.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn end_grants(
        &self,
        ids: &[GrantId],
        reason: EndReason,
        now: Timestamp,
    ) -> Result<Vec<EndedGrant>, StoreError> {
        self.write(Turn::Token, async {
            let mut tx = self.begin().await?;
            let ids = ids.iter().map(|id| (id.as_str().to_owned(), reason));
            let ended = end_all(&mut tx, ids, now).await?;
            tx.commit().await?;
            Ok(ended)
        })
        .await
    }

    /// Whether the user has a live grant at this identity.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn has_live_grant(
        &self,
        subject: &Subject,
        identity: &IdentityId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.read(async {
            // no grant has an empty id: "another one" is any
            let query = sqlx::query_scalar(HAS_OTHER_LIVE).bind(subject.as_str()).bind(identity.as_str());
            Ok(query.bind("").bind(now.0).fetch_one(self.readers()).await?)
        })
        .await
    }

    /// Ends at most `batch` grants of each kind that nobody can use any more: those whose time is over, and those whose last
    /// refresh token expired unused while no access token (which lives `access_token` at the longest) is good any more.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn end_unusable_grants(
        &self,
        access_token: Duration,
        now: Timestamp,
        batch: i64,
    ) -> Result<Vec<EndedGrant>, StoreError> {
        self.write(Turn::Upkeep, async {
            let mut tx = self.begin().await?;
            let expired: Vec<String> = sqlx::query_scalar(EXPIRED).bind(now.0).bind(batch).fetch_all(&mut *tx).await?;
            let unused: Vec<String> = sqlx::query_scalar(UNUSED)
                .bind(now.before(GRANT_MARGIN).0)
                .bind(now.before(access_token.saturating_add(GRANT_MARGIN)).0)
                .bind(batch)
                .fetch_all(&mut *tx)
                .await?;
            let expired = expired.into_iter().map(|id| (id, EndReason::Expired));
            let all = expired.chain(unused.into_iter().map(|id| (id, EndReason::Unused)));
            let ended = end_all(&mut tx, all, now).await?;
            tx.commit().await?;
            Ok(ended)
        })
        .await
    }

    /// Ends at most `batch` grants, whose holders need not be at fault.
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
        let (select, id) = match whose {
            GrantsOf::Client(client) => (OF_CLIENT, client.as_str()),
            GrantsOf::Identity(identity) => (OF_IDENTITY, identity.as_str()),
        };
        self.write(Turn::Token, async {
            let mut tx = self.begin().await?;
            let ids: Vec<String> = sqlx::query_scalar(select).bind(id).bind(batch).fetch_all(&mut *tx).await?;
            let ended = end_all(&mut tx, ids.into_iter().map(|id| (id, reason)), now).await?;
            tx.commit().await?;
            Ok(ended)
        })
        .await
    }
}

/// Ends several grants. Whether one was the user's last is asked when all have ended: of a user's two that end together
/// neither is kept for the other's sake.
async fn end_all(
    tx: &mut Transaction,
    ids: impl Iterator<Item = (String, EndReason)> + Send,
    now: Timestamp,
) -> Result<Vec<EndedGrant>, Failure> {
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
async fn end(tx: &mut Transaction, id: &str, reason: EndReason, now: Timestamp) -> Result<Option<Grant>, Failure> {
    let ended: Option<GrantRow> =
        sqlx::query_as(END).bind(id).bind(now.0).bind(reason.as_str()).fetch_optional(&mut **tx).await?;
    let Some(row) = ended else { return Ok(None) };
    let grant = Grant { ended_at: None, ..Grant::try_from(row)? };
    sqlx::query(ERASE).bind(id).execute(&mut **tx).await?;
    Ok(Some(grant))
}

/// Whether the user has no other live grant at the identity of this one.
async fn is_last(tx: &mut Transaction, grant: &Grant, now: Timestamp) -> Result<bool, Failure> {
    let has_other: bool = sqlx::query_scalar(HAS_OTHER_LIVE)
        .bind(grant.subject.as_str())
        .bind(grant.identity.as_str())
        .bind(grant.id.as_str())
        .bind(now.0)
        .fetch_one(&mut **tx)
        .await?;
    Ok(!has_other)
}

/// Ends the least recently used grants of this user, client and resource, so that with the new one there are no more than
/// may live. The new one is at the same identity, so none of them was the user's last.
pub(super) async fn end_surplus(tx: &mut Transaction, new: &Grant, now: Timestamp) -> Result<Vec<GrantId>, Failure> {
    let ended: Vec<String> = sqlx::query_scalar(END_SURPLUS)
        .bind(new.subject.as_str())
        .bind(new.client_id.as_str())
        .bind(&new.resource)
        .bind(new.id.as_str())
        .bind(now.0)
        .bind(EndReason::TooMany.as_str())
        .bind(MAX_LIVE_GRANTS - 1)
        .fetch_all(&mut **tx)
        .await?;
    Ok(ended.into_iter().map(GrantId::from).collect())
}
