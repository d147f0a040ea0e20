//! The names of things, each a type of its own so that none is taken for another.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::secret::{id_from, random_id};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The id as it is stored and sent.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// A client, as it names itself in requests: `c_…` when registered, any text when configured.
    ClientId
}
id! {
    /// A grant (`g_…`); the `sid` of its access tokens.
    GrantId
}
id! {
    /// An authorization, from the consent page that asks for it on (`r_…`): each rendering of the page has its own.
    AuthorizationId
}
id! {
    /// A signing key (`k_…`); the `kid` of JWTs.
    KeyId
}
id! {
    /// An identity provider's id in the configuration; permanent, because subjects begin with it.
    IdentityId
}

impl GrantId {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(random_id("g_"))
    }
}

impl AuthorizationId {
    const PREFIX: &str = "r_";

    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(random_id(Self::PREFIX))
    }

    /// The id without what tells its kind, where every byte counts.
    #[must_use]
    pub fn bits(&self) -> &str {
        self.0.strip_prefix(Self::PREFIX).unwrap_or(&self.0)
    }

    /// Reads what a browser brings; `None` for what cannot be one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bits = text.strip_prefix(Self::PREFIX)?;
        let ours = bits.len() == 26 && bits.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
        ours.then(|| Self(text.to_owned()))
    }
}

impl KeyId {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(random_id("k_"))
    }
}

impl ClientId {
    /// A new one, for a client that has a secret of its own.
    #[must_use]
    pub fn random() -> Self {
        Self(random_id("c_"))
    }

    /// The one that follows from a public client's metadata.
    #[must_use]
    pub fn from_bits(bits: &[u8; 16]) -> Self {
        Self(id_from("c_", bits))
    }
}

/// A user for ever: `{identity}|{key}`, where the key is the provider's own unchanging id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subject(String);

impl Subject {
    /// Joins a provider and its user's key.
    #[must_use]
    pub fn new(identity: &IdentityId, key: &str) -> Self {
        Self(format!("{identity}|{key}"))
    }

    /// Reads what the database holds.
    #[must_use]
    pub const fn stored(text: String) -> Self {
        Self(text)
    }

    /// The user's key at the identity provider; ids of providers hold no `|`.
    #[must_use]
    pub fn key(&self) -> &str {
        self.0.split_once('|').map_or("", |(_, key)| key)
    }

    /// The id of the identity provider.
    #[must_use]
    pub fn identity(&self) -> &str {
        self.0.split_once('|').map_or("", |(identity, _)| identity)
    }

    /// The `sub` of tokens.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{AuthorizationId, IdentityId, Subject};

    #[test]
    fn an_authorization_id_reads_back_and_nothing_else_is_taken_for_one() {
        let id = AuthorizationId::random();
        assert_eq!(AuthorizationId::parse(id.as_str()), Some(id.clone()));
        for odd in
            ["", "r_", "r_unknown", &id.as_str().to_uppercase(), &format!("{id}a"), &id.as_str().replace("r_", "g_")]
        {
            assert_eq!(AuthorizationId::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_subjects_key_is_all_that_follows_its_provider() {
        for key in ["alice", "", "tenant|user", "a b"] {
            assert_eq!(Subject::new(&IdentityId::from("keycloak"), key).key(), key);
        }
    }
}
