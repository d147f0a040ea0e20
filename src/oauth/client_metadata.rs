//! What a client registers and what it is told (RFC 7591).

use serde::{Deserialize, Serialize};

use super::client_name::checked_client_name;
use super::error::{ErrorCode, OAuthError};
use super::redirect_uri::{MAX_REDIRECT_URI, RedirectPolicy, RedirectUri};
use super::scope::ScopeSet;

/// How many redirect URIs a client may register.
pub const MAX_REDIRECT_URIS: usize = 10;

/// How a client proves itself at `/token` (RFC 7591 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// A public client: PKCE is all it has.
    None,
    /// A secret in the `Authorization` header (RFC 6749 2.3.1).
    ClientSecretBasic,
    /// A secret in the body.
    ClientSecretPost,
}

impl AuthMethod {
    /// The value on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
        }
    }

    /// Reads the value; `None` for a method that we do not offer.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::ClientSecretBasic, Self::ClientSecretPost].into_iter().find(|method| method.as_str() == text)
    }
}

/// A registration request. Fields that we do not know are ignored (RFC 7591 2); a `null` is as good as nothing.
#[derive(Debug, Default, Deserialize)]
pub struct RegistrationRequest {
    /// Where codes may be sent.
    pub redirect_uris: Option<Vec<String>>,
    /// What the client calls itself.
    pub client_name: Option<String>,
    /// How it wants to authenticate.
    pub token_endpoint_auth_method: Option<String>,
    /// What it will ask `/token` for.
    pub grant_types: Option<Vec<String>>,
    /// What it will ask `/authorize` for.
    pub response_types: Option<Vec<String>>,
    /// What it may want to be allowed.
    pub scope: Option<String>,
    /// `native` or `web` (`OpenID` Connect Registration 2); echoed, enforces nothing.
    pub application_type: Option<String>,
}

/// A request that passed every rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientMetadata {
    /// Only those that are allowed, as the client spelt them; at least one.
    pub redirect_uris: Vec<RedirectUri>,
    /// The client's claim about itself; shown as a claim.
    pub client_name: Option<String>,
    /// What we assigned.
    pub token_endpoint_auth_method: AuthMethod,
    /// Whether it registered `refresh_token`, or registered no grant types at all.
    pub refresh_token: bool,
    /// Scopes that some upstream here knows.
    pub scope: ScopeSet,
    /// `native` or `web`, when it said so.
    pub application_type: Option<String>,
}

impl RegistrationRequest {
    /// Judges the request (RFC 7591 2, 5).
    ///
    /// # Errors
    /// `invalid_redirect_uri` or `invalid_client_metadata`, in words for the client's developer.
    pub fn validate(self, policy: &RedirectPolicy) -> Result<ClientMetadata, OAuthError> {
        let grant_types = self.grant_types.filter(|types| !types.is_empty());
        if grant_types.as_ref().is_some_and(|types| !has(types, "authorization_code")) {
            return Err(invalid("grant_types has no authorization_code, which is how tokens are given here"));
        }
        if self.response_types.as_ref().is_some_and(|types| !types.is_empty() && !has(types, "code")) {
            return Err(invalid("response_types has no code, the only response type here"));
        }
        let method = self.token_endpoint_auth_method.filter(|method| !method.is_empty());
        let token_endpoint_auth_method = match method {
            None => AuthMethod::None,
            Some(method) => AuthMethod::parse(&method).ok_or_else(|| {
                invalid(format!(
                    "token_endpoint_auth_method {method} is not offered: none, client_secret_basic or client_secret_post"
                ))
            })?,
        };
        let client_name = self.client_name.as_deref().map(checked_client_name).transpose().map_err(invalid)?;
        Ok(ClientMetadata {
            redirect_uris: allowed_redirects(&self.redirect_uris.unwrap_or_default(), policy)?,
            client_name: client_name.filter(|name| !name.is_empty()),
            token_endpoint_auth_method,
            refresh_token: grant_types.is_none_or(|types| has(&types, "refresh_token")),
            scope: ScopeSet::parse(self.scope.as_deref().unwrap_or_default())
                .map_err(|e| invalid(format!("scope: {e}")))?,
            application_type: self.application_type.filter(|kind| kind == "native" || kind == "web"),
        })
    }
}

fn has(values: &[String], value: &str) -> bool {
    values.iter().any(|v| v == value)
}

fn invalid(words: impl Into<std::borrow::Cow<'static, str>>) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidClientMetadata, words)
}

