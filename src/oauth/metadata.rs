//! The metadata of an authorization server (RFC 8414, RFC 9207) and of a protected resource (RFC 9728).

use serde::Serialize;

use super::scope::{ScopeSet, as_list};

/// Authorization server metadata. It names only what works in this build.
#[derive(Debug, Clone, Serialize)]
pub struct ServerMetadata {
    /// The issuer, byte for byte as everywhere else.
    pub issuer: String,
    /// RFC 6749 3.1.
    pub authorization_endpoint: String,
    /// RFC 6749 3.2.
    pub token_endpoint: String,
    /// Our own keys (RFC 7517).
    pub jwks_uri: String,
    /// RFC 8628; left out when device authorization is switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_authorization_endpoint: Option<String>,
    /// RFC 7591; left out when registration is switched off, or needs a token that clients in general do not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_endpoint: Option<String>,
    /// All entry scopes, and `offline_access`.
    #[serde(serialize_with = "as_list")]
    pub scopes_supported: ScopeSet,
    /// `code`.
    pub response_types_supported: [&'static str; 1],
    /// `query`.
    pub response_modes_supported: [&'static str; 1],
    /// The grant types of `/token`.
    pub grant_types_supported: Vec<&'static str>,
    /// The profiles of the jwt-bearer grant that are accepted (ID-JAG); left out when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorization_grant_profiles_supported: Vec<&'static str>,
    /// How clients may authenticate there.
    pub token_endpoint_auth_methods_supported: [&'static str; 4],
    /// The algorithms of signed assertions (required beside `private_key_jwt`, RFC 8414 2).
    pub token_endpoint_auth_signing_alg_values_supported: &'static [&'static str],
    /// RFC 7009.
    pub revocation_endpoint: String,
    /// How clients may authenticate there.
    pub revocation_endpoint_auth_methods_supported: [&'static str; 4],
    /// The algorithms of assertions there.
    pub revocation_endpoint_auth_signing_alg_values_supported: &'static [&'static str],
    /// RFC 7662; left out when no resource server may ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspection_endpoint: Option<String>,
    /// How resource servers may authenticate there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspection_endpoint_auth_methods_supported: Option<[&'static str; 3]>,
    /// The algorithms of assertions there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspection_endpoint_auth_signing_alg_values_supported: Option<&'static [&'static str]>,
    /// The algorithms of proofs (RFC 9449 5.1); left out when no upstream takes bound tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpop_signing_alg_values_supported: Option<&'static [&'static str]>,
    /// RFC 7636: S256 alone.
    pub code_challenge_methods_supported: [&'static str; 1],
    /// RFC 9207.
    pub authorization_response_iss_parameter_supported: bool,
    /// Whether a client id may be the URL of a document; left out when it may not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub client_id_metadata_document_supported: bool,
    /// Required by clients' parsers of `openid-configuration`; we issue no ID tokens.
    pub subject_types_supported: [&'static str; 1],
    /// As above.
    pub id_token_signing_alg_values_supported: [&'static str; 1],
}

/// Protected resource metadata (RFC 9728 2).
#[derive(Debug, Clone, Serialize)]
pub struct ResourceMetadata {
    /// The URL that people type into clients.
    pub resource: String,
    /// Whose tokens it takes: ours first, if it does.
    pub authorization_servers: Vec<String>,
    /// The scopes needed to enter; never `offline_access`.
    #[serde(serialize_with = "as_list", skip_serializing_if = "ScopeSet::is_empty")]
    pub scopes_supported: ScopeSet,
    /// `header`.
    pub bearer_methods_supported: [&'static str; 1],
    /// Its display name.
    pub resource_name: String,
    /// The algorithms of proofs; left out when it takes no bound tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpop_signing_alg_values_supported: Option<&'static [&'static str]>,
    /// Whether it takes bound tokens alone; left out when it does not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dpop_bound_access_tokens_required: bool,
}
