//! `WWW-Authenticate: Bearer …` (RFC 6750 3, RFC 9728 5.1).
//!
//! Clients find the fields by regular expressions anywhere in the header, so there is one challenge, every value is
//! quoted, and free text neither comes before the fields nor contains their names. The URL may carry a query that the client
//! typed (`?scope=all`): it comes after the fields that it could be mistaken for.

use http::HeaderValue;

use super::scope::ScopeSet;

/// Why a bearer was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BearerError {
    /// RFC 6750 3.1: the token is malformed, expired, ended or for somebody else.
    InvalidToken,
    /// RFC 6750 3.1: the token is good and allows too little.
    InsufficientScope,
}

/// A challenge for one resource.
#[derive(Debug, Clone)]
pub struct Challenge<'a> {
    /// Where the resource's metadata lies: an absolute URL.
    pub resource_metadata: &'a str,
    /// All that the operation needs, in one go.
    pub scope: &'a ScopeSet,
    /// What was wrong, with words of ours; none when no token came (RFC 6750 3.1: then there is no error to name).
    pub error: Option<(BearerError, &'static str)>,
}

impl Challenge<'_> {
    /// The header's value. Nothing in it can end a quoted text: it is ours, was checked when the configuration was read, or
    /// is the client's own spelling of the URL, which was checked when it was read.
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
