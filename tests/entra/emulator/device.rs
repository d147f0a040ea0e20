//! Device codes (RFC 8628).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::documents::Realm;
use super::error::EntraError;
use super::grants::Asked;
use super::state::{Call, DeviceAnswer, DeviceCode, Session, State};

/// How long a device code is good, and how often a device may ask.
const EXPIRES_IN: i64 = 900;
const INTERVAL: i64 = 5;

impl State {
    /// The answer has a message for people, and no `verification_uri_complete`.
    pub(super) fn device_code(&mut self, realm: &Realm, call: &Call) -> Result<Value, EntraError> {
        let client_id = call.form.get("client_id").cloned().unwrap_or_default();
        if self.app(&client_id).is_none() {
            let text = format!("Application with identifier '{client_id}' was not found in the directory.");
            return Err(EntraError::new("unauthorized_client", 700_016, text));
        }
        let scope = call.form.get("scope").cloned().unwrap_or_default();
        self.resolve(&scope)?;
        let (device_code, user_code) = (self.next("0.entra-device-"), format!("C{:08}", self.counter));
        let code = DeviceCode {
            client_id,
            user_code: user_code.clone(),
            scopes: scope.split(' ').map(str::to_owned).collect::<BTreeSet<_>>(),
            tenant: realm.tenant.clone().unwrap_or_default(),
            expires_at: self.now() + EXPIRES_IN,
            answer: DeviceAnswer::Pending,
        };
        self.devices.insert(device_code.clone(), code);
        let place = "https://microsoft.com/devicelogin";
        Ok(json!({
            "user_code": user_code, "device_code": device_code, "verification_uri": place, "expires_in": EXPIRES_IN,
            "interval": INTERVAL,
            "message": format!("To sign in, use a web browser to open the page {place} and enter the code {user_code} to authenticate."),
        }))
    }

    /// The user answers a device by its code: as the user of [`State::signs_in`], or with no.
    pub(crate) fn answer_device(&mut self, user_code: &str, approves: bool) {
        let name = self.signs_in.clone().expect("someone signs in");
        let user = self.user(&name).clone();
        let code = self.devices.values_mut().find(|code| code.user_code == user_code).expect("there is such a code");
        code.answer = if approves { DeviceAnswer::Confirmed(user) } else { DeviceAnswer::Declined };
    }

    /// The session of a device that was confirmed; the code counts once.
    pub(super) fn confirmed_device(&mut self, asked: &Asked<'_>) -> Result<Session, EntraError> {
        let name = asked.form().get("device_code").cloned().unwrap_or_default();
        let code = self.devices.get(&name).cloned().ok_or_else(|| {
            EntraError::new("bad_verification_code", 7_000_218, "The verification code is not valid.")
        })?;
        if self.now() >= code.expires_at {
            return Err(EntraError::new("expired_token", 70020, "The device code has expired."));
        }
        let user = match code.answer {
            DeviceAnswer::Pending => {
                return Err(EntraError::new(
                    "authorization_pending",
                    70016,
                    "OAuth 2.0 device flow error. Authorization is pending.",
                ));
            }
            DeviceAnswer::Declined => {
                return Err(EntraError::new("authorization_declined", 70018, "The user declined."));
            }
            DeviceAnswer::Confirmed(user) => user,
        };
        self.devices.remove(&name);
        Ok(Session {
            tenant: if code.tenant.is_empty() { user.tenant.clone() } else { code.tenant },
            user,
            client_id: code.client_id,
            nonce: None,
            challenge: None,
            redirect_uri: String::new(),
            scopes: code.scopes,
            policy: None,
            at: self.now(),
        })
    }
}
