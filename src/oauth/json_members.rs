//! The members of a JSON object, each read on its own: a bad one, however deeply nested, cannot fail the others.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The members of an object, unread.
pub(super) struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    /// Splits an object.
    pub(super) fn of(json: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json).map(Self)
    }

    /// Whether there is such a member, whatever it is.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A member as it is written, unless it is missing or null.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|member| member.get()).filter(|text| *text != "null")
    }

    /// A member, unless it is missing or of another type.
    pub(super) fn get<T: Deserialize<'a>>(&self, name: &str) -> Option<T> {
        read(self.0.get(name)?)
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name)
    }

    /// The items of a list that have this type.
    pub(super) fn list<T: Deserialize<'a>>(&self, name: &str) -> Vec<T> {
        let items: Vec<&RawValue> = self.get(name).unwrap_or_default();
        items.into_iter().filter_map(read).collect()
    }
}

fn read<'a, T: Deserialize<'a>>(member: &'a RawValue) -> Option<T> {
    serde_json::from_str(member.get()).ok()
}
