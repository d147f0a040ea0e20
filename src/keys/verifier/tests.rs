//! Forged, foreign and expired tokens, and what they may cost.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Expected, KeyRing, VerifyError, verify_access_token};
use crate::clock::{Clock, Timestamp};
use crate::config::SigningAlgorithm::{self, EdDsa, Es256, Rs256};
use crate::keys::test_shelf::{TestShelf, sealer};
use crate::oauth::claims::AccessTokenClaims;
use crate::oauth::scope::ScopeSet;
use crate::secret::base64url;

const ISSUER: &str = "https://mcp.example.com";
const NOW: i64 = 1_800_000_000;
const HOUR: Duration = Duration::from_hours(1);

struct Bench {
    shelf: TestShelf,
    clock: Clock,
    ring: KeyRing,
}

impl Bench {
    async fn new(algorithm: SigningAlgorithm) -> Self {
        let (shelf, clock) = (TestShelf::default(), Clock::manual(Timestamp(NOW)));
        let ring = shelf.ring(algorithm, &clock).await.unwrap();
        Self { shelf, clock, ring }
    }

    fn claims(&self) -> AccessTokenClaims {
        let now = self.clock.now().0;
        AccessTokenClaims {
            iss: ISSUER.to_owned(),
            sub: "keycloak|1".to_owned(),
            aud: "https://mcp.example.com/mcp".to_owned(),
            client_id: "c_1".to_owned(),
            scope: ScopeSet::parse("mcp:access").unwrap(),
            iat: now,
            exp: now + 3600,
            jti: "j".to_owned(),
            sid: "g_1".to_owned(),
            cnf: None,
        }
    }

    async fn verify(&self, token: &str) -> Result<AccessTokenClaims, VerifyError> {
        self.verify_with(HOUR, token).await
    }

    async fn verify_with(&self, lifetime: Duration, token: &str) -> Result<AccessTokenClaims, VerifyError> {
        let expected = Expected { issuer: ISSUER, lifetime, now: self.clock.now() };
        verify_access_token(&self.ring, token, &expected).await.map(|verified| verified.claims)
    }

    fn kid(&self) -> String {
        let jwks: Value = serde_json::from_slice(&self.ring.jwks()).unwrap();
        jwks["keys"][0]["kid"].as_str().unwrap().to_owned()
    }

    /// A valid token with edited header and claims, signed with our own key.
    fn forged(&self, header: impl FnOnce(&mut Value), claims: impl FnOnce(&mut Value)) -> String {
        let key = self.ring.find(&self.kid()).unwrap();
        let mut body = serde_json::to_value(self.claims()).unwrap();
        claims(&mut body);
        let mut head = json!({"typ": "at+jwt", "alg": "ES256", "kid": self.kid()});
        header(&mut head);
        let message = format!("{}.{}", base64url(head.to_string().as_bytes()), base64url(body.to_string().as_bytes()));
        let signature = key.sign_bytes(message.as_bytes());
        format!("{message}.{}", base64url(&signature))
    }
}

