//! What a client registers and what it is told (RFC 7591).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::client_name::clean_client_name;
use super::error::{ErrorCode, OAuthError};
use super::redirect_uri::{RedirectPolicy, RedirectUri};
use super::scope::{ScopeSet, named_values};

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

/// A registration request. What we do not know is ignored (RFC 7591 2), and so is an optional member of another type than
/// the RFC's: nearly every client lets its developers write any of them, and none can be had from a refusal.
#[derive(Debug, Default)]
pub struct RegistrationRequest {
    /// Where codes may be sent.
    pub redirect_uris: Vec<String>,
    /// What the client calls itself.
    pub client_name: Option<String>,
    /// How it wants to authenticate.
    pub token_endpoint_auth_method: Option<String>,
    /// What it will ask `/token` for.
    pub grant_types: Vec<String>,
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
    /// The client's claim about itself, cleaned; shown as a claim.
    pub client_name: Option<String>,
    /// What we assigned: `none` unless it asked for a method that we offer.
    pub token_endpoint_auth_method: AuthMethod,
    /// Whether it registered `refresh_token`, or registered no grant types at all.
    pub refresh_token: bool,
    /// Scopes that some upstream here knows.
    pub scope: ScopeSet,
    /// `native` or `web`, when it said so.
    pub application_type: Option<String>,
}

impl RegistrationRequest {
    /// Reads the JSON object.
    ///
    /// # Errors
    /// `invalid_client_metadata` when it is none.
    pub fn parse(body: &[u8]) -> Result<Self, OAuthError> {
        // each member is read by itself, so that no other one can fail with it, however deeply it is nested
        let members: BTreeMap<String, &RawValue> = serde_json::from_slice(body).map_err(|error| {
            let words = format!("the body is no client metadata in JSON: {error}");
            OAuthError::new(ErrorCode::InvalidClientMetadata, words)
        })?;
        let text = |name: &str| read::<String>(members.get(name)?);
        let list = |name: &str| -> Vec<String> {
            let values: Vec<&RawValue> = members.get(name).and_then(|list| read(list)).unwrap_or_default();
            values.into_iter().filter_map(read).collect()
        };
        Ok(Self {
            redirect_uris: list("redirect_uris"),
            client_name: text("client_name"),
            token_endpoint_auth_method: text("token_endpoint_auth_method"),
            grant_types: list("grant_types"),
            scope: text("scope"),
            application_type: text("application_type"),
        })
    }

    /// Judges the request (RFC 7591 2, 5): only its redirect URIs can be wrong. What else cannot be had as it was asked for
    /// is replaced, and the answer says by what (RFC 7591 3.2.1).
    ///
    /// # Errors
    /// `invalid_redirect_uri`, in words for the client's developer.
    pub fn validate(self, policy: &RedirectPolicy) -> Result<ClientMetadata, OAuthError> {
        let method = self.token_endpoint_auth_method.as_deref().and_then(AuthMethod::parse);
        let scope = self.scope.unwrap_or_default();
        Ok(ClientMetadata {
            redirect_uris: allowed_redirects(&self.redirect_uris, policy)?,
            client_name: self.client_name.as_deref().and_then(clean_client_name),
            token_endpoint_auth_method: method.unwrap_or(AuthMethod::None),
            refresh_token: self.grant_types.is_empty() || self.grant_types.iter().any(|kind| kind == "refresh_token"),
            scope: named_values(&scope),
            application_type: self.application_type.filter(|kind| kind == "native" || kind == "web"),
        })
    }
}

fn read<'a, T: Deserialize<'a>>(member: &'a RawValue) -> Option<T> {
    serde_json::from_str(member.get()).ok()
}

fn allowed_redirects(uris: &[String], policy: &RedirectPolicy) -> Result<Vec<RedirectUri>, OAuthError> {
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
        return refuse(first.unwrap_or_else(|| "redirect_uris is missing, empty or no list of texts".to_owned()));
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
    /// As it will be shown.
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
mod tests;
