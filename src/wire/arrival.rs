//! What is known of a request before anything of it is checked.

use super::client_address::ClientAddress;
use super::request_id::RequestId;

/// The id and the sender of a request. `inbound` makes it once and hands it down as an argument, so that a module that was
/// not given it cannot make up another id or address.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    /// The id under which the log has the request.
    pub(crate) id: RequestId,
    /// Who sent it: the peer, or the client that a trusted proxy names.
    pub(crate) address: ClientAddress,
}
