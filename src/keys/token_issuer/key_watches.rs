//! Whether the keys of an issuer that signed remembered tokens are still published.
//!
//! Defends against a stolen key: once its issuer publishes it no more, its tokens end within minutes, those too that were
//! verified before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::keys::public_keys::PublicKeys;
use crate::keys::signing_key::KeyWatch;
use crate::secret::Sha256;

/// The watches of one issuer's keys.
#[derive(Default)]
pub(super) struct KeyWatches(Mutex<State>);

#[derive(Default)]
struct State {
    /// The key set that was read last.
    newest: Option<Arc<PublicKeys>>,
    /// By thumbprint; only keys that signed a token, so at most as many as the issuer publishes.
    watched: HashMap<Sha256, KeyWatch>,
}

impl KeyWatches {
    /// The watch of a key, by its thumbprint. It is withdrawn already when a newer set lacks the key.
    pub(super) fn watch(&self, key: &Sha256) -> KeyWatch {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.newest.as_ref().is_some_and(|newest| !newest.holds(key)) {
            let watch = KeyWatch::default();
            watch.withdraw();
            return watch;
        }
        state.watched.entry(*key).or_default().clone()
    }

    /// Tells what hangs on keys that this set lacks. A set that is known already costs one comparison.
    pub(super) fn reread(&self, keys: &Arc<PublicKeys>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.newest.as_ref().is_some_and(|newest| Arc::ptr_eq(newest, keys)) {
            return;
        }
        state.watched.retain(|key, watch| {
            let published = keys.holds(key);
            if !published {
                watch.withdraw();
            }
            published
        });
        state.newest = Some(Arc::clone(keys));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::KeyWatches;
    use crate::keys::public_keys::{PublicKey, PublicKeys};

    fn key(x: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "same", "x": x})
    }

    #[test]
    fn a_key_that_is_published_no_more_ends_its_tokens_whatever_its_id() {
        let (first, second) = (key(&"A".repeat(43)), key(&"E".repeat(43)));
        let set =
            |keys: &[&Value]| Arc::new(PublicKeys::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap());
        let thumbprint = |key: &Value| PublicKey::read(key).unwrap().thumbprint();
        let watches = KeyWatches::default();
        watches.reread(&set(&[&first, &second]));
        let (of_first, of_second) = (watches.watch(&thumbprint(&first)), watches.watch(&thumbprint(&second)));
        watches.reread(&set(&[&second]));
        assert!(of_first.is_withdrawn() && !of_second.is_withdrawn());
        assert!(
            watches.watch(&thumbprint(&first)).is_withdrawn(),
            "verified under the older set, told under the newer"
        );
        watches.reread(&set(&[&first, &second]));
        assert!(of_first.is_withdrawn() && !watches.watch(&thumbprint(&first)).is_withdrawn());
    }
}
