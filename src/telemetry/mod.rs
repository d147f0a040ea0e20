//! Tracing set-up, and the id that ties a log line to what a client or a user saw.

pub mod log;

use std::fmt;

use crate::secret::random_id;

/// The id of one request: in every log line of it, in the `X-Request-Id` of its answer and on every error page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(random_id("q_"))
    }

    /// The id as it is shown.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why an answer is what it is, for the one log line of its request: put into the extensions of a response.
#[derive(Debug, Clone)]
pub struct Cause(pub String);
