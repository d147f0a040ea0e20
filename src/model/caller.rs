//! Who makes a call: a user, and the client that acts for the user.

use std::sync::Arc;

use super::ids::{ClientId, IdentityId};
use super::user::User;
use crate::oauth::scope::ScopeSet;

/// A caller, as the rules see one: `policy` checks it, `delegation` tells the upstream about it. It is defined here because
/// both need it and neither may import the gateway, which authenticates it. How long it may call is the gateway's concern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user's permanent name (`sub`). Shared, because every call counts under it.
    pub subject: Arc<str>,
    /// The provider that signed the user in.
    pub identity: IdentityId,
    /// The client that acts for the user.
    pub client: ClientId,
    /// The token's scope.
    pub scope: ScopeSet,
    /// What the provider last said of the user.
    pub user: User,
    /// What keeps the user out, if a rule does.
    pub kept_out: Option<Box<NotAdmitted>>,
}

/// Why a user is not admitted. No sign-in would change that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAdmitted {
    /// The rule, by the names of the configuration: `identity corp: allow`.
    pub rule: String,
    /// Whom the user may ask: the operator's text.
    pub ask: Option<String>,
    /// The server that the rule is about, if it is about one: its name for people.
    pub server: Option<String>,
}
