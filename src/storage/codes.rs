//! The codes of authorizations, from their issue to their redemption: one conditional statement each.

use super::authorizations::{AuthorizationRow, columns};
use super::expiry::AUTHORIZATION_MARGIN;
use super::rows::{Column, StandingRow, json};
use super::{NewRefreshToken, Store, StoreError, Turn, clients, grant_ends, grants, refresh_tokens};
use crate::clock::Timestamp;
use crate::model::authorization::{Authorization, IssuedCode, MAX_CODE_FAILURES, ProviderStanding, Purpose, SignIn};
use crate::model::grant::Grant;
use crate::model::ids::{AuthorizationId, GrantId, IdentityId, Subject};
use crate::secret::Sha256;

sql! {
    /// Issues none when another process has replaced the identity's provider meanwhile, or when the user's grants were ended
    /// during the sign-in.
    ISSUE_CODE = "
        UPDATE authorizations SET stage = 'code_issued', code_hash = $2, code_expires_at = $3, subject = $4,
            user_claims = $5, provider_token = $6, provider_offline = $7, provider_ends_at = $8, provider_renewable = $9
        WHERE id = $1 AND stage = 'claimed'
          AND EXISTS (SELECT 1 FROM identities i WHERE i.id = authorizations.identity AND i.issuer = $10)
          AND NOT EXISTS (
              SELECT 1 FROM barred_sign_ins b WHERE b.authorization_id = authorizations.id AND b.subject = $4)";

    FIND_BY_CODE = concat!("
        SELECT ", columns!(), ", subject, user_claims,
            provider_token, provider_offline, provider_ends_at, provider_renewable,
            code_expires_at, failures, redeemed_at, grant_id
        FROM authorizations WHERE code_hash = $1");

    COUNT_FAILURE = "UPDATE authorizations SET failures = failures + 1 WHERE code_hash = $1 RETURNING failures";

    /// What is deleted next (see `authorizations::DELETE_UNREDEEMED`), and still holds a token that outlives the session.
    ABANDONED = "
        SELECT id, identity, subject, provider_token, provider_offline, provider_ends_at, provider_renewable
        FROM authorizations
        WHERE redeemed_at IS NULL AND expires_at <= $1 AND code_expires_at <= $2
          AND subject IS NOT NULL AND provider_token IS NOT NULL AND provider_offline
        ORDER BY expires_at LIMIT $3";

    FORGET_TOKEN = "UPDATE authorizations SET provider_token = NULL WHERE id = $1";

    /// Who the user is and what the provider gave live on in the grant alone. The provider must still be the one of this
    /// process, and the client known.
    REDEEM = "
        UPDATE authorizations SET stage = 'redeemed', redeemed_at = $2, grant_id = $3,
            user_claims = NULL, provider_token = NULL
        WHERE code_hash = $1 AND stage = 'code_issued' AND code_expires_at > $2 AND failures < $4
          AND EXISTS (SELECT 1 FROM identities i WHERE i.id = authorizations.identity AND i.issuer = $5)
          AND ($6 OR EXISTS (SELECT 1 FROM clients c WHERE c.id = authorizations.client_id))";
}

/// A code and what it stands for.
#[derive(Debug, Clone, Copy)]
pub struct NewCode<'a> {
    /// What we remember of it.
    pub hash: &'a Sha256,
    /// Until when it can be redeemed.
    pub expires_at: Timestamp,
    /// Which issuer is behind the identity, as this process is configured.
    pub issuer: &'a str,
    /// What the provider told.
    pub sign_in: &'a SignIn,
}

/// A redemption: everything that becomes true at once.
#[derive(Debug, Clone, Copy)]
pub struct Redemption<'a> {
    /// The code.
    pub code: &'a Sha256,
    /// What the user granted.
    pub grant: &'a Grant,
    /// The grant's first refresh token, if it gets one.
    pub refresh_token: Option<&'a NewRefreshToken>,
    /// Which issuer is behind the identity, as this process is configured.
    pub issuer: &'a str,
    /// Whether the client stands in the configuration; one that does not must be registered.
    pub client_is_configured: bool,
    /// Now.
    pub now: Timestamp,
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
        let authorization: Authorization = row.authorization.try_into()?;
        let Purpose::Client(request) = authorization.purpose;
        Ok(Self {
            request,
            identity: authorization.identity.ok_or_else(|| column("identity").corrupt())?,
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

/// What the provider gave for a sign-in whose code was never redeemed.
#[derive(Debug)]
pub struct Abandoned {
    /// The provider.
    pub identity: IdentityId,
    /// The user.
    pub subject: Subject,
    /// With the token, which the store no longer has.
    pub standing: ProviderStanding,
}

#[derive(sqlx::FromRow)]
struct AbandonedRow {
    id: String,
    identity: String,
    subject: String,
    #[sqlx(flatten)]
    standing: StandingRow,
}

impl Store {
    /// Hands out, for the last time, at most `batch` offline tokens of sign-ins whose code can no longer be redeemed. Each
    /// is told once, however many processes ask.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn take_abandoned_tokens(&self, now: Timestamp, batch: i64) -> Result<Vec<Abandoned>, StoreError> {
        self.write(Turn::Upkeep, async {
            let mut tx = self.begin().await?;
            let rows: Vec<AbandonedRow> = sqlx::query_as(ABANDONED)
                .bind(now.before(AUTHORIZATION_MARGIN).0)
                .bind(now.0)
                .bind(batch)
                .fetch_all(&mut *tx)
                .await?;
            for row in &rows {
                sqlx::query(FORGET_TOKEN).bind(&row.id).execute(&mut *tx).await?;
            }
            tx.commit().await?;
            let told = rows.into_iter().map(|row| Abandoned {
                identity: IdentityId::from(row.identity),
                subject: Subject::stored(row.subject),
                standing: row.standing.into(),
            });
            Ok(told.collect())
        })
        .await
    }

    /// `Claimed` → `CodeIssued`. `false` when it is not claimed (any more), another issuer is behind the identity, or the
    /// user's grants were ended since it began.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn issue_code(&self, id: &AuthorizationId, code: &NewCode<'_>) -> Result<bool, StoreError> {
        let NewCode { hash, expires_at, issuer, sign_in } = *code;
        self.write(Turn::Claimed, async {
            let mut tx = self.begin().await?;
            let issued = sqlx::query(ISSUE_CODE)
                .bind(id.as_str())
                .bind(hash.as_bytes().as_slice())
                .bind(expires_at.0)
                .bind(sign_in.subject.as_str())
                .bind(json(&sign_in.user)?)
                .bind(sign_in.standing.sealed_token.as_deref())
                .bind(sign_in.standing.offline)
                .bind(sign_in.standing.ends_at.map(|at| at.0))
                .bind(sign_in.standing.renewable)
                .bind(issuer)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(issued.rows_affected() == 1)
        })
        .await
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
        self.write(Turn::Token, async {
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
    /// expired at `now`, failed `MAX_CODE_FAILURES` times, taken back, or of a client or provider that is gone. Otherwise the grants that ended to make room.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn redeem_code(&self, redemption: &Redemption<'_>) -> Result<Option<Vec<GrantId>>, StoreError> {
        let Redemption { code, grant, refresh_token, issuer, client_is_configured, now } = *redemption;
        self.write(Turn::Token, async {
            let mut tx = self.begin().await?;
            let redeemed = sqlx::query(REDEEM)
                .bind(code.as_bytes().as_slice())
                .bind(now.0)
                .bind(grant.id.as_str())
                .bind(MAX_CODE_FAILURES)
                .bind(issuer)
                .bind(client_is_configured)
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
