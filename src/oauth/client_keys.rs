//! The public keys of clients that sign their assertions: `jwks` and `jwks_uri` (RFC 7591 2, RFC 7517).
//!
//! Defends against: private keys that are sent or configured by mistake (the whole set is refused, so that its owner notices),
//! weak keys, and floods of keys.

use std::ops::RangeInclusive;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

/// How many keys a client may register. Two are needed while one replaces the other.
pub const MAX_KEYS: usize = 20;
/// The longest `jwks_uri`, in bytes.
const MAX_URL: usize = 512;
/// RSA moduli of 2048 to 8192 bits, in bytes.
const RSA_MODULUS: RangeInclusive<usize> = 256..=1024;
/// The members that no public key has (RFC 7518 6.2.2, 6.3.2, 6.4.1).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Where the public keys of a client are. Stored as JSON, under the names of RFC 7591.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientKeys {
    /// The keys themselves.
    #[serde(rename = "jwks")]
    Set(JwkSet),
    /// An https URL, which an untrusted client may have named.
    #[serde(rename = "jwks_uri")]
    Url(String),
}

/// Why keys are not accepted. The messages are for the client's developer, and never quote a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientKeysError {
    /// RFC 7591 2.
    #[error("jwks and jwks_uri must not both be present")]
    Both,
    /// Not JSON, or another document.
    #[error("jwks is not a JSON Web Key Set, which is an object with a list `keys`")]
    NotASet,
    /// A private key, or a shared secret.
    #[error("jwks has a private or secret key: make a new key pair, and publish its public half only")]
    Private,
    /// More than [`MAX_KEYS`].
    #[error("jwks has more than {MAX_KEYS} keys")]
    TooMany,
    /// None that we could verify a signature with.
    #[error("jwks has no key for signatures: RSA of 2048 to 8192 bits, EC on P-256 or P-384, or Ed25519")]
    NoneUsable,
    /// A URL that we would never fetch.
    #[error(
        "jwks_uri must be an https URL of at most {MAX_URL} bytes, in normal form, without user information and fragment"
    )]
    Url,
}

impl ClientKeys {
    /// Reads the two members of a client's metadata; `None` when it has neither. `jwks` is JSON.
    ///
    /// # Errors
    /// See [`ClientKeysError`].
    pub fn read(jwks: Option<&str>, jwks_uri: Option<&str>) -> Result<Option<Self>, ClientKeysError> {
        match (jwks, jwks_uri) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(ClientKeysError::Both),
            (Some(jwks), None) => Ok(Some(Self::Set(public_set(jwks)?))),
            (None, Some(url)) if is_fetchable(url) => Ok(Some(Self::Url(url.to_owned()))),
            (None, Some(_)) => Err(ClientKeysError::Url),
        }
    }
}

/// The usable keys of a set. Others are left out: a client may publish one for encryption beside them.
fn public_set(jwks: &str) -> Result<JwkSet, ClientKeysError> {
    #[derive(Deserialize)]
    struct Document {
        keys: Vec<Value>,
    }
    let Document { keys } = serde_json::from_str(jwks).or(Err(ClientKeysError::NotASet))?;
    if keys.iter().any(has_private_members) {
        return Err(ClientKeysError::Private);
    }
    if keys.len() > MAX_KEYS {
        return Err(ClientKeysError::TooMany);
    }
    let keys = keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
    let keys: Vec<Jwk> = keys.filter(is_usable).collect();
    if keys.is_empty() { Err(ClientKeysError::NoneUsable) } else { Ok(JwkSet { keys }) }
}

/// Whether a JWK has a member that no public key has.
pub(crate) fn has_private_members(key: &Value) -> bool {
    PRIVATE_MEMBERS.iter().any(|member| key.get(member).is_some())
}

/// Whether a signature can be verified with a key. A client whose keys are kept although none can would be told at each
/// attempt, and not at once, that something is wrong.
fn is_usable(key: &Jwk) -> bool {
    use KeyAlgorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let has_size =
        |member: &str, size| BASE64URL_NOPAD.decode(member.as_bytes()).is_ok_and(|bytes| bytes.len() == size);
    let algorithms: &[KeyAlgorithm] = match &key.algorithm {
        AlgorithmParameters::RSA(key) if is_strong(&key.n) && BASE64URL_NOPAD.decode(key.e.as_bytes()).is_ok() => {
            &[RS256, RS384, RS512, PS256, PS384, PS512]
        }
        AlgorithmParameters::EllipticCurve(key) => {
            let (size, algorithms): (usize, &[KeyAlgorithm]) = match key.curve {
                EllipticCurve::P256 => (32, &[ES256]),
                EllipticCurve::P384 => (48, &[ES384]),
                _ => return false,
            };
            if !(has_size(&key.x, size) && has_size(&key.y, size)) {
                return false;
            }
            algorithms
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 && has_size(&key.x, 32) => {
            &[EdDSA]
        }
        _ => return false,
    };
    is_for_signatures(&key.common) && key.common.key_algorithm.is_none_or(|own| algorithms.contains(&own))
}

/// Whether its owner means a key for signatures that others verify (RFC 7517 4.2, 4.3).
fn is_for_signatures(key: &CommonParameters) -> bool {
    let used = key.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
    used && key.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify))
}

