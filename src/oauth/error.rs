//! OAuth error codes and the error document.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// An error code of the OAuth family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// RFC 6749 4.1.2.1, 5.2: a parameter is missing, repeated or malformed.
    InvalidRequest,
    /// RFC 6749 5.2: the client is unknown or did not authenticate.
    InvalidClient,
    /// RFC 6749 4.1.2.1, 5.2: the client may not request this, or use this grant type.
    UnauthorizedClient,
    /// RFC 6749 5.2: the code or refresh token is invalid, expired or used.
    InvalidGrant,
    /// RFC 6749 5.2: we do not offer this grant type.
    UnsupportedGrantType,
    /// RFC 6749 4.1.2.1: we offer `code` only.
    UnsupportedResponseType,
    /// RFC 6749 4.1.2.1: the user or the identity provider denied access.
    AccessDenied,
    /// RFC 6749 4.1.2.1: an internal failure.
    ServerError,
    /// RFC 6749 4.1.2.1: a passing failure; used at `/token` too, where `server_error` makes clients start a new sign-in.
    TemporarilyUnavailable,
    /// RFC 8628 3.5: the user has not answered yet.
    AuthorizationPending,
    /// RFC 8628 3.5: the same, and the device polls too often.
    SlowDown,
    /// RFC 8628 3.5: the device code has expired.
    ExpiredToken,
    /// RFC 8707 2: the resource is unknown, malformed or not the grant's.
    InvalidTarget,
    /// RFC 6749 5.2.
    InvalidScope,
    /// RFC 7591 3.2.2.
    InvalidRedirectUri,
    /// RFC 7591 3.2.2.
    InvalidClientMetadata,
    /// RFC 7591 3.2.2: we trust no issuer of software statements.
    UnapprovedSoftwareStatement,
    /// RFC 6750 3.1: an initial or registration access token is missing or wrong (RFC 7591 3, RFC 7592 2).
    InvalidToken,
    /// RFC 9449 5: the DPoP proof is missing or wrong.
    InvalidDpopProof,
    /// RFC 9449 8: the proof must carry a nonce of ours, which comes with the answer.
    UseDpopNonce,
}

impl ErrorCode {
    /// The code as it is sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::AccessDenied => "access_denied",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::UnapprovedSoftwareStatement => "unapproved_software_statement",
            Self::InvalidToken => "invalid_token",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// An error as the client sees it: a code and a description, which never carries an internal cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OAuthError {
    /// The code that a program acts on.
    pub error: ErrorCode,
    /// A text for the client's developer (printable ASCII, RFC 6749 5.2).
    pub error_description: Cow<'static, str>,
}

impl OAuthError {
    /// An error with its description, of which at most 300 characters are kept.
    #[must_use]
    pub fn new(error: ErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        Self { error, error_description: printable(description.into()) }
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error, self.error_description)
    }
}

impl std::error::Error for OAuthError {}

/// RFC 6749 5.2 allows `%x20-21 / %x23-5B / %x5D-7E`; descriptions may quote an attacker's parameters.
fn printable(text: Cow<'static, str>) -> Cow<'static, str> {
    let allowed = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
    if text.len() <= 300 && text.chars().all(allowed) {
        return text;
    }
    text.chars().take(300).map(|c| if allowed(c) { c } else { '?' }).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::{ErrorCode, OAuthError};

    #[test]
    fn a_description_never_carries_quotes_controls_or_more_than_300_characters() {
        let error = OAuthError::new(ErrorCode::InvalidRequest, format!("a\"b\\c\r\n{}", "é".repeat(400)));
        assert!(error.error_description.starts_with("a?b?c??"));
        assert_eq!(error.error_description.len(), 300);
    }
}
