//! Why a call gets no credential.

use std::fmt;

/// Why a call gets no credential. The texts are for the operator.
#[derive(Debug, Clone)]
pub(crate) enum Undelegated {
    /// No token of the provider stands behind the caller.
    NotSignedIn(String),
    /// The user has to sign in again.
    SignInAgain(String),
    /// The provider refuses: a permission or a setting is missing.
    Refused(String),
    /// It passes.
    Unavailable(String),
}

impl fmt::Display for Undelegated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::NotSignedIn(why) | Self::SignInAgain(why) | Self::Refused(why) | Self::Unavailable(why)) = self;
        f.write_str(why)
    }
}
