//! Public keys of other issuers (RFC 7517), and which signatures each may verify.
//!
//! Defends against algorithm confusion (RFC 8725 3.1): a key verifies the algorithms of its own type and curve, narrowed
//! by its `alg`, and only if `use` and `key_ops` mean it for signatures. Shared secrets (`kty: oct`) are never read, so no
//! public value can serve as one.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use crate::secret::{Sha256, base64url};

/// RSA moduli of 2048 to 8192 bits: a shorter one can be factored, a longer one costs too much.
const RSA_MODULUS: RangeInclusive<usize> = 256..=1024;

/// The keys of one issuer that verify signatures. A repeated key is one key. Printed as their ids.
pub struct PublicKeys(HashSet<PublicKey>);

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PublicKey {
    kid: Option<String>,
    /// The one algorithm that the key's owner allows, if the key says so.
    alg: Option<Algorithm>,
    /// Whose tokens alone it signs, if its set says so: a member of Microsoft Entra ID, see `entra_issuer`.
    issuer: Option<String>,
    material: Material,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// Uncompressed points: 0x04, then both coordinates.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Why no key can be named for a signature.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// None of the set fits; a newer set may hold one.
    Unknown,
    /// Several fit, and the token does not say which of them.
    Ambiguous,
}

impl PublicKeys {
    /// Reads a key set (RFC 7517 5). Keys that we cannot use are left out: Keycloak publishes one for encryption,
    /// sometimes first.
    ///
    /// # Errors
    /// What is wrong with the document, without quoting it.
    pub(crate) fn parse(document: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let document: Document =
            serde_json::from_slice(document).or(Err("it is not a key set: JSON with a list `keys`"))?;
        let keys: HashSet<_> = document.keys.iter().filter_map(PublicKey::read).collect();
        if keys.is_empty() { Err("it holds no key that signs".to_owned()) } else { Ok(Self(keys)) }
    }

    /// The keys of a client, which passed [`crate::oauth::client_keys::ClientKeys::read`].
    ///
    /// # Errors
    /// When none of them can be used.
    pub(crate) fn of_client(keys: &JwkSet) -> Result<Self, String> {
        // one reader of keys for all: what it leaves out can vouch for nothing
        Self::parse(&serde_json::to_vec(keys).unwrap_or_default())
    }

    /// Whether it holds the key with this thumbprint.
    pub(super) fn holds(&self, thumbprint: &Sha256) -> bool {
        self.0.iter().any(|key| key.thumbprint() == *thumbprint)
    }

    /// The one key that can have made a signature: with the token's `kid` when it names one, and allowed for its algorithm.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&PublicKey, NoKey> {
        let mut fitting =
            self.0.iter().filter(|key| (kid.is_none() || key.kid.as_deref() == kid) && key.is_allowed(algorithm));
        let key = fitting.next().ok_or(NoKey::Unknown)?;
        if fitting.next().is_some() { Err(NoKey::Ambiguous) } else { Ok(key) }
    }
}

impl fmt::Debug for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: BTreeSet<_> = self.0.iter().map(|key| key.kid.as_deref().unwrap_or_default()).collect();
        f.debug_set().entries(ids).finish()
    }
}

impl PublicKey {
    pub(super) fn read(key: &Value) -> Option<Self> {
        let kid = optional_text(key, "kid").ok()?.map(str::to_owned);
        let alg = optional_text(key, "alg").ok()?.map(algorithm).transpose().ok()?;
        let issuer = optional_text(key, "issuer").ok()?.map(str::to_owned);
        is_for_signatures(key).then_some(())?;
        Some(Self { kid, alg, issuer, material: Material::read(key)? })
    }

    /// Whether the key may verify signatures of this algorithm.
    pub(super) fn is_allowed(&self, algorithm: Algorithm) -> bool {
        self.alg.is_none_or(|own| own == algorithm) && self.material.algorithms().contains(&algorithm)
    }

    /// Whose tokens alone it signs, if its set says so.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The hash of the members that make the key (RFC 7638 3).
    pub(super) fn thumbprint(&self) -> Sha256 {
        let members = match &self.material {
            Material::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, base64url(e), base64url(n)),
            Material::P256(point) => point_members("P-256", point),
            Material::P384(point) => point_members("P-384", point),
            Material::Ed25519(x) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url(x)),
        };
        Sha256::of(members.as_bytes())
    }

    /// Whether `signature` (base64url) is this key's under `message`.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &str, signature: &str) -> bool {
        let key = match &self.material {
            Material::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
            Material::P256(point) | Material::P384(point) => DecodingKey::from_ec_der(point),
            Material::Ed25519(point) => DecodingKey::from_ed_der(point),
        };
        self.is_allowed(algorithm)
            && jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, algorithm).unwrap_or(false)
    }
}

