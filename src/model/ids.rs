//! Ids, each a type of its own, so that the compiler keeps them apart.

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
    /// A grant (`g_…`), the `sid` of its access tokens; or an API key (`k_…`), which is a grant without tokens.
    GrantId
}
id! {
    /// An authorization (`r_…`): each rendering of the consent page has a new one.
    AuthorizationId
}
id! {
    /// A remembered consent (`m_…`).
    ConsentId
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
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(random_id("g_"))
    }

    /// A new random id for the grant of an API key (`k_…`): it is the id of the key.
    #[must_use]
    pub fn of_api_key() -> Self {
        Self(random_id("k_"))
    }
}

impl AuthorizationId {
    const PREFIX: &str = "r_";

    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(random_id(Self::PREFIX))
    }

    /// The id without its prefix: cookie names must be short.
    #[must_use]
    pub fn bits(&self) -> &str {
        self.0.strip_prefix(Self::PREFIX).unwrap_or(&self.0)
    }

    /// Parses an id from a browser; `None` unless it has the form of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bits = text.strip_prefix(Self::PREFIX)?;
        let ours = bits.len() == 26 && bits.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
        ours.then(|| Self(text.to_owned()))
    }
}

impl ConsentId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(random_id("m_"))
    }
}

impl KeyId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(random_id("k_"))
    }
}

impl IdentityId {
    /// In the place of a provider when a client acts for itself. No provider can have this id.
    pub const CLIENT: &'static str = "client";
    /// The same for API keys.
    pub const API_KEY: &'static str = "key";
}

impl ClientId {
    /// A new random id, for a client that has a secret.
    #[must_use]
    pub fn random() -> Self {
        Self(random_id("c_"))
    }

    /// The id derived from a public client's metadata.
    #[must_use]
    pub fn from_bits(bits: &[u8; 16]) -> Self {
        Self(id_from("c_", bits))
    }
}

/// A user's permanent id: `{identity}|{key}`, where the key is the provider's own unchanging id. Machines have
/// `client|{client_id}` or `key|{id of the API key}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subject(String);

impl Subject {
    /// Joins a provider and its user's key.
    #[must_use]
    pub fn new(identity: &IdentityId, key: &str) -> Self {
        Self(format!("{identity}|{key}"))
    }

    /// A subject from the database, unchecked.
    #[must_use]
    pub const fn stored(text: String) -> Self {
        Self(text)
    }

    /// The user's key at the identity provider; a provider's id has no `|`.
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
    fn only_the_form_of_our_authorization_ids_is_parsed() {
        let id = AuthorizationId::random();
        assert_eq!(AuthorizationId::parse(id.as_str()), Some(id.clone()));
        for odd in
            ["", "r_", "r_unknown", &id.as_str().to_uppercase(), &format!("{id}a"), &id.as_str().replace("r_", "g_")]
        {
            assert_eq!(AuthorizationId::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn the_key_of_a_subject_is_everything_after_its_provider() {
        for key in ["alice", "", "tenant|user", "a b"] {
            assert_eq!(Subject::new(&IdentityId::from("keycloak"), key).key(), key);
        }
    }
}
