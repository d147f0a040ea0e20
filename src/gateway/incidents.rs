//! Audit events of the gateway: calls that are refused although we issued their token.
//!
//! Defends against a flood of the audit log. Only the holder of a token that we signed can cause an event here, and each kind
//! of event is recorded once per grant. The memory of that is bounded and cleared as a whole when it is full, so one process
//! records at most about as many events as there are grants whose tokens it sees misused.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::audit::{Acting, Audit, Event};
use crate::model::ids::GrantId;
use crate::policy::{Denial, MissingScopes};
use crate::wire::Arrival;

/// How many recorded events are remembered.
const MOST: usize = 10_000;

/// Records incidents in the audit log.
pub(super) struct Incidents {
    audit: Audit,
    told: Mutex<HashSet<(GrantId, Kind)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Denied,
    UnknownSession,
    EndedGrant,
    KeyNotProven,
}

impl Incidents {
    pub(super) fn new(audit: Audit) -> Self {
        Self { audit, told: Mutex::default() }
    }

    /// A rule forbids a call.
    pub(super) fn denied(&self, acting: Acting<'_>, upstream: &str, denial: &Denial, arrival: &Arrival) {
        let Denial::Scopes(MissingScopes { missing, .. }) = denial;
        let (rule, missing) = (denial.rule(), &*missing.to_string());
        self.tell(Kind::Denied, acting.grant, &Event::CallDenied { acting, upstream, rule, missing }, arrival);
    }

    /// A session id did not verify for this caller: another user's, forged, or bound under a removed root key.
    pub(super) fn foreign_session(&self, acting: Acting<'_>, upstream: &str, arrival: &Arrival) {
        self.tell(Kind::UnknownSession, acting.grant, &Event::UnknownSession { acting, upstream }, arrival);
    }

    /// A token was used although its grant has ended.
    pub(super) fn ended_grant_used(&self, acting: Acting<'_>, arrival: &Arrival) {
        self.tell(Kind::EndedGrant, acting.grant, &Event::EndedGrantUsed { acting }, arrival);
    }

    /// A token was used without the key that it is bound to.
    pub(super) fn key_not_proven(&self, acting: Acting<'_>, how: &'static str, arrival: &Arrival) {
        let event = Event::KeyNotProven { grant: acting.grant, client: acting.client, how };
        self.tell(Kind::KeyNotProven, acting.grant, &event, arrival);
    }

    fn tell(&self, kind: Kind, grant: &GrantId, event: &Event<'_>, arrival: &Arrival) {
        if self.is_news(kind, grant) {
            self.audit.record(event, arrival);
        }
    }

    fn is_news(&self, kind: Kind, grant: &GrantId) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (grant.clone(), kind);
        if told.len() >= MOST && !told.contains(&key) {
            told.clear();
        }
        told.insert(key)
    }
}

#[cfg(test)]
mod tests {
    use super::{Incidents, Kind, MOST};
    use crate::audit::Audit;

    #[test]
    fn each_kind_is_told_once_for_a_grant_and_what_is_remembered_is_bounded() {
        let incidents = Incidents::new(Audit::to_log());
        let is_news = |kind, grant: &str| incidents.is_news(kind, &grant.into());
        assert!(is_news(Kind::Denied, "g_1") && is_news(Kind::EndedGrant, "g_1") && is_news(Kind::Denied, "g_2"));
        assert!(!is_news(Kind::Denied, "g_1") && !is_news(Kind::EndedGrant, "g_1"));
        for n in 0..3 * MOST {
            is_news(Kind::Denied, &format!("g_{n}"));
            assert!(incidents.told.lock().unwrap().len() <= MOST);
        }
    }
}
