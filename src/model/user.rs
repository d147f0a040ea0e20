//! What the identity provider told of a user; what an upstream may learn.

use serde::{Deserialize, Serialize};

/// A user's claims at the last sign-in or refresh.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// A full name, for people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// What the user signs in with; may change.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub preferred_username: Option<String>,
    /// An address; may change, and is never used to find an account.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub email: Option<String>,
    /// Groups as the provider names them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub groups: Vec<String>,
}

impl User {
    /// What people call the user: the first of name, sign-in name and e-mail address that is there.
    #[must_use]
    pub fn known_as(&self) -> Option<&str> {
        let names = [&self.name, &self.preferred_username, &self.email];
        names.into_iter().flatten().map(|name| name.trim()).find(|name| !name.is_empty())
    }
}