impl Material {
    fn read(key: &Value) -> Option<Self> {
        let member = |name| BASE64URL_NOPAD.decode(key.get(name)?.as_str()?.as_bytes()).ok();
        let curve = || key.get("crv")?.as_str();
        match key.get("kty")?.as_str()? {
            "RSA" => {
                let (n, e) = (unsigned(member("n")?), unsigned(member("e")?));
                RSA_MODULUS.contains(&n.len()).then_some(Self::Rsa { n, e })
            }
            "EC" => match curve()? {
                "P-256" => point(32, &member("x")?, &member("y")?).map(Self::P256),
                "P-384" => point(48, &member("x")?, &member("y")?).map(Self::P384),
                _ => None,
            },
            "OKP" if curve()? == "Ed25519" => member("x").filter(|x| x.len() == 32).map(Self::Ed25519),
            _ => None,
        }
    }

    const fn algorithms(&self) -> &'static [Algorithm] {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        match self {
            Self::Rsa { .. } => &[RS256, RS384, RS512, PS256, PS384, PS512],
            Self::P256(_) => &[ES256],
            Self::P384(_) => &[ES384],
            Self::Ed25519(_) => &[EdDSA],
        }
    }
}

fn point_members(curve: &str, point: &[u8]) -> String {
    let coordinates = point.get(1..).unwrap_or_default();
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    format!(r#"{{"crv":"{curve}","kty":"EC","x":"{}","y":"{}"}}"#, base64url(x), base64url(y))
}

/// Reads the `alg` of a key. Browsers and Node write the name of RFC 9864 for Ed25519.
fn algorithm(name: &str) -> Result<Algorithm, jsonwebtoken::errors::Error> {
    if name == "Ed25519" { Ok(Algorithm::EdDSA) } else { Algorithm::from_str(name) }
}

struct NotText;

/// A text; `None` when it is absent or null.
fn optional_text<'a>(key: &'a Value, name: &str) -> Result<Option<&'a str>, NotText> {
    match key.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(NotText),
    }
}

/// Whether the owner means a key for signatures that others verify (RFC 7517 4.2 and 4.3): a key for something else must
/// not vouch for a user, whatever it could compute.
fn is_for_signatures(key: &Value) -> bool {
    let used = key.get("use").is_none_or(|used| used == "sig");
    let verifies = |operations: &Value| {
        operations.as_array().is_some_and(|operations| operations.iter().any(|operation| operation == "verify"))
    };
    used && key.get("key_ops").is_none_or(verifies)
}

