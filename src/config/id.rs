//! The ids of providers and upstreams. They become part of subjects, metrics and environment variable names.

use std::collections::HashMap;

use super::problem::{Location, Mistake};

const LONGEST: usize = 32;

/// Prefixes of subjects that are not users.
const RESERVED: [&str; 2] = ["client", "key"];

/// Whether a text is an id: `[a-z][a-z0-9_]{0,31}` without `__`, which separates the parts of variable names, and without a
/// trailing `_`.
pub(super) fn is_id(text: &str) -> bool {
    text.len() <= LONGEST
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !text.contains("__")
        && !text.ends_with('_')
}

/// Checks the id of an upstream.
pub(super) fn check_id(text: &str) -> Result<(), Mistake> {
    if is_id(text) {
        return Ok(());
    }
    Err(Mistake::new("is not a valid id")
        .hint("a lower-case letter, then lower-case letters, digits and single underscores, at most 32 characters: \"expenses\""))
}

/// Checks the id of an identity provider, which is the prefix of its users' subjects.
pub(super) fn check_identity_id(text: &str) -> Result<(), Mistake> {
    if RESERVED.contains(&text) {
        return Err(Mistake::new("is reserved for the subjects of machines").hint("choose another id"));
    }
    check_id(text)
}

/// Finds duplicates.
#[derive(Default)]
pub(super) struct Seen(HashMap<String, Location>);

impl Seen {
    /// Adds a value; the error is the location of the earlier one.
    pub(super) fn insert(&mut self, value: &str, location: &Location) -> Result<(), String> {
        if let Some(before) = self.0.get(value) {
            return Err(before.message());
        }
        self.0.insert(value.to_owned(), location.clone());
        Ok(())
    }
}

/// For a value that another entry already has.
pub(super) fn duplicate(before: &str) -> Mistake {
    Mistake::new(format!("is already used in {before}")).hint("choose another one")
}

#[cfg(test)]
mod tests {
    use super::{check_id, check_identity_id, is_id};

    #[test]
    fn an_id_is_valid_in_a_variable_name() {
        for good in ["a", "keycloak", "my_keycloak2", "k8s", &"a".repeat(32)] {
            assert!(is_id(good) && check_identity_id(good).is_ok(), "{good}");
        }
        for bad in ["", "Keycloak", "2fa", "_a", "a_", "a__b", "a-b", "a.b", "a|b", "é", &"a".repeat(33)] {
            assert!(!is_id(bad) && check_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_identity_cannot_take_the_prefix_of_machine_subjects() {
        for reserved in ["client", "key"] {
            assert!(check_identity_id(reserved).is_err());
            assert!(check_id(reserved).is_ok());
        }
    }
}
