//! Scopes that include others: which are enough for what (RFC 6749 3.3 leaves it to the server; MCP 2026-07-28, "Step-Up
//! Authorization Flow", demands that it is checked).

use std::collections::{BTreeMap, BTreeSet};

use super::scope::ScopeSet;

/// Which scopes imply others, directly or through others. The empty hierarchy compares names.
///
/// A token carries the scopes that were granted and never those that they imply: the user agreed to the former, the
/// operator may change the latter, and a token response must not name what was not asked for. So implication is checked at
/// each use, here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeHierarchy {
    /// For each implied scope, all that imply it.
    implied_by: BTreeMap<String, BTreeSet<String>>,
}

/// A scope implies itself, directly or through others: then all of them would mean the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join(" → "))]
pub struct ImplicationCycle(pub Vec<String>);

impl ScopeHierarchy {
    /// The hierarchy of these direct implications: each scope with those that it implies.
    ///
    /// # Errors
    /// When a scope implies itself.
    pub fn new(implies: &BTreeMap<String, Vec<String>>) -> Result<Self, ImplicationCycle> {
        let mut hierarchy = Self::default();
        for scope in implies.keys() {
            hierarchy.add(implies, scope, &mut vec![scope.clone()])?;
        }
        Ok(hierarchy)
    }

    /// Adds all that the last scope of `path` implies to what the first one implies.
    fn add(
        &mut self,
        implies: &BTreeMap<String, Vec<String>>,
        first: &str,
        path: &mut Vec<String>,
    ) -> Result<(), ImplicationCycle> {
        let direct = path.last().and_then(|last| implies.get(last)).map_or(&[][..], Vec::as_slice);
        for implied in direct {
            if let Some(at) = path.iter().position(|before| before == implied) {
                let cycle = path.iter().skip(at).chain([implied]).cloned();
                return Err(ImplicationCycle(cycle.collect()));
            }
            // a scope that was reached before brought all that it implies, and lies on no cycle
            if self.implied_by.entry(implied.clone()).or_default().insert(first.to_owned()) {
                path.push(implied.clone());
                self.add(implies, first, path)?;
                path.pop();
            }
        }
        Ok(())
    }

    /// Whether the scopes held are enough where `needed` is required.
    #[must_use]
    pub fn covers(&self, held: &ScopeSet, needed: &str) -> bool {
        held.contains(needed)
            || self.implied_by.get(needed).is_some_and(|implying| implying.iter().any(|scope| held.contains(scope)))
    }

    /// Those of `needed` that the scopes held do not cover. Allocates nothing when all are covered.
    #[must_use]
    pub fn missing(&self, needed: &ScopeSet, held: &ScopeSet) -> ScopeSet {
        needed.iter().filter(|scope| !self.covers(held, scope)).map(str::to_owned).collect()
    }

    /// Those of `wanted` that the scopes held cover.
    #[must_use]
    pub fn covered(&self, wanted: &ScopeSet, held: &ScopeSet) -> ScopeSet {
        wanted.iter().filter(|scope| self.covers(held, scope)).map(str::to_owned).collect()
    }

    /// The scopes held and all that they imply.
    #[must_use]
    pub fn effective(&self, held: &ScopeSet) -> ScopeSet {
        let implied = self.implied_by.keys().filter(|scope| self.covers(held, scope));
        held.iter().chain(implied.map(String::as_str)).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests;
