//! How a page names a client. A name that the client chose itself is marked as its claim. Defends against: phishing by a
//! well-known name.

use askama::Template;

use crate::model::client::{Client, ClientOrigin};
use crate::oauth::client_id_url::publisher;

/// A client in a sentence. As a template it is the subject, which begins the sentence.
#[derive(Debug, Clone, Copy, Template)]
#[template(path = "client.html")]
pub struct ClientLabel<'a> {
    /// Its id, shown when it has no name.
    pub id: &'a str,
    /// The name from its registration, its document or the configuration.
    pub name: Option<&'a str>,
    /// Where the name comes from.
    pub origin: ClientOrigin,
}

impl<'a> ClientLabel<'a> {
    /// Its name, or its id.
    #[must_use]
    pub fn known_as(&self) -> &'a str {
        self.name.unwrap_or(self.id)
    }

    /// Whether the name is the client's own claim.
    pub(super) fn is_claim(&self) -> bool {
        self.origin != ClientOrigin::Configured && self.name.is_some()
    }

    /// The host of a client that is known by its document; empty for others.
    pub(super) fn publisher(&self) -> &'a str {
        publisher(self.id).filter(|_| self.origin == ClientOrigin::Document).unwrap_or_default()
    }
}

impl<'a> From<&'a Client> for ClientLabel<'a> {
    fn from(client: &'a Client) -> Self {
        Self { id: client.id.as_str(), name: client.name.as_deref(), origin: client.origin }
    }
}
