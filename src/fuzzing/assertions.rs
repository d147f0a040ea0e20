//! Assertions of clients (`private_key_jwt`) and of identity providers (ID-JAG).
//!
//! The input is a line with the header, and the claims: both in JSON. They are signed here with a key that never changes, so
//! that the fuzzer reaches what is checked behind the signature.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::input::first_line;
use crate::clock::Timestamp;
use crate::identity::{Expected, verify_assertion};
use crate::issuer::{ALGORITHMS, AssertionRules};
use crate::keys::{PublicKeys, SignedJwt, verify_signed_jwt};
use crate::secret::base64url;

const NOW: Timestamp = Timestamp(1_800_000_000);
const ISSUER: &str = "https://mcp.example.com";
const TOKEN_ENDPOINT: &str = "https://mcp.example.com/token";
const PROVIDER: &str = "https://acme.okta.com";
/// By how much a clock may be off, and how long an assertion may live, in seconds.
const LEEWAY: f64 = 60.0;
const LONGEST_LIFE: f64 = 3600.0;

/// A key pair, and the key set with its public half.
struct Signer {
    pair: Ed25519KeyPair,
    keys: PublicKeys,
}

impl Signer {
    fn new(seed: u8) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).ok()?;
        let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": base64url(pair.public_key().as_ref())});
        let keys = PublicKeys::parse(json!({"keys": [key]}).to_string().as_bytes()).ok()?;
        Some(Self { pair, keys })
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
        format!("{message}.{}", base64url(self.pair.sign(message.as_bytes()).as_ref()))
    }
}

/// A signed assertion, the key that verifies it, and one that must not.
fn signed(data: &[u8]) -> Option<(String, Signer, Signer)> {
    let (header, claims) = first_line(str::from_utf8(data).ok()?);
    let (signer, stranger) = (Signer::new(1)?, Signer::new(2)?);
    Some((signer.sign(header, claims), signer, stranger))
}

/// An assertion by which a client authenticates.
pub fn client_assertions(data: &[u8]) {
    let Some((text, signer, stranger)) = signed(data) else { return };
    let rules = AssertionRules::new(ISSUER.into(), TOKEN_ENDPOINT);
    let read = rules.read(&text, NOW);
    let verified = verify_signed_jwt(&text, &signer.keys);
    assert!(verify_signed_jwt(&text, &stranger.keys).is_err(), "another key's");
    if let Ok(token) = &verified {
        assert_signed(token, data);
    }
    if let Ok(assertion) = &read {
        assert_client_assertion(assertion.client(), data);
        let expected = Expected { issuer: PROVIDER, audience: ISSUER, now: NOW };
        assert!(verify_assertion(&text, &signer.keys, &expected).is_err(), "it is one of a provider, too");
    }
    // as it came, it is no token that any key of ours could have signed
    if let Ok(raw) = str::from_utf8(data) {
        assert!(verify_signed_jwt(raw, &signer.keys).is_err());
        drop(rules.read(raw, NOW));
    }
}

/// Header and claims as another parser reads them.
fn members(data: &[u8]) -> Option<(Value, Value)> {
    let (header, claims) = first_line(str::from_utf8(data).ok()?);
    Some((serde_json::from_str(header).ok()?, serde_json::from_str(claims).ok()?))
}

/// A signature holds only under its own algorithm, and nothing in the header may change its meaning.
fn assert_signed(token: &SignedJwt, data: &[u8]) {
    let Some((header, _)) = members(data) else { return };
    assert_eq!(token.algorithm, jsonwebtoken::Algorithm::EdDSA);
    assert_eq!(header.get("alg"), Some(&Value::from("EdDSA")));
    assert!(["crit", "enc", "cty"].iter().all(|member| header.get(member).is_none()), "{header}");
    assert!(header.get("kid").is_none_or(|kid| kid.is_null() || kid == "k"), "{header}");
}

fn assert_client_assertion(client: &str, data: &[u8]) {
    let Some((header, claims)) = members(data) else { return };
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let time = |name: &str| claims.get(name).and_then(Value::as_f64);
    assert!(header.get("alg").and_then(Value::as_str).is_some_and(|alg| ALGORITHMS.contains(&alg)), "{header}");
    assert!(!client.is_empty() && text("iss") == client && text("sub") == client, "{claims}");
    assert!((1..=256).contains(&text("jti").len()), "{claims}");
    let audiences = match claims.get("aud") {
        Some(Value::Array(audiences)) => audiences.clone(),
        Some(audience) => vec![audience.clone()],
        None => Vec::new(),
    };
    let is_explicit = header.get("typ").and_then(Value::as_str).is_some_and(|typ| {
        let typ = typ.to_ascii_lowercase();
        typ.trim_start_matches("application/") == "client-authentication+jwt"
    });
    let ours = |audience: &Value| {
        let audience = audience.as_str().unwrap_or_default();
        [ISSUER, "https://mcp.example.com/"].contains(&audience) || (!is_explicit && audience == TOKEN_ENDPOINT)
    };
    assert!(!audiences.is_empty() && audiences.iter().all(ours), "{claims}");
    assert_life(time("exp"), [time("iat"), time("nbf")]);
}

/// It has not expired, expires within an hour, and began already; clocks may be off by a minute.
#[expect(clippy::cast_precision_loss, reason = "the time is far below 2^52")]
fn assert_life(expires: Option<f64>, begins: [Option<f64>; 2]) {
    let now = NOW.0 as f64;
    let in_time = |exp: f64| now < exp + LEEWAY && exp <= now + LONGEST_LIFE + LEEWAY;
    assert!(expires.is_some_and(|exp| in_time(exp.floor())));
    assert!(begins.into_iter().flatten().all(|time| time.floor() <= now + LEEWAY));
}

/// An assertion of an identity provider about a user.
pub fn identity_assertions(data: &[u8]) {
    let Some((text, signer, stranger)) = signed(data) else { return };
    let expected = Expected { issuer: PROVIDER, audience: ISSUER, now: NOW };
    assert!(verify_assertion(&text, &stranger.keys, &expected).is_err(), "another issuer's key");
    let Ok(assertion) = verify_assertion(&text, &signer.keys, &expected) else { return };
    let rules = AssertionRules::new(ISSUER.into(), TOKEN_ENDPOINT);
    assert!(rules.read(&text, NOW).is_err(), "it authenticates a client, too");
    assert!(!assertion.key.is_empty() && assertion.key.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    assert!(!assertion.jti.is_empty() && !assertion.client_id.is_empty());
    assert!(assertion.refused_from > NOW);
    let Some((header, claims)) = members(data) else { return };
    let typ = header.get("typ").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    assert!(matches!(&*typ, "oauth-id-jag+jwt" | "application/oauth-id-jag+jwt"), "{header}");
    assert_eq!(claims.get("iss"), Some(&Value::from(PROVIDER)));
    assert!(claims.get("aud").is_some_and(|aud| *aud == json!(ISSUER) || *aud == json!([ISSUER])), "{claims}");
    assert!(claims.get("cnf").is_none(), "{claims}");
    for (name, value) in [("sub", &assertion.key), ("jti", &assertion.jti), ("client_id", &assertion.client_id)] {
        assert_eq!(claims.get(name).and_then(Value::as_str), Some(value.as_str()), "{claims}");
    }
    let verified = claims.get("email_verified") == Some(&Value::Bool(true));
    assert!(verified || assertion.user.email.is_none(), "{claims}");
}
