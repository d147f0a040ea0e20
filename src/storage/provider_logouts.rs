//! Logout tokens of identity providers: each is kept, so that it counts once, and what it ends is ended afterwards, by whichever
//! process comes to it.
//!
//! Defends against: replay of a logout token, a sign-in of the very session that completes after it, and a crash between the
//! token and the ends.

use super::engine::Transaction;
use super::error::Failure;
use super::exclusive::Exclusive;
use super::row::{FromRow, Row};
use super::value::values;
use super::{Priority, Store, StoreError};
use crate::clock::Timestamp;
use crate::model::ids::{IdentityId, Subject};
use crate::model::provider_logout::ProviderLogout;
use crate::secret::Sha256;

sql! {
    /// The unique key decides between processes that get the same token at the same time.
    INSERT = "
        INSERT INTO provider_logouts (hash, identity, subject, session, ends_offline, issued_at, received_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (hash) DO NOTHING";

    TO_APPLY = "
        SELECT hash, identity, subject, session, ends_offline, issued_at, received_at, expires_at FROM provider_logouts
        WHERE NOT applied AND received_at <= $1 ORDER BY received_at LIMIT $2";

    APPLIED = "UPDATE provider_logouts SET applied = TRUE WHERE hash = $1";

    /// 0: the session of a sign-in lives; 1: it has ended; 2: and offline access with it. `$2`: the user; `$3`: whether the provider
    /// names no session; `$4`: when the provider made the ID token of the sign-in, by its own clock.
    HAS_ENDED = "
        SELECT COALESCE(MAX(CAST(CASE WHEN ends_offline THEN 2 ELSE 1 END AS BIGINT)), 0) FROM (
            SELECT ends_offline FROM provider_logouts WHERE session = $1
            UNION ALL
            SELECT ends_offline FROM provider_logouts
            WHERE subject = $2 AND (session IS NULL OR $3) AND issued_at >= $4) AS logouts";

    /// Codes whose grants the logout would end. `$3`: whether it is about all sessions of the user; `$4`: about offline access, too.
    REFUSE_CODES = "
        UPDATE authorizations SET stage = 'refused'
        WHERE stage = 'code_issued' AND (NOT provider_offline OR $4) AND id IN (
            SELECT id FROM authorizations WHERE provider_session = $1 AND stage = 'code_issued'
            UNION ALL
            SELECT id FROM authorizations
            WHERE subject = $2 AND stage = 'code_issued' AND (provider_session IS NULL OR $3))";

    END_ACCOUNT_SESSIONS = "
        DELETE FROM account_sessions WHERE hash IN (
            SELECT hash FROM account_sessions WHERE provider_session = $1
            UNION ALL
            SELECT hash FROM account_sessions WHERE subject = $2 AND (provider_session IS NULL OR $3))";

    /// Those that the logout ends. A grant whose session is not known counts as one of it.
    pub(super) GRANTS = "
        SELECT id FROM grants
        WHERE ended_at IS NULL AND basis IS NULL AND (NOT provider_offline OR $4) AND id IN (
            SELECT id FROM grants WHERE provider_session = $1 AND ended_at IS NULL
            UNION ALL
            SELECT id FROM grants WHERE subject = $2 AND ended_at IS NULL AND (provider_session IS NULL OR $3))
        LIMIT $5";

    /// Whose offline access the provider is to be asked about. All grants of a user share an offline token, so the session that a
    /// grant came from does not tell whether it still stands.
    WHOM_TO_ASK_ABOUT = "
        SELECT subject FROM grants
        WHERE provider_session = $1 AND ended_at IS NULL AND basis IS NULL AND provider_offline
        UNION
        SELECT subject FROM grants
        WHERE subject = $2 AND ended_at IS NULL AND basis IS NULL AND provider_offline
        UNION
        SELECT subject FROM authorizations
        WHERE provider_session = $1 AND subject IS NOT NULL AND stage = 'code_issued' AND provider_offline
        UNION
        SELECT subject FROM authorizations
        WHERE subject = $2 AND stage = 'code_issued' AND provider_offline";

    ASK_ABOUT = "
        INSERT INTO standing_checks (subject, due_at, good, requests) VALUES ($1, $2, 0, 1)
        ON CONFLICT (subject) DO UPDATE SET due_at = excluded.due_at, good = 0, requests = standing_checks.requests + 1";

    pub(super) DELETE_EXPIRED = "
        DELETE FROM provider_logouts WHERE hash IN (
            SELECT hash FROM provider_logouts WHERE expires_at <= $1 AND applied ORDER BY expires_at LIMIT $2)";
}

impl FromRow for ProviderLogout {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("provider_logouts");
        let subject: Option<String> = row.get("subject")?;
        Ok(Self {
            id: row.sha256("hash")?,
            identity: IdentityId::from(row.text("identity")?),
            subject: subject.map(Subject::stored),
            session: row.optional_sha256("session")?,
            ends_offline: row.get("ends_offline")?,
            issued_at: row.time("issued_at")?,
            received_at: row.time("received_at")?,
            remembered_until: row.time("expires_at")?,
        })
    }
}

