//! The framing of request bodies. A body's end must be stated once and in one way; otherwise the request is refused and
//! its connection closed.
//!
//! Defends against request smuggling (RFC 9112 11.2), a parser differential: where a proxy in front and we disagree about a
//! body's end, one of us takes the rest of the body for the next request. hyper accepts any list of codings that ends in
//! `chunked`, so framing is checked here, first, and on every path: nothing more may be read from the connection of such a
//! request.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue};

/// Checks `Transfer-Encoding` and `Content-Length` (RFC 9112 6.1, 6.3).
///
/// # Errors
/// What is ambiguous. No real client sends it.
pub(super) fn check(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next().map(HeaderValue::as_bytes) else { return Ok(()) };
    if headers.contains_key(CONTENT_LENGTH) {
        return Err("both Transfer-Encoding and Content-Length");
    }
    if codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
        return Err("a Transfer-Encoding that is not `chunked` alone");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::check;

    fn checked(fields: &[(&'static str, &'static str)]) -> bool {
        let fields =
            fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value);
        }
        check(&headers).is_ok()
    }

    #[test]
    fn only_a_length_or_one_chunked_coding_frames_a_body() {
        assert!(checked(&[]));
        assert!(checked(&[("content-length", "5")]));
        assert!(checked(&[("transfer-encoding", "chunked")]));
        assert!(checked(&[("transfer-encoding", "Chunked")]));
        for coding in ["gzip, chunked", "chunked, chunked", "identity", "chunked;q=1", "chunked,", "xchunked", ""] {
            assert!(!checked(&[("transfer-encoding", coding)]), "{coding}");
        }
        assert!(!checked(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]));
        assert!(!checked(&[("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")]));
        assert!(!checked(&[("content-length", "5"), ("transfer-encoding", "chunked")]));
    }
}
