//! A look at the upstream before the first client meets it: most first starts fail by a wrong port or path.

use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;

use super::DevError;
use crate::config::Upstream;
use crate::upstream::{Answer, HttpUpstream, Outgoing, Payload, UpstreamError};

/// How long an answer may take to begin: longer than a connection may, which is an error of its own. A server that is
/// connected and says nothing has passed: some answer a GET with their first event only.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long a stream is watched for its first words.
const FIRST_WORDS: Duration = Duration::from_millis(500);

/// Asks the upstream for anything at all, by the way that clients' calls will take. Whatever an MCP server may answer to a
/// bare GET is fine.
pub(super) async fn probe(upstream: &Upstream) -> Result<(), DevError> {
    let url = upstream.settings.url.to_string();
    let mut upstream = upstream.clone();
    // nothing restarts here: who starts us wants to know now
    upstream.settings.http.reconnect = None;
    let client = HttpUpstream::new(&upstream, None);
    let request = client.target(None).and_then(|path| Request::get(path).header(ACCEPT, "text/event-stream").body(()));
    let Ok(request) = request else { return Err(DevError::BadUpstream { url, why: "cannot be called" }) };
    let call = Outgoing { head: request.into_parts().0, payload: Payload::none() };
    let response = match tokio::time::timeout(PATIENCE, client.send(call)).await {
        Err(_elapsed) => return Ok(()),
        Ok(Ok(response)) => response,
        Ok(Err(UpstreamError::Unreachable(cause))) => return Err(DevError::Unreachable { url, cause }),
        Ok(Err(UpstreamError::Redirects { to, .. })) => return Err(DevError::Redirects { url, to }),
        Ok(Err(error)) => return Err(DevError::Unreachable { url, cause: error.to_string() }),
    };
    judge(url, response).await
}

async fn judge(url: String, response: Response<Answer>) -> Result<(), DevError> {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match response.status() {
        StatusCode::NOT_FOUND => return Err(DevError::NotThere { url }),
        StatusCode::UNAUTHORIZED => return Err(DevError::WantsCredentials { url }),
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
async fn begins_like_http_sse(mut body: Answer) -> bool {
    let first = tokio::time::timeout(FIRST_WORDS, body.frame()).await;
    let data = first.ok().flatten().and_then(Result::ok).and_then(|frame| frame.into_data().ok());
    data.is_some_and(|data| data.starts_with(b"event: endpoint") || data.starts_with(b"event:endpoint"))
}
