//! A client's name (RFC 7591 2): its own claim, which people read on the consent page.
//!
//! Defends against spoofing by invisible and bidirectional characters, by marks drawn over neighbouring text, and by symbols
//! that look like a badge. A name is cleaned and never refused: it is optional, and a client whose registration fails cannot
//! connect.

use unicode_properties::{GeneralCategory, UnicodeEmoji, UnicodeGeneralCategory};
use unicode_segmentation::UnicodeSegmentation;

/// How many characters a client's name may have.
pub const MAX_CLIENT_NAME: usize = 100;
/// How many combining marks one letter may carry: pointed Hebrew needs four, and no script needs more in names.
const MAX_STACKED: usize = 4;

/// Makes a keycap of the digit before it.
const KEYCAP: char = '\u{20e3}';
const ZERO_WIDTH_NON_JOINER: char = '\u{200c}';
const ZERO_WIDTH_JOINER: char = '\u{200d}';

/// The name as it may be shown: nothing in it reverses or hides text, is drawn over neighbouring text, or looks like a
/// badge. A long name is cut at the boundary of a grapheme cluster. `None` when nothing visible is left.
#[must_use]
pub fn clean_client_name(name: &str) -> Option<String> {
    let text = without_stray_joiners(&visible(name));
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let name = cut(words.trim_start_matches(|c: char| c.is_whitespace() || is_mark(c) || is_joiner(c)));
    let name = name.trim_end_matches(|c: char| c.is_whitespace() || is_joiner(c));
    (!name.is_empty()).then(|| name.to_owned())
}

/// The characters that are drawn, and joiners, which [`without_stray_joiners`] checks by their neighbours.
fn visible(name: &str) -> Vec<char> {
    let mut kept = Vec::new();
    let mut stacked = 0;
    for c in name.chars() {
        if c.is_whitespace() {
            stacked = 0;
            kept.push(' ');
        } else if is_joiner(c) || is_variation_selector(c) {
            kept.push(c);
        } else if !is_hidden(c) && !looks_like_a_badge(c) && !is_a_line_of_text(c) && encloses_nothing(c, &kept) {
            stacked = if is_mark(c) { stacked + 1 } else { 0 };
            kept.extend((stacked <= MAX_STACKED).then_some(c));
        }
    }
    kept
}

/// Keeps joiners where writing needs them: between letters of joining scripts (such as Arabic and Devanagari) and inside
/// emoji. Elsewhere they make different names look alike.
fn without_stray_joiners(name: &[char]) -> String {
    let mut kept = String::new();
    for (at, &c) in name.iter().enumerate() {
        let before = kept.chars().next_back();
        let after = name.get(at + 1).copied();
        let between = |needs: fn(char) -> bool| before.is_some_and(needs) && after.is_some_and(needs);
        let keep = match c {
            ZERO_WIDTH_NON_JOINER => between(is_of_joining_script),
            ZERO_WIDTH_JOINER => {
                between(is_of_joining_script)
                    || (before.is_some_and(|c| is_picture(c) || is_variation_selector(c))
                        && after.is_some_and(is_picture))
            }
            c if is_variation_selector(c) => before.is_some_and(UnicodeEmoji::is_emoji_char),
            _ => true,
        };
        kept.extend(keep.then_some(c));
    }
    kept
}

fn cut(name: &str) -> &str {
    let mut characters = 0;
    let fits = name.grapheme_indices(true).take_while(|(_, grapheme)| {
        characters += grapheme.chars().count();
        characters <= MAX_CLIENT_NAME
    });
    let end = fits.last().map_or(0, |(at, grapheme)| at + grapheme.len());
    name.get(..end).unwrap_or_default()
}

/// Controls, bidirectional formatting, tags, unassigned code points, and characters that are drawn as nothing.
fn is_hidden(c: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, Surrogate, Unassigned};
    let blank = matches!(c, '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0d}' | '\u{ffa0}' | '\u{16fe4}' | '\u{1d159}'
        | '\u{e0100}'..='\u{e01ef}');
    blank
        || matches!(
            c.general_category(),
            Control | Format | LineSeparator | ParagraphSeparator | PrivateUse | Surrogate | Unassigned
        )
}

