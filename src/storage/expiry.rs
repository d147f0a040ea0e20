//! The background deletion of what has expired. Each noun's file declares what is deleted.

use std::time::Duration;

use super::exclusive::Exclusive;
use super::value::{Value, values};
use super::{
    Priority, Store, StoreError, account, authorizations, client_documents, clients, device_codes, end_feed,
    grant_ends, provider_logouts, refresh_tokens, remembered_consents, single_use,
};
use crate::clock::Timestamp;
use crate::model::account::SESSION_IDLE;
use crate::model::client_document::SERVES_FOR;

/// How long a replayed code is recognised and ends its grant.
const REDEEMED_AUTHORIZATION: Duration = Duration::from_hours(24);

/// How long rows are kept after their use is over.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Authorizations stay at least as long as their consent form can be posted: the row is what makes the form single-use.
    pub consent: Duration,
    /// Sealed answers of used refresh tokens.
    pub replay_window: Duration,
    /// Registered clients that never led to a grant.
    pub unused_client: Duration,
    /// Registered clients after their last grant.
    pub used_client: Duration,
    /// Remembered consents; none is kept where they are off.
    pub remembered_consent: Duration,
    /// Ended grants stay as long as an access token of theirs could live.
    pub access_token: Duration,
}

impl Store {
    /// Deletes at most `batch` rows of every kind that are no longer needed, and returns how many went, erased answers of
    /// used refresh tokens included. Each kind is a transaction of its own, so that others write in between.
    ///
    /// # Errors
    /// When the store fails; what was deleted before that stays deleted.
    pub async fn delete_expired(&self, retention: &Retention, now: Timestamp, batch: i64) -> Result<u64, StoreError> {
        let before = |age: Duration| now.before(age).0;
        let dead = before(retention.access_token.saturating_add(grant_ends::MARGIN));
        let asked = before(retention.consent);
        let (unused, used) = (before(retention.unused_client), before(retention.used_client));
        let steps: [(&'static str, Exclusive<'_>, &[i64]); 13] = [
            (refresh_tokens::ERASE_RESPONSES, Exclusive::Batch, &[before(retention.replay_window), batch]),
            (
                authorizations::DELETE_UNREDEEMED,
                Exclusive::Batch,
                &[before(authorizations::MARGIN), now.0, asked, batch],
            ),
            (authorizations::DELETE_REDEEMED, Exclusive::Batch, &[before(REDEEMED_AUTHORIZATION), batch]),
            (refresh_tokens::DELETE_OF_DEAD_GRANTS, Exclusive::Batch, &[dead, batch]),
            (grant_ends::DELETE_DEAD, Exclusive::Batch, &[dead, batch]),
            (device_codes::DELETE_EXPIRED, Exclusive::Batch, &[before(device_codes::MARGIN), batch]),
            (account::DELETE_EXPIRED, Exclusive::Batch, &[before(SESSION_IDLE), batch]),
            (remembered_consents::DELETE_EXPIRED, Exclusive::Batch, &[before(retention.remembered_consent), batch]),
            (provider_logouts::DELETE_EXPIRED, Exclusive::Batch, &[now.0, batch]),
            (single_use::DELETE_EXPIRED, Exclusive::Batch, &[now.0, batch]),
            (client_documents::DELETE_OLD, Exclusive::Clients, &[before(SERVES_FOR), batch]),
            (clients::DELETE_UNUSED, Exclusive::Clients, &[unused, now.0, batch]),
            (clients::DELETE_USED, Exclusive::Clients, &[used, now.0, batch, unused]),
        ];
        let mut gone = 0;
        for (sql, exclusive, numbers) in steps {
            let values: Vec<Value<'_>> = numbers.iter().copied().map(Value::from).collect();
            gone += self.execute(Priority::Upkeep, exclusive, sql, &values).await?;
        }
        // not counted: old ends that went are no sign that there is more to delete
        let old = values![before(end_feed::KEPT), batch];
        self.execute(Priority::Upkeep, Exclusive::Batch, end_feed::DELETE_OLD, old).await?;
        Ok(gone)
    }
}
