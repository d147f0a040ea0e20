//! The body type of the data path.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

/// What a body may fail with.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer: streamed from an upstream, or a few bytes of our own.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A body whose bytes are all here.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}
