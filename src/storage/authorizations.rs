//! Authorizations: each step of `model::authorization::Stage` is one conditional statement. The steps of their codes are next
//! door, in `codes`.

use super::rows::{Column, json};
use super::{Store, StoreError, Turn};
use crate::clock::Timestamp;
use crate::model::authorization::{AnotherRound, Authorization, Purpose, Stage};
use crate::model::ids::{AuthorizationId, IdentityId};

macro_rules! columns {
    () => {
        "id, request, identity, binding_hash, round, offline, retried, stage, created_at, expires_at"
    };
}
pub(super) use columns;

sql! {
    INSERT = "
        INSERT INTO authorizations (id, client_id, request, identity, binding_hash, round, offline, retried, stage,
            created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (id) DO NOTHING";

    FIND = concat!("SELECT ", columns!(), " FROM authorizations WHERE id = $1");

    CLAIM = "
        UPDATE authorizations SET stage = 'claimed'
        WHERE id = $1 AND round = $2 AND stage = 'pending' AND expires_at > $3";

    NEXT_ROUND = "
        UPDATE authorizations SET stage = 'pending', round = round + 1, offline = (offline AND NOT $3), retried = (retried OR $4)
        WHERE id = $1 AND round = $2 AND stage IN ('pending', 'claimed') AND NOT (retried AND $4)";

    REFUSE = "
        UPDATE authorizations SET stage = 'refused'
        WHERE id = $1 AND round = $2 AND stage IN ('pending', 'claimed')";

    WITHDRAW = "UPDATE authorizations SET stage = 'denied' WHERE id = $1 AND stage = 'pending'";

    /// `$3` is the moment of the latest consent whose form nobody can post any more.
    pub(super) DELETE_UNREDEEMED = "
        DELETE FROM authorizations WHERE id IN (
            SELECT id FROM authorizations
            WHERE redeemed_at IS NULL AND expires_at <= $1 AND (code_expires_at IS NULL OR code_expires_at <= $2)
              AND created_at <= $3
            ORDER BY expires_at LIMIT $4)";

    pub(super) DELETE_REDEEMED = "
        DELETE FROM authorizations WHERE id IN (
            SELECT id FROM authorizations WHERE redeemed_at <= $1 ORDER BY redeemed_at LIMIT $2)";
}

#[derive(sqlx::FromRow)]
pub(super) struct AuthorizationRow {
    id: String,
    request: String,
    identity: String,
    binding_hash: Vec<u8>,
    round: i64,
    offline: bool,
    retried: bool,
    stage: String,
    created_at: i64,
    expires_at: i64,
}

impl TryFrom<AuthorizationRow> for Authorization {
    type Error = StoreError;

    fn try_from(row: AuthorizationRow) -> Result<Self, StoreError> {
        let column = |name| Column("authorizations", name);
        Ok(Self {
            id: AuthorizationId::from(row.id),
            purpose: Purpose::Client(column("request").json(&row.request)?),
            identity: (!row.identity.is_empty()).then(|| IdentityId::from(row.identity)),
            binding_hash: column("binding_hash").sha256(&row.binding_hash)?,
            round: row.round,
            offline: row.offline,
            retried: row.retried,
            stage: Stage::parse(&row.stage).ok_or_else(|| column("stage").corrupt())?,
            created_at: Timestamp(row.created_at),
            expires_at: Timestamp(row.expires_at),
        })
    }
}

impl Store {
    /// Begins an authorization, or records a denial (whose column `identity` is empty). `false` when the id is taken: the
    /// form was posted before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn insert_authorization(&self, authorization: &Authorization) -> Result<bool, StoreError> {
        let Purpose::Client(request) = &authorization.purpose;
        self.write(Turn::Approval, async {
            let mut tx = self.begin().await?;
            let inserted = sqlx::query(INSERT)
                .bind(authorization.id.as_str())
                .bind(request.client_id.as_str())
                .bind(json(request)?)
                .bind(authorization.identity.as_ref().map_or("", IdentityId::as_str))
                .bind(authorization.binding_hash.as_bytes().as_slice())
                .bind(authorization.round)
                .bind(authorization.offline)
                .bind(authorization.retried)
                .bind(authorization.stage.as_str())
                .bind(authorization.created_at.0)
                .bind(authorization.expires_at.0)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(inserted.rows_affected() == 1)
        })
        .await
    }

    /// Finds an authorization, expired or not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn authorization(&self, id: &AuthorizationId) -> Result<Option<Authorization>, StoreError> {
        self.read(async {
            let row: Option<AuthorizationRow> =
                sqlx::query_as(FIND).bind(id.as_str()).fetch_optional(self.readers()).await?;
            Ok(row.map(Authorization::try_from).transpose()?)
        })
        .await
    }

    /// `Pending` → `Claimed`, for the first answer in this round that comes before the authorization expires.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claim_authorization(
        &self,
        id: &AuthorizationId,
        round: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let claim = sqlx::query(CLAIM).bind(id.as_str()).bind(round).bind(now.0);
        Ok(self.execute(Turn::SignIn, claim).await? == 1)
    }

    /// `Pending` or `Claimed` in `from_round` → `Pending` in the next round, for a reason.
    /// A retry happens once per authorization: `false` when it was used.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next_round(
        &self,
        id: &AuthorizationId,
        from_round: i64,
        why: AnotherRound,
    ) -> Result<bool, StoreError> {
        let (without_offline, retry) = (why == AnotherRound::WithoutOffline, why == AnotherRound::Retry);
        let next = sqlx::query(NEXT_ROUND).bind(id.as_str()).bind(from_round).bind(without_offline).bind(retry);
        Ok(self.execute(Turn::Claimed, next).await? == 1)
    }

    /// `Pending` or `Claimed` in this round → `Refused`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn refuse_authorization(&self, id: &AuthorizationId, round: i64) -> Result<bool, StoreError> {
        Ok(self.execute(Turn::Claimed, sqlx::query(REFUSE).bind(id.as_str()).bind(round)).await? == 1)
    }

    /// `Pending` → `Denied`, whatever the round: the user takes it back while no answer has come.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn withdraw_authorization(&self, id: &AuthorizationId) -> Result<bool, StoreError> {
        Ok(self.execute(Turn::SignIn, sqlx::query(WITHDRAW).bind(id.as_str())).await? == 1)
    }
}
