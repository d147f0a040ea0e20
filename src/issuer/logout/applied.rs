//! What a logout ends at once, and what it leaves to be asked about.

use std::time::Duration;

use crate::audit::{Actor, Audit, Event};
use crate::clock::Clock;
use crate::issuer::grants::GrantEnds;
use crate::model::ids::Subject;
use crate::model::provider_logout::ProviderLogout;
use crate::storage::{Store, StoreError};

/// How long after a logout the provider is asked for the first time. While it waits for our answer it has ended nothing yet, and it
/// may tell others after us.
const FIRST_ASK: Duration = Duration::from_secs(1);
/// How long the process that received a logout has to apply it before the others do.
const GRACE: Duration = Duration::from_secs(10);
/// How many logouts one query reads.
const BATCH: i64 = 100;

/// Applies logouts. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct AppliedLogouts {
    pub(in crate::issuer) ends: GrantEnds,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) audit: Audit,
}

impl AppliedLogouts {
    /// Ends what a logout ends: grants that rest on its session alone, codes for such grants, sessions at the user's own page. What
    /// rests on an offline token is asked about, unless the provider says that it ends as well.
    pub(super) async fn apply(&self, logout: &ProviderLogout, origin: Actor<'_>) -> Result<(), StoreError> {
        // codes first: none of them becomes a grant afterwards
        let count = self.store.apply_logout(logout, self.clock.now() + FIRST_ASK).await?;
        if count > 0 {
            let subject = logout.subject.as_ref().map(Subject::as_str);
            self.audit.record(&Event::AccountSessionsEnded { subject, count }, origin);
        }
        self.ends.end_logged_out(logout, origin).await?;
        self.store.note_logout_applied(logout).await
    }

    /// Applies what another process, or this one before, received and did not get to apply.
    pub(super) async fn apply_left_behind(&self) -> Result<(), StoreError> {
        for logout in self.store.unapplied_logouts(self.clock.now().before(GRACE), BATCH).await? {
            self.apply(&logout, Actor::Upkeep).await?;
        }
        Ok(())
    }
}
