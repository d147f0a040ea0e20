//! The caller of a tool, from the identity headers that the gateway sets.

use http::HeaderMap;
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Serialize;

/// The caller.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Caller {
    /// One sentence that says who is calling.
    pub(super) message: String,
    /// The permanent id of the user: the identity provider's id in Portcullis, a bar, and the provider's id of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    /// The name that the user signs in with; may change.
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<String>,
    /// The user's e-mail address; may change.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// The user's groups, as the identity provider names them.
    groups: Vec<String>,
    /// The identity provider that signed the user in.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity_provider: Option<String>,
    /// The application that calls on behalf of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    /// What the user allowed the application.
    scopes: Vec<String>,
}

/// The message for a request that did not come through the gateway.
pub(super) const UNIDENTIFIED: &str = "nobody: this request did not come through Portcullis";

impl Caller {
    /// Reads the headers that Portcullis sets and that it removes from client requests.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let raw = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty());
        let one = |name: &str| raw(name).map(decode);
        let Some(user) = one("x-forwarded-user") else {
            return Self { message: UNIDENTIFIED.to_owned(), ..Self::default() };
        };
        let preferred_username = one("x-forwarded-preferred-username");
        let client = one("x-portcullis-client");
        let name = preferred_username.as_deref().unwrap_or(&user);
        let through = client.as_deref().unwrap_or("an application that is not named");
        Self {
            message: format!("{name}, calling through {through}: Portcullis says so"),
            preferred_username,
            email: one("x-forwarded-email"),
            groups: list(raw("x-forwarded-groups"), ','),
            identity_provider: one("x-portcullis-identity"),
            client,
            scopes: list(raw("x-portcullis-scopes"), ' '),
            user: Some(user),
        }
    }
}

/// Splits a list before decoding: a separator inside a value is percent-encoded.
fn list(text: Option<&str>, separator: char) -> Vec<String> {
    let values = text.unwrap_or_default().split(separator).map(str::trim);
    values.filter(|value| !value.is_empty()).map(decode).collect()
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{Caller, UNIDENTIFIED};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_comma_in_a_group_and_non_ascii_text_survive_the_encoding() {
        let caller = Caller::of(&headers(&[
            ("x-forwarded-user", "keycloak|7"),
            ("x-forwarded-preferred-username", "Zo%C3%AB"),
            ("x-forwarded-groups", "/staff,Research%2C Development,100%25"),
            ("x-portcullis-scopes", "mcp:access notes:write"),
            ("x-portcullis-client", "c_x"),
        ]));
        assert_eq!(caller.message, "Zoë, calling through c_x: Portcullis says so");
        assert_eq!(caller.groups, ["/staff", "Research, Development", "100%"]);
        assert_eq!(caller.scopes, ["mcp:access", "notes:write"]);
    }

    #[test]
    fn without_a_user_the_other_headers_are_ignored() {
        let caller = Caller::of(&headers(&[("x-forwarded-email", "alice@example.com"), ("x-forwarded-user", "")]));
        assert_eq!(caller, Caller { message: UNIDENTIFIED.to_owned(), ..Caller::default() });
    }
}
