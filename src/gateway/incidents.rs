//! Audit events of the gateway: calls that are refused although we issued their token.
//!
//! Defends against a flood of the audit log. Only the holder of a token that is good, or was, can cause an event here, and each kind
//! of event is told once for each grant. That memory is bounded; when it is full it is forgotten as a whole, so that the
//! events of one process are at most about as many as the grants whose tokens it sees misused.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::audit::{Acting, Audit, Event, Right};
use crate::policy::{Denial, MissingScopes};
use crate::secret::Sha256;
use crate::wire::Arrival;

/// How many recorded events are remembered.
const MOST: usize = 10_000;

/// Records incidents in the audit log.
pub(super) struct Incidents {
    audit: Audit,
    told: Mutex<HashSet<(Sha256, Kind)>>,
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
        let missing = match denial {
            Denial::Scopes(MissingScopes { missing, .. }) => Some(missing.to_string()),
            Denial::NotAdmitted(_) => None,
        };
        let (rule, missing) = (denial.rule(), missing.as_deref());
        self.tell(Kind::Denied, acting, &Event::CallDenied { acting, upstream, rule, missing }, arrival);
    }

    /// A session id did not verify for this caller: another user's, forged, or bound under a removed root key.
    pub(super) fn foreign_session(&self, acting: Acting<'_>, upstream: &str, arrival: &Arrival) {
        self.tell(Kind::UnknownSession, acting, &Event::UnknownSession { acting, upstream }, arrival);
    }

    /// A token was used although its grant has ended.
    pub(super) fn ended_grant_used(&self, acting: Acting<'_>, arrival: &Arrival) {
        self.tell(Kind::EndedGrant, acting, &Event::EndedGrantUsed { acting }, arrival);
    }

    /// A token was used without the key that it is bound to.
    pub(super) fn key_not_proven(&self, acting: Acting<'_>, how: &'static str, arrival: &Arrival) {
        self.tell(Kind::KeyNotProven, acting, &Event::KeyNotProven { acting, how }, arrival);
    }

    fn tell(&self, kind: Kind, acting: Acting<'_>, event: &Event<'_>, arrival: &Arrival) {
        if self.is_news(kind, acting) {
            self.audit.record(event, arrival);
        }
    }

    fn is_news(&self, kind: Kind, acting: Acting<'_>) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (who(acting), kind);
        if told.len() >= MOST && !told.contains(&key) {
            told.clear();
        }
        told.insert(key)
    }
}

/// A grant, or the user and the client of another issuer's token: that client gets new tokens all the time.
fn who(acting: Acting<'_>) -> Sha256 {
    match acting.right {
        Right::Grant(grant) => Sha256::of(grant.as_str().as_bytes()),
        // a subject begins with the issuer's id; neither part has a line break
        Right::Token { .. } => Sha256::of(format!("{}\n{}", acting.subject, acting.client).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Incidents, Kind, MOST};
    use crate::audit::{Acting, Audit, Right};

    #[test]
    fn each_kind_is_told_once_for_a_grant_and_what_is_remembered_is_bounded() {
        let incidents = Incidents::new(Audit::to_log());
        let is_news = |kind, grant: &str| {
            let (grant, client) = (grant.into(), "c".into());
            incidents.is_news(kind, Acting { right: Right::Grant(&grant), subject: "k|a", client: &client })
        };
        assert!(is_news(Kind::Denied, "g_1") && is_news(Kind::EndedGrant, "g_1") && is_news(Kind::Denied, "g_2"));
        assert!(!is_news(Kind::Denied, "g_1") && !is_news(Kind::EndedGrant, "g_1"));
        for n in 0..3 * MOST {
            is_news(Kind::Denied, &format!("g_{n}"));
            assert!(incidents.told.lock().unwrap().len() <= MOST);
        }
    }
}
