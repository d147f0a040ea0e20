//! What a request accepts (RFC 9110 12.5.1).
//!
//! Only ranges that name a media type tell one kind of client from another: browsers and programs alike send `*/*` with
//! whatever else they take. So wildcards are ignored, and nothing is refused for lack of a range.

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};

/// The weight of the best range that names this media type, whatever its parameters, in thousandths: 1000 is `q=1`, and 0
/// is "not acceptable" or "not named". Fields of one name are one list.
pub(crate) fn weight_of(media_type: &str, headers: &HeaderMap) -> u16 {
    let values = headers.get_all(ACCEPT).iter().map(HeaderValue::as_bytes);
    let ranges = values.flat_map(|value| split_unquoted(value, b','));
    let named = ranges.filter_map(|range| {
        let mut parts = split_unquoted(range, b';').map(<[u8]>::trim_ascii);
        parts.next()?.eq_ignore_ascii_case(media_type.as_bytes()).then(|| weight(parts))
    });
    named.max().unwrap_or(0)
}

/// The weight among the parameters of a range; one that cannot be read is none.
fn weight<'a>(mut parameters: impl Iterator<Item = &'a [u8]>) -> u16 {
    let quality = parameters.find_map(|parameter| {
        let (name, value) = str::from_utf8(parameter).ok()?.split_once('=')?;
        name.trim_end().eq_ignore_ascii_case("q").then(|| value.trim_start())
    });
    quality.map_or(1000, |value| thousandths(value).unwrap_or(0))
}

/// `0`, `0.5`, `1.000`: at most three decimals, at most one.
fn thousandths(value: &str) -> Option<u16> {
    let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = decimals.bytes().map(|digit| u16::from(digit - b'0'));
    let fraction: u16 = digits.zip([100, 10, 1]).map(|(digit, worth)| digit * worth).sum();
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

/// Splits at a separator outside of quoted strings (RFC 9110 5.6.4).
fn split_unquoted(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |&byte| {
        let is_separator = !quoted && byte == separator;
        if escaped {
            escaped = false;
        } else if byte == b'"' {
            quoted = !quoted;
        } else {
            escaped = quoted && byte == b'\\';
        }
        is_separator
    })
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT;
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::weight_of;

    fn headers(fields: &[&[u8]]) -> HeaderMap {
        fields.iter().map(|field| (ACCEPT, HeaderValue::from_bytes(field).unwrap())).collect()
    }

    fn html(fields: &[&str]) -> u16 {
        let fields: Vec<_> = fields.iter().map(|field| field.as_bytes()).collect();
        weight_of("text/html", &headers(&fields))
    }

    #[test]
    fn the_quality_value_is_the_weight_and_one_that_cannot_be_read_is_none() {
        for (accept, weight) in [
            ("text/html", 1000),
            ("Text/HTML ; q=1", 1000),
            ("text/html;q=1.000", 1000),
            ("text/html;q=0.5", 500),
            ("text/html;q=0.05", 50),
            ("text/html; Q=0.501", 501),
            ("text/html;q = 0.3", 300),
            ("text/html;q=0.", 0),
            ("text/html;q=0", 0),
            ("text/html;q=0.0001", 0),
            ("text/html;q=1.001", 0),
            ("text/html;q=2", 0),
            ("text/html;q=-1", 0),
            ("text/html;q=x", 0),
            ("text/html;q=", 0),
            ("text/html;q=0.5;q=0.9", 500),
            ("text/html;level=1;q=0.4", 400),
            ("text/html;q=0.4;ext=1", 400),
            ("text/html;v=\"a,b;q=0\";q=0.7", 700),
            ("text/html;v=\"\\\";q=0.1\";q=0.8", 800),
            ("application/x;v=\"a, text/html\"", 0),
        ] {
            assert_eq!(html(&[accept]), weight, "{accept}");
        }
    }

    #[test]
    fn only_a_range_that_names_the_type_counts() {
        for accept in ["", "*/*", "text/*", "*/*;q=1, text/*", "text/htmlx", "text", "xtext/html", "application/json"] {
            assert_eq!(html(&[accept]), 0, "{accept}");
        }
        assert_eq!(html(&[]), 0);
        assert_eq!(html(&["*/*;q=0, text/html;q=0.2"]), 200);
    }

    #[test]
    fn several_fields_are_one_list_whose_order_means_nothing() {
        for fields in [
            ["application/json", "text/html;q=0.3"],
            ["text/html;q=0.3", "application/json"],
            ["*/*,text/html;q=0.1", "text/html;q=0.3, application/json"],
            ["text/html;q=0.3, , ,", ",text/html;q=0.2"],
        ] {
            assert_eq!(html(&fields), 300, "{fields:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_spoil_only_their_own_range() {
        assert_eq!(weight_of("text/html", &headers(&[b"\xff\xfe, text/html;q=0.5"])), 500);
        assert_eq!(weight_of("text/html", &headers(&[b"text/html;\xff=1;q=0.5"])), 500);
    }

    proptest! {
        #[test]
        fn any_accept_header_parses(accept in "[ -~]{0,80}") {
            let weight = html(&[&accept]);
            prop_assert!(weight == 0 || accept.to_ascii_lowercase().contains("text/html"));
            prop_assert!(weight <= 1000);
        }
    }
}
