//! What may be reached without a user's consent: `upstreams` and `scopes` of a client's `machine`, and of an
//! `[[assertion_issuer]]`.

use serde::Deserialize;

use super::identity::check_scope;
use super::problem::Mistake;
use super::reading::{Reading, ValueRef};
use super::upstream::{Upstream, UpstreamSettings};
use crate::oauth::scope::ScopeSet;

/// Which upstreams, and which of their scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// The ids of the upstreams.
    pub upstreams: Vec<String>,
    /// The scopes; `None`: all that the upstreams know.
    pub scopes: Option<ScopeSet>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) upstreams: Vec<String>,
    pub(super) scopes: Option<Vec<String>>,
}

impl Bounds {
    /// Whether this upstream is within them.
    #[must_use]
    pub fn allow(&self, upstream: &Upstream) -> bool {
        self.upstreams.contains(&upstream.settings.id)
    }

    /// The scopes of this upstream that are within them.
    #[must_use]
    pub fn scopes_at(&self, upstream: &Upstream) -> ScopeSet {
        let known = &upstream.settings.scopes;
        self.scopes.as_ref().map_or_else(|| known.clone(), |scopes| scopes.intersection(known))
    }
}

/// Where the values of the two keys are, for reporting problems.
pub(super) struct Places {
    pub(super) upstreams: ValueRef,
    pub(super) scopes: ValueRef,
}

/// Reads what needs no other section.
pub(super) fn read(written: Written, at: &Places, reading: &mut Reading<'_>) -> Bounds {
    if written.upstreams.is_empty() {
        reading.error(&at.upstreams, Mistake::new("is empty: nothing could be reached").hint("list the ids of upstreams"));
    }
    let scopes = written.scopes.map(|scopes| {
        for scope in &scopes {
            reading.keep(&at.scopes, check_scope(scope));
        }
        scopes.into_iter().collect()
    });
    Bounds { upstreams: written.upstreams, scopes }
}

/// Checks that the upstreams are there, and that the scopes suffice to enter them.
pub(super) fn check(bounds: &Bounds, upstreams: &[&UpstreamSettings], at: &Places, reading: &mut Reading<'_>) {
    let known = |id: &String| upstreams.iter().find(|upstream| upstream.id == *id);
    if bounds.upstreams.iter().any(|id| known(id).is_none()) {
        let ids: Vec<_> = upstreams.iter().map(|upstream| upstream.id.as_str()).collect();
        let mistake = Mistake::new("names an upstream that is not there");
        reading.error(&at.upstreams, mistake.hint(format!("known ids are {}", ids.join(", "))));
        return;
    }
    let Some(scopes) = &bounds.scopes else { return };
    let named: Vec<_> = bounds.upstreams.iter().filter_map(known).collect();
    for upstream in &named {
        let missing = upstream.scopes.without(scopes);
        if !missing.is_empty() {
            let mistake = Mistake::new(format!("does not suffice to enter {}: it lacks {missing}", upstream.id));
            reading.error(&at.scopes, mistake.hint("leave scopes out to allow all that the upstreams know"));
        }
    }
    let all = named.iter().fold(ScopeSet::empty(), |all, upstream| all.union(&upstream.scopes));
    let unknown = scopes.without(&all);
    if !unknown.is_empty() {
        let mistake = Mistake::new(format!("has what none of these upstreams knows: {unknown}"));
        reading.error(&at.scopes, mistake.hint(format!("they know {all}")));
    }
}
