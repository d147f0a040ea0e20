//! What the identity provider says about a user, and an upstream may learn.

use serde::{Deserialize, Serialize};

/// A user's claims at the last sign-in or refresh.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// A full name, for people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// The sign-in name; may change.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub preferred_username: Option<String>,
    /// An address that the provider verified, or any when the operator sets `trust_email`. May change, and is never used to
    /// find an account. Stored as `verified_email`: addresses that older rows hold under `email` were not checked.
    #[serde(rename = "verified_email", skip_serializing_if = "Option::is_none", default)]
    pub email: Option<String>,
    /// The domain of the address, in lower case, if the provider itself calls the address verified: `trust_email` is not enough.
    #[serde(rename = "verified_domain", skip_serializing_if = "Option::is_none", default)]
    pub domain: Option<String>,
    /// What the configured claims become, see `rights`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub groups: Vec<String>,
}

impl User {
    /// The name to show: the first of name, sign-in name and e-mail address that is not blank.
    #[must_use]
    pub fn known_as(&self) -> Option<&str> {
        let names = [&self.name, &self.preferred_username, &self.email];
        names.into_iter().flatten().map(|name| name.trim()).find(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::User;

    #[test]
    fn an_unverified_address_of_an_older_row_is_ignored() {
        let older: User = serde_json::from_str(r#"{"name":"Ada","email":"ada@example.com"}"#).unwrap();
        assert_eq!(older, User { name: Some("Ada".to_owned()), ..User::default() });
        let today = User { email: Some("ada@example.com".to_owned()), ..User::default() };
        assert_eq!(serde_json::from_str::<User>(&serde_json::to_string(&today).unwrap()).unwrap(), today);
    }
}
