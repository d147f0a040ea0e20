//! A look at the upstream before the first client meets it: most first starts fail by a wrong port or path.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::{Request, StatusCode, Uri};
use http_body_util::Empty;

use super::DevError;
use crate::config::Upstream;
use crate::upstream::{HttpUpstream, UpstreamError};

/// How long its answer is waited for; longer than a connection may take. Some servers answer a GET with the first event only.
const ANSWER: Duration = Duration::from_secs(6);

/// Reads `--upstream`.
pub(super) fn parse(text: &str) -> Result<Uri, DevError> {
    let bad = |why: &'static str| DevError::BadUpstream { url: text.to_owned(), why };
    let uri: Uri =
        text.parse().map_err(|_invalid| bad("is not a URL: give the whole of it, like http://127.0.0.1:8420/mcp"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err(bad("is neither http nor https: give the whole URL, like http://127.0.0.1:8420/mcp")),
    }
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        // what stands before the @ may be a password
        let url = uri.host().unwrap_or_default().to_owned();
        return Err(DevError::BadUpstream { url, why: "must have a host, and no user name or password before it" });
    }
    Ok(uri)
}

/// Asks the upstream for anything at all, by the way that clients' calls will take. Whatever an MCP server may answer to a
/// bare GET is fine.
pub(super) async fn probe(upstream: &Upstream) -> Result<(), DevError> {
    let uri = upstream.settings.url.clone();
    let url = uri.to_string();
    let bad = |why| DevError::BadUpstream { url: url.clone(), why };
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let client = HttpUpstream::<Empty<Bytes>>::new(upstream, None)?;
    let request = Request::get(uri).header(HOST, authority).header(ACCEPT, "text/event-stream").body(Empty::new());
    let request = request.map_err(|_invalid| bad("cannot be called"))?;
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

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_upstream_is_a_whole_url() {
        assert!(parse("http://127.0.0.1:8420/mcp").is_ok());
        for bad in ["127.0.0.1:8420/mcp", "ftp://a/b", "/mcp", "", "http://u:p@a/mcp", "http://"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
