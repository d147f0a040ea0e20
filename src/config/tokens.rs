//! `[tokens]`: signing of access tokens, and which clients get refresh tokens.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{IntoDeserializer, value};

use super::problem::Mistake;
use super::quantity::Scalar;
use super::reading::{Reading, Section};

const DAY: Duration = Duration::from_hours(24);
/// How long a signing key signs unless the operator says something else.
const ROTATE_KEYS: Duration = Duration::from_hours(90 * 24);

/// The JWS algorithm of our access tokens (RFC 7518 3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// RSASSA-PKCS1-v1_5 with a 2048 bit key, for verifiers that support nothing else.
    #[serde(rename = "RS256")]
    Rs256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl SigningAlgorithm {
    /// Its name in the configuration, in token headers and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::deserialize(name.into_deserializer()).map_err(|_unknown: value::Error| ()).ok()
    }
}

/// Which clients get a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefreshTokens {
    /// Clients that registered `refresh_token`, registered no grant types, or ask for `offline_access`.
    #[default]
    Registered,
    /// Only those that ask for `offline_access`.
    Asked,
}

/// Settings of tokens.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The signing algorithm of access tokens.
    pub algorithm: SigningAlgorithm,
    /// How long a key signs until the next one takes over; `None`: until an operator rotates.
    pub rotate_keys: Option<Duration>,
    /// Which clients get a refresh token.
    pub refresh: RefreshTokens,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            algorithm: SigningAlgorithm::default(),
            rotate_keys: Some(ROTATE_KEYS),
            refresh: RefreshTokens::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    algorithm: Option<SigningAlgorithm>,
    rotate_keys: Option<Scalar>,
    refresh: Option<RefreshTokens>,
}

/// Reads the section.
pub(super) fn read(section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Tokens> {
    let written: Written = reading.shape(section)?;
    let rotate_keys = match written.rotate_keys {
        Some(written) => reading.keep(&section.at("rotate_keys"), rotate_keys(&written))?,
        None => Some(ROTATE_KEYS),
    };
    Some(Tokens {
        algorithm: written.algorithm.unwrap_or_default(),
        rotate_keys,
        refresh: written.refresh.unwrap_or_default(),
    })
}

/// At least a day: each rotation publishes one more key for as long as access tokens live.
fn rotate_keys(written: &Scalar) -> Result<Option<Duration>, Mistake> {
    if written.is_off() {
        return Ok(None);
    }
    let duration = written.duration().map_err(|mistake| mistake.hint("a duration such as \"90d\", or \"off\""))?;
    if duration < DAY {
        return Err(Mistake::new("must be at least 1d").hint("`portcullis keys rotate` rotates at once"));
    }
    Ok(Some(duration))
}

#[cfg(test)]
mod tests {
    use super::SigningAlgorithm;

    #[test]
    fn an_algorithm_parses_from_its_own_name() {
        for algorithm in [SigningAlgorithm::Es256, SigningAlgorithm::Rs256, SigningAlgorithm::EdDsa] {
            assert_eq!(SigningAlgorithm::parse(algorithm.as_str()), Some(algorithm));
        }
        assert_eq!(SigningAlgorithm::parse("HS256"), None);
    }
}
