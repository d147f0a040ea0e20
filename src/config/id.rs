//! The ids that the operator gives to providers and upstreams. They become part of subjects, metrics and names of
//! environment variables, so they are plain.

use std::collections::HashMap;

use super::problem::{Mistake, Place};

const LONGEST: usize = 32;

/// What subjects of other kinds begin with.
const RESERVED: [&str; 2] = ["client", "key"];

/// Whether a text can be an id: `[a-z][a-z0-9_]{0,31}` without `__`, which separates the parts of variables' names.
pub(super) fn is_id(text: &str) -> bool {
    text.len() <= LONGEST
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !text.contains("__")
        && !text.ends_with('_')
}

/// Judges the id of an upstream.
pub(super) fn check_id(text: &str) -> Result<(), Mistake> {
    if is_id(text) {
        return Ok(());
    }
    Err(Mistake::new("is no id")
        .hint("a small letter, then small letters, digits and single _ inside, at most 32 in all: \"expenses\""))
}

/// Judges the id of an identity provider, which every subject of it begins with.
pub(super) fn check_identity_id(text: &str) -> Result<(), Mistake> {
    if RESERVED.contains(&text) {
        return Err(Mistake::new("is reserved: subjects of machines begin with it").hint("choose another id"));
    }
    check_id(text)
}

/// Finds what is said twice.
#[derive(Default)]
pub(super) struct Seen(HashMap<String, Place>);

impl Seen {
    /// Remembers a value; the error says where it was said before.
    pub(super) fn once(&mut self, value: &str, place: &Place) -> Result<(), String> {
        if let Some(before) = self.0.get(value) {
            return Err(before.words());
        }
        self.0.insert(value.to_owned(), place.clone());
        Ok(())
    }
}

/// The same id as somebody else's.
pub(super) fn taken(before: &str) -> Mistake {
    Mistake::new(format!("is taken: {before} has the same")).hint("every one needs its own")
}

#[cfg(test)]
mod tests {
    use super::{check_id, check_identity_id, is_id};

    #[test]
    fn an_id_is_plain_enough_for_a_variables_name() {
        for good in ["a", "keycloak", "my_keycloak2", "k8s", &"a".repeat(32)] {
            assert!(is_id(good) && check_identity_id(good).is_ok(), "{good}");
        }
        for bad in ["", "Keycloak", "2fa", "_a", "a_", "a__b", "a-b", "a.b", "a|b", "é", &"a".repeat(33)] {
            assert!(!is_id(bad) && check_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn subjects_of_machines_cannot_be_imitated() {
        for reserved in ["client", "key"] {
            assert!(check_identity_id(reserved).is_err());
            assert!(check_id(reserved).is_ok());
        }
    }
}
