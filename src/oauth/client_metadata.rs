//! Dynamic client registration and its management: request, rules and response (RFC 7591, RFC 7592).

use jsonwebtoken::jwk::JwkSet;
use serde::{Deserialize, Serialize};

use super::client_keys::{ClientKeys, ClientKeysError};
use super::client_name::clean_client_name;
use super::error::{ErrorCode, OAuthError};
use super::grant_type::DEVICE_CODE;
use super::json_members::Members;
use super::redirect_uri::{RedirectPolicy, RedirectUri};
use super::scope::{ScopeSet, named_values};
use crate::secret::SecretText;

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
    /// An assertion that the client signs (RFC 7523 2.2).
    PrivateKeyJwt,
}

impl AuthMethod {
    /// All of them, in the order of our metadata.
    pub const ALL: [Self; 4] = [Self::None, Self::ClientSecretBasic, Self::ClientSecretPost, Self::PrivateKeyJwt];

    /// Those by which a client proves that it is the one.
    pub const PROVING: [Self; 3] = [Self::ClientSecretBasic, Self::ClientSecretPost, Self::PrivateKeyJwt];

    /// The value on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }

    /// Reads the value; `None` for a method that we do not offer.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == text)
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
    /// Whether it wants bound access tokens alone (RFC 9449 5.2).
    pub dpop_bound_access_tokens: bool,
    /// Its public keys, as JSON.
    pub jwks: Option<String>,
    /// Where its public keys are.
    pub jwks_uri: Option<String>,
    /// Whether another party vouches for the metadata (RFC 7591 2.3).
    pub has_software_statement: bool,
    /// In an update: the id of the client (RFC 7592 2.2).
    pub client_id: Option<String>,
    /// In an update: the secret that the client has.
    pub client_secret: Option<SecretText>,
    /// In an update: a member that only we assign, if there is one.
    pub assigned_member: Option<&'static str>,
}

/// What an update must not contain (RFC 7592 2.2).
const ASSIGNED_MEMBERS: [&str; 4] =
    ["registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"];

