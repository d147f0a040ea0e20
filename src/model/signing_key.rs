//! A key that signs our tokens, as it is stored.

use super::ids::KeyId;
use crate::clock::Timestamp;

/// A stored signing key; its private half is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSigningKey {
    /// The `kid`.
    pub id: KeyId,
    /// The JWS algorithm, as RFC 7518 names it.
    pub algorithm: String,
    /// PKCS #8, sealed with the root key.
    pub sealed_private_key: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it begins to sign, unless a later key does by then.
    pub active_from: Timestamp,
}

/// A key whose tokens are refused because it may be known to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithdrawnKey {
    /// The `kid`.
    pub id: KeyId,
    /// The JWS algorithm.
    pub algorithm: String,
    /// When an operator withdrew it.
    pub withdrawn_at: Timestamp,
}

/// Which of several keys, in the order in which they take over from each other, signs at a time: the last one whose time has
/// come. When a wrong clock has put all of them into the future, the first one signs: it has been published for longest.
#[must_use]
pub fn signing_at(
    active_from: impl DoubleEndedIterator<Item = Timestamp> + ExactSizeIterator,
    now: Timestamp,
) -> usize {
    let mut newest_first = active_from.enumerate().rev();
    newest_first.find(|(_, from)| *from <= now).map_or(0, |(position, _)| position)
}

#[cfg(test)]
mod tests {
    use super::signing_at;
    use crate::clock::Timestamp;

    #[test]
    fn the_last_key_whose_time_has_come_signs_whatever_the_clock_was_when_it_was_made() {
        let at = |times: &[i64], now: i64| signing_at(times.iter().copied().map(Timestamp), Timestamp(now));
        for (times, now, signs) in [
            (&[0][..], 5, 0),
            (&[0, 10], 9, 0),
            (&[0, 10], 10, 1),
            (&[0, 10, 20], 15, 1),
            (&[0, 1000, 20], 25, 2),
            (&[0, 1000, 20], 1001, 2),
            (&[1000, 2000], 5, 0),
            (&[], 5, 0),
        ] {
            assert_eq!(at(times, now), signs, "{times:?} at {now}");
        }
    }
}
