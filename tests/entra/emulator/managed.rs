//! Tokens of managed identities: as the instance metadata service of a machine gives them, and the endpoint of App Service and
//! Container Apps.

use serde_json::{Value, json};

use super::keys::external_token;
use super::state::{Call, State};

/// The client id of the only user-assigned identity, and its object id, which is the subject of its tokens.
pub(crate) const IDENTITY: &str = "55556666-ffff-7777-aaaa-8888bbbb9999";
pub(crate) const IDENTITY_OBJECT: &str = "66667777-aaaa-8888-bbbb-9999cccc0000";
/// The secret that App Service gives to its own process.
pub(crate) const IDENTITY_HEADER: &str = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a";

/// How long a token is good.
const VALIDITY: i64 = 86_399;

impl State {
    /// A machine's endpoint demands the header `Metadata: true`, so that a forged request of a browser brings nothing.
    pub(super) fn machine_identity(&self, call: &Call) -> (u16, Value) {
        if call.headers.get("metadata").is_none_or(|value| value != "true") {
            return (
                400,
                json!({"error": "bad_request_102", "error_description": "Required metadata header not specified"}),
            );
        }
        self.managed(call, "2018-02-01")
    }

    /// That of App Service demands a secret of its own.
    pub(super) fn app_service_identity(&self, call: &Call) -> (u16, Value) {
        if call.headers.get("x-identity-header").is_none_or(|value| value != IDENTITY_HEADER) {
            return (401, json!({"statusCode": 401, "message": "Unauthorized"}));
        }
        self.managed(call, "2019-08-01")
    }

    /// Numbers come as texts.
    fn managed(&self, call: &Call, version: &str) -> (u16, Value) {
        let get = |name: &str| call.query.get(name).map(String::as_str).unwrap_or_default();
        if get("api-version") != version || get("resource").is_empty() {
            return (400, json!({"error": "bad_request_101", "error_description": "Invalid parameters"}));
        }
        if get("client_id") != IDENTITY {
            return (400, json!({"error": "invalid_request", "error_description": "Identity not found"}));
        }
        let expires_at = self.now() + VALIDITY;
        let issuer = self.issuer(2, super::CONTOSO, false);
        let token = external_token(&issuer, IDENTITY_OBJECT, get("resource"), expires_at);
        (
            200,
            json!({
                "access_token": token, "client_id": IDENTITY, "expires_in": VALIDITY.to_string(),
                "expires_on": expires_at.to_string(), "not_before": self.now().to_string(), "resource": get("resource"),
                "token_type": "Bearer",
            }),
        )
    }
}
