//! Whether the keys of an issuer that signed remembered tokens are still published.
//!
//! Defends against a stolen key: once its issuer publishes it no more, its tokens end within minutes, those too that were
//! verified before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::keys::remote::ReadKeys;
use crate::keys::signing_key::KeyWatch;
use crate::secret::Sha256;

/// The watches of one issuer's keys.
#[derive(Default)]
pub(super) struct KeyWatches(Mutex<State>);

#[derive(Default)]
struct State {
    /// The key set that was read last.
    newest: Option<ReadKeys>,
    /// By thumbprint; only keys that signed a token, so at most as many as the issuer publishes.
    watched: HashMap<Sha256, KeyWatch>,
}

impl KeyWatches {
    /// The watch of a key, by its thumbprint. It is withdrawn already when a newer set lacks the key.
    pub(super) fn watch(&self, key: &Sha256) -> KeyWatch {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.newest.as_ref().is_some_and(|newest| !newest.keys.holds(key)) {
            let watch = KeyWatch::default();
            watch.withdraw();
            return watch;
        }
        state.watched.entry(*key).or_default().clone()
    }

    /// Tells what hangs on keys that this set lacks. A set that is known already costs one comparison, and one that a call
    /// still holds from before the last reading says nothing of the keys that came with it.
    pub(super) fn reread(&self, read: &ReadKeys) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.newest.as_ref().is_some_and(|newest| newest.age_from >= read.age_from) {
            return;
        }
        state.watched.retain(|key, watch| {
            let published = read.keys.holds(key);
            if !published {
                watch.withdraw();
            }
            published
        });
        state.newest = Some(read.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::{KeyWatches, Sha256};
    use crate::clock::Timestamp;
    use crate::keys::public_keys::{PublicKey, PublicKeys};
    use crate::keys::remote::ReadKeys;

    fn key(x: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "same", "x": x})
    }

    fn set(second: u64, keys: &[&Value]) -> ReadKeys {
        let keys = PublicKeys::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
        ReadKeys { keys: Arc::new(keys), read_at: Timestamp(0), age_from: Duration::from_secs(second) }
    }

    fn thumbprint(key: &Value) -> Sha256 {
        PublicKey::read(key).unwrap().thumbprint()
    }

    #[test]
    fn a_key_that_is_published_no_more_ends_its_tokens_whatever_its_id() {
        let (first, second) = (key(&"A".repeat(43)), key(&"E".repeat(43)));
        let watches = KeyWatches::default();
        watches.reread(&set(0, &[&first, &second]));
        let (of_first, of_second) = (watches.watch(&thumbprint(&first)), watches.watch(&thumbprint(&second)));
        watches.reread(&set(1, &[&second]));
        assert!(of_first.is_withdrawn() && !of_second.is_withdrawn());
        assert!(
            watches.watch(&thumbprint(&first)).is_withdrawn(),
            "verified under the older set, told under the newer"
        );
        watches.reread(&set(2, &[&first, &second]));
        assert!(of_first.is_withdrawn() && !watches.watch(&thumbprint(&first)).is_withdrawn());
    }

    #[test]
    fn a_set_that_a_call_still_holds_from_before_withdraws_no_newer_key() {
        let (first, second) = (key(&"A".repeat(43)), key(&"E".repeat(43)));
        let (watches, before) = (KeyWatches::default(), set(0, &[&first]));
        watches.reread(&before);
        watches.reread(&set(1, &[&second]));
        let of_second = watches.watch(&thumbprint(&second));
        watches.reread(&before);
        assert!(!of_second.is_withdrawn() && watches.watch(&thumbprint(&first)).is_withdrawn());
    }
}
