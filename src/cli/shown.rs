//! Values as text for a terminal.
//!
//! Defends against: terminal escape sequences and bidirectional overrides in names, which unauthenticated clients choose.

use std::fmt::Write as _;

use serde::Serialize;
use url::Url;

use crate::clock::Timestamp;
pub(super) use crate::config::pluralize;

/// A name in quotes, with every control and invisible character escaped, and with the quotes inside it.
pub(super) fn quoted(name: &str) -> String {
    format!("{name:?}")
}

/// The same without quotes: for ids, subjects and URLs.
pub(super) fn escaped(text: &str) -> String {
    text.escape_debug().to_string()
}

/// A time in UTC: `2027-01-15 08:00`.
pub(super) fn moment(at: Timestamp) -> String {
    at.in_utc()
}

/// Where codes are sent: the host of an http or https URI, otherwise the whole URI.
pub(super) fn redirect_host(uri: &str) -> String {
    let url = Url::parse(uri).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    escaped(url.as_ref().and_then(Url::host_str).unwrap_or(uri))
}

/// JSON in ASCII, because it may be printed on a terminal.
pub(super) fn json(value: &impl Serialize) -> Result<String, std::io::Error> {
    let text = serde_json::to_string_pretty(value)?;
    let mut ascii = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\u{7f}' || !c.is_ascii() {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // writing to a String cannot fail
                write!(ascii, "\\u{unit:04x}").ok();
            }
        } else {
            ascii.push(c);
        }
    }
    Ok(ascii)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json as value};

    use super::{escaped, json, moment, quoted, redirect_host};
    use crate::clock::Timestamp;

    #[test]
    fn a_time_prints_as_a_calendar_date() {
        for (seconds, written) in [
            (0, "1970-01-01 00:00"),
            (951_782_400, "2000-02-29 00:00"),
            (951_868_800, "2000-03-01 00:00"),
            (1_800_000_000, "2027-01-15 08:00"),
            (4_107_542_399, "2100-02-28 23:59"),
            (4_107_542_400, "2100-03-01 00:00"),
            (-1, "1969-12-31 23:59"),
        ] {
            assert_eq!(moment(Timestamp(seconds)), written);
        }
    }

    #[test]
    fn a_redirect_uri_prints_as_host_or_as_the_whole_uri() {
        for (uri, host) in [
            ("https://claude.ai/api/mcp/auth_callback", "claude.ai"),
            ("http://127.0.0.1/callback", "127.0.0.1"),
            ("cursor://anysphere.cursor-mcp/oauth/callback", "cursor://anysphere.cursor-mcp/oauth/callback"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
        ] {
            assert_eq!(redirect_host(uri), host);
        }
    }

    proptest! {
        #[test]
        fn no_text_contains_terminal_escapes_or_bidi_overrides(name in "(\\PC|[\u{0}-\u{9f}\u{200b}-\u{202e}\u{2066}-\u{2069}]){0,20}") {
            // the gaps are hyphens, dashes and quotes, which are harmless
            let turns = |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let hostile = |c: char| c.is_control() || turns(c);
            prop_assert!(!quoted(&name).chars().any(hostile) && !escaped(&name).chars().any(hostile));
            let text = json(&value!([name])).unwrap();
            prop_assert!(text.bytes().all(|byte| byte == b'\n' || (32..127).contains(&byte)));
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value!([name]));
        }
    }
}
