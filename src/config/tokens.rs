//! `[tokens]`: how tokens are made.

use serde::Deserialize;

use super::reading::{Reading, Section};

/// The JWS algorithm of our access tokens (RFC 7518 3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// RSASSA-PKCS1-v1_5 with a 2048 bit key, for verifiers that know nothing else.
    #[serde(rename = "RS256")]
    Rs256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// Who gets a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefreshTokens {
    /// Clients that registered `refresh_token`, registered no grant types, or ask for `offline_access`.
    #[default]
    Registered,
    /// Only those that ask for `offline_access`.
    Asked,
}

/// How tokens are made.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    /// With which algorithm.
    pub algorithm: SigningAlgorithm,
    /// Who gets a refresh token.
    pub refresh: RefreshTokens,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    algorithm: Option<SigningAlgorithm>,
    refresh: Option<RefreshTokens>,
}

/// Reads the section.
pub(super) fn read(section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Tokens> {
    let written: Written = reading.shape(section)?;
    Some(Tokens { algorithm: written.algorithm.unwrap_or_default(), refresh: written.refresh.unwrap_or_default() })
}
