//! Users whose provider is to be asked whether their offline token still stands, and what comes of the answer. A check is there
//! until it has an answer, whichever process asks, and however long the provider is down.
//!
//! Defends against: access that outlives a logout because a process crashed or the provider did not answer, and two uses of the
//! token at once (theft, to a provider that rotates it): asking takes the lease that refreshes take.

use super::engine::Transaction;
use super::error::Failure;
use super::exclusive::Exclusive;
use super::grants::columns;
use super::row::{FromRow, Row};
use super::value::values;
use super::{EndedGrant, Priority, Store, StoreError, grant_ends, shared_tokens};
use crate::clock::Timestamp;
use crate::model::authorization::ProviderStanding;
use crate::model::grant::{EndReason, Grant};
use crate::model::ids::{GrantId, Subject};
use crate::model::provider_logout::StandingCheck;

sql! {
    DUE = "SELECT subject, good, requests FROM standing_checks WHERE due_at <= $1 ORDER BY due_at LIMIT $2";

    /// Of several processes one gets it; if that one crashes, it is due again at `$4`.
    CLAIM = "UPDATE standing_checks SET due_at = $4 WHERE subject = $1 AND requests = $2 AND due_at <= $3";

    POSTPONE = "UPDATE standing_checks SET due_at = $3, good = $4 WHERE subject = $1 AND requests = $2";

    FINISH = "DELETE FROM standing_checks WHERE subject = $1 AND requests = $2";

    /// As `grants::TAKE_LEASE`, for any grant that rests on the user's offline token.
    TAKE_LEASE = concat!("
        UPDATE grants SET lease_holder = $2, lease_until = $3
        WHERE id = (
            SELECT id FROM grants
            WHERE subject = $1 AND ended_at IS NULL AND basis IS NULL AND provider_offline AND expires_at > $4
            ORDER BY provider_line DESC, id LIMIT 1)
          AND NOT EXISTS (
              SELECT 1 FROM grants o
              WHERE o.subject = $1 AND o.ended_at IS NULL AND o.basis IS NULL AND o.provider_offline AND o.lease_until > $4)
        RETURNING ", columns!());

    /// A code that waits becomes such a grant, or expires.
    HAS_OFFLINE = "
        SELECT EXISTS (SELECT 1 FROM grants
            WHERE subject = $1 AND ended_at IS NULL AND basis IS NULL AND provider_offline AND expires_at > $2)
          OR EXISTS (SELECT 1 FROM authorizations
            WHERE subject = $1 AND stage = 'code_issued' AND provider_offline AND code_expires_at > $2)";

    RELEASE = "
        UPDATE grants SET lease_holder = NULL, lease_until = NULL
        WHERE id = $1 AND lease_holder = $2 AND ended_at IS NULL";

    /// Those that rest on the token that was refused; a later sign-in may have brought another one.
    RESTING = "
        SELECT id FROM grants
        WHERE subject = $1 AND ended_at IS NULL AND basis IS NULL AND provider_offline AND provider_line <= $2";

    REFUSE_CODES = "
        UPDATE authorizations SET stage = 'refused'
        WHERE subject = $1 AND stage = 'code_issued' AND provider_offline AND provider_line <= $2";
}

/// The lease for a check.
#[derive(Debug)]
pub enum CheckLease {
    /// It is the caller's: a grant as it now is.
    Taken(Box<Grant>),
    /// A refresh has it, or only a code rests on the token so far.
    Busy,
    /// Nothing rests on an offline token of the user.
    Nothing,
}

/// What a check is to be after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// Over.
    Over,
    /// To be made again at this time, after so many good answers.
    Again(Timestamp, i64),
}

impl FromRow for StandingCheck {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("standing_checks");
        Ok(Self {
            subject: Subject::stored(row.text("subject")?),
            good: row.get("good")?,
            request: row.get("requests")?,
        })
    }
}

impl Store {
    /// At most `batch` checks that are due.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn due_standing_checks(&self, now: Timestamp, batch: i64) -> Result<Vec<StandingCheck>, StoreError> {
        self.list(DUE, values![now, batch]).await
    }

    /// Takes a due check until `until`; `false` when another process has it, or it was asked for again.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claim_standing_check(
        &self,
        check: &StandingCheck,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let claim = values![check.subject.as_str(), check.request, now, until];
        Ok(self.execute(Priority::Upkeep, Exclusive::Nothing, CLAIM, claim).await? == 1)
    }

    /// Notes what came of a check, unless it was asked for again meanwhile.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note_standing_check(&self, check: &StandingCheck, checked: Checked) -> Result<(), StoreError> {
        let (subject, request) = (check.subject.as_str(), check.request);
        let nothing = Exclusive::Nothing;
        match checked {
            Checked::Over => self.execute(Priority::Upkeep, nothing, FINISH, values![subject, request]).await?,
            Checked::Again(due_at, good) => {
                self.execute(Priority::Upkeep, nothing, POSTPONE, values![subject, request, due_at, good]).await?
            }
        };
        Ok(())
    }

    /// Takes the refresh lease of a grant that rests on the user's offline token.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take_check_lease(
        &self,
        subject: &Subject,
        holder: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<CheckLease, StoreError> {
        self.write(Priority::Upkeep, Exclusive::SignIn(subject), async |tx| {
            let leased: Option<Grant> = tx.optional(TAKE_LEASE, values![subject.as_str(), holder, until, now]).await?;
            if let Some(grant) = leased {
                return Ok(CheckLease::Taken(Box::new(grant)));
            }
            let has_offline = tx.one(HAS_OFFLINE, values![subject.as_str(), now]).await?;
            Ok(if has_offline { CheckLease::Busy } else { CheckLease::Nothing })
        })
        .await
    }

    /// Keeps the token that the provider gave to the holder of a lease, for all grants that share it, and releases the lease.
    /// `false`, and nothing was kept, when the lease was lost or the grant has ended.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn keep_checked(
        &self,
        subject: &Subject,
        grant: &GrantId,
        holder: &str,
        standing: &ProviderStanding,
    ) -> Result<bool, StoreError> {
        self.write(Priority::Token, Exclusive::SignIn(subject), async |tx| {
            if tx.execute(RELEASE, values![grant.as_str(), holder]).await? == 0 {
                return Ok(false);
            }
            shared_tokens::renew(tx, grant, standing).await?;
            Ok(true)
        })
        .await
    }

    /// Ends everything that rests on an offline token that the provider refused: grants, and codes for them. `line` is that of the
    /// token.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn end_refused_token(
        &self,
        subject: &Subject,
        line: i64,
        reason: EndReason,
        now: Timestamp,
    ) -> Result<Vec<EndedGrant>, StoreError> {
        self.write(Priority::Token, Exclusive::SignIn(subject), async |tx| {
            tx.execute(REFUSE_CODES, values![subject.as_str(), line]).await?;
            end_resting(tx, subject, line, reason, now).await
        })
        .await
    }
}

async fn end_resting(
    tx: &mut Transaction,
    subject: &Subject,
    line: i64,
    reason: EndReason,
    now: Timestamp,
) -> Result<Vec<EndedGrant>, Failure> {
    let ids: Vec<String> = tx.all(RESTING, values![subject.as_str(), line]).await?;
    grant_ends::end_all(tx, ids.into_iter().map(|id| (GrantId::from(id), reason)).collect(), now).await
}
