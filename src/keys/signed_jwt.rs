//! JSON Web Tokens that others signed (RFC 7515, RFC 7519): no claim is read before the signature holds.
//!
//! Defends against forgery by the means of RFC 8725: algorithm confusion (`none`, a public key taken for a shared secret,
//! a key used under another algorithm than its own), keys that a token brings along (`jwk`, `jku`, `x5c` and `x5u` are
//! not read), extensions that we do not understand (`crit`), and repeated members (parser differential). The caller checks
//! audience and times.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::public_keys::{NoKey, PublicKeys};
use crate::clock::Timestamp;
use crate::secret::{Sha256, base64url};

/// No token is longer, in bytes. A user in a thousand groups has one of about 100 KiB.
const MAX_JWT: usize = 256 * 1024;

/// The end of the year 9999: what lies beyond is no time.
const END_OF_TIME: i64 = 253_402_300_799;

/// Header and claims of a token whose signature was not verified. They prove nothing. They tell whose keys to ask for, and let
/// a token that can never be accepted go before that costs anything.
pub(crate) struct UnverifiedJwt {
    pub(crate) header: Members,
    pub(crate) claims: Members,
}

impl UnverifiedJwt {
    /// Reads a token in compact form; `None` when it is none.
    pub(crate) fn read(token: &str) -> Option<Self> {
        let (message, _signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        Some(Self { header: Members::decode(header)?, claims: Members::decode(claims)? })
    }
}

/// A token whose signature holds.
#[derive(Debug)]
pub(crate) struct SignedJwt {
    /// Its media type in lower case and without `application/`, if it names one.
    pub(crate) typ: Option<String>,
    pub(crate) claims: Members,
    pub(crate) algorithm: Algorithm,
    /// The thumbprint of the key that signed it.
    pub(crate) key: Sha256,
    /// The `issuer` member of the key that signed it, if it has one.
    pub(crate) key_issuer: Option<String>,
}

/// Why a token proves nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SignedJwtError {
    /// No key of the set can have signed it; a newer set may hold it.
    UnknownKey,
    /// It is wrong, and why. Never a part of the token.
    Invalid(&'static str),
}

/// Verifies a token in compact form (RFC 7515 7.1) with the keys of its issuer.
///
/// # Errors
/// See [`SignedJwtError`].
pub(crate) fn verify_signed_jwt(token: &str, keys: &PublicKeys) -> Result<SignedJwt, SignedJwtError> {
    let invalid = SignedJwtError::Invalid;
    if token.len() > MAX_JWT {
        return Err(invalid("it is too long"));
    }
    let parts =
        token.rsplit_once('.').and_then(|(message, signature)| Some((message, message.split_once('.')?, signature)));
    let (message, (header, claims), signature) = parts.ok_or(invalid("it is not a signed JWT"))?;
    let header = Members::decode(header).ok_or(invalid("its header cannot be read, or a member is repeated"))?;
    let algorithm = algorithm_of(&header).map_err(invalid)?;
    let kid = header.text("kid").or(Err(invalid("its kid is not a string")))?;
    let typ = header.text("typ").or(Err(invalid("its typ is not a string")))?.map(media_type);
    let key = keys.find(kid, algorithm).map_err(|none| match none {
        NoKey::Unknown => SignedJwtError::UnknownKey,
        NoKey::Ambiguous => invalid("several keys could have signed it"),
    })?;
    if !key.verifies(algorithm, message, signature) {
        return Err(invalid("its signature is wrong"));
    }
    let claims = Members::decode(claims).ok_or(invalid("its claims cannot be read, or a member is repeated"))?;
    let key_issuer = key.issuer().map(str::to_owned);
    Ok(SignedJwt { typ, claims, algorithm, key: key.thumbprint(), key_issuer })
}

/// The algorithm, once the header holds nothing that would change what the signature means.
fn algorithm_of(header: &Members) -> Result<Algorithm, &'static str> {
    if header.get("enc").is_some() {
        return Err("it is encrypted: let the provider sign it only");
    }
    if header.get("crit").is_some() {
        return Err("its header demands an extension (crit) that we do not know");
    }
    if header.get("cty").is_some() {
        return Err("it holds something else than claims (cty)");
    }
    let name = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    match Algorithm::from_str(name) {
        Ok(algorithm) if algorithm.family() != AlgorithmFamily::Hmac => Ok(algorithm),
        Ok(_shared_secret) => Err(NOT_SIGNED),
        Err(_) if name == "none" => Err(NOT_SIGNED),
        Err(_) => Err("it is signed by an algorithm that we do not know: set RS256 or ES256 at the provider"),
    }
}

