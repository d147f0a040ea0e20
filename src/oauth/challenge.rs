//! `WWW-Authenticate: Bearer …` (RFC 6750 3, RFC 9728 5.1).
//!
//! Clients search the header for its fields with regular expressions. So there is one challenge, every value is quoted, and
//! free text neither precedes the fields nor contains their names. The URL can contain a query that the client sent
//! (`?scope=all`), so it follows the fields that such a query could imitate.

use http::HeaderValue;

use super::scope::ScopeSet;

/// Why a bearer was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BearerError {
    /// RFC 6750 3.1: the token is malformed, expired, revoked or for another resource.
    InvalidToken,
    /// RFC 6750 3.1: the token is valid and lacks a scope.
    InsufficientScope,
}

/// A challenge for one resource.
#[derive(Debug, Clone)]
pub struct Challenge<'a> {
    /// The absolute URL of the resource's metadata.
    pub resource_metadata: &'a str,
    /// Every scope that the operation needs.
    pub scope: &'a ScopeSet,
    /// The error and a fixed description; `None` when the request had no token (RFC 6750 3.1).
    pub error: Option<(BearerError, &'static str)>,
}

impl Challenge<'_> {
    /// The header's value. No part of it can end a quoted string (header injection): each is fixed, or was checked when the
    /// configuration or the request's URL was parsed.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        let mut text = String::with_capacity(192);
        text.push_str("Bearer ");
        if let Some((error, _)) = self.error {
            let code = match error {
                BearerError::InvalidToken => "invalid_token",
                BearerError::InsufficientScope => "insufficient_scope",
            };
            push(&mut text, "error", code);
        }
        if !self.scope.is_empty() {
            push(&mut text, "scope", &self.scope.to_string());
        }
        push(&mut text, "resource_metadata", self.resource_metadata);
        if let Some((_, description)) = self.error {
            push(&mut text, "error_description", description);
        }
        let value = HeaderValue::try_from(text);
        value.unwrap_or(HeaderValue::from_static("Bearer"))
    }
}

fn push(text: &mut String, name: &str, value: &str) {
    if !text.ends_with(' ') {
        text.push_str(", ");
    }
    text.push_str(name);
    text.push_str("=\"");
    text.push_str(value);
    text.push('"');
}
