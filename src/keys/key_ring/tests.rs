//! Creation of the first key, which of several signs, withdrawn and unusable keys.

use std::time::Duration;

use serde_json::{Value, json};

use super::{KeyError, KeyRing, VerifyError};
use crate::clock::{Clock, Timestamp};
use crate::config::SigningAlgorithm::{EdDsa, Es256, Rs256};
use crate::keys::test_shelf::{TestShelf, sealer};
use crate::oauth::claims::AccessTokenClaims;
use crate::oauth::scope::ScopeSet;

fn clock() -> Clock {
    Clock::manual(Timestamp(1_800_000_000))
}

fn claims() -> AccessTokenClaims {
    AccessTokenClaims {
        iss: "https://mcp.example.com".to_owned(),
        sub: "keycloak|1".to_owned(),
        aud: "https://mcp.example.com/mcp".to_owned(),
        client_id: "c_1".to_owned(),
        scope: ScopeSet::parse("mcp:access").unwrap(),
        iat: 1_800_000_000,
        exp: 1_800_003_600,
        jti: "j".to_owned(),
        sid: "g_1".to_owned(),
        cnf: None,
    }
}

/// The `kid` of a token that is signed now.
fn signed_with(ring: &KeyRing) -> String {
    jsonwebtoken::decode_header(ring.sign(&claims()).unwrap()).unwrap().kid.unwrap()
}

fn kids(jwks: &[u8]) -> Vec<String> {
    keys(jwks).iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn keys(jwks: &[u8]) -> Vec<Value> {
    serde_json::from_slice::<Value>(jwks).unwrap()["keys"].as_array().unwrap().clone()
}

#[tokio::test]
async fn processes_that_start_at_once_agree_on_one_first_key() {
    let (shelf, clock) = (TestShelf::default(), clock());
    let rings: Vec<_> = (0..8)
        .map(|_| {
            let (shelf, clock) = (shelf.clone(), clock.clone());
            tokio::spawn(async move { shelf.ring(Es256, &clock).await.unwrap() })
        })
        .collect();
    let mut documents = Vec::new();
    for ring in rings {
        documents.push(ring.await.unwrap().jwks());
    }
    assert_eq!(keys(&documents[0]).len(), 1);
    assert!(documents.iter().all(|document| document == &documents[0]));
}

#[tokio::test]
async fn the_key_set_contains_public_members_with_alg_and_use() {
    for (algorithm, name, shown) in [
        (Es256, "ES256", vec!["alg", "crv", "kid", "kty", "use", "x", "y"]),
        (Rs256, "RS256", vec!["alg", "e", "kid", "kty", "n", "use"]),
        (EdDsa, "EdDSA", vec!["alg", "crv", "kid", "kty", "use", "x"]),
    ] {
        let shelf = TestShelf::default();
        let ring = shelf.ring(algorithm, &clock()).await.unwrap();
        let keys = keys(&ring.jwks());
        assert_eq!(keys.len(), 1);
        let mut members: Vec<_> = keys[0].as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, shown, "{name}");
        assert_eq!((&keys[0]["alg"], &keys[0]["use"]), (&json!(name), &json!("sig")));
        assert!(keys[0]["kid"].as_str().unwrap().starts_with("k_"));
    }
}

#[tokio::test]
async fn a_token_names_type_and_key_and_the_private_key_is_stored_encrypted() {
    let shelf = TestShelf::default();
    let ring = shelf.ring(Es256, &clock()).await.unwrap();
    let token = ring.sign(&claims()).unwrap();
    let header = data_encoding::BASE64URL_NOPAD.decode(token.split('.').next().unwrap().as_bytes()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header, json!({"typ": "at+jwt", "alg": "ES256", "kid": keys(&ring.jwks())[0]["kid"]}));
    shelf.edit(|stored| {
        let pkcs8 = sealer(1).open("signing key", stored[0].id.as_str().as_bytes(), &stored[0].sealed_private_key);
        assert!(pkcs8.is_ok(), "the private key is encrypted and bound to its own id");
        assert!(sealer(1).open("signing key", b"k_other", &stored[0].sealed_private_key).is_err());
    });
}

#[tokio::test]
async fn the_store_and_not_the_configured_algorithm_decides_which_key_signs() {
    let (shelf, clock) = (TestShelf::default(), clock());
    let old = shelf.ring(Es256, &clock).await.unwrap();
    let new = shelf.ring(EdDsa, &clock).await.unwrap();
    assert_eq!(new.jwks(), old.jwks(), "the next key is the rotation's to make");
    assert_eq!(signed_with(&new), kids(&old.jwks())[0]);
}

