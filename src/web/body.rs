//! Bodies of the control plane: bounded in size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// The largest body that any endpoint of ours reads, in bytes.
pub(super) const MAX_BODY: usize = 64 * 1024;
/// How long it may take to arrive.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    /// Over [`MAX_BODY`].
    TooLarge,
    /// Over [`PATIENCE`].
    TooSlow,
    /// The connection broke.
    Broken,
}

impl BodyError {
    /// The status that says it (RFC 9110 15.5).
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }

    /// Words for whoever sent it.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::TooLarge => "the body is larger than 64 KiB",
            Self::TooSlow => "the body did not arrive within 15 seconds",
            Self::Broken => "the body ended early",
        }
    }
}

/// Reads a whole body.
pub(super) async fn read(body: Body) -> Result<Bytes, BodyError> {
    match tokio::time::timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await {
        Err(_elapsed) => Err(BodyError::TooSlow),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(_)) => Err(BodyError::Broken),
    }
}
