//! The nonces that proofs must carry (RFC 9449 8, 9, 11.2): a number of a period of time, and a MAC.
//!
//! Every process with the same root keys and the same issuer makes and accepts the same nonces, so none is stored, and a
//! client may take the nonce of one replica, or of the token endpoint, to another.
//!
//! Defends against: proofs that were made long before they are used, by malware that had a key for a while, and clocks of clients
//! that are wrong.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use subtle::ConstantTimeEq;

use crate::clock::Timestamp;
use crate::keys::seal::Sealer;
use crate::secret::{base64url, hmac_sha256};

/// How many seconds get the same nonce.
const PERIOD: i64 = 15;
/// For how many periods, its own included, a nonce is accepted.
const ACCEPTED: i64 = 4;
/// How many periods the clock of another process may be ahead.
const AHEAD: i64 = 1;
/// How long a nonce is accepted at the most, by the clock of the process that made it.
pub const NONCE_LIFETIME: Duration = Duration::from_secs((PERIOD * ACCEPTED).unsigned_abs());

/// The bytes of a period's number, and those of the MAC.
const NUMBER: usize = 8;
const MAC: usize = 16;

/// Makes and checks nonces. Cheap to clone.
#[derive(Clone)]
pub struct Nonces {
    /// One for each root key; the first one makes nonces.
    keys: Arc<[[u8; 32]]>,
    issuer: Arc<str>,
}

impl Nonces {
    /// The nonces of this issuer.
    #[must_use]
    pub fn new(sealer: &Sealer, issuer: &str) -> Self {
        Self { keys: sealer.derived_keys("dpop nonce").into(), issuer: issuer.into() }
    }

    /// The nonce that clients should use now.
    #[must_use]
    pub fn current(&self, now: Timestamp) -> String {
        let number = now.0.div_euclid(PERIOD).to_be_bytes();
        let mac = self.keys.first().map(|key| self.mac(key, number)).unwrap_or_default();
        base64url(&[number.as_slice(), &mac].concat())
    }

    /// Checks a nonce: the first second in which no process accepts it any more, or `None` when it is too old or not ours.
    #[must_use]
    pub fn good_until(&self, nonce: &str, now: Timestamp) -> Option<Timestamp> {
        let mut bytes = [0; NUMBER + MAC];
        if BASE64URL_NOPAD.decode_len(nonce.len()).ok()? != bytes.len() {
            return None;
        }
        BASE64URL_NOPAD.decode_mut(nonce.as_bytes(), &mut bytes).ok()?;
        let (number, mac) = bytes.split_first_chunk::<NUMBER>()?;
        let made_by = |key: &[u8; 32]| bool::from(self.mac(key, *number).as_slice().ct_eq(mac));
        let period = i64::from_be_bytes(*number);
        let current = now.0.div_euclid(PERIOD);
        let in_time = (current - (ACCEPTED - 1)..=current + AHEAD).contains(&period);
        (in_time && self.keys.iter().any(made_by)).then(|| Timestamp((period + ACCEPTED) * PERIOD))
    }

    fn mac(&self, key: &[u8; 32], number: [u8; NUMBER]) -> [u8; MAC] {
        let whole = hmac_sha256(key, &[&number, self.issuer.as_bytes()]);
        let mut mac = [0; MAC];
        mac.copy_from_slice(whole.split_at(MAC).0);
        mac
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{NONCE_LIFETIME, Nonces};
    use crate::clock::Timestamp;
    use crate::config::{RootKey, Secrets};
    use crate::keys::Sealer;

    const NOW: Timestamp = Timestamp(1_800_000_000);

    fn nonces(keys: &[u8], issuer: &str) -> Nonces {
        let keys = keys.iter().map(|byte| RootKey::from_bytes([*byte; 32])).collect();
        Nonces::new(&Sealer::new(&Secrets { keys }), issuer)
    }

    #[test]
    fn a_nonce_is_accepted_for_its_lifetime_and_no_longer() {
        let nonces = nonces(&[1], "https://a");
        let nonce = nonces.current(NOW);
        let seconds = i64::try_from(NONCE_LIFETIME.as_secs()).unwrap();
        for (later, good) in [(0, true), (seconds - 1, true), (seconds, false), (-15, true), (-16, false)] {
            let until = nonces.good_until(&nonce, Timestamp(NOW.0 + later));
            assert_eq!(until, good.then_some(Timestamp(NOW.0 + seconds)), "{later}");
        }
    }

    #[test]
    fn nonces_are_shared_by_processes_with_the_same_root_keys_and_issuer_alone() {
        let nonce = nonces(&[1], "https://a").current(NOW);
        assert!(nonces(&[1], "https://a").good_until(&nonce, NOW).is_some());
        assert!(nonces(&[2, 1], "https://a").good_until(&nonce, NOW).is_some(), "while a root key is replaced");
        assert!(nonces(&[2], "https://a").good_until(&nonce, NOW).is_none());
        assert!(nonces(&[1], "https://b").good_until(&nonce, NOW).is_none());
    }

    proptest! {
        #[test]
        fn made_up_and_changed_nonces_are_refused(text in ".{0,40}", at in 0usize..32, to in "[A-Za-z0-9_-]") {
            let nonces = nonces(&[1], "https://a");
            prop_assert!(nonces.good_until(&text, NOW).is_none());
            let mut changed = nonces.current(NOW);
            changed.replace_range(at..=at, &to);
            prop_assert_eq!(nonces.good_until(&changed, NOW).is_some(), changed == nonces.current(NOW));
        }
    }
}
