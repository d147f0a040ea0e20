//! What may be reached without a user's consent: `machine_upstreams` and `machine_scopes` of a `[[client]]`, `upstreams` and
//! `scopes` of an `[[assertion_issuer]]`.

use super::id::is_id;
use super::problem::Mistake;
use super::reading::{Reading, ValueRef};
use super::scope::check_scope;
use super::scopes::UpstreamScopes;
use crate::oauth::scope::ScopeSet;

/// Which upstreams, and which of their scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// The ids of the upstreams.
    pub upstreams: Vec<String>,
    /// The scopes; `None`: those that the upstreams require. Optional ones are allowed by name only.
    pub scopes: Option<ScopeSet>,
}

impl Bounds {
    /// Whether the upstream with this id is within them.
    #[must_use]
    pub fn allow(&self, upstream: &str) -> bool {
        self.upstreams.iter().any(|id| id == upstream)
    }

    /// Which of the scopes of an upstream are within them.
    #[must_use]
    pub fn scopes_of(&self, upstream: &UpstreamScopes) -> ScopeSet {
        match &self.scopes {
            Some(scopes) => scopes.intersection(&upstream.known()),
            None => upstream.required.clone(),
        }
    }
}

/// Where the values of the two keys are, for reporting problems.
pub(super) struct Places {
    pub(super) upstreams: ValueRef,
    pub(super) scopes: ValueRef,
}

/// Reads what needs no other section.
pub(super) fn read(
    upstreams: Vec<String>,
    scopes: Option<Vec<String>>,
    at: &Places,
    reading: &mut Reading<'_>,
) -> Bounds {
    if upstreams.is_empty() {
        reading
            .error(&at.upstreams, Mistake::new("is empty: nothing could be reached").hint("list the ids of upstreams"));
    }
    let scopes = scopes.map(|scopes| {
        for scope in &scopes {
            reading.keep(&at.scopes, check_scope(scope));
        }
        scopes.into_iter().collect()
    });
    Bounds { upstreams, scopes }
}

/// An upstream as the bounds see it: its id and its scopes.
pub(super) type Known<'a> = (&'a str, &'a UpstreamScopes);

/// Checks that the upstreams are there, and that the scopes suffice to enter them. What is written is not repeated: it may be
/// a misplaced secret.
pub(super) fn check(bounds: &Bounds, upstreams: &[Known<'_>], at: &Places, reading: &mut Reading<'_>) {
    let known = |id: &String| upstreams.iter().find(|(known, _)| known == id);
    if bounds.upstreams.iter().any(|id| known(id).is_none()) {
        let ids: Vec<_> = upstreams.iter().map(|(id, _)| *id).filter(|id| is_id(id)).collect();
        let mistake = Mistake::new("names an upstream that is not there");
        reading.error(&at.upstreams, mistake.hint(format!("known ids are {}", ids.join(", "))));
        return;
    }
    let Some(scopes) = bounds.scopes.as_ref().filter(|_| !bounds.upstreams.is_empty()) else { return };
    let named: Vec<_> = bounds.upstreams.iter().filter_map(known).collect();
    if named.iter().any(|(_, upstream)| !upstream.missing(scopes).is_empty()) {
        let mistake = Mistake::new("lacks a scope without which one of these upstreams cannot be entered");
        reading.error(&at.scopes, mistake.hint("leave it out to allow the scopes that they require"));
    }
    let all = named.iter().fold(ScopeSet::empty(), |all, (_, upstream)| all.union(&upstream.known()));
    if !scopes.without(&all).is_empty() {
        let mistake = Mistake::new("has a scope that none of these upstreams knows");
        reading.error(
            &at.scopes,
            mistake.hint("the scopes of an upstream are those in its `scopes` and `optional_scopes`"),
        );
    }
}
