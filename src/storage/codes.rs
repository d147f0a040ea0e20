//! The codes of authorizations, from their issue to their redemption: one conditional statement each.
//!
//! Defends against: replay (a code is redeemed once, however many requests race), brute force (`MAX_CODE_FAILURES`), and a
//! sign-in that completes while an operator ends the user's grants.

use super::authorizations::{self, columns};
use super::error::Failure;
use super::exclusive::Exclusive;
use super::provider_logouts::{self, Left, Origin};
use super::remembered_consents::{self, CodeConsent, IssuedFor};
use super::row::{FromRow, Row};
use super::value::{json, values};
use super::{
    NewRefreshToken, Priority, Store, StoreError, client_documents, clients, grant_ends, grants, refresh_tokens,
    shared_tokens,
};
use crate::clock::Timestamp;
use crate::model::authorization::{Authorization, IssuedCode, MAX_CODE_FAILURES, ProviderStanding, SignIn};
use crate::model::grant::{Grant, Holder};
use crate::model::ids::{AuthorizationId, GrantId, IdentityId, Subject};
use crate::secret::Sha256;

sql! {
    /// Issues none when another process has replaced the identity's provider meanwhile, or when an operator ended the user's
    /// grants during the sign-in.
    ISSUE_CODE = "
        UPDATE authorizations SET stage = 'code_issued', code_hash = $2, code_expires_at = $3, subject = $4,
            user_claims = $5, provider_token = $6, provider_offline = $7, provider_ends_at = $8, provider_renewable = $9,
            provider_line = $11, provider_session = $12
        WHERE id = $1 AND stage = 'claimed'
          AND EXISTS (SELECT 1 FROM identities i WHERE i.id = authorizations.identity AND i.issuer = $10)
          AND NOT EXISTS (
              SELECT 1 FROM barred_sign_ins b WHERE b.authorization_id = authorizations.id AND b.subject = $4)";

    FIND_BY_CODE = concat!("
        SELECT ", columns!(), ", subject, user_claims,
            provider_token, provider_offline, provider_ends_at, provider_renewable, provider_line, provider_session,
            code_expires_at, failures, redeemed_at, grant_id
        FROM authorizations WHERE code_hash = $1");

    COUNT_FAILURE = "UPDATE authorizations SET failures = failures + 1 WHERE code_hash = $1 RETURNING failures";

    /// Rows that are deleted next (see `authorizations::DELETE_UNREDEEMED`) and still hold a token that outlives the user's
    /// session.
    ABANDONED = "
        SELECT id, identity, subject, provider_token, provider_offline, provider_ends_at, provider_renewable, provider_line,
            provider_session
        FROM authorizations
        WHERE redeemed_at IS NULL AND expires_at <= $1 AND code_expires_at <= $2
          AND subject IS NOT NULL AND provider_token IS NOT NULL AND provider_offline
        ORDER BY expires_at LIMIT $3";

    FORGET_TOKEN = "UPDATE authorizations SET provider_token = NULL WHERE id = $1";

    /// The user's claims and the provider's token move to the grant. The provider must still be the one of this process, and
    /// the client known and not disabled.
    REDEEM = "
        UPDATE authorizations SET stage = 'redeemed', redeemed_at = $2, grant_id = $3,
            user_claims = NULL, provider_token = NULL
        WHERE code_hash = $1 AND stage = 'code_issued' AND code_expires_at > $2 AND failures < $4
          AND EXISTS (SELECT 1 FROM identities i WHERE i.id = authorizations.identity AND i.issuer = $5)
          AND ($6 OR EXISTS (SELECT 1 FROM clients c WHERE c.id = authorizations.client_id)
              OR EXISTS (SELECT 1 FROM client_documents m WHERE m.id = authorizations.client_id))
          AND NOT EXISTS (SELECT 1 FROM disabled_clients d WHERE d.client_id = authorizations.client_id)";
}

/// A code and what it grants.
#[derive(Debug, Clone, Copy)]
pub struct NewCode<'a> {
    /// Its hash.
    pub hash: &'a Sha256,
    /// Until when it can be redeemed.
    pub expires_at: Timestamp,
    /// Which issuer is behind the identity, as this process is configured.
    pub issuer: &'a str,
    /// The user, and the provider's token.
    pub sign_in: &'a SignIn,
    /// How the user consented.
    pub consent: CodeConsent<'a>,
    /// When the provider said who signed in, by its own clock.
    pub asserted_at: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
}

