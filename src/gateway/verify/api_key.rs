//! API keys: one read of the key, and one of its grant.
//!
//! Defends against: brute force that reaches the database (a wrong checksum never gets here, lookups are rate limited by
//! address, and an unknown key is cached for a while).

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use super::{EndedCredential, Unverified, Verified};
use crate::clock::{Clock, Timestamp};
use crate::delegation::Delegation;
use crate::gateway::caller::{Under, VerifiedCaller};
use crate::gateway::refusal::ENDED;
use crate::keys::{KeyWatch, Validity};
use crate::limits::{Key, Limit, Limits, Part};
use crate::model::caller::Caller;
use crate::model::grant::Grant;
use crate::model::ids::GrantId;
use crate::revocation::Revocation;
use crate::secret::{ApiKey, Sha256, Token};
use crate::storage::{Store, StoreError};
use crate::wire::ClientAddress;

/// How many unknown keys are remembered, and for how long.
const UNKNOWN: u64 = 10_000;
const UNKNOWN_FOR: Duration = Duration::from_mins(1);
/// How coarse the time of a key's last use is: each process notes it this often at most.
const NOTED_EVERY: Duration = Duration::from_hours(1);

/// Verifies API keys.
pub(in crate::gateway) struct ApiKeyVerifier {
    store: Store,
    revocation: Revocation,
    clock: Clock,
    delegation: Arc<Delegation>,
    limits: Limits,
    unknown: Cache<Sha256, ()>,
}

impl ApiKeyVerifier {
    pub(in crate::gateway) fn new(
        store: Store,
        revocation: Revocation,
        clock: Clock,
        delegation: Arc<Delegation>,
        limits: Limits,
    ) -> Self {
        let unknown = Cache::builder().max_capacity(UNKNOWN).time_to_live(UNKNOWN_FOR).build();
        Self { store, revocation, clock, delegation, limits, unknown }
    }

    /// Verifies a key that came from this address.
    ///
    /// # Errors
    /// When it is not valid, when too many were looked up for this address, or when that cannot be determined now.
    pub(in crate::gateway) async fn verify(
        &self,
        key: &Token<ApiKey>,
        address: ClientAddress,
    ) -> Result<Verified, Unverified> {
        let (hash, now) = (key.sha256(), self.clock.now());
        if self.unknown.contains_key(&hash) {
            return Err(UNKNOWN_KEY);
        }
        let limited = self.limits.check(Limit::ApiKeys, &Key::of(&[Part::Address(address)])).await;
        limited.map_err(|limited| Unverified::Limited(limited.retry_after))?;
        let unavailable = |error: StoreError| Unverified::Unavailable(error.to_string());
        let Some(found) = self.store.api_key(&hash).await.map_err(unavailable)? else {
            self.unknown.insert(hash, ()).await;
            return Err(UNKNOWN_KEY);
        };
        // taken before the grant is read: an end that comes after the read reaches the watch
        let watch = self.revocation.watch(&found.id);
        let grant = self.store.grant(&found.id).await.map_err(unavailable)?.ok_or(UNKNOWN_KEY)?;
        if grant.ended_at.is_some() {
            let ended =
                EndedCredential { grant: found.id, subject: grant.subject.to_string(), client: grant.client_id };
            return Ok(Verified::Ended(Arc::new(ended)));
        }
        if !grant.is_live(now) {
            return Err(Unverified::Invalid(ENDED));
        }
        self.note_use(&found.id, found.last_used_at, now);
        Ok(Verified::Good(Arc::new(self.caller(grant, Under::Grant(found.id, watch)))))
    }

    fn caller(&self, grant: Grant, under: Under) -> VerifiedCaller {
        let caller = Caller {
            subject: grant.subject.as_str().into(),
            identity: grant.identity,
            client: grant.client_id,
            scope: grant.scope,
            user: grant.user,
            // what a machine may do stands in its own entry
            kept_out: None,
        };
        VerifiedCaller {
            identity: self.delegation.headers(&caller, &grant.resource),
            caller,
            audience: grant.resource,
            key_bound_to: None,
            expires_at: grant.expires_at,
            under,
            // it is not signed, so there is no signing key
            key: KeyWatch::default(),
            validity: Validity::until(grant.expires_at),
        }
    }

    /// Notes that a key was used, coarsely and in the background: the call does not wait for the writer of the store.
    fn note_use(&self, key: &GrantId, before: Timestamp, now: Timestamp) {
        if now.since(before) < NOTED_EVERY {
            return;
        }
        let (store, key) = (self.store.clone(), key.clone());
        tokio::spawn(async move {
            if let Err(error) = store.note_api_key_use(&key, now).await {
                tracing::debug!(%key, %error, "the use of an API key could not be noted");
            }
        });
    }
}

const UNKNOWN_KEY: Unverified = Unverified::Invalid("the API key is not known here");
