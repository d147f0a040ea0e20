//! Which groups an upstream is told.
//!
//! A truncated list would bypass deny rules: "no contractors" would admit a contractor whose group was cut off. So beyond the
//! limit no group is sent, and a header says how many were omitted: an upstream that admits by group fails closed.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use super::encode::encode;
use crate::config::ForwardedGroups;
use crate::secret::Sha256;

/// How many warnings are remembered; then all are forgotten and may be written again.
const REMEMBERED: usize = 10_000;

/// What an upstream is told about a user's groups.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Groups {
    /// The user has no group that is listed for it.
    None,
    /// All listed groups, as the value of a header.
    All(String),
    /// The listed groups exceed its limit.
    Omitted {
        /// How many groups there are.
        count: usize,
        /// How long the header's value would be, in bytes.
        bytes: usize,
    },
}

impl Groups {
    pub(super) fn of(groups: &[String], told: &ForwardedGroups) -> Self {
        let groups: Vec<String> =
            groups.iter().filter(|group| told.names(group)).map(|group| encode(group, ",")).collect();
        let joined = groups.join(",");
        match joined.len() {
            0 => Self::None,
            bytes if bytes > told.max_bytes => Self::Omitted { count: groups.len(), bytes },
            _ => Self::All(joined),
        }
    }
}

/// The users and upstreams for which a warning was written.
#[derive(Default)]
pub(super) struct Warned(Mutex<HashSet<Sha256>>);

impl Warned {
    /// Whether this is the first time that a user's groups are too long for an upstream.
    pub(super) fn is_first(&self, subject: &str, audience: &str) -> bool {
        // neither of the two has a line break
        let both = Sha256::of(format!("{subject}\n{audience}").as_bytes());
        let mut warned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() >= REMEMBERED {
            warned.clear();
        }
        warned.insert(both)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Groups, Warned};
    use crate::config::ForwardedGroups;

    fn told(names: &[&str], max_bytes: usize) -> ForwardedGroups {
        ForwardedGroups { names: names.iter().map(|name| (*name).to_owned()).collect(), max_bytes }
    }

    fn groups(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn listed_groups_are_sent_up_to_the_limit_and_none_beyond_it() {
        let user = groups(&["staff", "mcp-a", "mcp,b", "other"]);
        let all = Groups::All("staff,mcp-a,mcp%2Cb".to_owned());
        assert_eq!(Groups::of(&user, &told(&["staff", "mcp*"], 19)), all);
        assert_eq!(Groups::of(&user, &told(&["staff", "mcp*"], 18)), Groups::Omitted { count: 3, bytes: 19 });
        assert_eq!(Groups::of(&user, &told(&["staff"], 5)), Groups::All("staff".to_owned()));
        assert_eq!(Groups::of(&user, &told(&[], 4096)), Groups::None);
        assert_eq!(Groups::of(&[], &told(&["*"], 4096)), Groups::None);
    }

    #[test]
    fn too_many_groups_are_warned_about_once_for_each_user_and_upstream() {
        let warned = Warned::default();
        assert!(warned.is_first("k|a", "https://x/mcp"));
        assert!(!warned.is_first("k|a", "https://x/mcp"));
        assert!(warned.is_first("k|b", "https://x/mcp") && warned.is_first("k|a", "https://x/wiki"));
    }

    proptest! {
        #[test]
        fn an_upstream_is_told_all_of_the_listed_groups_or_none(
            user in prop::collection::vec("\\PC{1,12}", 0..8),
            max_bytes in 0..64_usize,
        ) {
            match Groups::of(&user, &told(&["*"], max_bytes)) {
                Groups::All(text) => {
                    prop_assert!(text.len() <= max_bytes);
                    prop_assert_eq!(text.split(',').count(), user.len());
                }
                Groups::Omitted { count, bytes } => prop_assert!(count == user.len() && bytes > max_bytes),
                Groups::None => prop_assert!(user.is_empty()),
            }
        }
    }
}