/// A request that passed every rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientMetadata {
    /// The allowed ones, as the client spelt them; at least one, unless it is for devices only.
    pub redirect_uris: Vec<RedirectUri>,
    /// The client's name, cleaned; shown as the client's own claim.
    pub client_name: Option<String>,
    /// The assigned method: `none` unless it requested one that we offer.
    pub token_endpoint_auth_method: AuthMethod,
    /// The keys of a client that is assigned `private_key_jwt`, and of no other.
    pub keys: Option<ClientKeys>,
    /// Whether it registered `refresh_token`, or registered no grant types at all.
    pub refresh_token: bool,
    /// Whether it registered for the device grant (RFC 8628), where that is allowed.
    pub device: bool,
    /// Whether it gets bound access tokens alone.
    pub dpop_bound: bool,
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
            // without serde's own words, which repeat what it found
            let (line, column) = (error.line(), error.column());
            let words = format!("the body is not a JSON object of client metadata (line {line}, column {column})");
            OAuthError::new(ErrorCode::InvalidClientMetadata, words)
        })?;
        Ok(Self {
            redirect_uris: members.list("redirect_uris"),
            client_name: members.text("client_name"),
            token_endpoint_auth_method: members.text("token_endpoint_auth_method"),
            grant_types: members.list("grant_types"),
            scope: members.text("scope"),
            application_type: members.text("application_type"),
            dpop_bound_access_tokens: members.get("dpop_bound_access_tokens").unwrap_or_default(),
            jwks: members.raw("jwks").map(str::to_owned),
            jwks_uri: members.text("jwks_uri"),
            has_software_statement: members.raw("software_statement").is_some(),
            client_id: members.text("client_id"),
            client_secret: members.text("client_secret").map(SecretText::from),
            assigned_member: ASSIGNED_MEMBERS.into_iter().find(|name| members.contains(name)),
        })
    }

    /// Validates the request (RFC 7591 2, 5). `device_allowed` says whether a client may register itself for the device grant.
    /// Redirect URIs, keys and a software statement can fail it; other values that we
    /// do not offer are replaced, and the response states what was assigned (RFC 7591 3.2.1).
    ///
    /// # Errors
    /// `invalid_redirect_uri`, `invalid_client_metadata` or `unapproved_software_statement`, with a description for the
    /// client's developer.
    pub fn validate(self, policy: &RedirectPolicy, device_allowed: bool) -> Result<ClientMetadata, OAuthError> {
        if self.has_software_statement {
            let words = "software statements are not accepted here: register without software_statement";
            return Err(OAuthError::new(ErrorCode::UnapprovedSoftwareStatement, words));
        }
        let names = |kind: &str| self.grant_types.iter().any(|named| named == kind);
        let device = device_allowed && names(DEVICE_CODE);
        // a device without a browser has no redirect URI (RFC 7591 2: they are for redirect-based grants)
        let needs_redirect = !device || names("authorization_code") || !self.redirect_uris.is_empty();
        let (method, keys) = self.method_and_keys()?;
        let scope = self.scope.unwrap_or_default();
        Ok(ClientMetadata {
            redirect_uris: if needs_redirect { allowed_redirects(&self.redirect_uris, policy)? } else { Vec::new() },
            client_name: self.client_name.as_deref().and_then(clean_client_name),
            token_endpoint_auth_method: method,
            keys,
            refresh_token: registers_refresh_token(&self.grant_types),
            device,
            dpop_bound: self.dpop_bound_access_tokens,
            scope: named_values(&scope),
            application_type: self.application_type.filter(|kind| is_application_type(kind)),
        })
    }

    /// The method that is assigned, and its keys. A client that does not sign may send keys, which are not kept; but a private
    /// key has no place here, and RFC 7591 2 forbids two sources of keys.
    fn method_and_keys(&self) -> Result<(AuthMethod, Option<ClientKeys>), OAuthError> {
        let asked = self.token_endpoint_auth_method.as_deref().and_then(AuthMethod::parse).unwrap_or(AuthMethod::None);
        let signs = asked == AuthMethod::PrivateKeyJwt;
        match ClientKeys::read(self.jwks.as_deref(), self.jwks_uri.as_deref()) {
            Ok(Some(keys)) if signs => Ok((asked, Some(keys))),
            Ok(None) if signs => Ok((AuthMethod::None, None)),
            Err(error) if signs || matches!(error, ClientKeysError::Private | ClientKeysError::Both) => {
                Err(OAuthError::new(ErrorCode::InvalidClientMetadata, error.to_string()))
            }
            _ => Ok((asked, None)),
        }
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
    let (allowed, refused): (Vec<_>, Vec<_>) = uris.iter().map(|uri| policy.parse(uri)).partition(Result::is_ok);
    if allowed.is_empty() {
        // the client knows its first one: a description repeats nothing
        let first = refused.into_iter().find_map(Result::err).map(|why| format!("the first of redirect_uris {why}"));
        return refuse(first.unwrap_or_else(|| "redirect_uris is missing, empty or not a list of strings".to_owned()));
    }
    Ok(allowed.into_iter().flatten().collect())
}

/// The response to a registration or an update, and what a client reads of itself (RFC 7591 3.2.1, RFC 7592 3): what was
/// stored, with redirect URIs as the client spelt them. It has no `Debug`, because it carries secrets.
#[derive(Serialize)]
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
    /// Whether it gets bound access tokens alone; left out when it does not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dpop_bound_access_tokens: bool,
    /// The keys that can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks: Option<JwkSet>,
    /// Where the keys are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// What manages the client (RFC 7592 3). Clients that share an id have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_access_token: Option<String>,
    /// Where it is managed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_client_uri: Option<String>,
}

#[cfg(test)]
mod tests;
