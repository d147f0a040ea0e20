//! What a client calls itself (RFC 7591 2): people read it on the consent page, where nobody vouches for it.

/// How many characters a client's name may have.
pub const MAX_CLIENT_NAME: usize = 100;
/// How many combining characters may follow each other in it: Vietnamese and phonetic writing need two or three.
const MAX_STACKED: usize = 3;

/// Checks a name: nothing in it may turn the text around, hide part of it, be drawn over what stands beside it, or be
/// nothing to see. Answers it without spaces around it; empty when nothing is left.
///
/// # Errors
/// What is wrong, in words for the client's developer.
pub fn checked_client_name(name: &str) -> Result<String, String> {
    if name.chars().count() > MAX_CLIENT_NAME {
        return Err(format!("client_name is longer than {MAX_CLIENT_NAME} characters"));
    }
    if name.chars().any(deceives) {
        return Err("client_name has control or invisible formatting characters".to_owned());
    }
    if overflows(name) {
        return Err(format!("client_name has more than {MAX_STACKED} combining characters in a row"));
    }
    let nothing = |c: char| c.is_whitespace() || is_variant(c);
    Ok(name.trim_start_matches(nothing).trim_end().to_owned())
}

/// Controls, what changes the direction, and what is drawn as nothing (`Default_Ignorable_Code_Point`).
fn deceives(c: char) -> bool {
    let ignorable = matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}');
    c.is_control() || (ignorable && !is_variant(c))
}

/// Makes text or a picture of the emoji before it: many are written with it.
const fn is_variant(c: char) -> bool {
    matches!(c, '\u{fe0e}' | '\u{fe0f}')
}

/// Whether marks are stacked so high that they are drawn over what stands beside the name. Only those that go with any
/// letter: scripts that cannot do without have their own.
fn overflows(name: &str) -> bool {
    let mut stacked = 0;
    name.chars().any(|c| {
        let combines = matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}'
            | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}');
        stacked = if combines { stacked + 1 } else { 0 };
        stacked > MAX_STACKED
    })
}

#[cfg(test)]
mod tests {
    use super::checked_client_name;

    #[test]
    fn a_name_that_cannot_be_seen_is_refused() {
        let hidden = "\u{34f}\u{115f}\u{1160}\u{17b4}\u{180b}\u{180f}\u{200b}\u{202e}\u{2066}\u{2800}\u{3164}\u{fe00}\
                      \u{ffa0}\u{fff9}\u{fffb}\u{1bca0}\u{1d173}\u{e0001}\u{e0100}\u{e0fff}";
        for hidden in hidden.chars() {
            for name in [hidden.to_string(), format!("Cl{hidden}aude")] {
                assert!(checked_client_name(&name).is_err(), "{hidden:?} in {name:?}");
            }
        }
        assert_eq!(checked_client_name(" \u{fe0f}\u{3000}\u{fe0e}\u{a0}").unwrap(), "");
    }

    #[test]
    fn marks_that_are_drawn_over_what_stands_beside_the_name_are_refused() {
        for name in ["Claude\u{300}\u{301}\u{302}\u{303}", "\u{20dd}\u{20de}\u{20df}\u{20e0}x"] {
            assert!(checked_client_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn names_of_all_languages_are_names() {
        for name in
            ["Tie\u{302}\u{301}ng Vie\u{323}\u{302}t", "Zürich", "日本語", "한국어", "עִבְרִית", "हिन्दी", "❤\u{fe0f} mail"]
        {
            assert_eq!(checked_client_name(name).unwrap(), name);
        }
    }
}
