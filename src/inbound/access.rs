//! The access log: one line for every request, and for one that ends without an answer too: nobody acts unseen by hanging
//! up.

use std::borrow::Cow;

use http::{Method, Request, Response, Uri};
use tokio::time::Instant;

use crate::limits::ClientAddress;
use crate::telemetry::{Cause, RequestId};

/// How much of a path is logged, in bytes: a head may have 64 KiB.
const MAX_PATH: usize = 512;

/// What the line of a request says.
pub(super) struct Access {
    id: RequestId,
    method: Method,
    uri: Uri,
    address: ClientAddress,
    began: Instant,
    answered: bool,
}

impl Access {
    /// A request begins.
    pub(super) fn begin<B>(request: &Request<B>, id: RequestId, address: ClientAddress) -> Self {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        Self { id, method, uri, address, began: Instant::now(), answered: false }
    }

    /// It was answered: takes the cause out of the answer and writes the line.
    pub(super) fn end<B>(mut self, response: &mut Response<B>) {
        self.answered = true;
        let Self { id, method, uri, address, began, .. } = &self;
        let cause = response.extensions_mut().remove::<Cause>().map(|Cause(cause)| cause);
        let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (path, status) = (shown(uri), response.status().as_u16());
        tracing::info!(
            target: "access",
            request_id = %id, %method, path = &*path, status, milliseconds, address = %address.0, cause, "request"
        );
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let Self { id, method, uri, address, .. } = self;
        let cause = if std::thread::panicking() { "a panic of ours" } else { "the client went away" };
        let path = shown(uri);
        tracing::info!(
            target: "access",
            request_id = %id, %method, path = &*path, address = %address.0, cause, "request without an answer"
        );
    }
}

/// The path, or its beginning.
fn shown(uri: &Uri) -> Cow<'_, str> {
    let path = uri.path();
    match path.split_at_checked(path.floor_char_boundary(MAX_PATH)) {
        Some((beginning, rest)) if !rest.is_empty() => Cow::Owned(format!("{beginning}…")),
        _ => Cow::Borrowed(path),
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_PATH, shown};

    #[test]
    fn of_a_long_path_the_beginning_is_logged() {
        assert_eq!(shown(&"/mcp?q".parse().unwrap()), "/mcp");
        let long = format!("/{}", "a".repeat(60_000));
        assert_eq!(shown(&long.parse().unwrap()), format!("{}…", &long[..MAX_PATH]));
    }
}
