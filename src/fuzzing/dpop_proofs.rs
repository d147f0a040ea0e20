//! DPoP proofs (RFC 9449).
//!
//! The input is a line with the header, and the claims: both in JSON, in which `@key`, `@nonce` and `@ath` stand for a key, a
//! nonce of ours and the hash of a token. They are signed here with that key, so that the fuzzer reaches what is checked
//! before the signature and behind it.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::input::first_line;
use crate::clock::Timestamp;
use crate::config::{RootKey, Secrets};
use crate::keys::Sealer;
use crate::keys::dpop::{BoundToken, ExpectedProof, MAX_PROOF, Nonces, VerifiedProof, verify_proof};
use crate::oauth::dpop::{ALGORITHMS, ProofTargets, Thumbprint};
use crate::secret::{Sha256, base64url};

const NOW: Timestamp = Timestamp(1_800_000_000);
const URL: &str = "https://mcp.example.com/mcp";
const ISSUER: &str = "https://mcp.example.com";
const TOKEN: &str = "a.b.c";
/// How far a clock may be off, in seconds.
const SKEW: f64 = 300.0;

/// A proof at the token endpoint, and the same beside an access token.
pub fn dpop_proofs(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(pair) = Ed25519KeyPair::from_seed_unchecked(&[1; 32]) else { return };
    let nonces = Nonces::new(&Sealer::new(&Secrets { keys: vec![RootKey::from_bytes([7; 32])] }), ISSUER);
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref())}).to_string();
    let hash = Sha256::of(TOKEN.as_bytes());
    let filled =
        text.replace("@key", &key).replace("@nonce", &nonces.current(NOW)).replace("@ath", &base64url(hash.as_bytes()));
    let (header, claims) = first_line(&filled);
    let message = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
    let proof = format!("{message}.{}", base64url(pair.sign(message.as_bytes()).as_ref()));
    let targets = ProofTargets::new([URL]);
    let expected = ExpectedProof { method: "POST", targets: &targets, token: None, nonces: &nonces };
    let alone = verify_proof(&proof, &expected, NOW);
    if let Ok(verified) = &alone {
        assert_proof(&proof, verified, header, claims);
        // another method, URL and time are not what it was made for
        assert!(verify_proof(&proof, &ExpectedProof { method: "GET", ..expected }, NOW).is_err());
        let elsewhere = ProofTargets::new(["https://mcp.example.com/other"]);
        assert!(verify_proof(&proof, &ExpectedProof { targets: &elsewhere, ..expected }, NOW).is_err());
        assert!(verify_proof(&proof, &expected, verified.good_until).is_err());
        // a signature of another key
        let other = Ed25519KeyPair::from_seed_unchecked(&[2; 32]).map(|other| other.sign(message.as_bytes()));
        assert!(other.is_ok_and(|other| {
            verify_proof(&format!("{message}.{}", base64url(other.as_ref())), &expected, NOW).is_err()
        }));
        assert_beside_a_token(&proof, &expected, (verified, &hash), claims);
    }
    // as it came, no key signed it
    assert!(verify_proof(text, &expected, NOW).is_err());
}

/// What holds of an accepted proof, as another parser reads it.
fn assert_proof(proof: &str, verified: &VerifiedProof, header: &str, claims: &str) {
    assert!(proof.len() <= MAX_PROOF && verified.good_until > NOW);
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let (header, claims) = (read(header), read(claims));
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let typ = text(&header, "typ").to_ascii_lowercase();
    assert_eq!(typ.trim_start_matches("application/"), "dpop+jwt", "{header}");
    assert!(ALGORITHMS.contains(&&*text(&header, "alg")), "{header}");
    let key = header.get("jwk").cloned().unwrap_or_default();
    assert!(["d", "p", "q", "k"].iter().all(|member| key.get(member).is_none()), "{header}");
    assert!((1..=256).contains(&text(&claims, "jti").len()), "{claims}");
    assert_eq!(text(&claims, "htm"), "POST", "{claims}");
    let htu = text(&claims, "htu");
    let place = htu.split(['?', '#']).next().unwrap_or_default();
    let place = url::Url::parse(place).map(String::from).unwrap_or_default();
    assert_eq!(percent_encoding::percent_decode_str(&place).decode_utf8_lossy(), URL, "{claims}");
    let iat = claims.get("iat").and_then(Value::as_f64);
    #[expect(clippy::cast_precision_loss, reason = "the time is far below 2^52")]
    let now = NOW.0 as f64;
    assert!(iat.is_some_and(|iat| (iat.floor() - now).abs() <= SKEW), "{claims}");
}

/// Beside a token the proof must hash it, and its key must be the token's.
fn assert_beside_a_token(
    proof: &str,
    expected: &ExpectedProof<'_>,
    (verified, hash): (&VerifiedProof, &Sha256),
    claims: &str,
) {
    let with = |key, hash: &Sha256| {
        verify_proof(proof, &ExpectedProof { token: Some(BoundToken { hash, key }), ..*expected }, NOW)
    };
    let claims = serde_json::from_str::<Value>(claims).unwrap_or_default();
    let hashes = claims.get("ath").and_then(Value::as_str) == Some(base64url(hash.as_bytes()).as_str());
    assert_eq!(with(verified.key, hash).is_ok(), hashes, "{claims}");
    assert!(with(verified.key, &Sha256::of(b"another token")).is_err() || !hashes);
    assert!(with(Thumbprint::new(Sha256::of(b"another key")), hash).is_err());
}
