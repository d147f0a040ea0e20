//! Proofs that hold, and every way in which one does not.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{BoundToken, ExpectedProof, MAX_PROOF, ProofError, verify_proof};
use crate::clock::Timestamp;
use crate::config::{RootKey, Secrets};
use crate::keys::dpop::Nonces;
use crate::keys::seal::Sealer;
use crate::oauth::dpop::{ALGORITHMS, ProofTargets, Thumbprint};
use crate::secret::{Sha256, base64url, hmac_sha256};

const NOW: Timestamp = Timestamp(1_800_000_000);
const URL: &str = "https://mcp.example.com/mcp";

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

struct Key {
    pair: Pair,
    alg: &'static str,
}

impl Key {
    fn of(alg: &'static str) -> Self {
        let rsa = || RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let pair = match alg {
            "ES256" => Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            "RS256" => Pair::Rsa(rsa(), &RSA_PKCS1_SHA256),
            "PS256" => Pair::Rsa(rsa(), &RSA_PSS_SHA256),
            _ => Pair::Ed(Ed25519KeyPair::generate().unwrap()),
        };
        Self { pair, alg }
    }

    fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)})
            }
            Pair::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref())}),
            Pair::Rsa(pair, _) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({"kty": "RSA", "n": base64url(&public.n), "e": base64url(&public.e)})
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    fn thumbprint(&self) -> Thumbprint {
        Thumbprint::new(super::PublicKey::read(&self.jwk()).unwrap().thumbprint())
    }

    /// A proof in good order, whose header and claims are then edited.
    fn proof(&self, edit: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut header = json!({"typ": "dpop+jwt", "alg": self.alg, "jwk": self.jwk()});
        let mut claims = json!({
            "jti": "a jti", "htm": "POST", "htu": URL, "iat": NOW.0, "nonce": nonces().current(NOW),
            "ath": base64url(Sha256::of(b"a.token.x").as_bytes()),
        });
        edit(&mut header, &mut claims);
        let part = |value: &Value| base64url(value.to_string().as_bytes());
        let message = format!("{}.{}", part(&header), part(&claims));
        format!("{message}.{}", base64url(&self.sign(message.as_bytes())))
    }
}

fn nonces() -> Nonces {
    let secrets = Secrets { keys: vec![RootKey::from_bytes([7; 32])] };
    Nonces::new(&Sealer::new(&secrets), "https://mcp.example.com")
}

fn check(proof: &str, key: Option<Thumbprint>) -> Result<Thumbprint, ProofError> {
    let (targets, nonces, hash) = (ProofTargets::new([URL]), nonces(), Sha256::of(b"a.token.x"));
    let token = key.map(|key| BoundToken { hash: &hash, key });
    let expected = ExpectedProof { method: "POST", targets: &targets, token, nonces: &nonces };
    verify_proof(proof, &expected, NOW).map(|proof| proof.key)
}

#[test]
fn a_proof_of_every_advertised_algorithm_holds_for_the_key_that_made_it() {
    for alg in ALGORITHMS {
        let key = Key::of(alg);
        let proof = key.proof(|_, _| {});
        assert_eq!(check(&proof, Some(key.thumbprint())), Ok(key.thumbprint()), "{alg}");
        assert_eq!(check(&proof, None), Ok(key.thumbprint()), "{alg}");
        assert_eq!(check(&proof, Some(Key::of(alg).thumbprint())), Err(ProofError::OtherKey), "{alg}");
    }
}

#[test]
fn a_key_as_browsers_export_it_makes_proofs() {
    for (alg, of_key) in [("ES256", "ES256"), ("Ed25519", "Ed25519"), ("EdDSA", "Ed25519"), ("RS256", "RS256")] {
        let key = Key::of(alg);
        let proof = key.proof(|header, _| {
            header["jwk"]["alg"] = json!(of_key);
            header["jwk"]["ext"] = json!(true);
            header["jwk"]["key_ops"] = json!(["verify"]);
        });
        assert_eq!(check(&proof, Some(key.thumbprint())), Ok(key.thumbprint()), "{alg}");
    }
}