fn invalid(result: Result<AccessTokenClaims, VerifyError>) -> &'static str {
    match result {
        Err(VerifyError::Invalid(words)) => words,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_signed_by_the_ring_verifies_with_every_algorithm() {
    for algorithm in [Es256, Rs256, EdDsa] {
        let bench = Bench::new(algorithm).await;
        let token = bench.ring.sign(&bench.claims()).unwrap();
        assert_eq!(bench.verify(&token).await, Ok(bench.claims()));
    }
}

#[tokio::test]
async fn an_assertion_for_a_server_is_no_access_token_even_with_the_claims_of_one() {
    let bench = Bench::new(Es256).await;
    let (token, key) = bench.ring.sign_assertion(&bench.claims()).unwrap();
    assert_eq!(invalid(bench.verify(&token).await), "its typ is not at+jwt");
    assert!(!key.is_withdrawn());
}

#[tokio::test]
async fn the_forgery_helper_makes_valid_tokens_without_edits() {
    let bench = Bench::new(Es256).await;
    assert_eq!(bench.verify(&bench.forged(|_| {}, |_| {})).await, Ok(bench.claims()));
    let full = bench.forged(|head| head["typ"] = json!("application/AT+JWT"), |_| {});
    assert_eq!(bench.verify(&full).await, Ok(bench.claims()));
}

#[tokio::test]
async fn a_token_expires_in_the_second_of_exp() {
    let bench = Bench::new(Es256).await;
    let token = bench.ring.sign(&bench.claims()).unwrap();
    bench.clock.advance(Duration::from_secs(3599));
    assert!(bench.verify(&token).await.is_ok());
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(invalid(bench.verify(&token).await), "the token has expired");
}

#[tokio::test]
async fn a_shortened_lifetime_applies_to_existing_tokens_and_a_longer_one_does_not() {
    let bench = Bench::new(Es256).await;
    let token = bench.ring.sign(&bench.claims()).unwrap();
    bench.clock.advance(Duration::from_secs(4));
    let short = Duration::from_secs(5);
    assert!(bench.verify_with(short, &token).await.is_ok());
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(invalid(bench.verify_with(short, &token).await), "the token has expired");
    assert!(bench.verify(&token).await.is_ok());
    bench.clock.advance(HOUR.saturating_sub(short));
    assert_eq!(invalid(bench.verify_with(24 * HOUR, &token).await), "the token has expired");
}

#[tokio::test]
async fn a_token_from_the_future_is_refused_beyond_the_clock_skew() {
    let bench = Bench::new(Es256).await;
    for (ahead, good) in [(60, true), (61, false), (4000, false), (i64::MAX - NOW, false)] {
        let token = bench.forged(
            |_| {},
            |claims| {
                claims["iat"] = json!(NOW + ahead);
                claims["exp"] = json!(i64::MAX);
            },
        );
        assert_eq!(bench.verify(&token).await.is_ok(), good, "{ahead}");
    }
    // an iat in the distant past is capped by the lifetime
    let token = bench.forged(|_| {}, |claims| claims["iat"] = json!(i64::MIN));
    assert_eq!(invalid(bench.verify(&token).await), "the token has expired");
}

#[tokio::test]
async fn an_unsigned_token_is_refused() {
    let bench = Bench::new(Es256).await;
    for alg in ["none", "None", "NONE", ""] {
        let token = bench.forged(|head| head["alg"] = json!(alg), |_| {});
        let (unsigned, _) = token.rsplit_once('.').unwrap();
        assert_eq!(invalid(bench.verify(&token).await), "it is not a signed JWT");
        assert_eq!(invalid(bench.verify(&format!("{unsigned}.")).await), "it is not a signed JWT");
    }
    let stripped = bench.ring.sign(&bench.claims()).unwrap();
    let (unsigned, _) = stripped.rsplit_once('.').unwrap();
    assert!(matches!(bench.verify(&format!("{unsigned}.")).await, Err(VerifyError::Invalid(_))));
}

#[tokio::test]
async fn the_public_key_is_not_accepted_as_an_hmac_secret() {
    for algorithm in [Es256, Rs256] {
        let bench = Bench::new(algorithm).await;
        let jwks = bench.ring.jwks();
        let jwk: Value = serde_json::from_slice::<Value>(&jwks).unwrap()["keys"][0].clone();
        let secrets = [jwks.to_vec(), jwk.to_string().into_bytes(), jwk["x"].to_string().into_bytes(), vec![0]];
        for (secret, alg) in secrets.iter().zip([Algorithm::HS256, Algorithm::HS384, Algorithm::HS512].iter().cycle()) {
            let mut header = Header::new(*alg);
            (header.typ, header.kid) = (Some("at+jwt".to_owned()), Some(bench.kid()));
            let key = EncodingKey::from_secret(secret).unwrap();
            let token = jsonwebtoken::encode(&header, &bench.claims(), &key).unwrap();
            assert_eq!(invalid(bench.verify(&token).await), "its algorithm is not that of its key");
        }
    }
}

#[tokio::test]
async fn a_token_must_name_the_algorithm_of_its_key() {
    let bench = Bench::new(Rs256).await;
    for alg in ["RS384", "PS256", "ES256", "EdDSA"] {
        let token = bench.forged(|head| head["alg"] = json!(alg), |_| {});
        assert_eq!(invalid(bench.verify(&token).await), "its algorithm is not that of its key");
    }
}

#[tokio::test]
async fn a_token_must_be_signed_by_the_key_that_it_names() {
    let bench = Bench::new(Es256).await;
    let claimed = bench.kid();
    bench.shelf.rotate(EdDsa, &sealer(1));
    bench.ring.read_again().await.unwrap();
    let signed = bench.ring.signing().unwrap();
    assert_ne!(signed.id().as_str(), claimed);
    for alg in ["ES256", "EdDSA"] {
        let header = json!({"typ": "at+jwt", "alg": alg, "kid": claimed});
        let claims = serde_json::to_string(&bench.claims()).unwrap();
        let message = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.as_bytes()));
        let token = format!("{message}.{}", base64url(&signed.sign_bytes(message.as_bytes())));
        assert!(matches!(bench.verify(&token).await, Err(VerifyError::Invalid(_))), "{alg}");
    }
}

