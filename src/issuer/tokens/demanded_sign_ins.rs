//! Grants whose user the provider wants to see again before it issues tokens for a server behind us.
//!
//! Their refresh would succeed, and the client would go on with a token that the server's calls cannot use. So for a while their
//! refresh is answered `invalid_grant`, with which a client begins a sign-in. It is kept in this process alone: another one learns
//! it from the provider at the next call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::model::ids::GrantId;

/// How long a client may take to begin the sign-in; then the provider is asked again.
const KEPT_FOR: Duration = Duration::from_mins(15);
/// How many grants are remembered; beyond it the provider is asked again.
const MOST: usize = 10_000;

/// The grants. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct DemandedSignIns {
    clock: Clock,
    until: Arc<Mutex<HashMap<GrantId, Timestamp>>>,
}

impl DemandedSignIns {
    pub(in crate::issuer) fn new(clock: Clock) -> Self {
        Self { clock, until: Arc::default() }
    }

    pub(super) fn demand(&self, grant: &GrantId) {
        let now = self.clock.now();
        // no panic can leave the map half changed
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= MOST {
            until.retain(|_, until| now < *until);
        }
        if until.len() < MOST {
            until.insert(grant.clone(), now + KEPT_FOR);
        }
    }

    pub(super) fn is_demanded(&self, grant: &GrantId) -> bool {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner).get(grant).copied();
        until.is_some_and(|until| self.clock.now() < until)
    }
}

#[cfg(test)]
mod tests {
    use super::{DemandedSignIns, KEPT_FOR, MOST};
    use crate::clock::{Clock, Timestamp};

    #[test]
    fn a_demand_is_for_one_grant_and_passes() {
        let clock = Clock::manual(Timestamp(1_800_000_000));
        let demanded = DemandedSignIns::new(clock.clone());
        demanded.demand(&"g_1".into());
        assert!(demanded.is_demanded(&"g_1".into()) && !demanded.is_demanded(&"g_2".into()));
        clock.advance(KEPT_FOR);
        assert!(!demanded.is_demanded(&"g_1".into()));
    }

    #[test]
    fn demands_take_a_bounded_memory() {
        let clock = Clock::manual(Timestamp(1_800_000_000));
        let demanded = DemandedSignIns::new(clock.clone());
        for grant in 0..=MOST {
            demanded.demand(&format!("g_{grant}").as_str().into());
        }
        assert_eq!(demanded.until.lock().unwrap().len(), MOST);
        clock.advance(KEPT_FOR);
        demanded.demand(&"g_late".into());
        assert_eq!(demanded.until.lock().unwrap().len(), 1);
    }
}