/// Whether the modulus of an RSA key is neither too short nor too long.
fn is_strong(modulus: &str) -> bool {
    let bytes = BASE64URL_NOPAD.decode(modulus.as_bytes());
    bytes.is_ok_and(|bytes| RSA_MODULUS.contains(&bytes.iter().skip_while(|byte| **byte == 0).count()))
}

/// Whether `outbound` could fetch the URL, as far as its text tells.
fn is_fetchable(text: &str) -> bool {
    let plain = |url: &Url| {
        url.scheme() == "https" && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
    };
    text.len() <= MAX_URL && Url::parse(text).is_ok_and(|url| url.as_str() == text && plain(&url))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{ClientKeys, ClientKeysError};
    use crate::secret::base64url;

    fn ec() -> Value {
        json!({"kty": "EC", "crv": "P-256", "kid": "k",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})
    }

    fn rsa(bytes: usize) -> Value {
        json!({"kty": "RSA", "kid": "r", "n": base64url(&vec![0xff; bytes]), "e": "AQAB"})
    }

    fn with(mut key: Value, member: &str, value: Value) -> Value {
        key[member] = value;
        key
    }

    fn read(keys: &[Value]) -> Result<usize, ClientKeysError> {
        match ClientKeys::read(Some(&json!({"keys": keys}).to_string()), None)? {
            Some(ClientKeys::Set(set)) => Ok(set.keys.len()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_of_usable_types_and_sizes_are_kept_and_others_left_out() {
        let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        assert_eq!(read(&[ec(), rsa(256), rsa(1024), okp]), Ok(4));
        assert_eq!(read(&[rsa(128), with(ec(), "use", json!("enc")), json!({"kty": "AKP"}), json!(7), ec()]), Ok(1));
        for unusable in [rsa(128), rsa(255), rsa(1025), with(ec(), "crv", json!("P-521")), json!("text"), json!({})] {
            assert_eq!(read(std::slice::from_ref(&unusable)), Err(ClientKeysError::NoneUsable), "{unusable}");
        }
        assert_eq!(read(&[]), Err(ClientKeysError::NoneUsable));
    }

    #[test]
    fn a_key_that_could_never_verify_a_signature_is_left_out() {
        let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        for unusable in [
            with(ec(), "x", json!("f83O")),
            with(ec(), "y", json!("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0=")),
            with(ec(), "crv", json!("P-384")),
            with(okp, "x", json!("AAAA")),
            with(rsa(256), "e", json!("A+A=")),
            with(ec(), "alg", json!("ECDH-ES")),
            with(ec(), "alg", json!("ES384")),
            with(rsa(256), "alg", json!("RSA-OAEP")),
            with(ec(), "key_ops", json!(["encrypt"])),
        ] {
            assert_eq!(read(std::slice::from_ref(&unusable)), Err(ClientKeysError::NoneUsable), "{unusable}");
            assert_eq!(read(&[unusable, ec()]), Ok(1));
        }
        assert_eq!(read(&[with(with(rsa(256), "alg", json!("PS384")), "key_ops", json!(["verify"]))]), Ok(1));
    }

    #[test]
    fn a_set_with_a_private_or_secret_key_is_refused_as_a_whole() {
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert_eq!(read(&[ec(), with(ec(), member, json!("AAAA"))]), Err(ClientKeysError::Private), "{member}");
        }
    }

    #[test]
    fn hundreds_of_keys_are_refused() {
        assert_eq!(read(&vec![ec(); 20]), Ok(20));
        assert_eq!(read(&vec![ec(); 21]), Err(ClientKeysError::TooMany));
        assert_eq!(read(&vec![ec(); 500]), Err(ClientKeysError::TooMany));
    }

    #[test]
    fn what_is_no_key_set_is_refused() {
        for jwks in ["", "null", "[]", "{}", "{\"keys\": {}}", "{\"keys\": null}", "\"text\""] {
            assert_eq!(ClientKeys::read(Some(jwks), None), Err(ClientKeysError::NotASet), "{jwks}");
        }
    }

    #[test]
    fn a_jwks_uri_is_a_plain_https_url_and_excludes_jwks() {
        let url = "https://client.example/jwks.json?v=1";
        assert_eq!(ClientKeys::read(None, Some(url)), Ok(Some(ClientKeys::Url(url.to_owned()))));
        assert_eq!(ClientKeys::read(None, None), Ok(None));
        assert_eq!(ClientKeys::read(Some("{}"), Some(url)), Err(ClientKeysError::Both));
        let long = format!("https://client.example/{}", "x".repeat(512));
        for bad in [
            "http://client.example/jwks.json",
            "https://client.example",
            "https://CLIENT.example/jwks",
            "https://u@client.example/",
            "https://client.example/#k",
            "https://client.example/a/../b",
            "file:///etc/passwd",
            "jwks.json",
            "",
            &long,
        ] {
            assert_eq!(ClientKeys::read(None, Some(bad)), Err(ClientKeysError::Url), "{bad}");
        }
    }

    #[test]
    fn stored_keys_read_back() {
        for keys in [
            ClientKeys::read(Some(&json!({"keys": [ec(), rsa(256)]}).to_string()), None).unwrap().unwrap(),
            ClientKeys::Url("https://client.example/jwks".to_owned()),
        ] {
            let stored = serde_json::to_string(&keys).unwrap();
            assert_eq!(serde_json::from_str::<ClientKeys>(&stored).unwrap(), keys, "{stored}");
        }
    }
}
