//! A look at the upstream before the first client meets it: most first starts fail by a wrong port or path.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, LOCATION};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;

use super::{DevError, shown};
use crate::config::Upstream;
use crate::upstream::{HttpUpstream, UpstreamError};

/// How long an answer may take to begin: longer than a connection may, which is an error of its own. A server that is
/// connected and says nothing has passed: some answer a GET with their first event only.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long a stream is watched for its first words.
const FIRST_WORDS: Duration = Duration::from_millis(500);

/// Asks the upstream for anything at all, by the way that clients' calls will take. Whatever an MCP server may answer to a
/// bare GET is fine.
pub(super) async fn probe(upstream: &Upstream) -> Result<(), DevError> {
    let uri = upstream.settings.url.clone();
    let url = uri.to_string();
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let client = HttpUpstream::<Empty<Bytes>>::new(upstream, None);
    let request = Request::get(uri).header(HOST, authority).header(ACCEPT, "text/event-stream").body(Empty::new());
    let request = request.or(Err(DevError::BadUpstream { url: url.clone(), why: "cannot be called" }))?;
    let response = match tokio::time::timeout(PATIENCE, client.send(request)).await {
        Err(_elapsed) => return Ok(()),
        Ok(Ok(response)) => response,
        Ok(Err(UpstreamError::Unreachable(cause))) => return Err(DevError::Unreachable { url, cause }),
        Ok(Err(error)) => return Err(DevError::Unreachable { url, cause: error.to_string() }),
    };
    judge(url, response).await
}

async fn judge(url: String, response: Response<Incoming>) -> Result<(), DevError> {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match response.status() {
        StatusCode::NOT_FOUND => return Err(DevError::NotThere { url }),
        StatusCode::UNAUTHORIZED => return Err(DevError::WantsCredentials { url }),
        status if status.is_redirection() => return Err(DevError::Redirects { url, to: shown(header(LOCATION)) }),
        _ => {}
    }
    let kind = header(CONTENT_TYPE).to_ascii_lowercase();
    if kind.starts_with("text/html") {
        tracing::warn!(
            url,
            "--upstream answers with a web page: is the path right? MCP servers usually listen at /mcp"
        );
    }
    if kind.starts_with("text/event-stream") && begins_like_http_sse(response.into_body()).await {
        return Err(DevError::OldTransport { url });
    }
    Ok(())
}

/// Whether a stream begins by naming another endpoint, as servers of MCP 2024-11-05 (HTTP+SSE) do.
async fn begins_like_http_sse(mut body: Incoming) -> bool {
    let first = tokio::time::timeout(FIRST_WORDS, body.frame()).await;
    let data = first.ok().flatten().and_then(Result::ok).and_then(|frame| frame.into_data().ok());
    data.is_some_and(|data| data.starts_with(b"event: endpoint") || data.starts_with(b"event:endpoint"))
}
