//! The id that ties a log line to what a client or a user saw.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use http::{HeaderName, HeaderValue, Response};

use crate::secret::random;

/// The header that carries the id, in our answer and towards the upstream.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of one request: in its line of the access log, in the `X-Request-Id` of its answer and on every error page.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId([u8; 28]);

impl RequestId {
    /// A new one: `q_` and 128 random bits in lower-case base32. It is an array because every request has one: no
    /// allocation.
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

    /// Sets `X-Request-Id` on an answer.
    pub(crate) fn name<B>(&self, response: &mut Response<B>) {
        if let Some(value) = self.header() {
            response.headers_mut().insert(REQUEST_ID, value);
        }
    }

    /// The id as a header value; base32 always is one.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.as_str()).ok()
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

#[cfg(test)]
mod tests {
    use super::RequestId;

    #[test]
    fn request_ids_differ_and_consist_of_a_prefix_and_base32() {
        let (id, other) = (RequestId::random(), RequestId::random());
        assert_ne!(id, other);
        let bits = id.as_str().strip_prefix("q_").unwrap();
        assert_eq!(bits.len(), 26);
        assert!(bits.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')), "{id}");
    }
}
