//! Bodies of the control plane: bounded in size, time and memory (slowloris), and read before a handler starts.

use bytes::Bytes;
use http::{Extensions, StatusCode};

use crate::limits::{self, CollectError, Collected, Room, Shortage};
use crate::oauth::error::ErrorCode;

/// The largest body that any endpoint of ours reads, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BodyError(CollectError);

impl BodyError {
    /// Its status (RFC 9110 15.5).
    pub(super) const fn status(self) -> StatusCode {
        match self.0 {
            CollectError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            CollectError::TooSlow => StatusCode::REQUEST_TIMEOUT,
            CollectError::Broken => StatusCode::BAD_REQUEST,
            CollectError::NoRoom(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Its OAuth error code: `otherwise` when the client is at fault.
    pub(super) const fn code(self, otherwise: ErrorCode) -> ErrorCode {
        match self.0 {
            CollectError::NoRoom(_) => ErrorCode::TemporarilyUnavailable,
            CollectError::TooLarge | CollectError::TooSlow | CollectError::Broken => otherwise,
        }
    }

    /// For the log: the setting that was exceeded.
    pub(super) const fn cause(self) -> Option<&'static str> {
        match self.0 {
            CollectError::NoRoom(Shortage::Share) => {
                Some("this address's share of the memory for bodies (limits.body_memory_per_address) is in use")
            }
            CollectError::NoRoom(Shortage::Pool) => Some("the memory for bodies (limits.body_memory) is in use"),
            CollectError::TooLarge | CollectError::TooSlow | CollectError::Broken => None,
        }
    }

    /// For the client.
    pub(super) const fn message(self) -> &'static str {
        match self.0 {
            CollectError::TooLarge => "the body is larger than 64 KiB",
            CollectError::TooSlow => "the body did not arrive within 15 seconds",
            CollectError::Broken => "the body ended early",
            CollectError::NoRoom(_) => "the server is busy: try again in a few seconds",
        }
    }
}

/// A body that was read, in the extensions of its request.
#[derive(Clone)]
pub(super) struct Body(Result<Bytes, BodyError>);

/// Reads a whole body.
pub(super) async fn collect<B>(body: &mut B, room: Room) -> Body
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    Body(match limits::collect(body, MAX_BODY, room).await {
        Ok(Collected::Whole(bytes)) => Ok(bytes),
        Ok(Collected::Beginning(_)) => Err(BodyError(CollectError::TooLarge)),
        Err(error) => Err(BodyError(error)),
    })
}

/// Takes the body of a POST or PUT out of the request.
pub(super) fn take(extensions: &mut Extensions) -> Result<Bytes, BodyError> {
    extensions.remove().map_or_else(|| Ok(Bytes::new()), |Body(read)| read)
}