/// The words of the refusal.
fn why(proof: &str, key: &Key) -> &'static str {
    match check(proof, Some(key.thumbprint())) {
        Err(ProofError::Invalid(words)) => words,
        Err(ProofError::Nonce) => "nonce",
        Err(ProofError::OtherKey) => "other key",
        Ok(_) => "it holds",
    }
}

#[test]
fn every_wrong_member_of_the_header_is_refused() {
    let key = Key::of("ES256");
    let other = Key::of("EdDSA").jwk();
    let edited = |name: &str, value: Value| {
        key.proof(|header, _| {
            let members = header.as_object_mut().unwrap();
            members.remove(name);
            if !value.is_null() {
                members.insert(name.to_owned(), value);
            }
        })
    };
    let with = |member: &str, value: Value| {
        let mut jwk = key.jwk();
        jwk[member] = value;
        jwk
    };
    for (name, value, words) in [
        ("typ", json!(null), "typ of"),
        ("typ", json!("JWT"), "typ of"),
        ("typ", json!("at+jwt"), "typ of"),
        ("typ", json!(7), "typ of"),
        ("alg", json!(null), "alg of"),
        ("alg", json!("none"), "alg of"),
        ("alg", json!("HS256"), "alg of"),
        ("alg", json!("ES384"), "alg of"),
        ("alg", json!("RS256"), "alg of the DPoP proof is not one of its key"),
        ("crit", json!(["x"]), "the header"),
        ("b64", json!(false), "the header"),
        ("jwk", json!(null), "the DPoP proof has no jwk"),
        ("jwk", json!("x"), "the DPoP proof has no jwk"),
        ("jwk", json!({"kty": "oct", "k": "AAAA"}), "jwk of the DPoP proof is a private"),
        ("jwk", with("d", json!("AAAA")), "jwk of the DPoP proof is a private"),
        ("jwk", with("x", json!("AAAA")), "jwk of the DPoP proof must be"),
        ("jwk", with("crv", json!("P-521")), "jwk of the DPoP proof must be"),
        ("jwk", with("use", json!("enc")), "jwk of the DPoP proof must be"),
        ("jwk", json!({"kty": "RSA", "n": base64url(&[0xff; 128]), "e": "AQAB"}), "jwk of the DPoP proof must be"),
        ("jwk", other, "alg of the DPoP proof is not one of its key"),
        ("jwk", Key::of("ES256").jwk(), "the signature"),
        ("kid", json!("ignored"), "it holds"),
        ("jku", json!("https://evil.example/"), "it holds"),
        ("typ", json!("application/DPoP+jwt"), "it holds"),
    ] {
        let told = why(&edited(name, value.clone()), &key);
        assert!(told.starts_with(words), "{name} {value}: {told}");
    }
}

#[test]
fn every_wrong_claim_is_refused() {
    let key = Key::of("ES256");
    let old = nonces().current(Timestamp(NOW.0 - 60));
    let secrets = Secrets { keys: vec![RootKey::from_bytes([8; 32])] };
    let foreign = Nonces::new(&Sealer::new(&secrets), "https://mcp.example.com").current(NOW);
    for (name, value, words) in [
        ("jti", json!(null), "the DPoP proof has no jti"),
        ("jti", json!(""), "the DPoP proof has no jti"),
        ("jti", json!(7), "the DPoP proof has no jti"),
        ("jti", json!("x".repeat(257)), "jti of"),
        ("jti", json!("x".repeat(256)), "it holds"),
        ("htm", json!(null), "htm of"),
        ("htm", json!("GET"), "htm of"),
        ("htm", json!("post"), "htm of"),
        ("htu", json!(null), "htu of"),
        ("htu", json!("https://mcp.example.com/other"), "htu of"),
        ("htu", json!("http://127.0.0.1:8080/mcp"), "htu of"),
        ("htu", json!("https://mcp.example.com/mcp?query#fragment"), "it holds"),
        ("iat", json!(null), "the DPoP proof has no iat"),
        ("iat", json!("1"), "the DPoP proof has no iat"),
        ("iat", json!(NOW.0 - 300), "iat of"),
        ("iat", json!(NOW.0 - 299), "it holds"),
        ("iat", json!(NOW.0 + 301), "iat of"),
        ("iat", json!(NOW.0 + 300), "it holds"),
        ("iat", json!(i64::MAX), "the DPoP proof has no iat"),
        ("ath", json!(null), "ath of"),
        ("ath", json!(base64url(Sha256::of(b"another.token.x").as_bytes())), "ath of"),
        ("nonce", json!(null), "nonce"),
        ("nonce", json!(7), "nonce"),
        ("nonce", json!("made-up"), "nonce"),
        ("nonce", json!(old), "nonce"),
        ("nonce", json!(foreign), "nonce"),
    ] {
        let proof = key.proof(|_, claims| {
            claims.as_object_mut().unwrap().remove(name);
            if !value.is_null() {
                claims[name] = value.clone();
            }
        });
        let told = why(&proof, &key);
        assert!(told.starts_with(words), "{name} {value}: {told}");
    }
}

