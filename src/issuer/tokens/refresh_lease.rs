//! One refresh of a grant at a time, in this process and in all others.
//!
//! Defends against: races. A provider that rotates its refresh tokens treats the second use of one as theft and ends the
//! user's session.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout_at};

use super::presented::Presented;
use super::refusal::TokenRefusal;
use crate::clock::{Clock, Timestamp};
use crate::issuer::single_flight::SingleFlight;
use crate::model::authorization::ProviderStanding;
use crate::model::ids::GrantId;
use crate::secret::random_id;
use crate::storage::{Store, StoreError};

/// How long one refresh may block the others.
const LEASE: Duration = Duration::from_secs(30);

/// The right to refresh a grant. It is held until it is released; one that is lost ends by itself.
pub(super) struct RefreshLease {
    pub(super) grant: GrantId,
    pub(super) holder: String,
    /// How the grant stands with the provider now: its token may be newer than when the grant was read.
    pub(super) standing: ProviderStanding,
    _in_this_process: OwnedMutexGuard<()>,
}

/// Takes and releases leases.
pub(in crate::issuer) struct RefreshLeases {
    store: Store,
    clock: Clock,
    flights: SingleFlight<GrantId>,
    left_behind: Mutex<HashMap<GrantId, LeftBehind>>,
}

/// A turn in this process.
struct Entered {
    holder: String,
    now: Timestamp,
    in_this_process: OwnedMutexGuard<()>,
}

/// A lease that the store may still hold for us, because it failed when the lease was taken or released. Without it, the next
/// refresh would have to wait for its end, long after the store has recovered.
struct LeftBehind {
    holder: String,
    until: Timestamp,
}

impl RefreshLeases {
    pub(in crate::issuer) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, flights: SingleFlight::default(), left_behind: Mutex::default() }
    }

    /// Takes the lease of a grant for a token of it, within this process in turn. `None` when another process has the lease,
    /// or when the token was used since it was looked up.
    pub(super) async fn take(
        &self,
        presented: &Presented<'_>,
        grant: &GrantId,
        deadline: Instant,
    ) -> Result<Option<RefreshLease>, TokenRefusal> {
        let entered = self.enter(grant, deadline).await?;
        let taken =
            self.store.take_refresh_lease(&presented.hash, &entered.holder, entered.now + LEASE, entered.now).await;
        self.taken(grant, entered, taken)
    }

    /// The same for a renewal that no refresh token asks for. `None` as well when the grant rests on no token of a provider's, or
    /// is not live.
    pub(super) async fn take_of_grant(
        &self,
        grant: &GrantId,
        deadline: Instant,
    ) -> Result<Option<RefreshLease>, TokenRefusal> {
        let entered = self.enter(grant, deadline).await?;
        let taken = self.store.take_lease_of_grant(grant, &entered.holder, entered.now + LEASE, entered.now).await;
        self.taken(grant, entered, taken)
    }

    /// Waits for its turn in this process. Only the wait has a deadline: a lease that was taken must be released.
    async fn enter(&self, grant: &GrantId, deadline: Instant) -> Result<Entered, TokenRefusal> {
        let entered = timeout_at(deadline, self.flights.enter(grant)).await;
        let in_this_process = entered.map_err(|_elapsed| too_long(grant))?;
        let holder = self.left_behind().remove(grant).map_or_else(|| random_id("l_"), |lease| lease.holder);
        Ok(Entered { holder, now: self.clock.now(), in_this_process })
    }

    fn taken(
        &self,
        grant: &GrantId,
        Entered { holder, in_this_process, .. }: Entered,
        taken: Result<Option<ProviderStanding>, StoreError>,
    ) -> Result<Option<RefreshLease>, TokenRefusal> {
        let taken = taken.inspect_err(|_| self.leave_behind(grant, &holder))?;
        let lease =
            |standing| RefreshLease { grant: grant.clone(), holder, standing, _in_this_process: in_this_process };
        Ok(taken.map(lease))
    }

    /// Releases a lease. A rotation has released it already; then this changes nothing.
    pub(super) async fn release(&self, lease: &RefreshLease) {
        if let Err(error) = self.store.release_refresh_lease(&lease.grant, &lease.holder).await {
            tracing::warn!(grant = %lease.grant, %error, "a refresh lease could not be released");
            self.leave_behind(&lease.grant, &lease.holder);
        }
    }

    /// Remembers a holder until its lease ends; the next refresh of the grant in this process takes the lease under its name.
    fn leave_behind(&self, grant: &GrantId, holder: &str) {
        let now = self.clock.now();
        let lease = LeftBehind { holder: holder.to_owned(), until: now + LEASE };
        let mut left = self.left_behind();
        left.retain(|_, lease| lease.until > now);
        left.insert(grant.clone(), lease);
    }

    fn left_behind(&self) -> MutexGuard<'_, HashMap<GrantId, LeftBehind>> {
        // no panic can leave the map half changed
        self.left_behind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Another refresh did not end in time.
pub(super) fn too_long(grant: &GrantId) -> TokenRefusal {
    TokenRefusal::unavailable("another refresh of this grant takes too long").of_grant(grant)
}
