//! Forgeries with one fault each, beside the same token without it.

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
    RsaKeyPair, RsaPublicKeyComponents,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{SignedJwt, SignedJwtError, verify_signed_jwt};
use crate::keys::PublicKeys;
use crate::secret::base64url;

const ALGORITHMS: [&str; 9] = ["ES256", "ES384", "EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];

/// One key of each kind.
struct Keys {
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
    rsa: RsaKeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
    p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
    ed25519: Ed25519KeyPair::generate().unwrap(),
    rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
});

/// Signs with the key that an algorithm is for.
fn sign(algorithm: &str, message: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    let rsa = |encoding: &'static dyn RsaEncoding| {
        let mut signature = vec![0; KEYS.rsa.public_modulus_len()];
        KEYS.rsa.sign(encoding, &random, message, &mut signature).unwrap();
        signature
    };
    match algorithm {
        "ES256" => KEYS.p256.sign(&random, message).unwrap().as_ref().to_vec(),
        "ES384" => KEYS.p384.sign(&random, message).unwrap().as_ref().to_vec(),
        "EdDSA" => KEYS.ed25519.sign(message).as_ref().to_vec(),
        "RS256" => rsa(&RSA_PKCS1_SHA256),
        "RS384" => rsa(&RSA_PKCS1_SHA384),
        "RS512" => rsa(&RSA_PKCS1_SHA512),
        "PS256" => rsa(&RSA_PSS_SHA256),
        "PS384" => rsa(&RSA_PSS_SHA384),
        "PS512" => rsa(&RSA_PSS_SHA512),
        other => panic!("no key signs {other}"),
    }
}

fn ec_jwk(curve: &str, pair: &EcdsaKeyPair) -> Value {
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
}

fn rsa_modulus() -> Vec<u8> {
    RsaPublicKeyComponents::<Vec<u8>>::from(KEYS.rsa.public_key()).n
}

/// The public half of the key that an algorithm is for, named `k` and bound to nothing.
fn jwk(algorithm: &str) -> Value {
    let mut jwk = match algorithm {
        "ES256" => ec_jwk("P-256", &KEYS.p256),
        "ES384" => ec_jwk("P-384", &KEYS.p384),
        "EdDSA" => json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(KEYS.ed25519.public_key().as_ref())}),
        _ => json!({"kty": "RSA", "n": base64url(&rsa_modulus()), "e": "AQAB"}),
    };
    jwk["kid"] = json!("k");
    jwk
}

fn set(keys: &[Value]) -> PublicKeys {
    PublicKeys::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

/// A token of these very texts, signed by the key of an algorithm.
fn token(signed_by: &str, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
    let signature = sign(signed_by, message.as_bytes());
    format!("{message}.{}", base64url(&signature))
}

fn header(algorithm: &str) -> String {
    json!({"alg": algorithm, "kid": "k", "typ": "JWT"}).to_string()
}

fn verify(token: &str, algorithm: &str) -> Result<SignedJwt, SignedJwtError> {
    verify_signed_jwt(token, &set(&[jwk(algorithm)]))
}

fn words(result: Result<SignedJwt, SignedJwtError>) -> &'static str {
    match result {
        Err(SignedJwtError::Invalid(words)) => words,
        other => panic!("not called invalid: {other:?}"),
    }
}

