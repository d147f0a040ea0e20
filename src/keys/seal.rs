//! Authenticated encryption at rest ("sealing"): AES-256-GCM under sub-keys of the root keys (HKDF, one label per use).
//!
//! ```text
//! by the ring:    version 1 │ key id (8) │ nonce (12) │ ciphertext │ tag (16)
//! by a secret:    version 2 │              nonce (12) │ ciphertext │ tag (16)
//! ```
//! Version, key id, label and context are authenticated, with length prefixes.
//!
//! Defends against: a stolen database, and values moved between rows, columns or uses.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

use crate::config::{RootKey, Secrets};

const BY_RING: u8 = 1;
const BY_SECRET: u8 = 2;
const KEY_ID_LEN: usize = 8;

/// A sealed value cannot be opened: wrong key, use or context, or it was modified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was not sealed by a known key, or was modified")]
pub struct Unsealable;

/// Seals with the first root key, opens with any. Cheap to clone.
#[derive(Clone)]
pub struct Sealer(Arc<Ring>);

struct Ring {
    first: RingKey,
    rest: Vec<RingKey>,
}

struct RingKey {
    id: [u8; KEY_ID_LEN],
    root: Prk,
}

impl RingKey {
    fn new(root: &RootKey) -> Self {
        let root = Salt::new(HKDF_SHA256, b"portcullis root key 1").extract(root.expose());
        let mut id = [0; KEY_ID_LEN];
        expand(&root, &[b"id"], &mut id);
        Self { id, root }
    }

    fn derive(&self, purpose: &[u8], label: &str) -> [u8; 32] {
        let mut key = [0; 32];
        expand(&self.root, &[purpose, b"\0", label.as_bytes()], &mut key);
        key
    }
}

impl Sealer {
    /// Derives the keys of the ring.
    ///
    /// # Panics
    /// When the ring is empty, which the configuration refuses.
    #[must_use]
    pub fn new(secrets: &Secrets) -> Self {
        let mut keys = secrets.keys.iter().map(RingKey::new);
        #[expect(clippy::expect_used, reason = "the configuration does not exist without a root key")]
        let first = keys.next().expect("there is a root key");
        Self(Arc::new(Ring { first, rest: keys.collect() }))
    }

    /// The prefix of every value that the first root key seals.
    pub(super) fn head(&self) -> Vec<u8> {
        [[BY_RING].as_slice(), &self.0.first.id].concat()
    }

    /// Whether the ring has more than one key.
    pub(super) fn has_older_keys(&self) -> bool {
        !self.0.rest.is_empty()
    }

    fn keys(&self) -> impl Iterator<Item = &RingKey> {
        std::iter::once(&self.0.first).chain(&self.0.rest)
    }

    /// Seals `plain` for one use (`label`) and binds it to `context`; opening takes the same two.
    #[must_use]
    pub fn seal(&self, label: &'static str, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let head = self.head();
        let aad = authenticated(&head, label, context);
        seal(&self.0.first.derive(b"seal", label), head, &aad, plain)
    }

    /// Whether the unauthenticated key id of a sealed value is in the ring.
    pub(super) fn has_key_of(&self, sealed: &[u8]) -> bool {
        let id = sealed.split_at_checked(1 + KEY_ID_LEN).and_then(|(head, _)| head.split_first());
        id.is_some_and(|(version, id)| *version == BY_RING && self.keys().any(|key| key.id == id))
    }

    /// Opens what [`Self::seal`] sealed.
    ///
    /// # Errors
    /// When label, context or key differ, or the value was modified.
    pub fn open(&self, label: &'static str, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let (head, rest) = sealed.split_at_checked(1 + KEY_ID_LEN).ok_or(Unsealable)?;
        let (version, id) = head.split_first().ok_or(Unsealable)?;
        if *version != BY_RING {
            return Err(Unsealable);
        }
        let key = self.keys().find(|key| key.id == id).ok_or(Unsealable)?;
        open(&key.derive(b"seal", label), &authenticated(head, label, context), rest)
    }

    /// One derived key per root key, the first one first: for MACs that any key of the ring may have made.
    #[must_use]
    pub fn derived_keys(&self, label: &'static str) -> Vec<[u8; 32]> {
        self.keys().map(|key| key.derive(b"derived", label)).collect()
    }
}

/// Seals under a secret that we do not store (a presented refresh token): database and root key together cannot open it.
///
/// The secret must have full entropy: it is not stretched.
#[must_use]
pub fn seal_with(secret: &[u8], plain: &[u8]) -> Vec<u8> {
    seal(&key_of_secret(secret), vec![BY_SECRET], &[BY_SECRET], plain)
}

/// Opens what [`seal_with`] sealed.
///
/// # Errors
/// When the secret differs or the value was modified.
pub fn open_with(secret: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unsealable> {
    match sealed.split_first() {
        Some((&BY_SECRET, rest)) => open(&key_of_secret(secret), &[BY_SECRET], rest),
        _ => Err(Unsealable),
    }
}

fn key_of_secret(secret: &[u8]) -> [u8; 32] {
    let root = Salt::new(HKDF_SHA256, b"portcullis presented secret 1").extract(secret);
    let mut key = [0; 32];
    expand(&root, &[b"seal"], &mut key);
    key
}

/// Head, label and context with length prefixes, so that different triples never yield the same bytes.
fn authenticated(head: &[u8], label: &str, context: &[u8]) -> Vec<u8> {
    let mut aad = Vec::with_capacity(24 + head.len() + label.len() + context.len());
    for part in [head, label.as_bytes(), context] {
        aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
        aad.extend_from_slice(part);
    }
    aad
}

#[expect(clippy::expect_used, reason = "fails only for a key of another length or for gigabytes of plain text")]
fn seal(key: &[u8; 32], mut head: Vec<u8>, aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).expect("the key has 32 bytes");
    let mut body = plain.to_vec();
    let nonce = key.seal_in_place_append_tag(Aad::from(aad), &mut body).expect("AES-256-GCM seals");
    head.extend_from_slice(nonce.as_ref());
    head.append(&mut body);
    head
}

