//! NUL in texts, which PostgreSQL cannot hold.
//!
//! Defends against: an outage that an unauthenticated caller causes, and a mix-up of rows, by a NUL in a text that is looked
//! up.

use std::borrow::Cow;

/// Stands for NUL and, doubled, for itself. It is a noncharacter, which no readable text contains.
const ESCAPE: char = '\u{fdd0}';

/// A text of PostgreSQL cannot hold NUL; the statement fails. An unauthenticated caller can send one wherever we look a text
/// up (a client id), and must not make the store fail, nor find the row of another text. So the escape is reversible.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if text.contains(['\0', ESCAPE]) {
        Cow::Owned(text.replace(ESCAPE, "\u{fdd0}\u{fdd0}").replace('\0', "\u{fdd0}0"))
    } else {
        Cow::Borrowed(text)
    }
}

/// See [`escape`].
pub(super) fn unescape(text: String) -> String {
    if !text.contains(ESCAPE) {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            ESCAPE if characters.next() == Some('0') => '\0',
            other => other,
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{escape, unescape};

    #[test]
    fn every_text_comes_back_and_no_two_become_one() {
        let texts =
            ["", "plain", "a\0b", "\0\0", "\u{fdd0}", "\u{fdd0}0", "\u{fdd0}\0", "\0\u{fdd0}", "\u{fdd0}\u{fdd0}"];
        for text in texts {
            let escaped = escape(text).into_owned();
            assert!(!escaped.contains('\0'), "{text:?}");
            assert_eq!(unescape(escaped.clone()), text);
            assert_eq!(texts.iter().filter(|other| escape(other) == escaped).count(), 1, "{text:?}");
        }
    }
}