#[test]
fn every_algorithm_of_a_public_key_verifies_and_none_of_them_another_ones_signature() {
    for algorithm in ALGORITHMS {
        let good = token(algorithm, &header(algorithm), r#"{"sub":"u"}"#);
        let verified = verify(&good, algorithm).unwrap();
        assert_eq!((verified.claims.text("sub"), verified.typ.as_deref()), (Ok(Some("u")), Some("jwt")), "{algorithm}");
        for other in ALGORITHMS.into_iter().filter(|other| *other != algorithm) {
            let confused = verify(&token(algorithm, &header(other), "{}"), algorithm).unwrap_err();
            let same_key = jwk(algorithm) == jwk(other);
            let expected =
                if same_key { SignedJwtError::Invalid("its signature is wrong") } else { SignedJwtError::UnknownKey };
            assert_eq!(confused, expected, "signed {algorithm}, says {other}");
        }
        let (message, _) = good.rsplit_once('.').unwrap();
        assert_eq!(words(verify(&format!("{message}."), algorithm)), "its signature is wrong", "{algorithm}");
        let altered = good.replacen('.', ".e", 1);
        assert_eq!(words(verify(&altered, algorithm)), "its signature is wrong", "{algorithm}");
    }
}

#[test]
fn a_key_that_names_its_algorithm_verifies_no_other() {
    let mut bound = jwk("RS256");
    bound["alg"] = json!("RS256");
    let keys = set(&[bound]);
    assert!(verify_signed_jwt(&token("RS256", &header("RS256"), "{}"), &keys).is_ok());
    let padded_otherwise = token("PS256", &header("PS256"), "{}");
    assert_eq!(verify_signed_jwt(&padded_otherwise, &keys).unwrap_err(), SignedJwtError::UnknownKey);
}

#[test]
fn a_public_key_is_never_a_shared_secret() {
    let n = rsa_modulus();
    let published = [n.clone(), base64url(&n).into_bytes(), jwk("RS256").to_string().into_bytes(), Vec::new()];
    for (algorithm, function) in
        [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
    {
        for secret in &published {
            let message = format!("{}.{}", base64url(header(algorithm).as_bytes()), base64url(b"{}"));
            let tag = hmac::sign(&hmac::Key::new(function, secret), message.as_bytes());
            let forged = format!("{message}.{}", base64url(tag.as_ref()));
            assert!(words(verify(&forged, "RS256")).contains("shared secret"), "{algorithm}");
        }
    }
}

#[test]
fn a_token_without_a_signature_is_refused_however_it_says_so() {
    for alg in [json!("none"), json!("None"), json!("NONE"), json!(""), json!(null), json!(["RS256"]), json!("rs256")] {
        let header = json!({"alg": alg, "kid": "k"}).to_string();
        let signed = token("RS256", &header, "{}");
        let (message, _) = signed.rsplit_once('.').unwrap();
        for forged in [signed.clone(), format!("{message}."), message.to_owned()] {
            words(verify(&forged, "RS256"));
        }
    }
    assert!(words(verify(&token("RS256", r#"{"kid":"k"}"#, "{}"), "RS256")).contains("algorithm"));
}

#[test]
fn keys_that_a_token_brings_along_are_not_read() {
    let own = json!({"alg": "ES256", "jwk": jwk("ES256"), "jku": "https://evil.example/k", "x5u": "https://evil.example/c",
        "x5c": ["MII"]});
    let forged = token("ES256", &own.to_string(), "{}");
    assert_eq!(verify(&forged, "RS256").unwrap_err(), SignedJwtError::UnknownKey);
    let named = token("ES256", &json!({"alg": "RS256", "kid": "k", "jwk": jwk("ES256")}).to_string(), "{}");
    assert_eq!(words(verify(&named, "RS256")), "its signature is wrong");
}

#[test]
fn a_header_that_changes_what_the_signature_means_is_refused() {
    for (member, value, expected) in [
        ("crit", json!(["exp"]), "crit"),
        ("crit", json!(null), "crit"),
        ("cty", json!("JWT"), "cty"),
        ("enc", json!("A128GCM"), "encrypted"),
        ("kid", json!(5), "kid"),
        ("typ", json!(["JWT"]), "typ"),
    ] {
        let mut header = json!({"alg": "RS256", "kid": "k"});
        assert!(verify(&token("RS256", &header.to_string(), "{}"), "RS256").is_ok());
        header[member] = value;
        let said = words(verify(&token("RS256", &header.to_string(), "{}"), "RS256"));
        assert!(said.contains(expected), "{header}: {said}");
    }
    let encrypted = format!("{}.a.b.c.d", base64url(br#"{"alg":"RSA-OAEP","enc":"A128GCM"}"#));
    assert!(words(verify(&encrypted, "RS256")).contains("encrypted"));
}

#[test]
fn a_repeated_member_is_refused_in_header_and_claims() {
    for repeated in [r#"{"alg":"RS256","alg":"none","kid":"k"}"#, r#"{"alg":"RS256","kid":"k","kid":"k"}"#] {
        assert!(words(verify(&token("RS256", repeated, "{}"), "RS256")).contains("a member is repeated"), "{repeated}");
    }
    for repeated in [r#"{"sub":"a","sub":"b"}"#, r#"{"x":1,"\u0078":2}"#] {
        assert!(
            words(verify(&token("RS256", &header("RS256"), repeated), "RS256")).contains("a member is repeated"),
            "{repeated}"
        );
    }
}

#[test]
fn a_token_that_is_not_in_compact_form_is_refused() {
    let good = token("RS256", &header("RS256"), "{}");
    assert!(verify(&good, "RS256").is_ok());
    for bad in [
        String::new(),
        "..".to_owned(),
        good.replacen('.', "", 1),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        token("RS256", &header("RS256"), "[]"),
        token("RS256", &header("RS256"), "null"),
        token("RS256", &header("RS256"), ""),
        token("RS256", "[]", "{}"),
        token("RS256", &header("RS256"), &json!({"x": "y".repeat(200 * 1024)}).to_string()),
    ] {
        words(verify(&bad, "RS256"));
    }
}

#[test]
fn the_half_hash_has_half_the_length_of_the_algorithms_hash() {
    for (algorithm, length) in [("ES256", 22), ("PS384", 32), ("ES384", 32), ("RS512", 43), ("EdDSA", 43)] {
        let verified = verify(&token(algorithm, &header(algorithm), "{}"), algorithm).unwrap();
        assert_eq!(verified.half_hash("x").len(), length, "{algorithm}");
    }
    let verified = verify(&token("RS256", &header("RS256"), "{}"), "RS256").unwrap();
    // the example of OpenID Connect Core 1.0, appendix A.3
    assert_eq!(verified.half_hash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"), "77QmUPtjPfzWtF2AnpK9RQ");
}

proptest! {
    #[test]
    fn arbitrary_text_is_refused(text in ".{0,200}|[A-Za-z0-9_.-]{0,200}") {
        prop_assert!(matches!(verify(&text, "ES256"), Err(SignedJwtError::Invalid(_))));
    }

    #[test]
    fn a_forged_signature_is_refused(
        alg in "ES256|RS256|HS256|none|A128GCM|x",
        kid in "k|l",
        signature in "[A-Za-z0-9_-]{0,90}",
    ) {
        let header = json!({"alg": alg, "kid": kid}).to_string();
        let forged = format!("{}.{}.{signature}", base64url(header.as_bytes()), base64url(b"{}"));
        prop_assert!(verify(&forged, "ES256").is_err());
    }
}