/// What a sign-in came from, as far as a logout can name it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) subject: &'a Subject,
    pub(super) session: Option<&'a Sha256>,
    /// When the provider said who signed in, by its own clock; `None` for users of our own.
    pub(super) asserted_at: Option<Timestamp>,
}

/// What a logout leaves of a sign-in that was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// There was none.
    All,
    /// Offline access may stand: the provider is to be asked.
    Offline,
    Nothing,
}

impl Store {
    /// Keeps a logout; `false` when its token was received before. From then on no sign-in that it is about brings a code.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn keep_provider_logout(&self, logout: &ProviderLogout) -> Result<bool, StoreError> {
        let exclusive = Exclusive::Logout { subject: logout.subject.as_ref(), session: logout.session.as_ref() };
        let new = values![
            &logout.id,
            logout.identity.as_str(),
            logout.subject.as_ref().map(Subject::as_str),
            logout.session.as_ref(),
            logout.ends_offline,
            logout.issued_at,
            logout.received_at,
            logout.remembered_until,
        ];
        Ok(self.execute(Priority::Token, exclusive, INSERT, new).await? == 1)
    }

    /// At most `batch` logouts that were received until `until` and whose ends are not all made.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unapplied_logouts(&self, until: Timestamp, batch: i64) -> Result<Vec<ProviderLogout>, StoreError> {
        self.list(TO_APPLY, values![until, batch]).await
    }

    /// Takes back the codes and ends the account sessions that a logout is about, and asks for the check of offline access that it
    /// may concern, due at `due_at`. Answers how many sessions ended. It is to be repeated until it succeeds, before the grants
    /// end: none of these codes can become a grant afterwards.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn apply_logout(&self, logout: &ProviderLogout, due_at: Timestamp) -> Result<u64, StoreError> {
        let (session, subject) = (logout.session.as_ref(), logout.subject.as_ref().map(Subject::as_str));
        let all = logout.session.is_none();
        self.write(Priority::Token, Exclusive::Batch, async |tx| {
            tx.execute(REFUSE_CODES, values![session, subject, all, logout.ends_offline]).await?;
            let asked_about: Vec<String> = tx.all(WHOM_TO_ASK_ABOUT, values![session, subject]).await?;
            for subject in asked_about {
                ask_about(tx, &Subject::stored(subject), due_at).await?;
            }
            tx.execute(END_ACCOUNT_SESSIONS, values![session, subject, all]).await
        })
        .await
    }

    /// Notes that everything that a logout ends has ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note_logout_applied(&self, logout: &ProviderLogout) -> Result<(), StoreError> {
        self.execute(Priority::Token, Exclusive::Nothing, APPLIED, values![&logout.id]).await?;
        Ok(())
    }
}

/// What the logouts until now leave of a sign-in. The caller has the lock of [`Exclusive::SignInFrom`].
pub(super) async fn left(tx: &mut Transaction, origin: Origin<'_>) -> Result<Left, Failure> {
    let Origin { subject, session, asserted_at } = origin;
    let Some(asserted_at) = asserted_at else { return Ok(Left::All) };
    let ended: i64 = tx.one(HAS_ENDED, values![session, subject.as_str(), session.is_none(), asserted_at]).await?;
    Ok(match ended {
        0 => Left::All,
        1 => Left::Offline,
        _ => Left::Nothing,
    })
}

/// Asks for a check of a user's offline access.
pub(super) async fn ask_about(tx: &mut Transaction, subject: &Subject, due_at: Timestamp) -> Result<(), Failure> {
    tx.execute(ASK_ABOUT, values![subject.as_str(), due_at]).await?;
    Ok(())
}