fn open(key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unsealable> {
    let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(Unsealable)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).or(Err(Unsealable))?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).or(Err(Unsealable))?;
    let mut body = body.to_vec();
    let length = key.open_in_place(nonce, Aad::from(aad), &mut body).or(Err(Unsealable))?.len();
    body.truncate(length);
    Ok(body)
}

#[expect(clippy::expect_used, reason = "HKDF-SHA256 gives up to 8160 bytes; we ask for 32 at most")]
fn expand(root: &Prk, info: &[&[u8]], out: &mut [u8]) {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let okm = root.expand(info, Length(out.len())).expect("HKDF expands");
    okm.fill(out).expect("HKDF fills");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Sealer, Unsealable, open_with, seal_with};
    use crate::config::{RootKey, Secrets};

    fn sealer(keys: &[u8]) -> Sealer {
        Sealer::new(&Secrets { keys: keys.iter().map(|byte| RootKey::from_bytes([*byte; 32])).collect() })
    }

    #[test]
    fn every_key_of_the_ring_opens_and_a_removed_key_does_not() {
        let sealed = sealer(&[1]).seal("use", b"context", b"plain");
        assert_eq!(sealer(&[2, 1]).open("use", b"context", &sealed).unwrap(), b"plain");
        assert_eq!(sealer(&[2]).open("use", b"context", &sealed), Err(Unsealable));
        let newer = sealer(&[2, 1]).seal("use", b"context", b"plain");
        assert_eq!(sealer(&[1]).open("use", b"context", &newer), Err(Unsealable));
        assert_eq!(sealer(&[2]).open("use", b"context", &newer).unwrap(), b"plain");
    }

    #[test]
    fn a_value_does_not_open_under_another_label_or_context() {
        let ring = sealer(&[1]);
        let sealed = ring.seal("use", b"context", b"plain");
        assert_eq!(ring.open("usec", b"ontext", &sealed), Err(Unsealable));
        assert_eq!(ring.open("us", b"econtext", &sealed), Err(Unsealable));
        assert_eq!(ring.open("other", b"context", &sealed), Err(Unsealable));
        assert_eq!(ring.open("use", b"", &sealed), Err(Unsealable));
    }

    #[test]
    fn sealing_is_randomized_and_hides_the_plain_text() {
        let ring = sealer(&[1]);
        let (one, two) = (ring.seal("use", b"", b"a long secret text"), ring.seal("use", b"", b"a long secret text"));
        assert_ne!(one, two);
        assert!(!one.windows(6).any(|part| part == b"secret"));
        assert_ne!(seal_with(b"token", b"x"), seal_with(b"token", b"x"));
    }

    #[test]
    fn every_changed_bit_and_every_missing_byte_is_detected() {
        let ring = sealer(&[1]);
        let (by_ring, by_secret) = (ring.seal("use", b"context", b"plain"), seal_with(b"token", b"plain"));
        for at in 0..by_ring.len() * 8 {
            let mut changed = by_ring.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert_eq!(ring.open("use", b"context", &changed), Err(Unsealable), "bit {at}");
        }
        for at in 0..by_secret.len() * 8 {
            let mut changed = by_secret.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert_eq!(open_with(b"token", &changed), Err(Unsealable), "bit {at}");
        }
        for length in 0..by_ring.len() {
            assert_eq!(ring.open("use", b"context", &by_ring[..length]), Err(Unsealable));
        }
        for length in 0..by_secret.len() {
            assert_eq!(open_with(b"token", &by_secret[..length]), Err(Unsealable));
        }
    }

    #[test]
    fn a_value_sealed_by_a_secret_opens_with_that_secret_only() {
        let sealed = seal_with(b"pcr_presented", b"answer");
        assert_eq!(open_with(b"pcr_presented", &sealed).unwrap(), b"answer");
        assert_eq!(open_with(b"pcr_another", &sealed), Err(Unsealable));
        assert_eq!(sealer(&[1]).open("use", b"", &sealed), Err(Unsealable));
        assert_eq!(open_with(b"pcr_presented", &sealer(&[1]).seal("use", b"", b"x")), Err(Unsealable));
    }

    #[test]
    fn derived_keys_follow_the_ring_and_differ_by_label() {
        let both = sealer(&[2, 1]).derived_keys("session");
        assert_eq!(both, [sealer(&[2]).derived_keys("session"), sealer(&[1]).derived_keys("session")].concat());
        assert_ne!(both, sealer(&[2, 1]).derived_keys("other"));
        assert_ne!(both[0], both[1]);
    }

    proptest! {
        #[test]
        fn opening_returns_what_was_sealed(plain: Vec<u8>, context: Vec<u8>) {
            let ring = sealer(&[1]);
            prop_assert_eq!(ring.open("use", &context, &ring.seal("use", &context, &plain)).unwrap(), plain.clone());
            prop_assert_eq!(open_with(&context, &seal_with(&context, &plain)).unwrap(), plain);
        }

        #[test]
        fn random_bytes_do_not_open(garbage: Vec<u8>) {
            prop_assert_eq!(sealer(&[1]).open("use", b"", &garbage), Err(Unsealable));
            prop_assert_eq!(open_with(b"token", &garbage), Err(Unsealable));
        }
    }
}
