//! The token endpoint (RFC 6749 3.2): one file per grant type.
//!
//! | file | what |
//! |---|---|
//! | `authorization_code` | a code becomes a grant |
//! | `device_code`, `polls` | a device polls until its user has answered, and not too often |
//! | `new_grant` | the grant that a code becomes, and its first tokens |
//! | `refresh_token` | the refresh, from the presented token to the response: read this one from top to bottom |
//! | `client_credentials` | a client that acts for itself |
//! | `jwt_bearer` | an identity provider's assertion in place of consent (ID-JAG) |
//! | `machine_grant` | what those two share: a grant without a refresh token |
//! | `proofs`, `requester` | the key that tokens are bound to (DPoP), and who asks |
//! | `presented` | the state of a presented refresh token: unused, a retry, or a replay |
//! | `refresh_lease` | one refresh of a grant at a time, in all processes |
//! | `renewal` | asking the identity provider whether the account is still active |
//! | `subject_tokens`, `demanded_sign_ins` | the same for a call whose upstream gets a token of the provider's |
//! | `persistence` | a write that a moment's failure of the store must not cost |
//! | `access_token` | the signed token and the response that carries it |
//! | `refusal` | why there is none |
//!
//! Defends against: stolen codes (PKCE, single use), stolen refresh tokens (rotation; a replay ends the grant), and brute
//! force of codes (five failures) and of client secrets (`clients::authentication`).

mod access_token;
mod authorization_code;
mod client_credentials;
mod demanded_sign_ins;
mod device_code;
mod jwt_bearer;
mod machine_grant;
mod new_grant;
mod persistence;
mod polls;
mod presented;
mod proofs;
mod refresh_lease;
mod refresh_token;
mod refusal;
mod renewal;
mod requester;
mod subject_tokens;

pub(super) use access_token::AccessTokens;
pub(super) use authorization_code::Redemptions;
pub(super) use client_credentials::ClientCredentials;
pub(super) use demanded_sign_ins::DemandedSignIns;
pub(super) use device_code::DevicePolls;
pub(super) use jwt_bearer::JwtBearer;
pub(super) use machine_grant::MachineGrants;
pub(super) use new_grant::NewGrants;
pub(super) use persistence::persist;
pub(super) use polls::Polls;
pub(super) use presented::PresentedTokens;
pub(super) use proofs::Proofs;
pub(crate) use proofs::SentProof;
pub(super) use refresh_lease::RefreshLeases;
use refresh_token::Refreshed;
pub(super) use refresh_token::Refreshes;
pub(crate) use refusal::{Reason, TokenRefusal};
pub(super) use renewal::Renewals;
use requester::Requester;
pub(super) use subject_tokens::ProviderAccess;

use crate::issuer::clients::ClientAuthentication;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::grant_type;
use crate::oauth::parameters::Parameters;
use crate::secret::SecretText;
use crate::telemetry::metrics::{self, RefreshOutcome};
use crate::wire::Arrival;

/// The parameters that a request may not repeat, whatever its grant type (RFC 6749 3.2). A repeated one is an error of the
/// request, not of its code or token, which the client would discard after `invalid_grant`.
const SINGLE: &[&str] = &[
    "assertion",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "code_verifier",
    "grant_type",
    "redirect_uri",
    "refresh_token",
    "scope",
];

/// A request to the token endpoint.
#[derive(Debug)]
pub(crate) struct TokenRequest {
    /// The `Authorization` header's value, if there is one.
    pub authorization: Option<SecretText>,
    /// The `DPoP` header.
    pub proof: SentProof,
    /// The form.
    pub parameters: Parameters,
    /// The request that carried it.
    pub arrival: Arrival,
    /// The family of the program that sent it.
    pub agent: Option<String>,
}

/// Answers token requests.
pub(super) struct TokenEndpoint {
    pub(super) authentication: ClientAuthentication,
    pub(super) proofs: Proofs,
    pub(super) redemptions: Redemptions,
    pub(super) refreshes: Refreshes,
    /// `None` when device authorization is off.
    pub(super) device_polls: Option<DevicePolls>,
    /// `None` while no client may act for itself.
    pub(super) client_credentials: Option<ClientCredentials>,
    /// `None` while no issuer of assertions is trusted.
    pub(super) jwt_bearer: Option<JwtBearer>,
    pub(super) metrics: metrics::Grants,
}

impl TokenEndpoint {
    /// Answers a token request with the JSON of a [`crate::oauth::token::TokenResponse`].
    ///
    /// # Errors
    /// See [`TokenRefusal`].
    pub(super) async fn answer(&self, request: TokenRequest) -> Result<Vec<u8>, TokenRefusal> {
        let answer = self.check(request).await;
        if let Err(refusal) = &answer {
            self.metrics.token_refused(refusal.reason.code().as_str());
        }
        answer
    }

    async fn check(&self, request: TokenRequest) -> Result<Vec<u8>, TokenRefusal> {
        let TokenRequest { authorization, proof, parameters, arrival, agent } = request;
        let authorization = authorization.as_ref().map(SecretText::expose);
        parameters.none_repeated(SINGLE)?;
        let grant_type = parameters.one("grant_type")?;
        let proof = self.proofs.verify(&proof)?;
        let client = self.authentication.authenticate(authorization, &parameters, arrival.address).await?;
        let by = Requester { client: &client, arrival: &arrival, agent: agent.as_deref(), proof };
        let answer = match grant_type {
            Some("authorization_code") => self.redemptions.redeem(&by, &parameters).await,
            Some("refresh_token") => {
                let refreshed = self.refreshes.refresh(&by, &parameters).await;
                self.metrics.refreshed(outcome(&refreshed));
                refreshed.map(|refreshed| refreshed.response)
            }
            Some(grant_type::DEVICE_CODE) if let Some(devices) = &self.device_polls => {
                devices.poll(&by, &parameters).await
            }
            Some(grant_type::CLIENT_CREDENTIALS) if let Some(machines) = &self.client_credentials => {
                machines.answer(&by, &parameters).await
            }
            Some(grant_type::JWT_BEARER) if let Some(assertions) = &self.jwt_bearer => {
                assertions.answer(&by, &parameters).await
            }
            None => Err(TokenRefusal::invalid_request("grant_type is missing")),
            Some(_) => {
                Err(OAuthError::new(ErrorCode::UnsupportedGrantType, "this grant_type is not offered here").into())
            }
        };
        answer.map_err(|refusal| refusal.of_client(&client.id))
    }
}

fn outcome(refreshed: &Result<Refreshed, TokenRefusal>) -> RefreshOutcome {
    match refreshed {
        Ok(refreshed) => refreshed.outcome,
        Err(TokenRefusal { reason: Reason::OAuth(_), .. }) => RefreshOutcome::Refused,
        Err(TokenRefusal { reason: Reason::Limited(_), .. }) => RefreshOutcome::Limited,
        Err(TokenRefusal { reason: Reason::Unavailable(_), .. }) => RefreshOutcome::Unavailable,
    }
}
