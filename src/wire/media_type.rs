//! What a message's body is (RFC 9110 8.3.1).

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// Whether a message's body is of this media type, whatever its parameters say. A message that names its type twice has none:
/// two readers could pick different ones.
pub(crate) fn is_media_type(headers: &HeaderMap, media_type: &str) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let kind = value.to_str().unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}
