//! Why an upstream gave no answer.

use std::error::Error;
use std::time::Duration;

use ::http::StatusCode;

use crate::outbound::failure::{cause, innermost};

/// Why an upstream gave no answer that can be passed on. The text is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// Nothing listens there, or TLS failed: nothing was sent.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// There was no connection in time: nothing was sent.
    #[error("cannot be reached: no connection within {} s", .0.as_secs())]
    NotConnected(Duration),
    /// It took too long.
    #[error("did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The client's own body failed on its way: no fault of the upstream's.
    #[error("was not sent the whole request: {0}")]
    RequestBody(String),
    /// The client's own body came too slowly: no fault of the upstream's.
    #[error("was not sent the whole request: the client's body arrived too slowly")]
    SlowRequestBody,
    /// The connection broke after the request had begun to leave; it is not sent again.
    #[error("broke off: {0}")]
    BrokeOff(String),
    /// Its answer can be read in two ways.
    #[error("gave an answer that cannot be passed on: {0}")]
    Unreadable(&'static str),
    /// It redirects the call to where the call may not or cannot follow.
    #[error("redirects ({status}) to {to}: {hint}")]
    Redirects {
        /// 3xx.
        status: StatusCode,
        /// Where to, without the query, which may hold a secret.
        to: String,
        /// What the operator can do.
        hint: &'static str,
    },
}

impl UpstreamError {
    /// What went wrong once a connection was there.
    pub(super) fn exchange(error: &hyper::Error) -> Self {
        let words = innermost(error);
        match cause::<RequestBodyError>(error) {
            Some(RequestBodyError::Slow) => Self::SlowRequestBody,
            Some(RequestBodyError::Failed(_)) => Self::RequestBody(words),
            None => Self::BrokeOff(words),
        }
    }
}

/// What a request body fails with when it is the client that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestBodyError {
    /// It broke off.
    #[error("the client's body failed: {0}")]
    Failed(Box<dyn Error + Send + Sync>),
    /// The client kept the upstream waiting.
    #[error("the client's body arrived too slowly")]
    Slow,
}

/// What an upstream's own status says of it, for the operator.
pub(crate) fn status_words(status: StatusCode) -> String {
    let hint = match status {
        StatusCode::UNAUTHORIZED => ": switch its own authentication off, or configure what it wants in `headers`",
        StatusCode::FORBIDDEN => {
            " by itself: if the server accepts only certain host names, set `host` to one of them; otherwise it refuses this \
             user"
        }
        StatusCode::MISDIRECTED_REQUEST => " by itself: set `host` to a host name that it accepts",
        _ => "",
    };
    format!("answered {}{hint}", status.as_u16())
}
