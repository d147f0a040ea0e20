//! `[outbound]`: how identity providers and upstreams are reached.

use super::ca_file::CaFile;
use super::proxy::OutboundProxy;

/// How we reach identity providers and upstreams.
#[derive(Debug, Clone, Default)]
pub struct Outbound {
    /// Roots that are trusted besides those of the machine.
    pub ca_file: Option<CaFile>,
    /// The proxy for calls to providers.
    pub proxy: OutboundProxy,
}
