//! Text from others, made safe for the log.
//!
//! Defends against: log injection, terminal escape sequences, and lines as long as the sender likes.

use std::borrow::Cow;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// How many characters of a text are logged. No name of a tool, no error code and no identifier of ours is longer.
const LONGEST: usize = 200;

/// Whether a character steers what shows it instead of being shown: controls (C0, DEL, C1), separators of lines and
/// paragraphs, and format characters, such as those that have no width or turn the direction of the text around.
fn is_hidden(c: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    matches!(c.general_category(), Control | Format | LineSeparator | ParagraphSeparator)
}

/// The beginning of a text that others wrote, for one line of the log: at most [`LONGEST`] characters and a mark where it was
/// cut, with U+FFFD in the place of each character that steers.
pub(crate) fn excerpt(text: &str) -> Cow<'_, str> {
    let end = text.char_indices().nth(LONGEST).map(|(end, _)| end);
    match end.and_then(|end| text.get(..end)) {
        None => replaced(text, is_hidden),
        Some(beginning) => {
            let mut short = replaced(beginning, is_hidden).into_owned();
            short.push('…');
            Cow::Owned(short)
        }
    }
}

/// A whole line of the log. Its format has escaped the controls that are ASCII, or means them: line ends and colours.
pub(super) fn printable_line(line: &[u8]) -> Cow<'_, [u8]> {
    if line.iter().all(|byte| *byte < 0x7f) {
        return Cow::Borrowed(line);
    }
    let text = String::from_utf8_lossy(line).into_owned();
    Cow::Owned(replaced(&text, |c| c >= '\u{7f}' && is_hidden(c)).into_owned().into_bytes())
}

fn replaced(text: &str, is_wrong: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().any(&is_wrong) {
        Cow::Owned(text.chars().map(|c| if is_wrong(c) { char::REPLACEMENT_CHARACTER } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::{LONGEST, excerpt, printable_line};

    #[test]
    fn what_steers_a_terminal_or_turns_text_around_is_replaced() {
        let steering = "\0\n\u{1b}\u{7f}\u{85}\u{9b}\u{ad}\u{61c}\u{200b}\u{200d}\u{200e}\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}\u{e0041}";
        for c in steering.chars() {
            assert_eq!(excerpt(&format!("a{c}b")), "a\u{fffd}b", "{c:?}");
        }
        assert!(matches!(excerpt("Grüße, 世界 🔧"), Cow::Borrowed("Grüße, 世界 🔧")));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        for c in ["x", "é", "世", "🔧"] {
            let whole = c.repeat(LONGEST);
            assert!(matches!(excerpt(&whole), Cow::Borrowed(text) if text == whole));
            assert_eq!(excerpt(&c.repeat(1_000_000)), format!("{whole}…"));
        }
        let hostile = "\u{202e}".repeat(LONGEST + 1);
        assert_eq!(excerpt(&hostile), format!("{}…", "\u{fffd}".repeat(LONGEST)));
    }

    #[test]
    fn a_line_keeps_its_own_end_and_colours() {
        let line = "\u{1b}[32mINFO\u{1b}[0m host=\"ü\u{9b}31m\u{202e}\u{7f}\"\n";
        let shown = "\u{1b}[32mINFO\u{1b}[0m host=\"ü\u{fffd}31m\u{fffd}\u{fffd}\"\n";
        assert_eq!(printable_line(line.as_bytes()), shown.as_bytes());
    }
}
