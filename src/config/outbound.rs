//! `[outbound]`: how providers and upstreams are reached.

use super::ca_file::CaFile;
use super::proxy::OutboundProxy;

/// How we reach providers and upstreams.
#[derive(Debug, Clone, Default)]
pub struct Outbound {
    /// Certificates that are trusted besides the machine's own.
    pub ca_file: Option<CaFile>,
    /// How providers are called.
    pub proxy: OutboundProxy,
}
