//! Sign-ins in progress that an operator or a user cancels, by user, client or resource; they go with a deleted client, too.
//!
//! Defends against: a sign-in that was begun before access was revoked and gives access after it. Unauthenticated callers can
//! begin very many, so they are cancelled in batches: no transaction runs out of time.

use super::error::Failure;
use super::exclusive::Exclusive;
use super::listed_grants::GrantFilter;
use super::value::{json, values};
use super::{Priority, Store, StoreError};
use crate::model::ids::ClientId;

sql! {
    /// The next batch, by id, of the pending sign-ins that may belong to this user; those already barred are returned too. `$3`
    /// is a piece of JSON, see [`resource_in`].
    BAR = "
        INSERT INTO barred_sign_ins (authorization_id, subject)
        SELECT id, $1 FROM authorizations
        WHERE id > $4 AND stage IN ('pending', 'claimed') AND (CAST($2 AS TEXT) IS NULL OR client_id = $2)
          AND (CAST($3 AS TEXT) IS NULL OR replace(request, $3, '') <> request)
        ORDER BY id LIMIT $5
        ON CONFLICT (authorization_id, subject) DO UPDATE SET subject = excluded.subject
        RETURNING authorization_id";

    /// The next batch, by id. The provider's tokens stay: abandoned ones are revoked before they are deleted. The outer condition
    /// excludes a sign-in that was redeemed while this statement waited for its row.
    REFUSE = "
        UPDATE authorizations SET stage = 'refused'
        WHERE stage IN ('pending', 'claimed', 'code_issued') AND id IN (
            SELECT id FROM authorizations
            WHERE id > $4 AND stage IN ('pending', 'claimed', 'code_issued')
              AND (CAST($1 AS TEXT) IS NULL OR subject = $1) AND (CAST($2 AS TEXT) IS NULL OR client_id = $2)
              AND (CAST($3 AS TEXT) IS NULL OR replace(request, $3, '') <> request)
            ORDER BY id LIMIT $5)
        RETURNING id";

    DELETE_CLIENT = "DELETE FROM clients WHERE id = $1";
}

/// How many sign-ins one transaction cancels.
pub(super) const BATCH: usize = 2000;

/// How a resource is written in the JSON of a request. Neither engine need know JSON for it; and as quotes inside a JSON string
/// are escaped, no other value of a request can contain it.
fn resource_in(resource: &str) -> Result<String, Failure> {
    Ok(format!("\"resource\":{}", json(&resource)?))
}

impl Store {
    /// Forgets the remembered consents and cancels the sign-ins in progress whose grants this filter would match; returns how
    /// many were cancelled. With a subject, those that have no code yet are not counted, because it is not known whose they
    /// are: none of them brings this user a code.
    ///
    /// # Errors
    /// When the store fails; then some may have been cancelled.
    pub async fn cancel_sign_ins(&self, filter: &GrantFilter) -> Result<u64, StoreError> {
        self.forget_consents(filter).await?;
        if filter.subject.is_some() {
            self.in_batches(BAR, filter).await?;
        }
        // after the bar: a code that this user got before it goes too
        self.in_batches(REFUSE, filter).await
    }

    /// Runs the statement on the sign-ins in progress, batch after batch, and returns how many it changed. A sign-in that
    /// begins meanwhile may be reached or not.
    async fn in_batches(&self, statement: &'static str, filter: &GrantFilter) -> Result<u64, StoreError> {
        let GrantFilter { subject, client, resource } = filter;
        let exclusive = subject.as_deref().map_or(Exclusive::Batch, Exclusive::BatchOf);
        let batch = i64::try_from(BATCH).unwrap_or(i64::MAX);
        let (mut last, mut count) = (String::new(), 0);
        loop {
            let next = self.write(Priority::Token, exclusive, async |tx| {
                let resource = resource.as_deref().map(resource_in).transpose()?;
                let (subject, client) = (subject.as_deref(), client.as_deref());
                tx.all(statement, values![subject, client, resource, &last, batch]).await
            });
            let ids: Vec<String> = next.await?;
            count += ids.len() as u64;
            match ids.into_iter().max() {
                Some(id) => last = id,
                None => return Ok(count),
            }
        }
    }

    /// Deletes a registered client and cancels its sign-ins in progress; returns how many, `None` when there is no such
    /// client. Its grants do not end here.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_client(&self, id: &ClientId) -> Result<Option<u64>, StoreError> {
        let deleted = self.execute(Priority::Token, Exclusive::Nothing, DELETE_CLIENT, values![id.as_str()]).await?;
        if deleted == 0 {
            return Ok(None);
        }
        // none of them can become a grant any more: redeeming a code needs the client
        self.in_batches(REFUSE, &GrantFilter::of_client(id)).await.map(Some)
    }
}