/// The outcome of issuing a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeIssue {
    /// It can be redeemed.
    Issued,
    /// The sign-in is not claimed (any more), another issuer is behind the identity, the user's grants were ended since it began, or
    /// the user signed out at the provider.
    TakenBack,
    /// The user who signed in has not allowed as much, or has withdrawn the consent.
    NotAllowed,
}

/// A redemption: everything that becomes true at once.
#[derive(Debug, Clone, Copy)]
pub struct Redemption<'a> {
    /// The code.
    pub code: &'a Sha256,
    /// What the user granted.
    pub grant: &'a Grant,
    /// Where its tokens are.
    pub holder: &'a Holder,
    /// The grant's first refresh token, if it gets one.
    pub refresh_token: Option<&'a NewRefreshToken>,
    /// Which issuer is behind the identity, as this process is configured.
    pub issuer: &'a str,
    /// Whether the client is in the configuration; otherwise it must be registered, or its document kept.
    pub client_is_configured: bool,
    /// Now.
    pub now: Timestamp,
}

impl FromRow for IssuedCode {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("authorizations");
        let subject: Option<String> = row.get("subject")?;
        let grant: Option<String> = row.get("grant_id")?;
        let Authorization { purpose, identity, .. } = authorizations::read(row)?;
        Ok(Self {
            purpose,
            identity: identity.ok_or_else(|| row.corrupt("identity"))?,
            sign_in: SignIn {
                subject: Subject::stored(subject.ok_or_else(|| row.corrupt("subject"))?),
                user: row.optional_json("user_claims")?.unwrap_or_default(),
                standing: row.standing()?,
            },
            code_expires_at: row.optional_time("code_expires_at")?.ok_or_else(|| row.corrupt("code_expires_at"))?,
            failed_redemptions: row.get("failures")?,
            redeemed: row.optional_time("redeemed_at")?.zip(grant.map(GrantId::from)),
        })
    }
}

/// The provider's token of a sign-in whose code was never redeemed.
#[derive(Debug)]
pub struct Abandoned {
    /// The provider.
    pub identity: IdentityId,
    /// The user.
    pub subject: Subject,
    /// Holds the token, which the store has deleted.
    pub standing: ProviderStanding,
}

/// An [`Abandoned`] one and the id of its row.
struct AbandonedRow(String, Abandoned);

impl FromRow for AbandonedRow {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("authorizations");
        let abandoned = Abandoned {
            identity: IdentityId::from(row.text("identity")?),
            subject: Subject::stored(row.text("subject")?),
            standing: row.standing()?,
        };
        Ok(Self(row.text("id")?, abandoned))
    }
}

