//! Grants.

use super::error::Failure;
use super::rows::{Column, StandingRow, json};
use super::{Rotation, Store, StoreError, Transaction};
use crate::clock::Timestamp;
use crate::model::grant::{EndReason, Grant, MAX_LIVE_GRANTS};
use crate::model::ids::{ClientId, GrantId, IdentityId, Subject};

macro_rules! columns {
    () => {
        "id, subject, identity, client_id, resource, scope, user_claims,
            provider_token, provider_offline, provider_ends_at, provider_renewable, created_at, expires_at, ended_at"
    };
}

sql! {
    INSERT = "
        INSERT INTO grants (id, subject, identity, client_id, resource, scope, user_claims,
            provider_token, provider_offline, provider_ends_at, provider_renewable, created_at, expires_at, last_used_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $12)";

    FIND = concat!("SELECT ", columns!(), " FROM grants WHERE id = $1");

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

    ENDED_SINCE = "SELECT id, ended_at FROM grants WHERE ended_at >= $1 ORDER BY ended_at";

    TAKE_LEASE = "
        UPDATE grants SET lease_holder = $2, lease_until = $3
        WHERE id = $1 AND ended_at IS NULL AND expires_at > $4
          AND (lease_holder IS NULL OR lease_holder = $2 OR lease_until <= $4)";

    RELEASE_LEASE = "UPDATE grants SET lease_holder = NULL, lease_until = NULL WHERE id = $1 AND lease_holder = $2";

    RENEW = "
        UPDATE grants SET provider_token = $3, provider_offline = $4, provider_ends_at = $5, provider_renewable = $6,
            user_claims = COALESCE($7, user_claims), last_used_at = $8, lease_holder = NULL, lease_until = NULL
        WHERE id = $1 AND lease_holder = $2 AND ended_at IS NULL AND expires_at > $8";

    /// Those whose last access token is dead, and whose refresh tokens went before them.
    pub(super) DELETE_DEAD = "
        DELETE FROM grants WHERE id IN (
            SELECT g.id FROM grants g
            WHERE (g.ended_at <= $1 OR g.expires_at <= $1)
              AND NOT EXISTS (SELECT 1 FROM refresh_tokens t WHERE t.grant_id = g.id)
            LIMIT $2)";
}

#[derive(sqlx::FromRow)]
struct GrantRow {
    id: String,
    subject: String,
    identity: String,
    client_id: String,
    resource: String,
    scope: String,
    user_claims: String,
    #[sqlx(flatten)]
    standing: StandingRow,
    created_at: i64,
    expires_at: i64,
    ended_at: Option<i64>,
}

impl TryFrom<GrantRow> for Grant {
    type Error = StoreError;

    fn try_from(row: GrantRow) -> Result<Self, StoreError> {
        let column = |name| Column("grants", name);
        Ok(Self {
            id: GrantId::from(row.id),
            subject: Subject::stored(row.subject),
            identity: IdentityId::from(row.identity),
            client_id: ClientId::from(row.client_id),
            resource: row.resource,
            scope: column("scope").scope(&row.scope)?,
            user: column("user_claims").json(&row.user_claims)?,
            standing: row.standing.into(),
            created_at: Timestamp(row.created_at),
            expires_at: Timestamp(row.expires_at),
            ended_at: row.ended_at.map(Timestamp),
        })
    }
}

/// A grant that this call ended, as it was before.
#[derive(Debug, Clone)]
pub struct EndedGrant {
    /// The grant, with the provider's token that the store no longer has.
    pub grant: Grant,
    /// Whether the user has no other live grant at that identity.
    pub was_last: bool,
}

impl Store {
    /// Finds a grant, ended or not. One that has ended no longer says who the user is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn grant(&self, id: &GrantId) -> Result<Option<Grant>, StoreError> {
        self.read(async {
            let row: Option<GrantRow> = sqlx::query_as(FIND).bind(id.as_str()).fetch_optional(self.readers()).await?;
            Ok(row.map(Grant::try_from).transpose()?)
        })
        .await
    }

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
        self.write(async {
            let mut tx = self.begin().await?;
            let ended: Option<GrantRow> = sqlx::query_as(END)
                .bind(id.as_str())
                .bind(now.0)
                .bind(reason.as_str())
                .fetch_optional(&mut *tx)
                .await?;
            let Some(row) = ended else {
                tx.rollback().await?;
                return Ok(None);
            };
            let grant = Grant { ended_at: None, ..Grant::try_from(row)? };
            sqlx::query(ERASE).bind(id.as_str()).execute(&mut *tx).await?;
            let has_other: bool = sqlx::query_scalar(HAS_OTHER_LIVE)
                .bind(grant.subject.as_str())
                .bind(grant.identity.as_str())
                .bind(id.as_str())
                .bind(now.0)
                .fetch_one(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(Some(EndedGrant { grant, was_last: !has_other }))
        })
        .await
    }

    /// Grants that ended at or after `since`, with the moment: the revocation feed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn grants_ended_since(&self, since: Timestamp) -> Result<Vec<(GrantId, Timestamp)>, StoreError> {
        self.read(async {
            let rows: Vec<(String, i64)> = sqlx::query_as(ENDED_SINCE).bind(since.0).fetch_all(self.readers()).await?;
            Ok(rows.into_iter().map(|(id, at)| (GrantId::from(id), Timestamp(at))).collect())
        })
        .await
    }

    /// Takes the grant's refresh lease for `holder` until `until`; `false` while somebody else has it, or when the grant
    /// is not live. Whoever has it may take it again.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take_refresh_lease(
        &self,
        id: &GrantId,
        holder: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let lease = sqlx::query(TAKE_LEASE).bind(id.as_str()).bind(holder).bind(until.0).bind(now.0);
        Ok(self.execute(lease).await? == 1)
    }

    /// Gives the lease back, if it is still `holder`'s.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn release_refresh_lease(&self, id: &GrantId, holder: &str) -> Result<(), StoreError> {
        self.execute(sqlx::query(RELEASE_LEASE).bind(id.as_str()).bind(holder)).await?;
        Ok(())
    }
}

/// Inserts a new grant.
pub(super) async fn insert(tx: &mut Transaction, grant: &Grant) -> Result<(), Failure> {
    sqlx::query(INSERT)
        .bind(grant.id.as_str())
        .bind(grant.subject.as_str())
        .bind(grant.identity.as_str())
        .bind(grant.client_id.as_str())
        .bind(&grant.resource)
        .bind(grant.scope.to_string())
        .bind(json(&grant.user)?)
        .bind(grant.standing.sealed_token.as_deref())
        .bind(grant.standing.offline)
        .bind(grant.standing.ends_at.map(|at| at.0))
        .bind(grant.standing.renewable)
        .bind(grant.created_at.0)
        .bind(grant.expires_at.0)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Ends the least recently used grants of this user, client and resource, so that with the new one there are no more than
/// may live.
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

/// Notes a rotation and gives the lease back; `false` when the lease is not ours or the grant is not live.
pub(super) async fn renew(tx: &mut Transaction, rotation: &Rotation<'_>) -> Result<bool, Failure> {
    let renewed = sqlx::query(RENEW)
        .bind(rotation.grant.as_str())
        .bind(rotation.lease)
        .bind(rotation.standing.sealed_token.as_deref())
        .bind(rotation.standing.offline)
        .bind(rotation.standing.ends_at.map(|at| at.0))
        .bind(rotation.standing.renewable)
        .bind(rotation.user.map(json).transpose()?)
        .bind(rotation.now.0)
        .execute(&mut **tx)
        .await?;
    Ok(renewed.rows_affected() == 1)
}
