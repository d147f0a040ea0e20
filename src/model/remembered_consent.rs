//! A consent that its user asked to be remembered in one browser.
//!
//! It is no credential: it lets the page be skipped, and only that. The user signs in at the provider each time, and gets a code
//! only as the user who allowed it.

use super::ids::{ClientId, ConsentId, IdentityId, Subject};
use crate::clock::Timestamp;
use crate::oauth::scope::ScopeSet;
use crate::secret::Sha256;

/// What a user allows by a consent, as its page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The client that asks.
    pub client_id: ClientId,
    /// All that was known of it: see [`fingerprint`](super::client::Client::fingerprint).
    pub client_hash: Sha256,
    /// Where the code goes, in canonical form.
    pub redirect_uri: String,
    /// The audience.
    pub resource: String,
    /// The scope with all that it implies.
    pub scope: ScopeSet,
    /// Whether a refresh token is given.
    pub refresh: bool,
}

impl Allowed {
    /// Whether nothing of `asked` goes beyond this.
    #[must_use]
    pub fn covers(&self, asked: &Self) -> bool {
        self.client_id == asked.client_id
            && self.client_hash == asked.client_hash
            && self.redirect_uri == asked.redirect_uri
            && self.resource == asked.resource
            && asked.scope.without(&self.scope).is_empty()
            && (self.refresh || !asked.refresh)
    }
}

/// A remembered consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedConsent {
    /// Its id.
    pub id: ConsentId,
    /// Who allowed it.
    pub subject: Subject,
    /// The provider that signed the user in.
    pub identity: IdentityId,
    /// The issuer that was behind it then: under another one, the subject is another user.
    pub issuer: String,
    /// What they allowed.
    pub allowed: Allowed,
    /// What the client calls itself, when it has a document.
    pub client_name: Option<String>,
    /// When the user was asked.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::Allowed;
    use crate::model::ids::ClientId;
    use crate::oauth::scope::ScopeSet;
    use crate::secret::Sha256;

    #[test]
    fn a_consent_covers_what_it_showed_and_less_and_nothing_else() {
        let scope = |text| ScopeSet::parse(text).unwrap();
        let allowed = Allowed {
            client_id: ClientId::from("https://client.example/app"),
            client_hash: Sha256::of(b"as it was"),
            redirect_uri: "https://client.example/callback".to_owned(),
            resource: "https://mcp.example.com/mcp".to_owned(),
            scope: scope("read write"),
            refresh: true,
        };
        let same = || allowed.clone();
        assert!(allowed.covers(&same()));
        assert!(allowed.covers(&Allowed { scope: scope("read"), refresh: false, ..same() }));
        let once = Allowed { refresh: false, ..same() };
        assert!(!once.covers(&allowed), "a refresh token was not shown");
        for other in [
            Allowed { client_id: ClientId::from("https://client.example/other"), ..same() },
            Allowed { client_hash: Sha256::of(b"another name"), ..same() },
            Allowed { redirect_uri: "https://client.example/elsewhere".to_owned(), ..same() },
            Allowed { resource: "https://mcp.example.com/other".to_owned(), ..same() },
            Allowed { scope: scope("read write admin"), ..same() },
        ] {
            assert!(!allowed.covers(&other), "{other:?}");
        }
    }
}
