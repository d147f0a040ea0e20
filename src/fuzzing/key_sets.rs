//! Key sets of clients and of issuers.

use serde_json::Value;

use crate::keys::PublicKeys;
use crate::oauth::client_keys::{ClientKeys, MAX_KEYS};

/// A key set; its text is tried as the URL of one, too.
pub fn key_sets(data: &[u8]) {
    drop(PublicKeys::parse(data));
    let Ok(text) = str::from_utf8(data) else { return };
    for keys in [ClientKeys::read(Some(text), None), ClientKeys::read(None, Some(text))] {
        if let Ok(Some(keys)) = keys {
            assert_public(&keys);
        }
    }
    assert!(ClientKeys::read(Some(text), Some(text)).is_err());
}

/// Accepted keys are public, few, and each of them can verify a signature; a URL is https.
pub(super) fn assert_public(keys: &ClientKeys) {
    match keys {
        ClientKeys::Url(url) => assert!(url.starts_with("https://") && !url.contains('#'), "{url:?}"),
        ClientKeys::Set(set) => {
            assert!((1..=MAX_KEYS).contains(&set.keys.len()));
            let written = serde_json::to_value(set).unwrap_or_default();
            let keys = written.get("keys").and_then(Value::as_array);
            let is_public = |key: &Value| ["d", "p", "q", "k"].iter().all(|member| key.get(member).is_none());
            assert!(keys.is_some_and(|keys| keys.iter().all(is_public)), "{written}");
            for key in &set.keys {
                let alone = jsonwebtoken::jwk::JwkSet { keys: vec![key.clone()] };
                assert!(PublicKeys::of_client(&alone).is_ok(), "{written}");
            }
        }
    }
}
