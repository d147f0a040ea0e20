//! The pass by which `portcullis doctor` asks a running process what it sees of a request: who has the root key may ask.
//!
//! ```text
//! unix time, decimal │ "." │ 16 random bytes, base64url │ "." │ HMAC-SHA-256 of what precedes, base64url
//! ```
//! It may be sent again for as long as it lives: the answer says what its sender sent, and nothing else.

use std::time::Duration;

use super::seal::Sealer;
use crate::clock::{Clock, Timestamp};
use crate::secret::{base64url, hmac_sha256, random, same_text};

/// The use of the derived key.
const LABEL: &str = "doctor";
/// How long a pass lives, and how much the clocks of the two processes may differ.
const LIFE: Duration = Duration::from_mins(2);
/// No pass is longer, in bytes.
const LONGEST: usize = 128;

/// Makes and checks passes. Cheap to clone.
#[derive(Clone)]
pub struct DoctorPasses {
    sealer: Sealer,
    clock: Clock,
}

impl DoctorPasses {
    /// By the root keys of this sealer.
    #[must_use]
    pub const fn new(sealer: Sealer, clock: Clock) -> Self {
        Self { sealer, clock }
    }

    /// A new pass, under the first root key.
    #[must_use]
    pub fn issue(&self) -> String {
        let head = format!("{}.{}", self.clock.now().0, base64url(&random::<16>()));
        let keys = self.sealer.derived_keys(LABEL);
        let mac = keys.first().map(|key| mac(key, &head)).unwrap_or_default();
        format!("{head}.{mac}")
    }

    /// Whether a pass was made with one of the root keys, a moment ago.
    #[must_use]
    pub fn accepts(&self, pass: &str) -> bool {
        let Some((head, code)) = pass.rsplit_once('.').filter(|_| pass.len() <= LONGEST) else { return false };
        let Some(issued) = head.split('.').next().and_then(|time| time.parse().ok()).map(Timestamp) else {
            return false;
        };
        let now = self.clock.now();
        let fresh = now.since(issued) <= LIFE && issued.since(now) <= LIFE;
        fresh && self.sealer.derived_keys(LABEL).iter().any(|key| same_text(&mac(key, head), code))
    }
}

fn mac(key: &[u8; 32], head: &str) -> String {
    base64url(&hmac_sha256(key, &[head.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{DoctorPasses, LIFE};
    use crate::clock::{Clock, Timestamp};
    use crate::config::{RootKey, Secrets};
    use crate::keys::Sealer;

    fn passes(keys: &[u8], clock: &Clock) -> DoctorPasses {
        let keys = keys.iter().map(|byte| RootKey::from_bytes([*byte; 32])).collect();
        DoctorPasses::new(Sealer::new(&Secrets { keys }), clock.clone())
    }

    #[test]
    fn a_pass_is_good_under_any_root_key_of_the_ring_for_two_minutes() {
        let clock = Clock::manual(Timestamp(1_800_000_000));
        let pass = passes(&[1], &clock).issue();
        assert!(passes(&[1], &clock).accepts(&pass) && passes(&[2, 1], &clock).accepts(&pass));
        assert!(!passes(&[2], &clock).accepts(&pass), "another root key");
        clock.advance(LIFE);
        assert!(passes(&[1], &clock).accepts(&pass));
        clock.advance(Duration::from_secs(1));
        assert!(!passes(&[1], &clock).accepts(&pass), "it is over");
        clock.step(-1_000);
        assert!(!passes(&[1], &clock).accepts(&pass), "it is of the future");
    }

    #[test]
    fn nothing_of_a_pass_can_be_changed() {
        let clock = Clock::manual(Timestamp(1_800_000_000));
        let passes = passes(&[1], &clock);
        let pass = passes.issue();
        for at in 0..pass.len() {
            let mut changed = pass.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(!passes.accepts(&String::from_utf8(changed).unwrap()), "{at}");
        }
        let overflowing = format!("{}.x.y", i64::MIN);
        for bad in ["", ".", "..", "1800000000", "1800000000.x.", &overflowing, &"1".repeat(10_000), "é.é.é"] {
            assert!(!passes.accepts(bad), "{bad:.40}");
        }
    }
}
