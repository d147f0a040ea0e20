//! Tracing set-up, and the id that ties a log line to what a client or a user saw.

mod lines;
pub mod log;
pub mod metrics;
mod printable;

use std::fmt;

use data_encoding::BASE32_NOPAD;

use crate::secret::random;
pub(crate) use printable::{is_hidden, printable};

/// The id of one request: in every log line of it, in the `X-Request-Id` of its answer and on every error page.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId([u8; 28]);

impl RequestId {
    /// A new one: 128 random bits in lower-case base32 behind `q_`. Every request has one, so it lies on no heap.
    #[must_use]
    pub fn random() -> Self {
        let mut id = *b"q_aaaaaaaaaaaaaaaaaaaaaaaaaa";
        let (_prefix, bits) = id.split_at_mut(2);
        BASE32_NOPAD.encode_mut(&random::<16>(), bits);
        bits.make_ascii_lowercase();
        Self(id)
    }

    /// The id as it is shown.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an answer is what it is, for the one log line of its request: put into the extensions of a response.
#[derive(Debug, Clone)]
pub struct Cause(pub String);

#[cfg(test)]
mod tests {
    use super::RequestId;

    #[test]
    fn an_id_is_new_each_time_and_reads_well() {
        let (id, other) = (RequestId::random(), RequestId::random());
        assert_ne!(id, other);
        let bits = id.as_str().strip_prefix("q_").unwrap();
        assert_eq!(bits.len(), 26);
        assert!(bits.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')), "{id}");
    }
}
