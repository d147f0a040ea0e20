//! How an input is taken apart.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The first line of an input, and the rest.
pub(super) fn first_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

/// A header map from lines of the form `name: value`. Lines that are none are left out.
pub(super) fn header_map(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let Some((name, value)) = line.split_at_checked(colon) else { continue };
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.strip_prefix(b":").unwrap_or(value).trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}
