//! The provider that a finding is about.

use super::console::{Product, Spot};
use crate::cli::doctor::finding::{Finding, Id};
use crate::config::{OidcFlavour, OidcSettings};

/// A provider as the configuration has it.
pub(in crate::cli::doctor) struct Subject<'a> {
    /// `identity "keycloak"`.
    pub(in crate::cli::doctor) section: String,
    pub(in crate::cli::doctor) settings: &'a OidcSettings,
    /// Ours, which must be registered there.
    pub(in crate::cli::doctor) redirect_uri: String,
}

impl Subject<'_> {
    pub(super) fn finding(&self, id: Id, key: &'static str, what: impl Into<String>) -> Finding {
        Finding::new(id, &self.section, key, what)
    }

    pub(super) fn product(&self) -> Product {
        Product::of(&self.settings.flavour)
    }

    /// The name of a setting in the provider's console.
    pub(super) fn there(&self, spot: Spot) -> Option<String> {
        self.product().name(spot, &self.settings.client_id)
    }

    /// The key that says where the metadata lie.
    pub(super) fn key_of_address(&self) -> &'static str {
        let by_issuer = format!("{}/.well-known/openid-configuration", self.settings.issuer.trim_end_matches('/'));
        match &self.settings.flavour {
            OidcFlavour::Entra(_) => "tenant",
            _ if self.settings.discovery.as_str() == by_issuer => "issuer",
            _ => "discovery",
        }
    }
}
