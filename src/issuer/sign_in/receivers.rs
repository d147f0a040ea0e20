//! Which receivers of codes the operator knows.

use crate::config::Pages;
use crate::issuer::clients::Clients;
use crate::model::client::{Client, ClientOrigin};
use crate::oauth::redirect_uri::{RedirectClass, RedirectUri};

/// Checks redirect URIs. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct Receivers {
    pub(in crate::issuer) clients: Clients,
    /// The operator's list of receivers that need no warning.
    pub(in crate::issuer) pages: Pages,
}

impl Receivers {
    /// Whether the receiver of codes at an address is known: from the operator's lists, or because a configured client has
    /// it. Earlier sign-ins prove nothing, because an attacker could have made them. Any program may listen on loopback, and
    /// the page says so in plain words: a warning at every sign-in would teach people to skip warnings.
    pub(super) fn know(&self, client: &Client, redirect_uri: &RedirectUri) -> bool {
        match redirect_uri.class() {
            RedirectClass::Loopback | RedirectClass::ListedApplication => true,
            RedirectClass::Application => client.origin == ClientOrigin::Configured,
            RedirectClass::Https => self.know_host(redirect_uri),
        }
    }

    /// The same for a web server.
    fn know_host(&self, redirect_uri: &RedirectUri) -> bool {
        self.pages.knows(redirect_uri) || self.clients.is_configured_redirect_uri(redirect_uri)
    }
}
