//! Scopes as an operator writes them.

use super::problem::Mistake;
use crate::oauth::scope::ScopeSet;

/// Checks that a text is exactly one scope value (RFC 6749 3.3).
pub(super) fn check_scope(scope: &str) -> Result<(), Mistake> {
    let one = ScopeSet::parse(scope).is_ok_and(|set| set.contains(scope));
    if one {
        Ok(())
    } else {
        Err(Mistake::new("is not a single scope").hint("printable ASCII without spaces, quotes and backslashes"))
    }
}
