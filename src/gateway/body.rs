//! The bodies of the data path.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use crate::wire::BoxError;

/// A body on its way through: streamed, or a few bytes of our own.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A body that is there as a whole.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}
