//! A client's document as it is kept: in memory, and in the store for as long as a grant may need it.

use std::time::Duration;

use crate::clock::Timestamp;

/// How long the last good document serves while its host does not answer, from when it was fetched.
pub const SERVES_FOR: Duration = Duration::from_hours(7 * 24);

/// A document that once made a client, and how old it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptDocument {
    /// The document, as it came.
    pub text: String,
    /// When it was fetched.
    pub fetched_at: Timestamp,
    /// Until when it need not be fetched again (RFC 9111 4.2, within our bounds).
    pub fresh_until: Timestamp,
}

/// What an age allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// It counts without asking its host.
    Fresh,
    /// It counts where an answer cannot wait, or while its host does not answer.
    Stale,
    /// It does not count any more.
    TooOld,
}

impl KeptDocument {
    /// Checks its age. One that claims to come from the future is as good as old: a clock was set back since.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Age {
        if now >= self.fetched_at + SERVES_FOR {
            Age::TooOld
        } else if (self.fetched_at..self.fresh_until).contains(&now) {
            Age::Fresh
        } else {
            Age::Stale
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Age, KeptDocument, SERVES_FOR};
    use crate::clock::Timestamp;

    #[test]
    fn a_document_is_fresh_then_serves_and_ends() {
        let (fetched_at, hour) = (Timestamp(1_800_000_000), Duration::from_hours(1));
        let kept = KeptDocument { text: String::new(), fetched_at, fresh_until: fetched_at + hour };
        for (now, age) in [
            (fetched_at.before(hour), Age::Stale),
            (fetched_at, Age::Fresh),
            (Timestamp(kept.fresh_until.0 - 1), Age::Fresh),
            (kept.fresh_until, Age::Stale),
            (Timestamp((fetched_at + SERVES_FOR).0 - 1), Age::Stale),
            (fetched_at + SERVES_FOR, Age::TooOld),
        ] {
            assert_eq!(kept.age(now), age, "{now:?}");
        }
    }
}
