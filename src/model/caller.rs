//! Who makes a call: a user, and the client that acts for the user.

use std::sync::Arc;

use super::ids::{ClientId, IdentityId};
use super::user::User;
use crate::oauth::scope::ScopeSet;

/// A caller, as the rules see one: `policy` judges it, `delegation` tells the upstream about it. It stands here because both
/// name it and neither may name the gateway, which finds out who is calling. How long it may call is the gateway's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user's permanent name (`sub`). Shared, because every call counts under it.
    pub subject: Arc<str>,
    /// Who signed the user in.
    pub identity: IdentityId,
    /// The client that acts for the user.
    pub client: ClientId,
    /// What the token allows.
    pub scope: ScopeSet,
    /// What the provider told of the user last.
    pub user: User,
}
