//! The whole configuration, section by section.

use super::client::ConfiguredClient;
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
use super::tokens::Tokens;
use super::upstream::Upstream;

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The issuer: an origin, permanent.
    pub public_url: PublicUrl,
    /// The two listeners and what they believe.
    pub server: Server,
    /// What is logged.
    pub log: Log,
    /// Where things are remembered.
    pub storage: Storage,
    /// The root keys.
    pub secrets: Secrets,
    /// How much of the machine is used.
    pub limits: Limits,
    /// How long things last.
    pub lifetimes: Lifetimes,
    /// How tokens are made.
    pub tokens: Tokens,
    /// Who may register, and where codes may be sent.
    pub registration: Registration,
    /// What our pages look like.
    pub pages: Pages,
    /// How we reach providers and upstreams.
    pub outbound: Outbound,
    /// Who signs people in; at least one.
    pub identities: Vec<Identity>,
    /// The MCP servers behind us; at least one.
    pub upstreams: Vec<Upstream>,
    /// Clients known beforehand.
    pub clients: Vec<ConfiguredClient>,
}
