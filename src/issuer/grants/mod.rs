//! What becomes of grants: how they end, what the provider is told then, and what is deleted after them.

mod adoption;
mod ends;
mod expiry;
mod provider_tokens;

pub(super) use adoption::Adoption;
pub use adoption::Unfit;
pub(crate) use ends::GrantEnds;
pub(super) use expiry::Expiry;
pub(crate) use provider_tokens::Revocations;
pub(super) use provider_tokens::{HeldToken, ProviderTokens};
