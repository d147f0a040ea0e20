//! Names that people read on pages.

use super::problem::Mistake;
use crate::oauth::client_name::MAX_CLIENT_NAME;

/// Checks a display name.
pub(super) fn check_name(name: &str) -> Result<(), Mistake> {
    if name.trim().is_empty() || name.chars().count() > MAX_CLIENT_NAME || name.chars().any(char::is_control) {
        return Err(Mistake::new(format!("must be 1 to {MAX_CLIENT_NAME} characters on one line")));
    }
    Ok(())
}