/// Symbols that suggest that the name was verified.
fn looks_like_a_badge(c: char) -> bool {
    let check = matches!(c, '\u{221a}' | '\u{237b}' | '\u{2610}'..='\u{2612}' | '\u{2705}' | '\u{2713}' | '\u{2714}'
        | '\u{2bbd}' | '\u{1f197}' | '\u{1f5f8}'..='\u{1f5f9}' | '\u{1fbb1}' | '\u{10102}');
    let lock_key_or_shield =
        matches!(c, '\u{26bf}' | '\u{26e8}' | '\u{1f50f}'..='\u{1f513}' | '\u{1f530}' | '\u{1f5dd}' | '\u{1f6e1}');
    let legal = matches!(
        c,
        '\u{a9}' | '\u{ae}' | '\u{2117}' | '\u{2120}' | '\u{2122}' | '\u{1f12e}' | '\u{1f12f}' | '\u{1f16a}'
            ..='\u{1f16c}'
    );
    // a letter or a word in a circle or a square; from 1F1E6 on they are the halves of flags
    let enclosed = matches!(c, '\u{2460}'..='\u{24ff}' | '\u{3200}'..='\u{32ff}' | '\u{1f100}'..='\u{1f1e5}'
        | '\u{1f200}'..='\u{1f265}');
    // coloured dots, squares and diamonds, which other sites put beside verified names
    let shape = matches!(c, '\u{1f534}'..='\u{1f53b}' | '\u{1f7e0}'..='\u{1f7eb}' | '\u{26aa}' | '\u{26ab}');
    let award = matches!(
        c,
        '\u{1f396}' | '\u{1f397}' | '\u{1f3c5}' | '\u{1f3c6}' | '\u{1f3f5}' | '\u{1f4a0}' | '\u{1f947}'..='\u{1f949}'
    );
    check || lock_key_or_shield || legal || enclosed || shape || award
}

/// Ligatures of whole sentences: each is drawn as wide as a dozen letters.
const fn is_a_line_of_text(c: char) -> bool {
    matches!(c, '\u{fdfa}'..='\u{fdfd}' | '\u{12219}' | '\u{12031}')
}

/// Whether `c` is not an enclosing mark, which makes a badge of a letter. Only keycaps may have one.
fn encloses_nothing(c: char, before: &[char]) -> bool {
    let key = before.iter().rev().find(|&&c| !is_variation_selector(c));
    let keycap = || c == KEYCAP && key.is_some_and(|key| matches!(key, '0'..='9' | '#' | '*'));
    c.general_category() != GeneralCategory::EnclosingMark || keycap()
}

fn is_mark(c: char) -> bool {
    matches!(c.general_category(), GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark)
}

const fn is_joiner(c: char) -> bool {
    matches!(c, ZERO_WIDTH_NON_JOINER | ZERO_WIDTH_JOINER)
}

/// Selects the text or the emoji form of the character before it.
const fn is_variation_selector(c: char) -> bool {
    matches!(c, '\u{fe0e}' | '\u{fe0f}')
}

/// An emoji that can be part of a sequence. Digits, which Unicode's tables count as emoji, are not.
fn is_picture(c: char) -> bool {
    c.is_emoji_char() && !c.is_ascii()
}

