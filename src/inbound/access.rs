//! The access log: one line for every request, and for one that ends without an answer too: nobody acts unseen by hanging
//! up.

use http::{Method, Request, Response, Uri};
use tokio::time::Instant;

use crate::limits::ClientAddress;
use crate::telemetry::{Cause, RequestId};

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
        let (path, status) = (uri.path(), response.status().as_u16());
        tracing::info!(
            target: "access",
            request_id = %id, %method, path, status, milliseconds, address = %address.0, cause, "request"
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
        let path = uri.path();
        tracing::info!(
            target: "access",
            request_id = %id, %method, path, address = %address.0, cause, "request without an answer"
        );
    }
}
