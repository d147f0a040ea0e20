//! The provider's offline token of a user, which all of the user's grants share.
//!
//! Some providers keep one offline token for each user and client of theirs (Dex): a new sign-in kills the token of the one before.
//! Others end every token of a user when an old one is presented again. So all grants of a user that rest on an offline token hold
//! the same one: that of the latest sign-in, whichever client it was for. A token's *line* counts these sign-ins; a renewal stays
//! in its line, and never takes the place of a later one.
//!
//! Defends against: a sign-in with one application that signs the user out of all others.

use super::engine::Transaction;
use super::error::Failure;
use super::exclusive::Exclusive;
use super::row::{FromRow, Row};
use super::value::values;
use super::{Priority, Store, StoreError};
use crate::model::authorization::ProviderStanding;
use crate::model::ids::{GrantId, Subject};

sql! {
    /// Codes keep the token until they are redeemed.
    NEXT_LINE = "
        SELECT 1 + COALESCE(MAX(line), 0) FROM (
            SELECT provider_line AS line FROM grants WHERE subject = $1 AND ended_at IS NULL
            UNION ALL
            SELECT provider_line AS line FROM authorizations WHERE subject = $1 AND stage = 'code_issued') AS lines";

    SHARE_WITH_GRANTS = "
        UPDATE grants SET provider_token = $2, provider_offline = TRUE, provider_ends_at = $3, provider_renewable = TRUE,
            provider_line = $4
        WHERE subject = $1 AND ended_at IS NULL AND basis IS NULL AND provider_offline AND provider_line <= $4";

    SHARE_WITH_CODES = "
        UPDATE authorizations SET provider_token = $2, provider_ends_at = $3, provider_line = $4
        WHERE subject = $1 AND stage = 'code_issued' AND provider_offline AND provider_line <= $4";

    /// Only while no later sign-in has brought another one. Answers the user if others share the token.
    RENEW_OWN = "
        UPDATE grants SET provider_token = $2, provider_offline = $3, provider_ends_at = $4, provider_renewable = $5
        WHERE id = $1 AND provider_line = $6
        RETURNING CASE WHEN provider_line > 0 AND (
            EXISTS (SELECT 1 FROM grants o
                WHERE o.subject = grants.subject AND o.id <> grants.id AND o.ended_at IS NULL AND o.basis IS NULL
                  AND o.provider_offline)
            OR EXISTS (SELECT 1 FROM authorizations a WHERE a.subject = grants.subject AND a.stage = 'code_issued')
        ) THEN subject END";

    /// A grant's token is the later one of two in the same line: the code's was not renewed.
    NEWEST = "
        SELECT provider_token, provider_offline, provider_ends_at, provider_renewable, provider_line, provider_session,
            1 AS place
        FROM grants
        WHERE subject = $1 AND ended_at IS NULL AND basis IS NULL AND provider_offline AND provider_token IS NOT NULL
          AND provider_line >= $2
        UNION ALL
        SELECT provider_token, provider_offline, provider_ends_at, provider_renewable, provider_line, provider_session,
            0 AS place
        FROM authorizations
        WHERE subject = $1 AND stage = 'code_issued' AND provider_offline AND provider_token IS NOT NULL
          AND provider_line >= $2
        ORDER BY provider_line DESC, place DESC LIMIT 1";

    IS_BEHIND = "SELECT EXISTS (SELECT 1 FROM identities WHERE id = $1 AND issuer = $2)";
}

struct Newest(ProviderStanding);

impl FromRow for Newest {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        Ok(Self(row.of("grants").standing()?))
    }
}

impl Store {
    /// Gives the offline token of a sign-in that came to nothing to the grants that the user has: theirs may be dead since the
    /// provider gave this one. `false` when no grant takes it.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn share_provider_token(
        &self,
        subject: &Subject,
        issuer: &str,
        standing: &ProviderStanding,
    ) -> Result<bool, StoreError> {
        self.write(Priority::Claimed, Exclusive::SignIn(subject), async |tx| {
            if !tx.one::<bool>(IS_BEHIND, values![subject.identity(), issuer]).await? {
                return Ok(false);
            }
            let line = next_line(tx, subject, standing).await?;
            Ok(share(tx, subject, &ProviderStanding { line, ..standing.clone() }).await? > 0)
        })
        .await
    }
}

/// Whether the user's grants share it.
const fn is_shared(standing: &ProviderStanding) -> bool {
    standing.offline && standing.sealed_token.is_some()
}

/// The line of a sign-in that is about to be stored.
pub(super) async fn next_line(
    tx: &mut Transaction,
    subject: &Subject,
    standing: &ProviderStanding,
) -> Result<i64, Failure> {
    if is_shared(standing) { tx.one(NEXT_LINE, values![subject.as_str()]).await } else { Ok(0) }
}

/// Gives a token to all grants and codes of the user that rest on one, unless theirs is of a later line. Answers how many grants
/// took it.
pub(super) async fn share(
    tx: &mut Transaction,
    subject: &Subject,
    standing: &ProviderStanding,
) -> Result<u64, Failure> {
    if !is_shared(standing) {
        return Ok(0);
    }
    let token = values![subject.as_str(), standing.sealed_token.as_deref(), standing.ends_at, standing.line];
    let grants = tx.execute(SHARE_WITH_GRANTS, token).await?;
    tx.execute(SHARE_WITH_CODES, token).await?;
    Ok(grants)
}

/// Keeps what a renewal brought, in the grant and in all that share its token.
pub(super) async fn renew(tx: &mut Transaction, grant: &GrantId, standing: &ProviderStanding) -> Result<(), Failure> {
    let own = values![
        grant.as_str(),
        standing.sealed_token.as_deref(),
        standing.offline,
        standing.ends_at,
        standing.renewable,
        standing.line,
    ];
    let shared_by: Option<Option<String>> = tx.optional(RENEW_OWN, own).await?;
    if let Some(subject) = shared_by.flatten() {
        share(tx, &Subject::stored(subject), standing).await?;
    }
    Ok(())
}

/// The latest token of the user: that of the grant which is about to be stored, or a later one.
pub(super) async fn newest(
    tx: &mut Transaction,
    subject: &Subject,
    own: &ProviderStanding,
) -> Result<ProviderStanding, Failure> {
    if !is_shared(own) {
        return Ok(own.clone());
    }
    let newest = tx.optional(NEWEST, values![subject.as_str(), own.line]).await?;
    Ok(newest.map_or_else(|| own.clone(), |Newest(standing)| ProviderStanding { session: own.session, ..standing }))
}
