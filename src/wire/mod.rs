//! HTTP vocabulary that several modules need.

pub(crate) mod accept;

/// What a body may fail with.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// `Retry-After`, in seconds, of an answer whose cause passes by itself.
pub(crate) const RETRY_SOON: u64 = 5;
