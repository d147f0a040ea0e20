//! `[secrets]`: the root keys, under which stored secrets are encrypted.

use std::fmt;

use serde::Deserialize;

use super::needs::SecretFor;
use super::problem::Mistake;
use super::reading::{Reading, Section, ValueRef};
use super::secret_source::{SecretSource, SecretSources};

/// A key of 32 bytes, which does not print.
#[derive(Clone)]
pub struct RootKey([u8; 32]);

impl RootKey {
    /// Parses the output of `portcullis keys generate`: 32 bytes in base64, with or without padding and line end.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_end_matches('=');
        let bytes = data_encoding::BASE64_NOPAD.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// A key of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the derivation of sub-keys.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[root key]")
    }
}

/// The key ring: the first key encrypts, all decrypt. It is empty for a command that goes on without root keys, and where nothing is
/// stored and the operator wrote none.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// The keys, in order.
    pub keys: Vec<RootKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    keys: Option<SecretSources>,
}

/// Reads the section. A missing root key is an error where something is stored.
pub(super) fn read(stores: bool, section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Secrets> {
    let written: Written = reading.shape(section)?;
    if !reading.reads(SecretFor::Sealing) {
        return Some(Secrets { keys: Vec::new() });
    }
    let sources = written.keys.map(|SecretSources(sources)| sources).unwrap_or_default();
    if sources.is_empty() && stores {
        let mistake = Mistake::new("there is no root key")
            .hint("`portcullis keys generate --out portcullis.key` makes one: keys = [{ file = \"portcullis.key\" }]");
        return reading.keep(&section.at("keys"), Err(mistake));
    }
    let mut keys: Vec<RootKey> = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let at = section.item("keys", index);
        let Some(key) = root_key(&at, source, reading) else { continue };
        if keys.iter().any(|known| known.0 == key.0) {
            reading.error(&at, Mistake::new("repeats an earlier key").hint("remove one"));
        }
        keys.push(key);
    }
    Some(Secrets { keys })
}

fn root_key(at: &ValueRef, source: &SecretSource, reading: &mut Reading<'_>) -> Option<RootKey> {
    if let SecretSource::File(path) = source
        && matches!(reading.resolve(path).try_exists(), Ok(false))
    {
        let directory = reading.directory().display();
        let hint = format!("`portcullis keys generate --out FILE` makes one; relative paths begin at {directory}");
        let mistake = Mistake::new("the root key's file does not exist").hint(hint);
        return reading.keep_secret(at, SecretFor::Sealing, Err(mistake));
    }
    let text = reading.secret(at, SecretFor::Sealing, source)?;
    let key = RootKey::parse(text.expose()).ok_or_else(|| {
        Mistake::new("the secret is not a root key (32 bytes in base64)").hint("`portcullis keys generate` makes one")
    });
    reading.keep(at, key)
}
