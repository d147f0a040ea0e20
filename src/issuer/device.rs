//! The device authorization endpoint (RFC 8628 3.1, 3.2): a device gets a code to poll with, and one for its user to type.
//!
//! Defends against: a flood of device codes (a rate limit per client and address, and a bound on how many are open), and devices that
//! the operator did not allow (only clients with the grant type may ask).

use std::time::Duration;

use super::clients::ClientAuthentication;
use super::sign_in::{Authorize, UserCodes};
use super::tokens::{TokenRefusal, TokenRequest};
use crate::clock::Clock;
use crate::config::PublicUrl;
use crate::limits::{Key, Limit, Limited, Limits, Part};
use crate::model::authorization::Access;
use crate::model::client::Client;
use crate::model::device_code::NewDeviceCode;
use crate::oauth::device::{DeviceAuthorizationResponse, UserCode};
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::paths;
use crate::secret::{DeviceCode, SecretText, Token};
use crate::storage::Store;
use crate::wire::ClientAddress;

/// How long a device code is good.
const LIFETIME: Duration = Duration::from_mins(10);
/// How many seconds must lie between two polls, at first.
const INTERVAL: i64 = 5;
/// How many attempts are made to draw a free user code. Among the open ones of 25.6 billion, the second is never needed in
/// practice.
const DRAWS: usize = 3;

/// Gives out device codes.
pub(super) struct DeviceAuthorizations {
    pub(super) authentication: ClientAuthentication,
    pub(super) authorize: Authorize,
    pub(super) user_codes: UserCodes,
    pub(super) public_url: PublicUrl,
    pub(super) limits: Limits,
    pub(super) store: Store,
    pub(super) clock: Clock,
}

impl DeviceAuthorizations {
    /// Answers a device with the JSON of a [`DeviceAuthorizationResponse`].
    ///
    /// # Errors
    /// As at the token endpoint.
    pub(super) async fn answer(&self, request: TokenRequest) -> Result<Vec<u8>, TokenRefusal> {
        let TokenRequest { authorization, proof: _, parameters, arrival, agent } = request;
        let authorization = authorization.as_ref().map(SecretText::expose);
        let client = self.authentication.authenticate(authorization, &parameters, arrival.address).await?;
        let refused = |refusal: TokenRefusal| refusal.of_client(&client.id);
        if !client.device {
            let words = "this client may not use device authorization";
            return Err(refused(OAuthError::new(ErrorCode::UnauthorizedClient, words).into()));
        }
        self.admit(&client, arrival.address).await.map_err(|limited| refused(limited.into()))?;
        let access = self.authorize.access(&parameters, &client).map_err(|error| refused(error.into()))?;
        let address = arrival.address.0.to_canonical().to_string();
        self.give(&access, &address, agent.as_deref()).await.map_err(refused)
    }

    /// Counts a device code that a client asks for.
    async fn admit(&self, client: &Client, address: ClientAddress) -> Result<(), Limited> {
        let key = Key::of(&[Part::Client(&client.id), Part::Address(address)]);
        self.limits.check(Limit::DeviceCodes, &key).await?;
        self.limits.check(Limit::DeviceCodesOfAllClients, &Key::of(&[Part::Address(address)])).await
    }

    async fn give(&self, access: &Access, address: &str, agent: Option<&str>) -> Result<Vec<u8>, TokenRefusal> {
        let now = self.clock.now();
        for _ in 0..DRAWS {
            let (device_code, user_code) = (Token::<DeviceCode>::generate(), UserCode::generate());
            let mac = self.user_codes.macs(&user_code).next();
            let mac = mac.ok_or_else(|| TokenRefusal::unavailable("there is no root key"))?;
            let new = NewDeviceCode {
                hash: &device_code.sha256(),
                user_code: &mac,
                access,
                address,
                agent,
                interval: INTERVAL,
                created_at: now,
                expires_at: now + LIFETIME,
            };
            if self.store.insert_device_code(&new).await? {
                return self.response(&device_code, &user_code);
            }
        }
        Err(TokenRefusal::unavailable("too many device codes are open"))
    }

    fn response(&self, device_code: &Token<DeviceCode>, user_code: &UserCode) -> Result<Vec<u8>, TokenRefusal> {
        let verification_uri = self.public_url.join(paths::DEVICE);
        let response = DeviceAuthorizationResponse {
            device_code: device_code.expose().to_owned(),
            user_code: user_code.to_string(),
            verification_uri_complete: format!("{verification_uri}?user_code={user_code}"),
            verification_uri,
            expires_in: LIFETIME.as_secs(),
            interval: INTERVAL,
        };
        serde_json::to_vec(&response).map_err(TokenRefusal::unavailable)
    }
}
