//! The client of a token request.

use crate::keys::dpop::VerifiedProof;
use crate::model::client::Client;
use crate::wire::Arrival;

/// An authenticated client, and what came with its request.
pub(super) struct Requester<'a> {
    pub(super) client: &'a Client,
    pub(super) arrival: &'a Arrival,
    /// The family of its program.
    pub(super) agent: Option<&'a str>,
    /// The proof that it has a key (RFC 9449 5).
    pub(super) proof: Option<VerifiedProof>,
}