#[tokio::test]
async fn a_published_key_signs_in_every_process_from_its_second_on() {
    let (shelf, clock) = (TestShelf::default(), clock());
    let (one, other) = (shelf.ring(Es256, &clock).await.unwrap(), shelf.ring(Es256, &clock).await.unwrap());
    shelf.rotate_at(Rs256, &sealer(1), clock.now() + Duration::from_mins(10));
    for ring in [&one, &other] {
        ring.read_again().await.unwrap();
    }
    let [old, next] = &kids(&one.jwks())[..] else { panic!("not two keys") };
    clock.advance(Duration::from_secs(599));
    assert_eq!((&signed_with(&one), &signed_with(&other)), (old, old));
    clock.advance(Duration::from_secs(1));
    assert_eq!((&signed_with(&one), &signed_with(&other)), (next, next), "there was no read");
    assert_eq!(one.standing().unwrap().signing_since, clock.now());
}

#[tokio::test]
async fn a_withdrawn_key_is_gone_after_the_next_read_and_its_watchers_are_told() {
    let (shelf, clock) = (TestShelf::default(), clock());
    let ring = shelf.ring(Es256, &clock).await.unwrap();
    let kid = signed_with(&ring);
    let watch = ring.find(&kid).unwrap().watch().clone();
    shelf.replace(Es256, &sealer(1));
    ring.read_again().await.unwrap();
    assert!(watch.is_withdrawn() && ring.find(&kid).is_none());
    watch.withdrawn().await;
    assert_ne!(signed_with(&ring), kid);
    assert_eq!(kids(&ring.jwks()), [signed_with(&ring)]);
}

#[tokio::test]
async fn a_withdrawn_key_is_refused_even_where_its_replacement_cannot_be_read() {
    let (shelf, clock) = (TestShelf::default(), clock());
    let ring = shelf.ring(Es256, &clock).await.unwrap();
    let kid = signed_with(&ring);
    shelf.replace(Es256, &sealer(2));
    assert!(ring.read_again().await.is_err());
    assert!(ring.find(&kid).is_none());
    assert!(matches!(ring.sign(&claims()), Err(KeyError::Missing)));
    assert!(ring.standing().is_none() && keys(&ring.jwks()).is_empty());
    assert_eq!(ring.find_in_store(&kid).await.err(), Some(VerifyError::Unavailable), "no key can be read");
}

#[tokio::test]
async fn a_key_that_was_replaced_long_ago_goes_without_ending_anything() {
    let (shelf, clock) = (TestShelf::default(), clock());
    let ring = shelf.ring(Es256, &clock).await.unwrap();
    let kid = signed_with(&ring);
    let watch = ring.find(&kid).unwrap().watch().clone();
    shelf.rotate(Es256, &sealer(1));
    shelf.edit(|keys| drop(keys.remove(0)));
    ring.read_again().await.unwrap();
    assert!(ring.find(&kid).is_none());
    assert!(!watch.is_withdrawn(), "a stream may outlive its token");
}

#[tokio::test(start_paused = true)]
async fn reads_of_the_store_are_a_second_apart_and_unknown_kids_share_them() {
    let (shelf, clock) = (TestShelf::default(), clock());
    let ring = shelf.ring(Es256, &clock).await.unwrap();
    ring.read_again().await.unwrap();
    let (reads, began) = (shelf.reads(), tokio::time::Instant::now());
    let (read, unknown) = tokio::join!(ring.read_again(), ring.find_in_store("k_x"));
    assert!(read.is_ok() && unknown.is_err());
    assert_eq!((shelf.reads() - reads, began.elapsed()), (1, Duration::from_secs(1)));
}

#[tokio::test]
async fn a_key_under_a_removed_root_key_is_an_error_that_names_the_setting() {
    let (shelf, clock) = (TestShelf::default(), clock());
    shelf.ring(Es256, &clock).await.unwrap();
    let error = shelf.ring_with(&sealer(2), Es256, &clock).await.err().unwrap();
    assert!(matches!(error, KeyError::Unsealable(_)));
    assert!(error.to_string().contains("secrets.keys"), "{error}");
}

#[tokio::test]
async fn a_failing_store_at_start_is_an_error() {
    let shelf = TestShelf::default();
    shelf.set_down(true);
    assert!(matches!(shelf.ring(Es256, &clock()).await.err().unwrap(), KeyError::Store(_)));
}

#[tokio::test]
async fn a_key_of_a_newer_version_does_not_prevent_the_start() {
    let (shelf, clock) = (TestShelf::default(), clock());
    shelf.rotate(Es256, &sealer(1));
    shelf.edit(|keys| keys[0].algorithm = "ML-DSA-65".to_owned());
    let ring = shelf.ring(Es256, &clock).await.unwrap();
    assert_eq!(keys(&ring.jwks()).len(), 1);
    assert!(ring.sign(&claims()).is_ok());
}