#[tokio::test]
async fn an_id_token_is_not_accepted_as_an_access_token() {
    let bench = Bench::new(Es256).await;
    for typ in [json!("JWT"), json!("id_token+jwt"), json!("at+jwt "), json!("logout+jwt"), json!(""), json!(null)] {
        let token = bench.forged(|head| head["typ"] = typ, |_| {});
        assert!(invalid(bench.verify(&token).await).contains("typ"));
    }
    let without = bench.forged(|head| drop(head.as_object_mut().unwrap().remove("typ")), |_| {});
    assert_eq!(invalid(bench.verify(&without).await), "it has no typ");
}

#[tokio::test]
async fn another_issuer_or_a_missing_claim_is_refused() {
    let bench = Bench::new(Es256).await;
    for issuer in ["https://mcp.example.com/", "https://MCP.example.com", "http://mcp.example.com", ""] {
        let token = bench.forged(|_| {}, |claims| claims["iss"] = json!(issuer));
        assert_eq!(invalid(bench.verify(&token).await), "its issuer is not ours");
    }
    for claim in ["iss", "sub", "aud", "client_id", "scope", "iat", "exp", "jti", "sid"] {
        let token = bench.forged(|_| {}, |claims| drop(claims.as_object_mut().unwrap().remove(claim)));
        assert_eq!(invalid(bench.verify(&token).await), "its signature or its claims are wrong", "{claim}");
    }
    let token = bench.forged(|_| {}, |claims| claims["aud"] = json!(["https://mcp.example.com/mcp", "other"]));
    assert!(matches!(bench.verify(&token).await, Err(VerifyError::Invalid(_))));
}

#[tokio::test]
async fn a_token_without_kid_does_not_read_the_store() {
    let bench = Bench::new(Es256).await;
    let token = bench.forged(|head| drop(head.as_object_mut().unwrap().remove("kid")), |_| {});
    let reads = bench.shelf.reads();
    assert_eq!(invalid(bench.verify(&token).await), "it has no kid");
    assert_eq!(bench.shelf.reads(), reads);
}

#[tokio::test]
async fn every_changed_or_missing_character_is_detected() {
    let bench = Bench::new(Es256).await;
    let token = bench.ring.sign(&bench.claims()).unwrap();
    let signature = token.rfind('.').unwrap();
    for length in 0..token.len() {
        assert!(matches!(bench.verify(&token[..length]).await, Err(VerifyError::Invalid(_))), "{length}");
    }
    for at in signature + 1..token.len() - 1 {
        let mut changed = token.clone();
        let other = if &token[at..=at] == "A" { "B" } else { "A" };
        changed.replace_range(at..=at, other);
        assert!(matches!(bench.verify(&changed).await, Err(VerifyError::Invalid(_))), "{at}");
    }
    for longer in [format!("{token}A"), format!("{token}."), format!(".{token}"), format!("{token}.{token}")] {
        assert!(matches!(bench.verify(&longer).await, Err(VerifyError::Invalid(_))));
    }
}

#[tokio::test]
async fn an_oversized_token_is_refused_before_parsing() {
    let bench = Bench::new(Es256).await;
    let token = bench.ring.sign(&bench.claims()).unwrap();
    for garbage in ["a".repeat(10_240), format!("{token}{}", "A".repeat(10_240)), ".".repeat(10_240)] {
        assert_eq!(invalid(bench.verify(&garbage).await), "it is longer than any of ours");
    }
}

