//! What the userinfo endpoint (OpenID Connect Core 1.0 5.3) is asked, where the ID token does not say who the user is.

use std::time::Duration;

use super::id_token::Identified;
use crate::model::user::User;
use crate::secret::SecretText;

/// Whom an answer must be about.
#[derive(Clone, Copy)]
pub(super) enum About<'a> {
    /// Whom the ID token of the same answer names.
    Token(&'a Identified),
    /// Whom we know by this key: there was no ID token.
    Key(&'a str),
}

/// What is known when the endpoint is asked.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) about: About<'a>,
    /// The provider's, from the same answer.
    pub(super) access_token: &'a SecretText,
    /// The user as known until now.
    pub(super) known: &'a User,
    pub(super) timeout: Duration,
}

/// The answer is about another user, in words for the operator.
pub(super) struct AnotherUser(pub(super) String);
