//! Any text as the value of a header.
//!
//! Defends against header injection, and against names that differ only by spaces at an edge.

use std::fmt::Write;

use http::HeaderValue;

/// Percent-encodes `%`, the characters of `also` and all but printable ASCII, so that the text can be decoded again.
pub(super) fn encode(text: &str, also: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // a space at an edge would be trimmed (RFC 9110 5.5), which could turn one user into another
    let inner = text.len() - text.trim_start_matches(' ').len()..text.trim_end_matches(' ').len();
    for (at, byte) in text.bytes().enumerate() {
        let kept = byte != b' ' || inner.contains(&at);
        if kept && matches!(byte, b' '..=b'~') && byte != b'%' && !also.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A token as the value of the header. Marked as sensitive: it does not print.
pub(super) fn header_value(token: &str, bearer: bool) -> Option<HeaderValue> {
    let whole = if bearer { format!("Bearer {token}") } else { token.to_owned() };
    let mut value = HeaderValue::try_from(whole).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::encode;

    #[test]
    fn plain_names_are_kept_and_others_are_percent_encoded() {
        assert_eq!(encode("alice@example.com", ""), "alice@example.com");
        assert_eq!(encode("Zoë 100%", ""), "Zo%C3%AB 100%25");
        assert_eq!(encode("a,b", ","), "a%2Cb");
        assert_eq!(encode(" admin  ", ""), "%20admin%20%20");
        assert_eq!(encode("   ", ""), "%20%20%20");
        assert_eq!(encode("a\r\nX-Evil: 1", ""), "a%0D%0AX-Evil: 1");
    }

    proptest! {
        #[test]
        fn every_encoded_text_is_a_header_value_and_reads_back(text in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
            let encoded = encode(&text, ",");
            prop_assert!(http::HeaderValue::try_from(&encoded).is_ok());
            prop_assert_eq!(encoded.trim(), &encoded);
            let decoded = percent_encoding::percent_decode_str(&encoded).decode_utf8().unwrap();
            prop_assert_eq!(decoded.as_ref(), text);
        }
    }
}
