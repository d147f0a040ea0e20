//! Scope values (RFC 6749 3.3).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Scopes that `OpenID` clients request out of habit and that mean nothing here: accepted, never granted, never an error.
const MEANINGLESS: [&str; 3] = ["openid", "profile", "email"];

/// The scope that requests a refresh token (`OpenID` Connect Core 11).
pub const OFFLINE_ACCESS: &str = "offline_access";

/// A set of scope values, in order, so that equal sets have equal texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ScopeSet(BTreeSet<String>);

/// A malformed `scope` (RFC 6749 3.3: printable ASCII without `"` and `\`, separated by single spaces).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a scope is made of printable ASCII characters without quotes and backslashes")]
pub struct MalformedScope;

impl ScopeSet {
    /// No scope at all.
    #[must_use]
    pub const fn empty() -> Self {
        Self(BTreeSet::new())
    }

    /// Reads a `scope` parameter. Runs of spaces count as one, because clients join lists carelessly.
    ///
    /// # Errors
    /// When a value has a character that the RFC does not allow.
    pub fn parse(text: &str) -> Result<Self, MalformedScope> {
        let allowed = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        let values = text.split(' ').filter(|value| !value.is_empty());
        values
            .map(|value| if value.bytes().all(allowed) { Ok(value.to_owned()) } else { Err(MalformedScope) })
            .collect()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it holds this value.
    #[must_use]
    pub fn contains(&self, value: &str) -> bool {
        self.0.contains(value)
    }

    /// The values in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The values in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// The values in this set and not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).cloned().collect())
    }

    /// The values in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// This set and one more value.
    #[must_use]
    pub fn with(mut self, value: &str) -> Self {
        self.0.insert(value.to_owned());
        self
    }
}

/// Whether the value is one that clients send out of habit and no upstream knows.
#[must_use]
pub fn is_meaningless(value: &str) -> bool {
    MEANINGLESS.contains(&value)
}

/// The values in a `scope` parameter, known here or not; malformed ones (RFC 6749 3.3) are left out.
#[must_use]
pub fn named_values(parameter: &str) -> ScopeSet {
    parameter.split(' ').filter_map(|value| ScopeSet::parse(value).ok()).flatten().collect()
}

impl FromIterator<String> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = String>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl IntoIterator for ScopeSet {
    type Item = String;
    type IntoIter = std::collections::btree_set::IntoIter<String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, value) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            f.write_str(value)?;
        }
        Ok(())
    }
}

/// On the wire a set is one string.
impl Serialize for ScopeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ScopeSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Writes a set as an array, as metadata requires (`scopes_supported`, RFC 8414 2, RFC 9728 2).
///
/// # Errors
/// Those of the serializer.
pub(super) fn as_list<S: Serializer>(set: &ScopeSet, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(set.iter())
}

#[cfg(test)]
mod tests {
    use super::ScopeSet;

    #[test]
    fn scopes_are_a_set_and_read_back_as_written() {
        let set = ScopeSet::parse("mcp:write  mcp:access mcp:write").unwrap();
        assert_eq!(set.to_string(), "mcp:access mcp:write");
        assert_eq!(ScopeSet::parse(&set.to_string()), Ok(set));
        assert_eq!(ScopeSet::parse(""), Ok(ScopeSet::empty()));
    }

    #[test]
    fn a_scope_with_a_quote_or_a_line_break_is_refused() {
        for text in ["a\"b", "a\\b", "a\nb", "a\tb", "é"] {
            assert!(ScopeSet::parse(text).is_err(), "{text:?}");
        }
    }
}
