//! Authorizations: each step of `model::authorization::Stage` is one conditional statement.

use super::rows::{Column, StandingRow, json};
use super::{NewRefreshToken, Store, StoreError, clients, grant_ends, grants, refresh_tokens};
use crate::clock::Timestamp;
use crate::model::authorization::{Authorization, IssuedCode, MAX_CODE_FAILURES, SignIn, Stage};
use crate::model::grant::Grant;
use crate::model::ids::{GrantId, IdentityId, RenderId, Subject};
use crate::secret::Sha256;

macro_rules! columns {
    () => {
        "id, request, identity, binding_hash, round, offline, retried, stage, created_at, expires_at"
    };
}

sql! {
    INSERT = "
        INSERT INTO authorizations (id, client_id, request, identity, binding_hash, round, offline, retried, stage,
            created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (id) DO NOTHING";

    FIND = concat!("SELECT ", columns!(), " FROM authorizations WHERE id = $1");

    FIND_BY_CODE = concat!("
        SELECT ", columns!(), ", subject, user_claims,
            provider_token, provider_offline, provider_ends_at, provider_renewable,
            code_expires_at, failures, redeemed_at, grant_id
        FROM authorizations WHERE code_hash = $1");

    CLAIM = "
        UPDATE authorizations SET stage = 'claimed'
        WHERE id = $1 AND round = $2 AND stage = 'pending' AND expires_at > $3";

    NEXT_ROUND = "
        UPDATE authorizations SET stage = 'pending', round = round + 1, offline = $3, retried = (retried OR $4)
        WHERE id = $1 AND round = $2 AND stage IN ('pending', 'claimed') AND NOT (retried AND $4)";

    ISSUE_CODE = "
        UPDATE authorizations SET stage = 'code_issued', code_hash = $2, code_expires_at = $3, subject = $4,
            user_claims = $5, provider_token = $6, provider_offline = $7, provider_ends_at = $8, provider_renewable = $9
        WHERE id = $1 AND stage = 'claimed'";

    REFUSE = "
        UPDATE authorizations SET stage = 'refused'
        WHERE id = $1 AND round = $2 AND stage IN ('pending', 'claimed')";

    COUNT_FAILURE = "UPDATE authorizations SET failures = failures + 1 WHERE code_hash = $1 RETURNING failures";

    /// Who the user is and what the provider gave live on in the grant alone.
    REDEEM = "
        UPDATE authorizations SET stage = 'redeemed', redeemed_at = $2, grant_id = $3,
            user_claims = NULL, provider_token = NULL
        WHERE code_hash = $1 AND stage = 'code_issued' AND code_expires_at > $2 AND failures < $4";

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
struct AuthorizationRow {
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
            id: RenderId::from(row.id),
            request: column("request").json(&row.request)?,
            identity: IdentityId::from(row.identity),
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

#[derive(sqlx::FromRow)]
struct CodeRow {
    #[sqlx(flatten)]
    authorization: AuthorizationRow,
    subject: Option<String>,
    user_claims: Option<String>,
    #[sqlx(flatten)]
    standing: StandingRow,
    code_expires_at: Option<i64>,
    failures: i64,
    redeemed_at: Option<i64>,
    grant_id: Option<String>,
}

impl TryFrom<CodeRow> for IssuedCode {
    type Error = StoreError;

    fn try_from(row: CodeRow) -> Result<Self, StoreError> {
        let column = |name| Column("authorizations", name);
        let user = row.user_claims.map(|claims| column("user_claims").json(&claims)).transpose()?;
        Ok(Self {
            authorization: row.authorization.try_into()?,
            sign_in: SignIn {
                subject: Subject::stored(row.subject.ok_or_else(|| column("subject").corrupt())?),
                user: user.unwrap_or_default(),
                standing: row.standing.into(),
            },
            code_expires_at: Timestamp(row.code_expires_at.ok_or_else(|| column("code_expires_at").corrupt())?),
            failures: row.failures,
            redeemed: row.redeemed_at.map(Timestamp).zip(row.grant_id.map(GrantId::from)),
        })
    }
}

impl Store {
    /// Begins an authorization. `false` when its id is taken: the form was posted before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn insert_authorization(&self, authorization: &Authorization) -> Result<bool, StoreError> {
        self.write(async {
            let mut tx = self.begin().await?;
            let inserted = sqlx::query(INSERT)
                .bind(authorization.id.as_str())
                .bind(authorization.request.client_id.as_str())
                .bind(json(&authorization.request)?)
                .bind(authorization.identity.as_str())
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
    pub async fn authorization(&self, id: &RenderId) -> Result<Option<Authorization>, StoreError> {
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
    pub async fn claim_authorization(&self, id: &RenderId, round: i64, now: Timestamp) -> Result<bool, StoreError> {
        let claim = sqlx::query(CLAIM).bind(id.as_str()).bind(round).bind(now.0);
        Ok(self.execute(claim).await? == 1)
    }

    /// `Pending` or `Claimed` in `from_round` → `Pending` in the next round, which asks for offline access or not.
    /// A retry (after a form posted twice) happens once per authorization: `false` when it was used.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next_round(
        &self,
        id: &RenderId,
        from_round: i64,
        offline: bool,
        retry: bool,
    ) -> Result<bool, StoreError> {
        let next = sqlx::query(NEXT_ROUND).bind(id.as_str()).bind(from_round).bind(offline).bind(retry);
        Ok(self.execute(next).await? == 1)
    }

    /// `Claimed` → `CodeIssued`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn issue_code(
        &self,
        id: &RenderId,
        code: &Sha256,
        expires_at: Timestamp,
        sign_in: &SignIn,
    ) -> Result<bool, StoreError> {
        self.write(async {
            let mut tx = self.begin().await?;
            let issued = sqlx::query(ISSUE_CODE)
                .bind(id.as_str())
                .bind(code.as_bytes().as_slice())
                .bind(expires_at.0)
                .bind(sign_in.subject.as_str())
                .bind(json(&sign_in.user)?)
                .bind(sign_in.standing.sealed_token.as_deref())
                .bind(sign_in.standing.offline)
                .bind(sign_in.standing.ends_at.map(|at| at.0))
                .bind(sign_in.standing.renewable)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(issued.rows_affected() == 1)
        })
        .await
    }

    /// `Pending` or `Claimed` in this round → `Refused`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn refuse_authorization(&self, id: &RenderId, round: i64) -> Result<bool, StoreError> {
        Ok(self.execute(sqlx::query(REFUSE).bind(id.as_str()).bind(round)).await? == 1)
    }

    /// Finds the authorization of a code, whatever became of it. Once redeemed it tells of the user only the subject.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn issued_code(&self, code: &Sha256) -> Result<Option<IssuedCode>, StoreError> {
        self.read(async {
            let row: Option<CodeRow> =
                sqlx::query_as(FIND_BY_CODE).bind(code.as_bytes().as_slice()).fetch_optional(self.readers()).await?;
            Ok(row.map(IssuedCode::try_from).transpose()?)
        })
        .await
    }

    /// Counts a failed redemption and answers the new count; 0 for a code that is not known.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count_code_failure(&self, code: &Sha256) -> Result<i64, StoreError> {
        self.write(async {
            let mut tx = self.begin().await?;
            let failures: Option<i64> =
                sqlx::query_scalar(COUNT_FAILURE).bind(code.as_bytes().as_slice()).fetch_optional(&mut *tx).await?;
            tx.commit().await?;
            Ok(failures.unwrap_or_default())
        })
        .await
    }

    /// `CodeIssued` → `Redeemed`, the grant, its first refresh token, the client's use and the end of the grants beyond
    /// `MAX_LIVE_GRANTS`, in one transaction. `None` when the code is not there to be redeemed (any more): redeemed,
    /// expired at `now`, or failed `MAX_CODE_FAILURES` times. Otherwise the grants that ended to make room.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn redeem_code(
        &self,
        code: &Sha256,
        grant: &Grant,
        refresh_token: Option<&NewRefreshToken>,
        now: Timestamp,
    ) -> Result<Option<Vec<GrantId>>, StoreError> {
        self.write(async {
            let mut tx = self.begin().await?;
            let redeemed = sqlx::query(REDEEM)
                .bind(code.as_bytes().as_slice())
                .bind(now.0)
                .bind(grant.id.as_str())
                .bind(MAX_CODE_FAILURES)
                .execute(&mut *tx)
                .await?;
            if redeemed.rows_affected() == 0 {
                tx.rollback().await?;
                return Ok(None);
            }
            grants::insert(&mut tx, grant).await?;
            if let Some(token) = refresh_token {
                refresh_tokens::insert(&mut tx, &grant.id, token).await?;
            }
            clients::note_grant(&mut tx, &grant.client_id, now).await?;
            let ended = grant_ends::end_surplus(&mut tx, grant, now).await?;
            tx.commit().await?;
            Ok(Some(ended))
        })
        .await
    }
}