impl Store {
    /// Hands out, for the last time, at most `batch` offline tokens of sign-ins whose code can no longer be redeemed. Each
    /// is handed out once, however many processes ask.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn take_abandoned_tokens(&self, now: Timestamp, batch: i64) -> Result<Vec<Abandoned>, StoreError> {
        self.write(Priority::Upkeep, Exclusive::Batch, async |tx| {
            let until = now.before(authorizations::MARGIN);
            let rows: Vec<AbandonedRow> = tx.all(ABANDONED, values![until, now, batch]).await?;
            let mut abandoned = Vec::new();
            for AbandonedRow(id, token) in rows {
                tx.execute(FORGET_TOKEN, values![id]).await?;
                abandoned.push(token);
            }
            Ok(abandoned)
        })
        .await
    }

    /// `Claimed` → `CodeIssued`, and what is remembered of the consent, in one transaction.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn issue_code(&self, id: &AuthorizationId, code: &NewCode<'_>) -> Result<CodeIssue, StoreError> {
        let NewCode { hash, expires_at, issuer, sign_in, consent, asserted_at, now } = *code;
        let SignIn { subject, user, standing } = sign_in;
        let session = standing.session.as_ref();
        self.write(Priority::Claimed, Exclusive::SignInFrom(subject, session), async |tx| {
            let left = provider_logouts::left(tx, Origin { subject, session, asserted_at }).await?;
            if left == Left::Nothing || left == Left::Offline && !standing.offline {
                return Ok(CodeIssue::TakenBack);
            }
            let line = shared_tokens::next_line(tx, subject, standing).await?;
            let issue = values![
                id.as_str(),
                hash,
                expires_at,
                subject.as_str(),
                json(user)?,
                standing.sealed_token.as_deref(),
                standing.offline,
                standing.ends_at,
                standing.renewable,
                issuer,
                line,
                standing.session.as_ref(),
            ];
            if tx.execute(ISSUE_CODE, issue).await? == 0 {
                return Ok(CodeIssue::TakenBack);
            }
            if remembered_consents::apply(tx, consent, IssuedFor { subject, issuer, now }).await? {
                shared_tokens::share(tx, subject, &ProviderStanding { line, ..standing.clone() }).await?;
                if left == Left::Offline {
                    provider_logouts::ask_about(tx, subject, now).await?;
                }
                return Ok(CodeIssue::Issued);
            }
            tx.undo();
            Ok(CodeIssue::NotAllowed)
        })
        .await
    }

    /// Finds the authorization of a code in any stage. Once redeemed, only the user's subject is kept.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn issued_code(&self, code: &Sha256) -> Result<Option<IssuedCode>, StoreError> {
        self.find(FIND_BY_CODE, values![code]).await
    }

    /// Counts a failed redemption and returns the new count; 0 for a code that is not known.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count_code_failure(&self, code: &Sha256) -> Result<i64, StoreError> {
        let failures: Option<i64> = self
            .write(Priority::Token, Exclusive::Nothing, async |tx| tx.optional(COUNT_FAILURE, values![code]).await)
            .await?;
        Ok(failures.unwrap_or_default())
    }

    /// `CodeIssued` → `Redeemed`, the grant, its first refresh token, the client's use and the end of the grants beyond
    /// `MAX_LIVE_GRANTS`, in one transaction. `None` when the code is not there to be redeemed (any more): redeemed, expired
    /// at `now`, failed `MAX_CODE_FAILURES` times, cancelled, or of a client or provider that is gone. Otherwise the grants
    /// that ended to make room.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn redeem_code(&self, redemption: &Redemption<'_>) -> Result<Option<Vec<GrantId>>, StoreError> {
        let Redemption { code, grant, holder, refresh_token, issuer, client_is_configured, now } = *redemption;
        let exclusive = Exclusive::SignIn(&grant.subject);
        self.write(Priority::Token, exclusive, async |tx| {
            let redeem = values![code, now, grant.id.as_str(), MAX_CODE_FAILURES, issuer, client_is_configured];
            if tx.execute(REDEEM, redeem).await? == 0 {
                return Ok(None);
            }
            let standing = shared_tokens::newest(tx, &grant.subject, &grant.standing).await?;
            grants::insert(tx, &Grant { standing, ..grant.clone() }, holder).await?;
            if let Some(token) = refresh_token {
                refresh_tokens::insert(tx, &grant.id, token).await?;
            }
            // holds the client's row: a deletion waits for this commit, and ends the grant that it then finds
            let is_known = clients::note_grant(tx, &grant.client_id, now).await?
                || client_is_configured
                || client_documents::hold(tx, &grant.client_id).await?;
            if !is_known {
                tx.undo();
                return Ok(None);
            }
            Ok(Some(grant_ends::end_surplus(tx, grant, now).await?))
        })
        .await
    }
}
