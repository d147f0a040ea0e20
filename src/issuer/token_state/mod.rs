//! The other uses of a token besides calling: ending its grant, and asking whether it is active.
//!
//! | file | what |
//! |---|---|
//! | `revocation` | a client ends the grant of one of its tokens (RFC 7009) |
//! | `introspection` | a resource server asks about an access token for it (RFC 7662) |
//! | `access_tokens` | reads a presented access token |

mod access_tokens;
mod introspection;
mod revocation;

pub(super) use access_tokens::PresentedAccessTokens;
pub(super) use introspection::{Introspection, Introspectors};
pub(super) use revocation::TokenRevocation;
