//! Secrets that do not print, ids, and the randomness of both.
//!
//! A secret that we issue has a prefix and a checksum: scanners (and our own test of the logs) can find one that leaked, and
//! a mistyped one costs no look-up. Only its SHA-256 is stored. Comparisons take constant time, against timing attacks.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use aws_lc_rs::{digest, hmac, rand};
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD, HEXLOWER};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;

/// `N` bytes from the operating system.
///
/// # Panics
/// When the operating system gives no randomness: nothing is safe without it.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(clippy::expect_used, reason = "without randomness no answer is better than any answer")]
    rand::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// 128 random bits in lower-case base32, after a prefix that says what they name (`g_`, `c_`).
#[must_use]
pub fn random_id(prefix: &str) -> String {
    id_from(prefix, &random())
}

/// 128 given bits as an id, for derived ids.
#[must_use]
pub fn id_from(prefix: &str, bits: &[u8; 16]) -> String {
    let mut id = BASE32_NOPAD.encode(bits);
    id.make_ascii_lowercase();
    id.insert_str(0, prefix);
    id
}

/// A SHA-256 value: what is stored of a secret, and the key of caches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// Hashes bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(out)
    }

    /// Hashes parts as if they were one, without putting them together.
    #[must_use]
    pub fn of_parts<const N: usize>(parts: [&[u8]; N]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.finish().as_ref());
        Self(out)
    }

    /// The value as it is stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads what [`Self::as_bytes`] wrote; `None` for any other length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Compares in constant time.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64url(&self.0))
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        Self::from_slice(&bytes).ok_or_else(|| serde::de::Error::custom("not a SHA-256 value"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}…", HEXLOWER.encode(self.0.get(..4).unwrap_or_default()))
    }
}

/// HMAC-SHA-256 under `key` of the parts of `message`, concatenated: derives secrets that do not reveal the key.
#[must_use]
pub fn hmac_sha256(key: &[u8], message: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in message {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// Bytes in the URL-safe base64 without padding that all of OAuth uses (RFC 7515 2).
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

/// Compares two texts in constant time, which reveals only whether their lengths differ.
#[must_use]
pub fn same_text(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// The kind of a [`Token`]. The prefix is the kind's name on the wire.
pub trait Kind: Send + Sync + 'static {
    /// Four characters, for example `pcr_`.
    const PREFIX: &'static str;
    /// Its name in messages.
    const NAME: &'static str;
}

/// Whether a text begins like an opaque secret of ours (`pc`, a letter, `_`): no one else must be sent it.
#[must_use]
pub fn has_our_prefix(text: &str) -> bool {
    matches!(text.as_bytes(), [b'p', b'c', b'a'..=b'z', b'_', ..])
}

/// An authorization code (`pcc_`).
#[derive(Debug)]
pub enum Code {}
impl Kind for Code {
    const PREFIX: &'static str = "pcc_";
    const NAME: &'static str = "authorization code";
}

/// A refresh token (`pcr_`).
#[derive(Debug)]
pub enum Refresh {}
impl Kind for Refresh {
    const PREFIX: &'static str = "pcr_";
    const NAME: &'static str = "refresh token";
}

/// A device code (`pcd_`, RFC 8628 3.2).
#[derive(Debug)]
pub enum DeviceCode {}
impl Kind for DeviceCode {
    const PREFIX: &'static str = "pcd_";
    const NAME: &'static str = "device code";
}

/// The cookie of a user who is signed in at their own page (`pca_`).
#[derive(Debug)]
pub enum AccountSession {}
impl Kind for AccountSession {
    const PREFIX: &'static str = "pca_";
    const NAME: &'static str = "account session";
}

/// The mark of a browser in which consents are remembered (`pcb_`).
#[derive(Debug)]
pub enum BrowserMark {}
impl Kind for BrowserMark {
    const PREFIX: &'static str = "pcb_";
    const NAME: &'static str = "browser mark";
}

/// The secret of a client that registered for one (`pcs_`).
#[derive(Debug)]
pub enum ClientSecret {}
impl Kind for ClientSecret {
    const PREFIX: &'static str = "pcs_";
    const NAME: &'static str = "client secret";
}

/// What manages a registered client (`pcm_`, RFC 7592).
#[derive(Debug)]
pub enum Management {}
impl Kind for Management {
    const PREFIX: &'static str = "pcm_";
    const NAME: &'static str = "registration access token";
}

/// An API key (`pck_`).
#[derive(Debug)]
pub enum ApiKey {}
impl Kind for ApiKey {
    const PREFIX: &'static str = "pck_";
    const NAME: &'static str = "API key";
}

/// An opaque secret of ours: prefix, then 256 bits and their CRC-32 in lower-case base32. `Debug` shows its kind only.
pub struct Token<K>(SecretString, PhantomData<fn() -> K>);

impl<K: Kind> Token<K> {
    /// A new random secret.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_bits(&random())
    }

    /// The secret made of 256 given bits, which must be secret themselves.
    #[must_use]
    pub fn from_bits(bits: &[u8; 32]) -> Self {
        let mut bytes = bits.to_vec();
        bytes.extend(crc32fast::hash(bits).to_be_bytes());
        let mut text = BASE32_NOPAD.encode(&bytes);
        text.make_ascii_lowercase();
        text.insert_str(0, K::PREFIX);
        Self(text.into(), PhantomData)
    }

    /// Parses a secret that a client presents; `None` when prefix, alphabet, length or checksum is wrong.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.strip_prefix(K::PREFIX)?;
        if body.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let bytes = BASE32_NOPAD.decode(body.to_ascii_uppercase().as_bytes()).ok()?;
        let (bits, sum) = bytes.split_at_checked(32)?;
        (crc32fast::hash(bits).to_be_bytes() == sum).then(|| Self(text.into(), PhantomData))
    }

    /// The hash that is stored.
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        Sha256::of(self.expose().as_bytes())
    }

    /// The text itself, for the one response that carries it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl<K> Clone for Token<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<K: Kind> fmt::Debug for Token<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", K::NAME)
    }
}

/// A secret that was not made here: a client secret at the identity provider, its refresh token, a password.
#[derive(Clone)]
pub struct SecretText(SecretString);

impl SecretText {
    /// The text itself, for the one call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, Refresh, SecretText, Token, random_id};

    #[test]
    fn a_token_reads_back_as_its_kind_only_and_never_prints() {
        let token = Token::<Refresh>::generate();
        assert_eq!(token.expose().len(), 4 + 58);
        assert!(Token::<Refresh>::parse(token.expose()).is_some());
        assert!(Token::<Code>::parse(token.expose()).is_none());
        assert_eq!(format!("{token:?}"), "[refresh token]");
        assert_eq!(format!("{:?}", SecretText::from("hunter2".to_owned())), "[secret]");
    }

    #[test]
    fn a_token_with_one_wrong_character_does_not_parse() {
        let token = Token::<Code>::generate();
        for (at, old) in token.expose().char_indices() {
            let mut changed = token.expose().to_owned();
            let new = if old == 'a' { "b" } else { "a" };
            changed.replace_range(at..=at, new);
            assert!(Token::<Code>::parse(&changed).is_none(), "position {at}");
        }
        assert!(Token::<Code>::parse(&token.expose().to_ascii_uppercase()).is_none());
        assert!(Token::<Code>::parse("pcc_").is_none());
    }

    #[test]
    fn ids_have_26_characters_after_their_prefix() {
        let id = random_id("g_");
        assert_eq!(id.len(), 28);
        assert!(id.bytes().skip(2).all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{id}");
    }
}
