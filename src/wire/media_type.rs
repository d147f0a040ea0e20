//! What a message's body is (RFC 9110 8.3.1).

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// Whether a message's body is of this media type, whatever its parameters say.
pub(crate) fn is_media_type(headers: &HeaderMap, media_type: &str) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}