#[tokio::test]
async fn a_key_of_another_process_is_found_in_the_store() {
    let bench = Bench::new(Es256).await;
    bench.clock.advance(Duration::from_mins(1));
    bench.shelf.rotate(Es256, &sealer(1));
    let other = bench.shelf.ring(Es256, &bench.clock).await.unwrap();
    let token = other.sign(&bench.claims()).unwrap();
    assert_eq!(bench.verify(&token).await, Ok(bench.claims()));
    assert_eq!(bench.ring.jwks(), other.jwks());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_kids_costs_one_read_per_second() {
    let bench = Bench::new(Es256).await;
    let storm = |names: std::ops::Range<usize>| -> Vec<_> {
        names
            .map(|n| {
                let iat = [NOW - 30, NOW, NOW + 30][n % 3];
                let token =
                    bench.forged(|head| head["kid"] = json!(format!("k_{n}")), |claims| claims["iat"] = json!(iat));
                let (ring, now) = (bench.ring.clone(), bench.clock.now());
                tokio::spawn(async move {
                    let expected = Expected { issuer: ISSUER, lifetime: HOUR, now };
                    verify_access_token(&ring, &token, &expected).await
                })
            })
            .collect()
    };
    // in the first round one read starts at once, and the tokens that arrive during it share the next
    for (names, looks) in [(0..200, 2), (200..400, 1), (400..1400, 1)] {
        let (reads, began) = (bench.shelf.reads(), tokio::time::Instant::now());
        for one in storm(names) {
            assert_eq!(one.await.unwrap().unwrap_err(), VerifyError::Invalid("no key of ours has its kid"));
        }
        assert_eq!(bench.shelf.reads(), reads + looks);
        assert!(began.elapsed() <= Duration::from_secs(1), "no token waits longer than for the next read");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_made_just_after_a_read_is_found_by_the_next_one() {
    let bench = Bench::new(Es256).await;
    let stranger = bench.forged(|head| head["kid"] = json!("k_x"), |_| {});
    assert!(matches!(bench.verify(&stranger).await, Err(VerifyError::Invalid(_))));
    bench.shelf.rotate(Es256, &sealer(1));
    let other = bench.shelf.ring(Es256, &bench.clock).await.unwrap();
    let token = other.sign(&bench.claims()).unwrap();
    assert_eq!(bench.verify(&token).await, Ok(bench.claims()));
}

#[tokio::test]
async fn a_failing_store_is_unavailable_and_not_an_invalid_token() {
    let bench = Bench::new(Es256).await;
    bench.shelf.rotate(Es256, &sealer(1));
    let other = bench.shelf.ring(Es256, &bench.clock).await.unwrap();
    let token = other.sign(&bench.claims()).unwrap();
    bench.shelf.set_down(true);
    assert_eq!(bench.verify(&token).await, Err(VerifyError::Unavailable));
    assert!(bench.verify(&bench.ring.sign(&bench.claims()).unwrap()).await.is_ok(), "keys in memory still work");
    bench.shelf.set_down(false);
    assert_eq!(
        bench.verify(&token).await,
        Err(VerifyError::Unavailable),
        "a failed read is not repeated within a second"
    );
    bench.clock.advance(Duration::from_secs(1));
    assert!(bench.verify(&token).await.is_ok());
}

#[tokio::test]
async fn a_foreign_or_expired_token_with_an_unknown_kid_does_not_read_the_store() {
    let bench = Bench::new(Es256).await;
    let reads = bench.shelf.reads();
    let edits: [fn(&mut Value); 5] = [
        |claims| claims["iss"] = json!("https://sso.example.com/realms/mcp"),
        |claims| claims["exp"] = json!(NOW),
        |claims| claims["iat"] = json!(NOW + 61),
        |claims| claims["iat"] = json!(i64::MAX),
        |claims| claims["iat"] = json!("soon"),
    ];
    for edit in edits {
        let token = bench.forged(|head| head["kid"] = json!("k_x"), edit);
        assert!(matches!(bench.verify(&token).await, Err(VerifyError::Invalid(_))));
    }
    assert_eq!(bench.shelf.reads(), reads);
}

#[tokio::test]
async fn a_key_that_cannot_be_decrypted_is_unavailable_and_affects_no_other() {
    let bench = Bench::new(Es256).await;
    bench.shelf.rotate(EdDsa, &sealer(2));
    let mut kid = String::new();
    bench.shelf.edit(|keys| kid = keys[1].id.to_string());
    let token = bench.forged(|head| head["kid"] = json!(kid), |_| {});
    assert_eq!(bench.verify(&token).await, Err(VerifyError::Unavailable));
    assert!(bench.verify(&bench.ring.sign(&bench.claims()).unwrap()).await.is_ok());
    bench.clock.advance(Duration::from_secs(1));
    let token = bench.forged(|head| head["kid"] = json!("k_x"), |_| {});
    assert!(matches!(bench.verify(&token).await, Err(VerifyError::Invalid(_))));
}

#[tokio::test]
async fn an_empty_store_does_not_remove_keys_from_memory() {
    let bench = Bench::new(Es256).await;
    bench.shelf.edit(Vec::clear);
    let token = bench.forged(|head| head["kid"] = json!("k_x"), |_| {});
    assert_eq!(bench.verify(&token).await, Err(VerifyError::Unavailable));
    assert!(bench.verify(&bench.ring.sign(&bench.claims()).unwrap()).await.is_ok());
}

proptest! {
    #[test]
    fn arbitrary_text_is_invalid_and_never_an_error_of_ours(text in "[a-zA-Z0-9_=.{}\"-]{0,200}|.{0,60}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new(EdDsa).await;
            prop_assert!(matches!(bench.verify(&text).await, Err(VerifyError::Invalid(_))));
            Ok(())
        })?;
    }
}
