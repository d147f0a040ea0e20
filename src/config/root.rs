//! The whole configuration, section by section.

use std::sync::Arc;

use super::assertion_issuer::AssertionIssuer;
use super::client::ConfiguredClient;
use super::client_documents::ClientDocuments;
use super::consent::Consent;
use super::device::Device;
use super::identity::Identity;
use super::lifetimes::Lifetimes;
use super::limits::Limits;
use super::log::Log;
use super::outbound::Outbound;
use super::pages::Pages;
use super::public_url::PublicUrl;
use super::registration::Registration;
use super::secrets::Secrets;
use super::server::Server;
use super::storage::Storage;
use super::token_issuer::TokenIssuer;
use super::tokens::Tokens;
use super::upstream::Upstream;

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The issuer: a permanent origin.
    pub public_url: PublicUrl,
    /// The two listeners, and whom they trust.
    pub server: Server,
    /// The log.
    pub log: Log,
    /// The database. It is never opened where no upstream accepts our own tokens.
    pub storage: Storage,
    /// The root keys.
    pub secrets: Secrets,
    /// Limits on the use of the machine.
    pub limits: Limits,
    /// Lifetimes of codes, tokens, grants and clients.
    pub lifetimes: Lifetimes,
    /// How access tokens are signed, and which clients get refresh tokens.
    pub tokens: Tokens,
    /// Dynamic client registration, and the redirect URIs that are allowed.
    pub registration: Registration,
    /// Device authorization.
    pub device: Device,
    /// Client ID Metadata Documents: which are read.
    pub client_documents: ClientDocuments,
    /// What may be remembered of a consent.
    pub consent: Consent,
    /// The look of our pages.
    pub pages: Pages,
    /// How we reach providers and upstreams.
    pub outbound: Outbound,
    /// The identity providers; at least one where an upstream accepts our own tokens.
    pub identities: Vec<Identity>,
    /// The MCP servers; at least one.
    pub upstreams: Vec<Upstream>,
    /// Clients that need no registration.
    pub clients: Vec<ConfiguredClient>,
    /// Identity providers whose assertions are exchanged for access tokens.
    pub assertion_issuers: Vec<AssertionIssuer>,
}

impl Config {
    /// Whether clients that register themselves may use the device grant.
    #[must_use]
    pub const fn registers_devices(&self) -> bool {
        self.device.enabled && self.device.registered_clients
    }

    /// Whether an upstream accepts tokens of our own. Otherwise there is no authorization server here, and nothing is stored.
    #[must_use]
    pub fn issues_tokens(&self) -> bool {
        self.upstreams.iter().any(|upstream| upstream.settings.accepts.own)
    }

    /// The other issuers whose tokens upstreams accept, each once.
    #[must_use]
    pub fn token_issuers(&self) -> Vec<Arc<TokenIssuer>> {
        let mut issuers: Vec<Arc<TokenIssuer>> = Vec::new();
        for accepted in self.upstreams.iter().flat_map(|upstream| &upstream.settings.accepts.foreign) {
            if !issuers.iter().any(|known| known.id == accepted.issuer.id) {
                issuers.push(Arc::clone(&accepted.issuer));
            }
        }
        issuers
    }

    /// Whether an upstream takes tokens that are bound to keys (RFC 9449): only then is anything of it announced or read.
    #[must_use]
    pub fn binds_tokens(&self) -> bool {
        self.upstreams.iter().any(|upstream| upstream.settings.dpop.is_on())
    }

    /// Whether a client may ask about tokens (RFC 7662).
    #[must_use]
    pub fn has_introspectors(&self) -> bool {
        self.clients.iter().any(|client| !client.introspects.is_empty())
    }
}