/// A number without leading zeros: providers written in Java send a sign byte in front of it.
fn unsigned(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

fn point(size: usize, x: &[u8], y: &[u8]) -> Option<Vec<u8>> {
    (x.len() == size && y.len() == size).then(|| [&[4], x, y].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{Algorithm, NoKey, PublicKeys};
    use crate::secret::base64url;

    fn ec(kid: &str) -> Value {
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": kid,
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})
    }

    fn rsa(modulus: &[u8]) -> Value {
        json!({"kty": "RSA", "kid": "r", "n": base64url(modulus), "e": "AQAB"})
    }

    fn parse(keys: &[Value]) -> Result<PublicKeys, String> {
        PublicKeys::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn edited(mut key: Value, member: &str, value: Value) -> Value {
        key[member] = value;
        key
    }

    #[test]
    fn a_key_is_bound_to_its_type_its_curve_and_its_own_algorithm() {
        let keys = parse(&[ec("k"), rsa(&[0xff; 256])]).unwrap();
        for algorithm in [Algorithm::ES384, Algorithm::RS256, Algorithm::EdDSA, Algorithm::HS256] {
            assert_eq!(keys.find(Some("k"), algorithm), Err(NoKey::Unknown), "{algorithm:?}");
        }
        assert!(keys.find(Some("k"), Algorithm::ES256).is_ok());
        assert!(keys.find(Some("r"), Algorithm::PS512).is_ok(), "a key that names no algorithm has those of its type");
        let bound = parse(&[edited(rsa(&[0xff; 256]), "alg", json!("RS256"))]).unwrap();
        assert!(bound.find(Some("r"), Algorithm::RS256).is_ok());
        assert_eq!(bound.find(Some("r"), Algorithm::PS256), Err(NoKey::Unknown));
    }

    #[test]
    fn keys_that_cannot_verify_signatures_are_skipped() {
        let secret = json!({"kty": "oct", "kid": "s", "k": "AAAA", "alg": "HS256", "use": "sig"});
        let p384 = edited(ec("k"), "crv", json!("P-384"));
        for unusable in [
            secret,
            p384,
            rsa(&[0xff; 128]),
            rsa(&[0xff; 1025]),
            rsa(&[]),
            edited(ec("k"), "use", json!("enc")),
            edited(ec("k"), "key_ops", json!(["encrypt"])),
            edited(ec("k"), "alg", json!("ECDH-ES")),
            edited(ec("k"), "alg", json!(256)),
            edited(ec("k"), "kid", json!(["k"])),
            edited(ec("k"), "x", json!("f83O")),
            edited(ec("k"), "x", json!("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU=")),
            edited(ec("k"), "kty", json!("AKP")),
            json!("no key at all"),
        ] {
            assert_eq!(parse(std::slice::from_ref(&unusable)).unwrap_err(), "it holds no key that signs", "{unusable}");
            assert!(parse(&[unusable, ec("good")]).is_ok());
        }
    }

    #[test]
    fn the_thumbprint_of_a_key_is_that_of_rfc_7638() {
        let whole = json!({"kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29", "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"});
        let key = super::PublicKey::read(&whole).unwrap();
        assert_eq!(base64url(key.thumbprint().as_bytes()), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn an_ed25519_key_may_name_its_algorithm_by_either_name_and_no_other() {
        let key =
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        for alg in ["EdDSA", "Ed25519"] {
            let keys = parse(&[edited(key.clone(), "alg", json!(alg))]).unwrap();
            assert!(keys.find(Some("k"), Algorithm::EdDSA).is_ok(), "{alg}");
        }
        let as_another = parse(&[edited(ec("k"), "alg", json!("Ed25519"))]).unwrap();
        assert_eq!(as_another.find(Some("k"), Algorithm::ES256), Err(NoKey::Unknown));
        assert_eq!(as_another.find(Some("k"), Algorithm::EdDSA), Err(NoKey::Unknown));
    }

    #[test]
    fn a_sign_byte_before_a_modulus_changes_nothing() {
        let signed: Vec<u8> = [vec![0], vec![0xff; 256]].concat();
        let keys = parse(&[rsa(&signed), rsa(&[0xff; 256])]).unwrap();
        assert!(keys.find(None, Algorithm::RS256).is_ok(), "both are one key");
    }

    #[test]
    fn a_token_without_kid_fits_only_where_one_key_could_have_signed_it() {
        let other = edited(ec("k"), "x", json!("AAAAJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"));
        assert!(parse(&[ec("k"), rsa(&[0xff; 256])]).unwrap().find(None, Algorithm::ES256).is_ok());
        assert_eq!(parse(&[ec("k"), ec("l")]).unwrap().find(None, Algorithm::ES256), Err(NoKey::Ambiguous));
        assert_eq!(parse(&[ec("k"), other]).unwrap().find(Some("k"), Algorithm::ES256), Err(NoKey::Ambiguous));
        let unnamed = parse(&[edited(ec("k"), "kid", Value::Null)]).unwrap();
        assert_eq!(unnamed.find(Some("k"), Algorithm::ES256), Err(NoKey::Unknown));
    }

    fn member() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "sig|EC|RSA|OKP|oct|RS256|[a-zA-Z0-9_-]{0,20}|.{0,8}".prop_map(Value::from),
            Just(json!({"a": [1, {"b": null}]})),
        ]
    }

    proptest! {
        #[test]
        fn a_hostile_key_does_not_cost_the_good_one(
            members in proptest::collection::vec(("kty|use|alg|kid|n|e|x|y|crv|k|d", member()), 0..8),
        ) {
            let hostile = Value::Object(members.into_iter().collect());
            prop_assert!(parse(&[hostile, ec("k")]).is_ok());
        }

        #[test]
        fn hostile_text_is_no_key_set(text in ".{0,200}") {
            prop_assert!(PublicKeys::parse(text.as_bytes()).is_err());
        }
    }
}