#[test]
fn a_proof_signed_with_its_public_key_as_a_shared_secret_is_refused() {
    let key = Key::of("ES256");
    let proof = key.proof(|header, _| header["alg"] = json!("HS256"));
    let (message, _) = proof.rsplit_once('.').unwrap();
    let mac = hmac_sha256(key.jwk().to_string().as_bytes(), &[message.as_bytes()]);
    assert!(why(&format!("{message}.{}", base64url(&mac)), &key).starts_with("alg of"));
    let unsigned = key.proof(|header, _| header["alg"] = json!("none"));
    let (message, _) = unsigned.rsplit_once('.').unwrap();
    assert!(why(&format!("{message}."), &key).starts_with("alg of"));
}

#[test]
fn repeated_members_and_huge_proofs_are_refused_before_any_cryptography() {
    let key = Key::of("ES256");
    let proof = key.proof(|header, _| header["jwk"]["x5c"] = json!("x".repeat(MAX_PROOF)));
    assert_eq!(why(&proof, &key), "the DPoP proof is longer than 4 KiB");
    let proof = key.proof(|_, _| {});
    let (_, rest) = proof.split_once('.').unwrap();
    let twice = format!(r#"{{"typ":"dpop+jwt","alg":"ES256","alg":"ES256","jwk":{}}}"#, key.jwk());
    assert!(why(&format!("{}.{rest}", base64url(twice.as_bytes())), &key).contains("unique members"));
}

#[test]
fn the_id_of_a_proof_is_that_of_its_key_and_its_jti() {
    let (targets, nonces) = (ProofTargets::new([URL]), nonces());
    let expected = ExpectedProof { method: "POST", targets: &targets, token: None, nonces: &nonces };
    let id = |key: &Key, jti: &str| {
        verify_proof(&key.proof(|_, claims| claims["jti"] = json!(jti)), &expected, NOW).unwrap().id
    };
    let (one, other) = (Key::of("ES256"), Key::of("ES256"));
    assert_eq!(id(&one, "a"), id(&one, "a"), "another signature makes no other proof");
    assert!(id(&one, "a") != id(&one, "b") && id(&one, "a") != id(&other, "a"));
}

proptest! {
    #[test]
    fn hostile_text_is_no_proof(text in "\\PC{0,80}|([A-Za-z0-9_-]{0,40}\\.){0,3}[A-Za-z0-9_-]{0,40}") {
        prop_assert!(check(&text, None).is_err());
    }

    #[test]
    fn a_proof_with_one_changed_character_proves_nothing(at in 0usize..400, to in "[A-Za-z0-9_.-]") {
        let key = Key::of("ES256");
        let proof = key.proof(|_, _| {});
        let at = at % proof.len();
        let mut changed = proof.clone();
        changed.replace_range(at..=at, &to);
        prop_assert_eq!(check(&changed, Some(key.thumbprint())).is_ok(), changed == proof);
    }
}
