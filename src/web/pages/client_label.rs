//! How a page names a client. What a client says of itself is shown as its claim: that defends against phishing by a name.

use askama::Template;

use crate::model::client::{Client, ClientOrigin};

/// A client, in a sentence. As a template it is the sentence's subject, with a capital.
#[derive(Debug, Clone, Copy, Template)]
#[template(path = "client.html")]
pub struct ClientLabel<'a> {
    /// Its id, for one that gave no name.
    pub id: &'a str,
    /// What it calls itself, or what the operator calls it.
    pub name: Option<&'a str>,
    /// Who vouches for the name.
    pub origin: ClientOrigin,
}

impl<'a> ClientLabel<'a> {
    /// Its name, or its id.
    #[must_use]
    pub fn known_as(&self) -> &'a str {
        self.name.unwrap_or(self.id)
    }

    /// Whether it gave itself the name.
    pub(super) fn is_claim(&self) -> bool {
        self.origin == ClientOrigin::Registered && self.name.is_some()
    }
}

impl<'a> From<&'a Client> for ClientLabel<'a> {
    fn from(client: &'a Client) -> Self {
        Self { id: client.id.as_str(), name: client.name.as_deref(), origin: client.origin }
    }
}
