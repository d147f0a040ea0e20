//! A look at the upstream before the first client meets it: most first starts fail by a wrong port or path.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::{Request, StatusCode};
use http_body_util::Empty;

use super::DevError;
use crate::config::Upstream;
use crate::upstream::{HttpUpstream, UpstreamError};

/// How long its answer is waited for; longer than a connection may take. Some servers answer a GET with the first event only.
const ANSWER: Duration = Duration::from_secs(6);

/// Asks the upstream for anything at all, by the way that clients' calls will take. Whatever an MCP server may answer to a
/// bare GET is fine.
pub(super) async fn probe(upstream: &Upstream) -> Result<(), DevError> {
    let uri = upstream.settings.url.clone();
    let url = uri.to_string();
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let client = HttpUpstream::<Empty<Bytes>>::new(upstream, None);
    let request = Request::get(uri).header(HOST, authority).header(ACCEPT, "text/event-stream").body(Empty::new());
    let request = request.or(Err(DevError::BadUpstream { url: url.clone(), why: "cannot be called" }))?;
    let status = match tokio::time::timeout(ANSWER, client.send(request)).await {
        Ok(Ok(response)) => response.status(),
        Ok(Err(UpstreamError::Unreachable(cause))) => return Err(DevError::Unreachable { url, cause }),
        Ok(Err(error)) => return Err(DevError::Unreachable { url, cause: error.to_string() }),
        Err(_elapsed) => return Ok(()),
    };
    match status {
        StatusCode::NOT_FOUND => Err(DevError::NotThere { url }),
        StatusCode::UNAUTHORIZED => Err(DevError::WantsCredentials { url }),
        _ => Ok(()),
    }
}
