//! Why no token is issued: the client's error, and the operator's text for the log.

use std::fmt;

use crate::issuer::clients::{AuthenticationError, DocumentError, FindError};
use crate::limits::Limited;
use crate::model::ids::{ClientId, GrantId};
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::parameters::ParameterError;
use crate::storage::StoreError;

/// Why no token is issued. Its `Display`, for the log, names the client and the grant if they are known.
#[derive(Debug)]
pub(crate) struct TokenRefusal {
    /// What the client is told.
    pub reason: Reason,
    client: Option<ClientId>,
    grant: Option<GrantId>,
}

/// The client's error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Reason {
    /// The request is at fault.
    #[error(transparent)]
    OAuth(#[from] OAuthError),
    /// A temporary failure: 503 with `temporarily_unavailable`, and nothing was lost. The text is for the log.
    #[error("{0}")]
    Unavailable(String),
    /// This grant is refreshed in a loop, or a secret is guessed: 429 with `temporarily_unavailable`, and nothing was lost.
    #[error(transparent)]
    Limited(#[from] Limited),
}

impl Reason {
    /// The error code that the client is sent.
    pub(super) const fn code(&self) -> ErrorCode {
        match self {
            Self::OAuth(error) => error.error,
            Self::Unavailable(_) | Self::Limited(_) => ErrorCode::TemporarilyUnavailable,
        }
    }
}

impl TokenRefusal {
    pub(super) fn invalid_grant(words: &'static str) -> Self {
        OAuthError::new(ErrorCode::InvalidGrant, words).into()
    }

    pub(in crate::issuer) fn invalid_request(words: &'static str) -> Self {
        OAuthError::new(ErrorCode::InvalidRequest, words).into()
    }

    pub(in crate::issuer) fn unavailable(words: impl fmt::Display) -> Self {
        Reason::Unavailable(words.to_string()).into()
    }

    /// The same, for the log with the client that it is about.
    pub(in crate::issuer) fn of_client(mut self, client: &ClientId) -> Self {
        self.client = Some(client.clone());
        self
    }

    /// The same, for the log with the grant that it is about.
    pub(super) fn of_grant(mut self, grant: &GrantId) -> Self {
        self.grant = Some(grant.clone());
        self
    }
}

impl fmt::Display for TokenRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        match (&self.client, &self.grant) {
            (Some(client), Some(grant)) => write!(f, " (client {client}, grant {grant})"),
            (Some(client), None) => write!(f, " (client {client})"),
            (None, Some(grant)) => write!(f, " (grant {grant})"),
            (None, None) => Ok(()),
        }
    }
}

impl<T: Into<Reason>> From<T> for TokenRefusal {
    fn from(reason: T) -> Self {
        Self { reason: reason.into(), client: None, grant: None }
    }
}

impl From<StoreError> for Reason {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<ParameterError> for Reason {
    fn from(error: ParameterError) -> Self {
        Self::OAuth(error.into())
    }
}

impl From<AuthenticationError> for TokenRefusal {
    fn from(error: AuthenticationError) -> Self {
        match error {
            AuthenticationError::Malformed(error) => error.into(),
            AuthenticationError::Find(error) => no_client(&error),
            AuthenticationError::Refused { client, words } => invalid_client(words).of_client(&client),
            AuthenticationError::Limited { client, limited } => Self::from(limited).of_client(&client),
            AuthenticationError::Unavailable { client, cause } => Self::unavailable(cause).of_client(&client),
        }
    }
}

/// RFC 6749 5.2: an unknown client gets `invalid_client`, after which clients register again.
fn no_client(error: &FindError) -> TokenRefusal {
    match error {
        FindError::Unknown(client) => {
            let words = "this client is not registered: register again";
            invalid_client(words).of_client(&client.as_str().into())
        }
        FindError::Off(client)
        | FindError::Refused { client, .. }
        | FindError::Document { client, cause: DocumentError::Gone(_) | DocumentError::Refused(_) } => {
            invalid_client("this client is not accepted here").of_client(&client.as_str().into())
        }
        FindError::Disabled(client) => {
            invalid_client("this client is disabled here: ask the operator").of_client(&client.as_str().into())
        }
        FindError::Document { client, cause: DocumentError::Limited(limited) } => {
            TokenRefusal::from(*limited).of_client(&client.as_str().into())
        }
        FindError::Document { cause: DocumentError::Unreachable(_), .. } | FindError::Unavailable { .. } => {
            TokenRefusal::unavailable(error)
        }
    }
}

fn invalid_client(words: &'static str) -> TokenRefusal {
    OAuthError::new(ErrorCode::InvalidClient, words).into()
}

#[cfg(test)]
mod tests {
    use super::TokenRefusal;

    #[test]
    fn a_refusal_names_client_and_grant_in_the_log_and_not_to_the_client() {
        let refusal =
            TokenRefusal::invalid_grant("the grant has ended").of_client(&"c_1".into()).of_grant(&"g_1".into());
        assert_eq!(refusal.to_string(), "invalid_grant: the grant has ended (client c_1, grant g_1)");
        assert_eq!(refusal.reason.to_string(), "invalid_grant: the grant has ended");
    }
}
