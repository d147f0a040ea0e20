//! `WWW-Authenticate: Bearer …` (RFC 6750 3, RFC 9728 5.1) and `DPoP …` (RFC 9449 7.1).
//!
//! Clients search the header for its fields with regular expressions. So each scheme has one challenge, every value is quoted, and
//! free text neither precedes the fields nor contains their names. The URL can contain a query that the client sent
//! (`?scope=all`), so it follows the fields that such a query could imitate.

use http::HeaderValue;

use super::dpop::{ALGORITHMS, TOKEN_TYPE};
use super::scope::ScopeSet;

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// RFC 6750 3.1: the token is malformed, expired, revoked or for another resource.
    InvalidToken,
    /// RFC 6750 3.1: the token is valid and lacks a scope.
    InsufficientScope,
    /// RFC 9449 7.1: the proof is missing or wrong.
    InvalidDpopProof,
    /// RFC 9449 9: the proof must carry our nonce.
    UseDpopNonce,
}

impl TokenError {
    const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
        }
    }
}

/// A challenge for one resource.
#[derive(Debug, Clone)]
pub struct Challenge<'a> {
    /// The absolute URL of the resource's metadata.
    pub resource_metadata: &'a str,
    /// Every scope that the operation needs.
    pub scope: &'a ScopeSet,
    /// The error and a fixed description; `None` when the request had no token (RFC 6750 3.1).
    pub error: Option<(TokenError, &'static str)>,
}

impl Challenge<'_> {
    /// The challenge to send a bearer token.
    #[must_use]
    pub fn bearer(&self) -> HeaderValue {
        self.header("Bearer", None)
    }

    /// The challenge to send a token that is bound to a key, and a proof.
    #[must_use]
    pub fn dpop(&self) -> HeaderValue {
        self.header(TOKEN_TYPE, Some(&ALGORITHMS.join(" ")))
    }

    /// The header's value. No part of it can end a quoted string (header injection): each is fixed, or was checked when the
    /// configuration or the request's URL was parsed.
    fn header(&self, scheme: &'static str, algs: Option<&str>) -> HeaderValue {
        let mut text = String::with_capacity(256);
        text.push_str(scheme);
        text.push(' ');
        if let Some((error, _)) = self.error {
            push(&mut text, "error", error.as_str());
        }
        if let Some(algs) = algs {
            push(&mut text, "algs", algs);
        }
        if !self.scope.is_empty() {
            push(&mut text, "scope", &self.scope.to_string());
        }
        push(&mut text, "resource_metadata", self.resource_metadata);
        if let Some((_, description)) = self.error {
            push(&mut text, "error_description", description);
        }
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(scheme))
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
