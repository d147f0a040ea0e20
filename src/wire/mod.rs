//! HTTP vocabulary that several modules need.

pub(crate) mod accept;

/// `Retry-After`, in seconds, of an answer whose cause passes by itself.
pub(crate) const RETRY_SOON: u64 = 5;