/// A secret that both sides know proves nothing to us, and `none` proves nothing at all.
const NOT_SIGNED: &str =
    "it is signed with a shared secret or not at all: set the client's ID token signature to RS256 or ES256";

/// RFC 7515 4.1.9: upper and lower case make no difference, and `application/` may be left out.
pub(crate) fn media_type(typ: &str) -> String {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").map(str::to_owned).unwrap_or(typ)
}

impl SignedJwt {
    /// A token whose signature is taken for granted, for tests of what is checked behind it.
    #[cfg(test)]
    pub(crate) fn of_claims(claims: Value) -> Self {
        let claims = serde_json::from_value(claims).unwrap();
        Self { typ: None, claims, algorithm: Algorithm::ES256, key: Sha256::of(b""), key_issuer: None }
    }

    /// The left half of a text's hash by the hash function of the token's own algorithm: what `at_hash` must be
    /// (OpenID Connect Core 3.1.3.6).
    pub(crate) fn half_hash(&self, text: &str) -> String {
        let function = match self.algorithm {
            Algorithm::ES256 | Algorithm::RS256 | Algorithm::PS256 | Algorithm::HS256 => &digest::SHA256,
            Algorithm::ES384 | Algorithm::RS384 | Algorithm::PS384 | Algorithm::HS384 => &digest::SHA384,
            _ => &digest::SHA512,
        };
        let hash = digest::digest(function, text.as_bytes());
        base64url(hash.as_ref().get(..function.output_len() / 2).unwrap_or_default())
    }
}

/// A JSON object in which no name stands twice (RFC 7515 4, RFC 7519 4).
#[derive(Debug)]
pub(crate) struct Members(Map<String, Value>);

impl Members {
    pub(super) fn decode(part: &str) -> Option<Self> {
        Self::read(&BASE64URL_NOPAD.decode(part.as_bytes()).ok()?)
    }

    /// Reads a JSON document.
    pub(crate) fn read(document: &[u8]) -> Option<Self> {
        serde_json::from_slice(document).ok()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A text; `None` when it is absent or null.
    ///
    /// # Errors
    /// When it is something else: words that do not quote it.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, String> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("its {name} is not a string")),
        }
    }

    /// A member by name or, when `place` begins with a slash, by JSON pointer (RFC 6901).
    pub(crate) fn at(&self, place: &str) -> Option<&Value> {
        let Some(pointer) = place.strip_prefix('/') else { return self.get(place) };
        let (first, rest) = pointer.split_once('/').map_or((pointer, None), |(first, rest)| (first, Some(rest)));
        let member = self.get(&first.replace("~1", "/").replace("~0", "~"))?;
        rest.map_or(Some(member), |rest| member.pointer(&format!("/{rest}")))
    }

    /// Seconds since 1970 (RFC 7519 2, `NumericDate`), which may have a fraction; `None` when absent.
    ///
    /// # Errors
    /// When it is something else: words that do not quote it.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, String> {
        let Some(claim) = self.get(name) else { return Ok(None) };
        #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and the end of time lies below that")]
        let seconds = claim.as_i64().or_else(|| claim.as_f64().map(|seconds| seconds.floor() as i64));
        match seconds {
            Some(seconds) if (0..=END_OF_TIME).contains(&seconds) => Ok(Some(Timestamp(seconds))),
            _ => Err(format!("its {name} is not a valid time")),
        }
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Unique;
        impl<'de> Visitor<'de> for Unique {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<Members, M::Error> {
                let mut read = Map::new();
                while let Some((name, value)) = members.next_entry()? {
                    if read.insert(name, value).is_some() {
                        return Err(M::Error::custom("a member is repeated"));
                    }
                }
                Ok(Members(read))
            }
        }
        deserializer.deserialize_map(Unique)
    }
}

#[cfg(test)]
mod tests;
