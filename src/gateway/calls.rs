//! The calls that are open: how many one user may have, and what ends them.
//!
//! Defends against: resource exhaustion by one user or a slow upstream that would take every connection.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::caller::VerifiedCaller;
use super::lease::{CallLease, Ends, Over};
use super::refusal::Refusal;
use crate::limits::{Holder, Pool, Shortage};

/// How long a call waits for one of the connections to upstreams.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);

/// Where calls begin.
pub(super) struct Calls {
    pub(super) ends: Ends,
    /// The connections to upstreams.
    pub(super) connections: Pool,
}

impl Calls {
    /// Begins a call. The caller's right to call expires in `left`. It counts among its user's calls, and may open a
    /// connection to its upstream.
    ///
    /// # Errors
    /// When the user has too many calls open, when no connection is free in time, or when the call is over before that.
    pub(super) async fn begin(&self, caller: &Arc<VerifiedCaller>, left: Duration) -> Result<CallLease, Refusal> {
        let mut lease = self.ends.lease(Arc::clone(caller), left);
        let holder = Holder::User(Arc::clone(&caller.caller.subject));
        let connection = pin!(self.connections.wait(holder, 1, CONNECTION_WAIT));
        match lease.hold(connection).await {
            Ok(Ok(share)) => Ok(lease.counted(share)),
            Ok(Err(shortage)) => Err(self.refused(shortage)),
            // its token aged while it waited
            Err(Over::Aged) => Err(self.refused(Shortage::Pool)),
            Err(over) => Err(over.before_sending()),
        }
    }

    fn refused(&self, shortage: Shortage) -> Refusal {
        self.connections.count_refusal(shortage);
        match shortage {
            Shortage::Share => Refusal::TooManyCalls,
            Shortage::Pool => Refusal::Busy("all connections to upstreams are in use"),
        }
    }
}