fn allowed_redirects(uris: &[String], policy: &RedirectPolicy) -> Result<Vec<RedirectUri>, OAuthError> {
    let refuse = |words: String| Err(OAuthError::new(ErrorCode::InvalidRedirectUri, words));
    if uris.len() > MAX_REDIRECT_URIS {
        return refuse(format!("more than {MAX_REDIRECT_URIS} redirect_uris"));
    }
    if let Some(long) = uris.iter().find(|uri| uri.len() > MAX_REDIRECT_URI) {
        return refuse(format!("a redirect URI of {} bytes: {MAX_REDIRECT_URI} are allowed", long.len()));
    }
    let judged: Vec<_> = uris.iter().map(|uri| (uri, policy.parse(uri))).collect();
    let allowed: Vec<_> = judged.iter().filter_map(|(_, answer)| answer.clone().ok()).collect();
    if allowed.is_empty() {
        let first = judged.first().map(|(uri, answer)| match answer {
            Err(why) => format!("{uri} {why}"),
            Ok(_) => String::new(),
        });
        return refuse(first.unwrap_or_else(|| "redirect_uris is missing or empty".to_owned()));
    }
    Ok(allowed)
}

/// The answer to a registration (RFC 7591 3.2.1): what was stored, in the caller's own spelling.
#[derive(Debug, Serialize)]
pub struct RegistrationResponse {
    /// The client's id.
    pub client_id: String,
    /// When it was made.
    pub client_id_issued_at: i64,
    /// The secret, said this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// 0: it does not expire by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret_expires_at: Option<i64>,
    /// Those that were allowed.
    pub redirect_uris: Vec<String>,
    /// What was assigned.
    pub token_endpoint_auth_method: &'static str,
    /// What `/token` will take from it.
    pub grant_types: Vec<&'static str>,
    /// `code`.
    pub response_types: [&'static str; 1],
    /// As given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// What some upstream here knows.
    #[serde(skip_serializing_if = "ScopeSet::is_empty")]
    pub scope: ScopeSet,
    /// As given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_type: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{AuthMethod, RegistrationRequest};
    use crate::oauth::redirect_uri::RedirectPolicy;

    fn register(json: &str) -> Result<super::ClientMetadata, String> {
        let request: RegistrationRequest = serde_json::from_str(json).map_err(|e| e.to_string())?;
        request.validate(&RedirectPolicy::default()).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_not_allowed_is_left_out_and_the_rest_is_registered() {
        let client = register(
            r#"{"redirect_uris":["cursor://anysphere.cursor-mcp/oauth/callback","http://localhost:8787/callback","http://evil/"],
                "scope":"","token_endpoint_auth_method":null,"jwks":{"keys":[]},"grant_types":["authorization_code","urn:x"]}"#,
        )
        .unwrap();
        let uris: Vec<_> = client.redirect_uris.iter().map(super::RedirectUri::as_str).collect();
        assert_eq!(uris, ["http://localhost:8787/callback"]);
        assert_eq!(client.token_endpoint_auth_method, AuthMethod::None);
        assert!(!client.refresh_token && client.scope.is_empty());
    }

    #[test]
    fn a_refusal_says_what_is_wrong() {
        for (json, words) in [
            (r"{}", "invalid_redirect_uri: redirect_uris is missing or empty"),
            (
                r#"{"redirect_uris":["http://evil/"]}"#,
                "invalid_redirect_uri: http://evil/ is neither https, nor http on a loopback address, nor an allowed private-use URI",
            ),
            (
                r#"{"redirect_uris":["https://a/"],"token_endpoint_auth_method":"tls_client_auth"}"#,
                "invalid_client_metadata: token_endpoint_auth_method tls_client_auth is not offered: none, client_secret_basic or client_secret_post",
            ),
            (
                r#"{"redirect_uris":["https://a/"],"grant_types":["client_credentials"]}"#,
                "invalid_client_metadata: grant_types has no authorization_code, which is how tokens are given here",
            ),
            (
                r#"{"redirect_uris":["https://a/"],"client_name":"Cl\u202Eedual"}"#,
                "invalid_client_metadata: client_name has control or invisible formatting characters",
            ),
        ] {
            assert_eq!(register(json).unwrap_err(), words);
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_a_client_without_an_allowed_redirect_uri(body in "\\PC{0,200}") {
            if let Ok(client) = register(&body) {
                prop_assert!(!client.redirect_uris.is_empty());
            }
        }
    }
}
