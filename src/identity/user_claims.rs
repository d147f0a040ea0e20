//! What a provider says of a user, in an ID token or at its userinfo endpoint (OpenID Connect Core 1.0 5.1).
//!
//! Defends against addresses that no one has proven (account takeover by e-mail).

use crate::keys::Members;
use crate::model::user::User;
use crate::rights::{GroupReader, SaidAddress, SaidGroups, domain_of};

/// What one document says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UserClaims {
    /// The user without groups.
    user: User,
    groups: SaidGroups,
    /// Whether it carries an address that the provider does not call verified.
    pub(super) email_withheld: bool,
    /// Whether it says anything of an address.
    says_email: bool,
}

/// How claims are read.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) groups: &'a GroupReader,
    /// Whether the provider calls the address verified.
    pub(super) email_is_verified: bool,
    /// Whether an address counts that the provider does not call verified.
    pub(super) trust_email: bool,
    /// Whether its domain says where the user belongs: with Entra ID never.
    pub(super) domain_counts: bool,
}

impl UserClaims {
    /// Reads them.
    ///
    /// # Errors
    /// Which claim is malformed.
    pub(super) fn read(claims: &Members, reading: Reading<'_>) -> Result<Self, String> {
        let Reading { groups, email_is_verified, trust_email, domain_counts } = reading;
        let email = claims.text("email")?;
        let domain = email.filter(|_| email_is_verified && domain_counts).and_then(domain_of);
        let address = SaidAddress { is_said: email.is_some(), domain: domain.as_deref() };
        let groups = groups.read(claims, address);
        let user = User {
            name: claims.text("name")?.map(str::to_owned),
            preferred_username: claims.text("preferred_username")?.map(str::to_owned),
            // an unverified address may be another person's
            email: email.filter(|_| email_is_verified || trust_email).map(str::to_owned),
            domain,
            groups: Vec::new(),
        };
        let email_withheld = email.is_some() && user.email.is_none();
        Ok(Self { email_withheld, says_email: email.is_some(), groups, user })
    }

    /// Whether it says who the user is to people.
    pub(super) fn names_user(&self) -> bool {
        self.email_withheld || self.user.known_as().is_some()
    }

    /// Whether it says which groups the user is in, none included.
    pub(super) fn names_groups(&self) -> bool {
        self.groups.is_complete()
    }

    /// What is said of groups, for those who learn more.
    pub(super) const fn groups_mut(&mut self) -> &mut SaidGroups {
        &mut self.groups
    }

    /// These claims, and what they do not say from others.
    pub(super) fn or(self, other: Self) -> Self {
        let withheld = self.email_withheld;
        Self {
            groups: self.groups.or(other.groups),
            user: with_rest(self.user, other.user, withheld, self.says_email),
            email_withheld: withheld || other.email_withheld,
            says_email: self.says_email || other.says_email,
        }
    }

    /// The user after this. `is_all`: the provider has no more to say, so that groups of which nothing was said are none;
    /// otherwise they stay as they are known.
    pub(super) fn after(self, known: &User, is_all: bool) -> User {
        let Self { user, groups, email_withheld, says_email } = self;
        let groups = if is_all { groups.all() } else { groups.after(&known.groups) };
        User { groups, ..with_rest(user, known.clone(), email_withheld, says_email) }
    }

    #[cfg(test)]
    pub(super) fn user(self) -> User {
        self.after(&User::default(), true)
    }
}

/// A user, and what is not said of it from another record of the same one.
fn with_rest(user: User, rest: User, email_withheld: bool, says_email: bool) -> User {
    let User { name, preferred_username, email, domain, groups } = user;
    User {
        name: name.or(rest.name),
        preferred_username: preferred_username.or(rest.preferred_username),
        email: if email_withheld { None } else { email.or(rest.email) },
        domain: if says_email { domain } else { rest.domain },
        groups,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Reading, UserClaims};
    use crate::config::GroupSources;
    use crate::identity::generic::email_is_verified;
    use crate::model::user::User;
    use crate::rights::GroupReader;

    fn read(claims: &Value) -> UserClaims {
        let claims = serde_json::from_value(claims.clone()).unwrap();
        let groups = GroupReader::new("corp".to_owned(), GroupSources::default());
        let email_is_verified = email_is_verified(&claims);
        UserClaims::read(
            &claims,
            Reading { groups: &groups, email_is_verified, trust_email: false, domain_counts: true },
        )
        .unwrap()
    }

    #[test]
    fn what_one_document_does_not_say_the_other_does() {
        let known =
            read(&json!({"name": "Ada", "email": "old@example.com", "email_verified": true, "groups": ["eng"]}));
        let silent = read(&json!({"sub": "u"}));
        assert_eq!(silent.clone().or(known.clone()).user(), known.clone().user());
        let emptied = read(&json!({"groups": []})).or(known.clone()).user();
        assert_eq!((emptied.groups.len(), emptied.name.as_deref()), (0, Some("Ada")));
        let moved = read(&json!({"email": "new@example.com"})).or(known).user();
        assert_eq!(moved.email, None, "an address that is not verified does not leave the old one in place");
        assert_eq!(moved.domain, None, "and neither does its domain");
        assert!(!silent.names_user() && read(&json!({"preferred_username": "ada"})).names_user());
    }

    #[test]
    fn a_renewal_that_says_less_erases_nothing_and_one_that_says_all_takes_groups_away() {
        let known = read(&json!({"email": "a@example.com", "email_verified": true, "groups": ["eng"]})).user();
        assert_eq!(read(&json!({"sub": "u"})).after(&known, false), known);
        let emptied = read(&json!({"sub": "u"})).after(&known, true);
        assert_eq!(emptied, User { groups: Vec::new(), ..known.clone() });
        assert_eq!(read(&json!({"groups": []})).after(&known, false), emptied);
    }
}
