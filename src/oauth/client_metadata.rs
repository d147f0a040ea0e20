//! Dynamic client registration: request, rules and response (RFC 7591).

use serde::{Deserialize, Serialize};

use super::client_name::clean_client_name;
use super::error::{ErrorCode, OAuthError};
use super::json_members::Members;
use super::redirect_uri::{RedirectPolicy, RedirectUri};
use super::scope::{ScopeSet, named_values};

/// How many redirect URIs a client may register.
pub const MAX_REDIRECT_URIS: usize = 10;

/// How a client authenticates at `/token` (RFC 7591 2).
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

/// A registration request. Unknown members are ignored (RFC 7591 2), and so are optional ones of the wrong type: many clients
/// let their developers write anything there, and a refusal would only keep the client out.
#[derive(Debug, Default)]
pub struct RegistrationRequest {
    /// Where codes may be sent.
    pub redirect_uris: Vec<String>,
    /// The client's name.
    pub client_name: Option<String>,
    /// How it wants to authenticate.
    pub token_endpoint_auth_method: Option<String>,
    /// The grant types that it will use.
    pub grant_types: Vec<String>,
    /// The scopes that it may request.
    pub scope: Option<String>,
    /// `native` or `web` (`OpenID` Connect Registration 2); echoed, enforces nothing.
    pub application_type: Option<String>,
}

/// A request that passed every rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientMetadata {
    /// The allowed ones, as the client spelt them; at least one.
    pub redirect_uris: Vec<RedirectUri>,
    /// The client's name, cleaned; shown as the client's own claim.
    pub client_name: Option<String>,
    /// The assigned method: `none` unless it requested one that we offer.
    pub token_endpoint_auth_method: AuthMethod,
    /// Whether it registered `refresh_token`, or registered no grant types at all.
    pub refresh_token: bool,
    /// The scopes that it requested; the issuer keeps those that an upstream here knows.
    pub scope: ScopeSet,
    /// `native` or `web`, when it said so.
    pub application_type: Option<String>,
}

impl RegistrationRequest {
    /// Parses the body.
    ///
    /// # Errors
    /// `invalid_client_metadata` when it is not a JSON object.
    pub fn parse(body: &[u8]) -> Result<Self, OAuthError> {
        let members = Members::of(body).map_err(|error| {
            let words = format!("the body is not a JSON object of client metadata: {error}");
            OAuthError::new(ErrorCode::InvalidClientMetadata, words)
        })?;
        Ok(Self {
            redirect_uris: members.list("redirect_uris"),
            client_name: members.text("client_name"),
            token_endpoint_auth_method: members.text("token_endpoint_auth_method"),
            grant_types: members.list("grant_types"),
            scope: members.text("scope"),
            application_type: members.text("application_type"),
        })
    }

    /// Validates the request (RFC 7591 2, 5). Only its redirect URIs can fail it; other values that we do not offer are
    /// replaced, and the response states what was assigned (RFC 7591 3.2.1).
    ///
    /// # Errors
    /// `invalid_redirect_uri`, with a description for the client's developer.
    pub fn validate(self, policy: &RedirectPolicy) -> Result<ClientMetadata, OAuthError> {
        let method = self.token_endpoint_auth_method.as_deref().and_then(AuthMethod::parse);
        let scope = self.scope.unwrap_or_default();
        Ok(ClientMetadata {
            redirect_uris: allowed_redirects(&self.redirect_uris, policy)?,
            client_name: self.client_name.as_deref().and_then(clean_client_name),
            token_endpoint_auth_method: method.unwrap_or(AuthMethod::None),
            refresh_token: registers_refresh_token(&self.grant_types),
            scope: named_values(&scope),
            application_type: self.application_type.filter(|kind| is_application_type(kind)),
        })
    }
}

/// Whether a client with these grant types gets refresh tokens: those that name none get them too.
pub(super) fn registers_refresh_token(grant_types: &[String]) -> bool {
    grant_types.is_empty() || grant_types.iter().any(|kind| kind == "refresh_token")
}

/// Whether this is an `application_type` (`OpenID` Connect Registration 2).
pub(super) fn is_application_type(kind: &str) -> bool {
    kind == "native" || kind == "web"
}

/// Those redirect URIs that are allowed: the others are left out.
///
/// # Errors
/// `invalid_redirect_uri` when none is left, or when there are too many.
pub(super) fn allowed_redirects(uris: &[String], policy: &RedirectPolicy) -> Result<Vec<RedirectUri>, OAuthError> {
    let refuse = |words: String| Err(OAuthError::new(ErrorCode::InvalidRedirectUri, words));
    if uris.len() > MAX_REDIRECT_URIS {
        return refuse(format!("more than {MAX_REDIRECT_URIS} redirect_uris"));
    }
    let judged: Vec<_> = uris.iter().map(|uri| (uri, policy.parse(uri))).collect();
    let allowed: Vec<_> = judged.iter().filter_map(|(_, answer)| answer.clone().ok()).collect();
    if allowed.is_empty() {
        let first = judged.first().map(|(uri, answer)| match answer {
            Err(why) => format!("{uri} {why}"),
            Ok(_) => String::new(),
        });
        return refuse(first.unwrap_or_else(|| "redirect_uris is missing, empty or not a list of strings".to_owned()));
    }
    Ok(allowed)
}

/// The response to a registration (RFC 7591 3.2.1): what was stored, with redirect URIs as the client spelt them.
#[derive(Debug, Serialize)]
pub struct RegistrationResponse {
    /// The client's id.
    pub client_id: String,
    /// When it first registered, in seconds since 1970.
    pub client_id_issued_at: i64,
    /// The secret, sent only this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// Always 0: the secret does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret_expires_at: Option<i64>,
    /// The redirect URIs that were accepted.
    pub redirect_uris: Vec<String>,
    /// The method that was assigned.
    pub token_endpoint_auth_method: &'static str,
    /// The grant types that it may use.
    pub grant_types: Vec<&'static str>,
    /// Always `code`.
    pub response_types: [&'static str; 1],
    /// The name as pages will show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// The scopes that an upstream here knows.
    #[serde(skip_serializing_if = "ScopeSet::is_empty")]
    pub scope: ScopeSet,
    /// As requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_type: Option<String>,
}

#[cfg(test)]
mod tests;
