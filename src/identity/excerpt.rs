//! Texts of others as they may stand in our log. Defends against log injection: they choose the length and the bytes.

use crate::telemetry::is_hidden;

const LONGEST: usize = 200;

/// The beginning of a text, on one line, without what steers a terminal or turns text around.
pub(crate) fn excerpt(text: &str) -> String {
    let mut printable = text.chars().filter(|c| !is_hidden(*c));
    let mut short: String = printable.by_ref().take(LONGEST).collect();
    if printable.next().is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::excerpt;

    #[test]
    fn a_long_text_is_cut_and_lines_are_joined() {
        assert_eq!(excerpt("a\r\nb\u{1b}[31m\u{9b}\u{202e}\u{2028}"), "ab[31m");
        assert_eq!(excerpt(&"é".repeat(200)), "é".repeat(200));
        assert_eq!(excerpt(&"é".repeat(1_000_000)), format!("{}…", "é".repeat(200)));
    }
}
