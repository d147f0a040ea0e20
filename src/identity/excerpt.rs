//! What others said, as it may stand in our log: they choose the length and the bytes.

const LONGEST: usize = 200;

/// The beginning of a text, on one line.
pub(crate) fn excerpt(text: &str) -> String {
    let mut printable = text.chars().filter(|c| !c.is_control());
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
        assert_eq!(excerpt("a\r\nb\u{1b}[31m"), "ab[31m");
        assert_eq!(excerpt(&"é".repeat(200)), "é".repeat(200));
        assert_eq!(excerpt(&"é".repeat(1_000_000)), format!("{}…", "é".repeat(200)));
    }
}
