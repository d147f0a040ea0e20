//! The DPoP proofs that this process has accepted, for as long as their nonce is good.
//!
//! Defends against: replay of a proof, and exhaustion of memory: when there is no room for one more proof, the call is refused, and no
//! proof is forgotten before its time.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::keys::dpop::VerifiedProof;

/// How many proofs are remembered: about 11,000 calls per second. They take 34 MB at the most.
const MOST: usize = 1_000_000;
/// How much longer than its nonce a proof is remembered: the clock may be set back a little.
const MARGIN: Duration = Duration::from_secs(15);

/// Half of a hash. A proof that collides with another by chance is refused, and its client makes a new one.
type Id = [u8; 16];

/// The memory.
pub(super) struct SeenProofs {
    most: usize,
    seen: Mutex<Seen>,
}

/// Proofs by the second in which their nonce ends: there are few such seconds, and their proofs are dropped together.
#[derive(Default)]
struct Seen {
    by_end: BTreeMap<Timestamp, HashSet<Id>>,
    count: usize,
}

/// There is no room for one more proof.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Default for SeenProofs {
    fn default() -> Self {
        Self { most: MOST, seen: Mutex::default() }
    }
}

impl SeenProofs {
    /// Remembers a proof, and returns whether this is its first use.
    ///
    /// # Errors
    /// When it cannot be remembered. Then it must not be accepted.
    pub(super) fn is_first_use(&self, proof: &VerifiedProof, now: Timestamp) -> Result<bool, Full> {
        let [id, _] = halves(proof.id.as_bytes());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten = seen.forget(now);
        let answer = if seen.count >= self.most {
            Err(Full)
        } else {
            let is_first = seen.by_end.entry(proof.good_until).or_default().insert(id);
            seen.count += usize::from(is_first);
            Ok(is_first)
        };
        drop(seen);
        // dropping a large set takes time, in which no other call should wait
        drop(forgotten);
        answer
    }
}

fn halves(hash: &[u8; 32]) -> [Id; 2] {
    let mut halves = [Id::default(); 2];
    halves.as_flattened_mut().copy_from_slice(hash);
    halves
}

impl Seen {
    /// Takes out what can no longer be used.
    fn forget(&mut self, now: Timestamp) -> Vec<HashSet<Id>> {
        let mut forgotten = Vec::new();
        while let Some(oldest) = self.by_end.first_entry()
            && *oldest.key() + MARGIN <= now
        {
            let set = oldest.remove();
            self.count -= set.len();
            forgotten.push(set);
        }
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Full, MARGIN, SeenProofs};
    use crate::clock::Timestamp;
    use crate::keys::dpop::VerifiedProof;
    use crate::oauth::dpop::Thumbprint;
    use crate::secret::Sha256;

    const NOW: Timestamp = Timestamp(1000);

    fn proof(number: u64, good_until: Timestamp) -> VerifiedProof {
        let id = Sha256::of(&number.to_be_bytes());
        VerifiedProof { key: Thumbprint::new(Sha256::of(b"key")), id, good_until }
    }

    #[test]
    fn of_64_threads_with_one_proof_one_is_first() {
        let seen = Arc::new(SeenProofs::default());
        let use_it = || {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || seen.is_first_use(&proof(1, NOW), NOW).unwrap())
        };
        let threads: Vec<_> = (0..64).map(|_| use_it()).collect();
        let first = threads.into_iter().map(|thread| thread.join().unwrap());
        assert_eq!(first.filter(|first| *first).count(), 1);
    }

    #[test]
    fn a_proof_is_remembered_until_its_nonce_has_ended() {
        let seen = SeenProofs::default();
        let until = Timestamp(1060);
        assert_eq!(seen.is_first_use(&proof(1, until), NOW), Ok(true));
        for now in [NOW, until, Timestamp((until + MARGIN).0 - 1)] {
            assert_eq!(seen.is_first_use(&proof(1, until), now), Ok(false), "{now:?}");
        }
        assert_eq!(seen.is_first_use(&proof(2, Timestamp(2000)), until + MARGIN), Ok(true));
        assert_eq!(seen.seen.lock().unwrap().count, 1, "the other one is forgotten");
    }

    #[test]
    fn without_room_proofs_are_refused_and_none_is_forgotten() {
        let seen = SeenProofs { most: 3, ..SeenProofs::default() };
        let until = Timestamp(1060);
        for number in 0..3 {
            assert_eq!(seen.is_first_use(&proof(number, until), NOW), Ok(true));
        }
        assert_eq!(seen.is_first_use(&proof(3, until), NOW), Err(Full));
        assert_ne!(seen.is_first_use(&proof(0, until), NOW), Ok(true));
        assert_eq!(seen.is_first_use(&proof(3, Timestamp(2000)), until + MARGIN), Ok(true), "room again");
    }
}
