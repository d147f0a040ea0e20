//! What one document says of a user's groups, source by source: a source of which it says nothing is not an empty one.

use std::collections::HashSet;

/// The groups that documents name. One entry for each source, in order; `None`: nothing was said of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SaidGroups(Vec<Option<Vec<String>>>);

impl SaidGroups {
    pub(super) const fn new(by_source: Vec<Option<Vec<String>>>) -> Self {
        Self(by_source)
    }

    /// Whether something was said of every source.
    pub(crate) fn is_complete(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(Option::is_some)
    }

    /// These groups, and those of the other document from sources of which this one says nothing.
    pub(crate) fn or(self, other: Self) -> Self {
        let mut others = other.0.into_iter();
        let mut merged: Vec<_> = self.0.into_iter().map(|said| said.or(others.next().flatten())).collect();
        merged.extend(others);
        Self(merged)
    }

    /// Says what the groups of the source at this place are.
    pub(super) fn set(&mut self, at: usize, groups: Vec<String>) {
        if let Some(said) = self.0.get_mut(at) {
            *said = Some(groups);
        }
    }

    /// All of them, each once, in the order of the sources.
    pub(crate) fn all(self) -> Vec<String> {
        once(self.0.into_iter().flatten().flatten())
    }

    /// The user's groups after this, when `known` were the ones before. While something was not said, what is known stays.
    pub(crate) fn after(self, known: &[String]) -> Vec<String> {
        if self.is_complete() { self.all() } else { once(known.iter().cloned().chain(self.all())) }
    }
}

fn once(groups: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = HashSet::new();
    groups.filter(|group| seen.insert(group.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::SaidGroups;

    fn said(sources: &[Option<&[&str]>]) -> SaidGroups {
        let names = |names: &&[&str]| names.iter().map(|&name| name.to_owned()).collect();
        SaidGroups(sources.iter().map(|source| source.as_ref().map(names)).collect())
    }

    #[test]
    fn what_one_document_does_not_say_of_a_source_the_other_does() {
        let token = said(&[Some(&["a"]), None, Some(&[])]);
        let userinfo = said(&[Some(&["x"]), Some(&["b"]), Some(&["y"])]);
        assert_eq!(token.clone().or(userinfo.clone()), said(&[Some(&["a"]), Some(&["b"]), Some(&[])]));
        assert_eq!(SaidGroups::default().or(userinfo.clone()), userinfo);
        assert!(userinfo.is_complete() && !token.is_complete() && !SaidGroups::default().is_complete());
    }

    #[test]
    fn a_group_is_gone_only_when_every_source_was_read() {
        let known = ["a".to_owned(), "b".to_owned()];
        assert_eq!(said(&[Some(&["c", "a"]), Some(&["a"])]).after(&known), ["c", "a"]);
        assert_eq!(said(&[Some(&[]), Some(&[])]).after(&known), Vec::<String>::new());
        assert_eq!(said(&[Some(&["c"]), None]).after(&known), ["a", "b", "c"]);
        assert_eq!(SaidGroups::default().after(&known), known);
    }
}
