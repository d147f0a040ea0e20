//! The token endpoint (RFC 6749 3.2): one file per grant type.

mod access_token;
mod authorization_code;
mod refresh_token;
mod renewal;
mod single_flight;
mod turn;

pub(super) use single_flight::SingleFlight;

use super::Issuer;
use crate::limits::ClientAddress;
use crate::model::client::Client;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::parameters::{Parameters, Repeated};
use crate::oauth::resource::ResourceUri;
use crate::storage::StoreError;

/// A request to the token endpoint.
#[derive(Debug)]
pub(crate) struct TokenRequest {
    /// The `Authorization` header's value, if there is one.
    pub authorization: Option<crate::secret::SecretText>,
    /// The form.
    pub parameters: Parameters,
    /// Who sent it.
    pub address: ClientAddress,
}

/// Why no token is given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenRefusal {
    /// The request is at fault.
    #[error(transparent)]
    OAuth(#[from] OAuthError),
    /// It will pass: 503 with `temporarily_unavailable`, and nothing was lost. The words are for the log.
    #[error("{0}")]
    Unavailable(String),
    /// This grant is refreshed in a loop, or a secret is guessed: 429 with `temporarily_unavailable`, and nothing was lost.
    #[error("{words}")]
    TooMany {
        /// Seconds until it may be tried again.
        retry_after: u64,
        /// What came too often, and what helps.
        words: &'static str,
    },
}

impl From<StoreError> for TokenRefusal {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<Repeated> for TokenRefusal {
    fn from(repeated: Repeated) -> Self {
        Self::OAuth(repeated.into())
    }
}

impl TokenRefusal {
    fn invalid_grant(words: &'static str) -> Self {
        Self::OAuth(OAuthError::new(ErrorCode::InvalidGrant, words))
    }

    fn invalid_request(words: &'static str) -> Self {
        Self::OAuth(OAuthError::new(ErrorCode::InvalidRequest, words))
    }
}

impl Issuer {
    /// Answers a token request with the JSON of a [`crate::oauth::token::TokenResponse`].
    ///
    /// # Errors
    /// See [`TokenRefusal`].
    pub(crate) async fn token(&self, request: TokenRequest) -> Result<Vec<u8>, TokenRefusal> {
        let TokenRequest { authorization, parameters, address } = request;
        let authorization = authorization.as_ref().map(crate::secret::SecretText::expose);
        let grant_type = parameters.one("grant_type")?.map(str::to_owned);
        let client = self.authenticate_client(authorization, &parameters, address).await?;
        match grant_type.as_deref() {
            Some("authorization_code") => self.redeem_code(&client, &parameters).await,
            Some("refresh_token") => self.refresh(&client, &parameters).await,
            None => Err(TokenRefusal::invalid_request("grant_type is missing")),
            Some(_) => Err(OAuthError::new(
                ErrorCode::UnsupportedGrantType,
                "grant_type must be authorization_code or refresh_token",
            )
            .into()),
        }
    }

    /// Every `resource` of the request must be the grant's; none at all is as good (RFC 8707 2.2).
    fn check_resource(&self, parameters: &Parameters, audience: &str) -> Result<(), OAuthError> {
        let granted = self.upstream_of(audience);
        for resource in parameters.all("resource") {
            let named = ResourceUri::parse(resource);
            if !named.is_ok_and(|named| granted.is_some_and(|granted| granted.is_named_by(&named))) {
                let words = "resource is not the one that was authorized";
                return Err(OAuthError::new(ErrorCode::InvalidTarget, words));
            }
        }
        if granted.is_none() {
            return Err(OAuthError::new(ErrorCode::InvalidTarget, "the server of this grant is no longer here"));
        }
        Ok(())
    }
}

/// Whether the client is the one that something was given to.
fn is_of(client: &Client, owner: &crate::model::ids::ClientId) -> bool {
    client.id == *owner
}
