//! The published documents: authorization server metadata (RFC 8414 2, RFC 9207 3), with only what works in this build, and
//! our keys.

use std::time::Duration;

use bytes::Bytes;

use super::clients::ALGORITHMS;
use super::resources::entry_scopes;
use crate::config::Config;
use crate::keys::KeyRing;
use crate::oauth::client_metadata::AuthMethod;
use crate::oauth::dpop;
use crate::oauth::grant_type;
use crate::oauth::metadata::ServerMetadata;
use crate::oauth::paths;
use crate::oauth::scope::OFFLINE_ACCESS;

/// The documents that every client reads. Cheap to clone.
#[derive(Clone)]
pub(crate) struct PublicDocuments {
    metadata: Bytes,
    ring: KeyRing,
    jwks_max_age: Duration,
}

impl PublicDocuments {
    pub(super) fn new(config: &Config, ring: KeyRing) -> Self {
        Self { metadata: document(config), ring, jwks_max_age: config.lifetimes.jwks_max_age }
    }

    /// Authorization server metadata (RFC 8414), ready to send.
    #[must_use]
    pub(crate) fn metadata(&self) -> Bytes {
        self.metadata.clone()
    }

    /// Our public keys (RFC 7517), ready to send.
    #[must_use]
    pub(crate) fn jwks(&self) -> Bytes {
        self.ring.jwks()
    }

    /// For how many seconds the keys may be cached.
    #[must_use]
    pub(crate) const fn jwks_max_age(&self) -> u64 {
        self.jwks_max_age.as_secs()
    }
}

fn document(config: &Config) -> Bytes {
    let url = &config.public_url;
    // holders of an initial access token know the URL; other clients would run into a 401 instead of asking for an id
    let anyone_registers = config.registration.enabled && config.registration.initial_access_tokens.is_empty();
    let introspects = config.has_introspectors();
    let metadata = ServerMetadata {
        issuer: url.as_str().to_owned(),
        authorization_endpoint: url.join(paths::AUTHORIZE),
        token_endpoint: url.join(paths::TOKEN),
        jwks_uri: url.join(paths::JWKS),
        device_authorization_endpoint: config.device.enabled.then(|| url.join(paths::DEVICE_AUTHORIZATION)),
        registration_endpoint: anyone_registers.then(|| url.join(paths::REGISTER)),
        scopes_supported: entry_scopes(config).with(OFFLINE_ACCESS),
        response_types_supported: ["code"],
        response_modes_supported: ["query"],
        grant_types_supported: grant_types(config),
        authorization_grant_profiles_supported: profiles(config),
        token_endpoint_auth_methods_supported: AuthMethod::ALL.map(AuthMethod::as_str),
        token_endpoint_auth_signing_alg_values_supported: ALGORITHMS,
        revocation_endpoint: url.join(paths::REVOKE),
        revocation_endpoint_auth_methods_supported: AuthMethod::ALL.map(AuthMethod::as_str),
        revocation_endpoint_auth_signing_alg_values_supported: ALGORITHMS,
        introspection_endpoint: introspects.then(|| url.join(paths::INTROSPECT)),
        introspection_endpoint_auth_methods_supported: introspects.then(|| AuthMethod::PROVING.map(AuthMethod::as_str)),
        introspection_endpoint_auth_signing_alg_values_supported: introspects.then_some(ALGORITHMS),
        dpop_signing_alg_values_supported: config.binds_tokens().then_some(dpop::ALGORITHMS),
        code_challenge_methods_supported: ["S256"],
        authorization_response_iss_parameter_supported: true,
        client_id_metadata_document_supported: config.client_documents.enabled,
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: [config.tokens.algorithm.as_str()],
    };
    // a struct of texts and lists of texts always serialises
    serde_json::to_vec(&metadata).unwrap_or_default().into()
}

/// The grant types that work with this configuration.
fn grant_types(config: &Config) -> Vec<&'static str> {
    let mut grant_types = vec!["authorization_code", "refresh_token"];
    if config.clients.iter().any(|client| client.machine.is_some()) {
        grant_types.push(grant_type::CLIENT_CREDENTIALS);
    }
    if !config.assertion_issuers.is_empty() {
        grant_types.push(grant_type::JWT_BEARER);
    }
    grant_types.extend(config.device.enabled.then_some(grant_type::DEVICE_CODE));
    grant_types
}

fn profiles(config: &Config) -> Vec<&'static str> {
    if config.assertion_issuers.is_empty() { Vec::new() } else { vec![grant_type::ID_JAG_PROFILE] }
}
