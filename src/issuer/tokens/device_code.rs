//! `grant_type=urn:ietf:params:oauth:grant-type:device_code` (RFC 8628 3.4, 3.5): a device polls until its user has answered.
//!
//! A poll costs one read, or none when it comes too early. There is no PKCE and no redirect URI: the holder of the device
//! code gets the tokens, so it is as secret as they are.
//!
//! Defends against: a device code of another client (compared before anything else is told), replay (it is redeemed once, by the
//! statement that redeems codes), and floods of polls (`slow_down`).

use super::new_grant::{Approved, NewGrants};
use super::polls::Polls;
use super::refusal::TokenRefusal;
use super::requester::Requester;
use crate::clock::Clock;
use crate::identity::Identities;
use crate::issuer::resources::Resources;
use crate::model::authorization::{Purpose, Stage};
use crate::model::device_code::PolledDeviceCode;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::parameters::Parameters;
use crate::secret::{DeviceCode, Sha256, Token};
use crate::storage::Store;

/// How many seconds a poll that came too early adds to the interval (RFC 8628 3.5).
const SLOWER: i64 = 5;
/// The longest interval, in seconds: a device in a tight loop causes a bounded number of writes.
const LONGEST: i64 = 60;

/// Answers devices that poll.
pub(in crate::issuer) struct DevicePolls {
    pub(in crate::issuer) polls: Polls,
    pub(in crate::issuer) new_grants: NewGrants,
    pub(in crate::issuer) resources: Resources,
    pub(in crate::issuer) identities: Identities,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
}

impl DevicePolls {
    /// Answers a poll.
    pub(super) async fn poll(&self, by: &Requester<'_>, parameters: &Parameters) -> Result<Vec<u8>, TokenRefusal> {
        if !by.client.device {
            return Err(refused(ErrorCode::UnauthorizedClient, "this client may not use device codes"));
        }
        let code = parameters.one("device_code")?;
        let code = code.ok_or_else(|| TokenRefusal::invalid_request("device_code is missing"))?;
        let hash = Token::<DeviceCode>::parse(code).ok_or_else(unknown)?.sha256();
        if let Some(interval) = self.polls.came_too_early(&hash, None) {
            return self.slow_down(&hash, interval).await;
        }
        let polled = self.store.poll_device_code(&hash).await?.ok_or_else(unknown)?;
        if polled.client_id != by.client.id {
            return Err(TokenRefusal::invalid_grant("the device code was given to another client"));
        }
        // the interval may have grown by what another process saw
        if let Some(interval) = self.polls.came_too_early(&hash, Some(polled.interval)) {
            return self.slow_down(&hash, interval).await;
        }
        match self.check(&polled) {
            Ok(()) => self.redeem(&hash, by, parameters).await,
            Err(refusal) => Err(refusal),
        }
    }

    /// Whether the device gets its tokens now.
    fn check(&self, polled: &PolledDeviceCode) -> Result<(), TokenRefusal> {
        let expired = self.clock.now() >= polled.expires_at;
        match polled.answer {
            Some(Stage::CodeIssued) => Ok(()),
            Some(Stage::Redeemed) => Err(TokenRefusal::invalid_grant("the device code was redeemed before")),
            Some(Stage::Denied | Stage::Refused) => {
                Err(refused(ErrorCode::AccessDenied, "the user denied access, or was not signed in"))
            }
            None | Some(Stage::Pending | Stage::Claimed) if expired => {
                Err(refused(ErrorCode::ExpiredToken, "the device code has expired: ask for a new one"))
            }
            None | Some(Stage::Pending | Stage::Claimed) => {
                Err(refused(ErrorCode::AuthorizationPending, "the user has not answered yet"))
            }
        }
    }

    async fn slow_down(&self, hash: &Sha256, interval: i64) -> Result<Vec<u8>, TokenRefusal> {
        if interval < LONGEST {
            self.store.slow_device_down(hash, SLOWER, LONGEST).await?;
            self.polls.set_interval(hash, (interval + SLOWER).min(LONGEST));
        }
        Err(refused(ErrorCode::SlowDown, "this device polls too often: wait five seconds longer between polls"))
    }

    async fn redeem(
        &self,
        hash: &Sha256,
        by: &Requester<'_>,
        parameters: &Parameters,
    ) -> Result<Vec<u8>, TokenRefusal> {
        let issued = self.store.issued_code(hash).await?.ok_or_else(unknown)?;
        let Purpose::Device(request) = issued.purpose else { return Err(unknown()) };
        if self.identities.get(issued.identity.as_str()).is_none() {
            return Err(TokenRefusal::invalid_grant("the identity provider of this sign-in is no longer here"));
        }
        self.resources.check(parameters, &request.access.resource)?;
        if self.clock.now() >= issued.code_expires_at {
            return Err(refused(ErrorCode::ExpiredToken, "the device code has expired: ask for a new one"));
        }
        let approved =
            Approved { access: request.access, identity: issued.identity, sign_in: issued.sign_in, receiver: None };
        self.new_grants.begin(hash, approved, by).await
    }
}

fn unknown() -> TokenRefusal {
    TokenRefusal::invalid_grant("the device code is not known here")
}

fn refused(code: ErrorCode, words: &'static str) -> TokenRefusal {
    OAuthError::new(code, words).into()
}
