//! What we announce (RFC 8414 2, RFC 9207 3): only what works in this build.

use bytes::Bytes;

use crate::config::Config;
use crate::oauth::metadata::ServerMetadata;
use crate::oauth::paths;
use crate::oauth::scope::{OFFLINE_ACCESS, ScopeSet};

/// The document, made once.
pub(super) fn document(config: &Config) -> Bytes {
    let url = &config.public_url;
    let metadata = ServerMetadata {
        issuer: url.as_str().to_owned(),
        authorization_endpoint: url.join(paths::AUTHORIZE),
        token_endpoint: url.join(paths::TOKEN),
        jwks_uri: url.join(paths::JWKS),
        registration_endpoint: config.registration.enabled.then(|| url.join(paths::REGISTER)),
        scopes_supported: entry_scopes(config).with(OFFLINE_ACCESS),
        response_types_supported: ["code"],
        response_modes_supported: ["query"],
        grant_types_supported: ["authorization_code", "refresh_token"],
        token_endpoint_auth_methods_supported: ["none", "client_secret_basic", "client_secret_post"],
        code_challenge_methods_supported: ["S256"],
        authorization_response_iss_parameter_supported: true,
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: [config.tokens.algorithm.as_str()],
    };
    // a struct of texts and lists of texts always serialises
    serde_json::to_vec(&metadata).unwrap_or_default().into()
}

/// What all upstreams together ask for at their doors.
pub(super) fn entry_scopes(config: &Config) -> ScopeSet {
    config.upstreams.iter().fold(ScopeSet::empty(), |all, upstream| all.union(&upstream.settings.scopes))
}