/// A letter or a vowel sign of the blocks from Arabic to Sinhala.
fn is_of_joining_script(c: char) -> bool {
    matches!(c, '\u{600}'..='\u{dff}') && (c.is_alphabetic() || is_mark(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MAX_CLIENT_NAME, clean_client_name, is_hidden, looks_like_a_badge};

    fn clean(name: &str) -> String {
        clean_client_name(name).unwrap_or_default()
    }

    #[test]
    fn invisible_characters_are_removed_from_names() {
        let hidden = "\u{34f}\u{61c}\u{ad}\u{115f}\u{1160}\u{17b4}\u{180b}\u{180e}\u{180f}\u{200b}\u{200c}\u{200d}\u{200e}\
                      \u{202e}\u{2066}\u{2800}\u{3164}\u{fe00}\u{fe0f}\u{feff}\u{ffa0}\u{fff9}\u{fffb}\u{fffe}\u{1bca0}\
                      \u{1d173}\u{e0001}\u{e0041}\u{e0100}\u{e0fff}\u{e000}\u{7}\u{1b}\u{7f}\u{85}";
        for hidden in hidden.chars() {
            assert_eq!(clean(&hidden.to_string()), "", "{hidden:?}");
            let expected = if hidden.is_whitespace() { "Cl aude" } else { "Claude" };
            assert_eq!(clean(&format!("Cl{hidden}aude")), expected, "{hidden:?}");
        }
        assert_eq!(clean(" \u{fe0f}\u{3000}\u{fe0e}\u{a0}"), "");
        assert_eq!(clean("Claude\r\n"), "Claude");
        assert_eq!(clean("\tClaude \u{2028}\u{2029} Code\n\n"), "Claude Code");
    }

    #[test]
    fn marks_that_are_drawn_over_neighbouring_text_are_removed() {
        assert_eq!(clean(&format!("a{}", "\u{300}".repeat(50))), format!("a{}", "\u{300}".repeat(4)));
        assert_eq!(clean(&format!("\u{e01}{}", "\u{e4e}".repeat(50))), format!("\u{e01}{}", "\u{e4e}".repeat(4)));
        assert_eq!(clean("\u{20dd}\u{20de}x"), "x");
        assert_eq!(clean("\u{300}\u{301}"), "");
    }

    #[test]
    fn names_in_every_script_are_kept() {
        for name in [
            "Tie\u{302}\u{301}ng Vie\u{323}\u{302}t",
            "Zürich",
            "日本語",
            "한국어",
            "עִבְרִית",
            "हिन्दी",
            "نرم\u{200c}افزار",
            "क्\u{200d}ष",
            "ශ්\u{200d}රී ලංකා",
            "❤\u{fe0f} mail",
            "👩\u{200d}💻 Dev",
            "🏳\u{fe0f}\u{200d}🌈",
            "👍🏽 Client",
            "🇩🇪🇮🇷",
            "1\u{fe0f}\u{20e3} #\u{20e3} *\u{fe0f}\u{20e3}",
            "C++ & <b>\"quotes\"</b>",
        ] {
            assert_eq!(clean(name), name);
        }
        assert_eq!(clean("🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}"), "🏴", "tags carry hidden text");
    }

    #[test]
    fn badges_are_removed_from_names() {
        for (name, left) in [
            ("Claude ✓", "Claude"),
            ("✔\u{fe0f} Claude", "Claude"),
            ("☑\u{fe0f}Claude✅", "Claude"),
            ("🔒 Claude 🛡\u{fe0f}", "Claude"),
            ("Claude®™©", "Claude"),
            ("Claude Ⓥ 🅥", "Claude"),
            ("Claude 🗸 🏅", "Claude"),
            ("Claude √", "Claude"),
            ("🔐", ""),
            ("Claude R\u{20dd}", "Claude R"),
            ("C\u{20dd}laude v\u{20de}", "Claude v"),
            ("Claude a\u{489} b\u{488} c\u{20e0} d\u{1abe}", "Claude a b c d"),
            ("x\u{20e3} ✓\u{20e3} 1\u{301}\u{20e3}", "x 1\u{301}"),
            ("Claude ㊗㊙ ㉿", "Claude"),
            ("Claude 🟢🟦🔷🔵🔻", "Claude"),
            ("Claude 🈴🉐", "Claude"),
            ("\u{fdfd}Claude\u{fdfa}", "Claude"),
            ("👩\u{200d}🔒x", "👩x"),
        ] {
            assert_eq!(clean(name), left, "{name}");
        }
    }

    #[test]
    fn a_long_name_is_cut_at_a_grapheme_boundary() {
        assert_eq!(clean(&"x".repeat(1000)), "x".repeat(100));
        let family = "👩\u{200d}👩\u{200d}👧";
        assert_eq!(clean(&format!("{}{family}", "x".repeat(96))), "x".repeat(96));
        assert_eq!(clean(&format!("{}{family}", "x".repeat(95))), format!("{}{family}", "x".repeat(95)));
        assert_eq!(clean(&format!("{} yz", "x".repeat(99))), "x".repeat(99), "no space at the end");
        let one = format!("{}💻", "👩\u{200d}".repeat(100));
        assert_eq!(clean(&one), "", "one character of 201");
    }

    proptest! {
        #[test]
        fn cleaning_a_name_is_bounded_and_idempotent(
            parts in prop::collection::vec(
                prop_oneof![
                    "\\PC{0,12}",
                    any::<char>().prop_map(String::from),
                    "[\u{200c}\u{200d}\u{fe0f}\u{20dd}\u{20e3}#1\u{ad}\u{202e}\u{300}\u{64b}ا✓👩💻x \\n]{0,12}",
                ],
                0..40,
            ),
        ) {
            if let Some(name) = clean_client_name(&parts.concat()) {
                prop_assert!(name.chars().count() <= MAX_CLIENT_NAME);
                prop_assert_eq!(name.trim(), &name);
                prop_assert!(!name.chars().any(looks_like_a_badge));
                let hides = name.chars().any(|c| is_hidden(c) && !super::is_joiner(c));
                prop_assert!(!hides);
                prop_assert_eq!(clean_client_name(&name), Some(name.clone()));
            }
        }
    }
}
