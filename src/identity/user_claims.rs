//! What a provider says of a user, in an ID token or at its userinfo endpoint (OpenID Connect Core 1.0 5.1).
//!
//! Defends against addresses that no one has proven (account takeover by e-mail).

use serde_json::Value;

use crate::keys::Members;
use crate::model::user::User;

/// What one document says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UserClaims {
    pub(super) user: User,
    /// Whether it carries an address that the provider does not call verified.
    pub(super) email_withheld: bool,
    /// Whether it says which groups the user is in, none included.
    pub(super) names_groups: bool,
}

impl UserClaims {
    /// Reads them. `email_counts`: whether the provider calls the address verified, or the operator does.
    ///
    /// # Errors
    /// Which claim is malformed.
    pub(super) fn read(claims: &Members, groups_claim: &str, email_counts: bool) -> Result<Self, String> {
        let email = claims.text("email")?;
        let user = User {
            name: claims.text("name")?.map(str::to_owned),
            preferred_username: claims.text("preferred_username")?.map(str::to_owned),
            // an unverified address may be another person's
            email: email.filter(|_| email_counts).map(str::to_owned),
            groups: groups(claims.get(groups_claim)),
        };
        let email_withheld = email.is_some() && user.email.is_none();
        Ok(Self { email_withheld, names_groups: claims.get(groups_claim).is_some(), user })
    }

    /// Whether it says who the user is to people.
    pub(super) fn names_user(&self) -> bool {
        self.email_withheld || self.user.known_as().is_some()
    }

    /// These claims, and what they do not say from others.
    pub(super) fn or(self, other: Self) -> Self {
        let (User { name, preferred_username, email, groups }, withheld) = (self.user, self.email_withheld);
        let theirs = other.user;
        Self {
            user: User {
                name: name.or(theirs.name),
                preferred_username: preferred_username.or(theirs.preferred_username),
                email: if withheld { None } else { email.or(theirs.email) },
                groups: if self.names_groups { groups } else { theirs.groups },
            },
            email_withheld: withheld || other.email_withheld,
            names_groups: self.names_groups || other.names_groups,
        }
    }
}

/// An array of names; some providers send one name alone.
fn groups(claim: Option<&Value>) -> Vec<String> {
    match claim {
        Some(Value::String(group)) => vec![group.clone()],
        Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::UserClaims;
    use crate::identity::generic::email_is_verified;

    fn read(claims: &Value) -> UserClaims {
        let claims = serde_json::from_value(claims.clone()).unwrap();
        UserClaims::read(&claims, "groups", email_is_verified(&claims)).unwrap()
    }

    #[test]
    fn what_one_document_does_not_say_the_other_does() {
        let known =
            read(&json!({"name": "Ada", "email": "old@example.com", "email_verified": true, "groups": ["eng"]}));
        let silent = read(&json!({"sub": "u"}));
        assert_eq!(silent.clone().or(known.clone()), known);
        let emptied = read(&json!({"groups": []})).or(known.clone());
        assert_eq!((emptied.user.groups.len(), emptied.user.name.as_deref()), (0, Some("Ada")));
        let moved = read(&json!({"email": "new@example.com"})).or(known);
        assert_eq!(moved.user.email, None, "an address that is not verified does not leave the old one in place");
        assert!(!silent.names_user() && read(&json!({"preferred_username": "ada"})).names_user());
    }
}
