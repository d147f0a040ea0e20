//! The background deletion of what has expired. What is deleted is declared in the file of each noun.

use std::time::Duration;

use super::{Store, StoreError, Turn, authorizations, clients, end_feed, grant_ends, refresh_tokens};
use crate::clock::Timestamp;

/// An answer that came at the last moment is still being worked on. Whoever comes later is told the same page whether the
/// row is there or not.
pub(super) const AUTHORIZATION_MARGIN: Duration = Duration::from_mins(1);
/// How long a code that is presented again is recognised, and ends its grant.
const REDEEMED_AUTHORIZATION: Duration = Duration::from_hours(24);
/// How much longer than its last access token a dead grant stays, and how much later than its refresh token an unused one
/// ends: clocks differ, feeds are behind, a refresh takes its time.
pub(super) const GRANT_MARGIN: Duration = Duration::from_mins(15);

/// How long things are kept after their use is over.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Authorizations at least as long as their consent form can be posted: the row is what makes it good for one answer.
    pub consent: Duration,
    /// Sealed answers of used refresh tokens.
    pub replay_window: Duration,
    /// Registered clients that never led to a grant.
    pub unused_client: Duration,
    /// Registered clients after their last grant.
    pub used_client: Duration,
    /// Ended grants stay as long as an access token of theirs could live.
    pub access_token: Duration,
}

impl Store {
    /// Deletes at most `batch` rows of every kind that nobody can need any more, and answers how many went, erased answers
    /// of used refresh tokens included. Each kind is a transaction of its own, so that others write in between.
    ///
    /// # Errors
    /// When the store fails; what was deleted before that stays deleted.
    pub async fn delete_expired(&self, retention: &Retention, now: Timestamp, batch: i64) -> Result<u64, StoreError> {
        let before = |age: Duration| now.before(age).0;
        let dead = before(retention.access_token.saturating_add(GRANT_MARGIN));
        let asked = before(retention.consent);
        let (unused, used) = (before(retention.unused_client), before(retention.used_client));
        let steps: [(&'static str, &[i64]); 7] = [
            (refresh_tokens::ERASE_RESPONSES, &[before(retention.replay_window), batch]),
            (authorizations::DELETE_UNREDEEMED, &[before(AUTHORIZATION_MARGIN), now.0, asked, batch]),
            (authorizations::DELETE_REDEEMED, &[before(REDEEMED_AUTHORIZATION), batch]),
            (refresh_tokens::DELETE_OF_DEAD_GRANTS, &[dead, batch]),
            (grant_ends::DELETE_DEAD, &[dead, batch]),
            (clients::DELETE_UNUSED, &[unused, now.0, batch]),
            (clients::DELETE_USED, &[used, now.0, batch, unused]),
        ];
        let mut gone = 0;
        for (sql, values) in steps {
            let statement = values.iter().fold(sqlx::query(sql), |statement, value| statement.bind(*value));
            gone += self.execute(Turn::Upkeep, statement).await?;
        }
        // not counted: ends that were told are no sign that there is more to delete
        self.execute(Turn::Upkeep, sqlx::query(end_feed::DELETE_OLD).bind(before(end_feed::KEPT)).bind(batch)).await?;
        Ok(gone)
    }
}
