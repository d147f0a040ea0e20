//! How grants end: by a replay, by the provider, by an operator, or by their age; and the providers' tokens that end with them.

mod adoption;
mod ends;
mod expiry;
mod operator;
mod provider_tokens;

pub(super) use adoption::Adoption;
pub use adoption::Unfit;
pub(crate) use ends::GrantEnds;
pub(super) use expiry::Expiry;
pub(crate) use operator::{ChosenGrants, EndReport};
pub(super) use provider_tokens::{HeldToken, ProviderTokens, provider_session};
