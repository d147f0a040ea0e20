//! Device authorization (RFC 8628): the code that a user types, and the response to the device.
//!
//! Defends against guessing: a user code has eight of twenty letters, 34 bits, drawn evenly.

use std::fmt;

use serde::Serialize;

use crate::secret::random;

/// The letters of user codes (RFC 8628 6.1): no vowels, so that no code is a word, and none that looks like another.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// How many letters a user code has.
const LENGTH: usize = 8;

/// The code that a device shows and its user types. It is short-lived but good for a sign-in: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct UserCode([u8; LENGTH]);

impl UserCode {
    /// A new random code.
    #[must_use]
    pub fn generate() -> Self {
        let mut letters = [0; LENGTH];
        let mut drawn = 0;
        while drawn < LENGTH {
            // a remainder of all 256 values would prefer the first letters
            let even = random::<32>().into_iter().filter(|byte| *byte < 240);
            for (slot, byte) in letters.iter_mut().skip(drawn).zip(even) {
                *slot = LETTERS.get(usize::from(byte) % LETTERS.len()).copied().unwrap_or_default();
                drawn += 1;
            }
        }
        Self(letters)
    }

    /// Reads what a user typed: upper or lower case, with any spaces and punctuation.
    #[must_use]
    pub fn parse(typed: &str) -> Option<Self> {
        // longer than any way to write one
        if typed.len() > 64 {
            return None;
        }
        let letters: Vec<u8> = typed
            .chars()
            .filter(|c| c.is_alphanumeric())
            .map(|c| u8::try_from(c.to_ascii_uppercase()).unwrap_or_default())
            .collect();
        let known = letters.iter().all(|letter| LETTERS.contains(letter));
        letters.try_into().ok().filter(|_| known).map(Self)
    }

    /// The letters alone: what is looked up.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, letter) in self.0.iter().enumerate() {
            let dash = if at == LENGTH / 2 { "-" } else { "" };
            write!(f, "{dash}{}", char::from(*letter))?;
        }
        Ok(())
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[user code]")
    }
}

/// The response to a device (RFC 8628 3.2).
#[derive(Serialize)]
pub struct DeviceAuthorizationResponse {
    /// What the device polls with.
    pub device_code: String,
    /// What it shows.
    pub user_code: String,
    /// Where the user types that.
    pub verification_uri: String,
    /// The same with the code in it, for a QR code.
    pub verification_uri_complete: String,
    /// For how many seconds both are good.
    pub expires_in: u64,
    /// How many seconds must lie between two polls.
    pub interval: i64,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{LETTERS, UserCode};

    #[test]
    fn user_codes_are_drawn_evenly_and_never_print_by_accident() {
        let mut counts: BTreeMap<u8, u32> = BTreeMap::new();
        for _ in 0..5000 {
            for letter in UserCode::generate().as_bytes() {
                *counts.entry(*letter).or_default() += 1;
            }
        }
        assert_eq!(counts.keys().copied().collect::<Vec<_>>(), LETTERS);
        // 2000 each are expected; six standard deviations are 262
        assert!(counts.values().all(|count| (1738..2262).contains(count)), "{counts:?}");
        assert_eq!(format!("{:?}", UserCode::generate()), "[user code]");
    }

    #[test]
    fn case_and_separators_do_not_matter() {
        let code = UserCode::parse("WDJB-MJHT").unwrap();
        for typed in ["wdjbmjht", " wdjb mjht ", "W.D.J.B_M/J-H-T", "WDJB\u{2013}MJHT", "WDJB\u{a0}MJHT"] {
            assert_eq!(UserCode::parse(typed), Some(code.clone()), "{typed}");
        }
        assert_eq!(code.to_string(), "WDJB-MJHT");
        let long = format!("WDJBMJHT{}", "-".repeat(60));
        for typed in ["", "WDJB-MJH", "WDJB-MJHTB", "WDJB-MJHA", "WDJB-MJH0", "WDJB-MJH\u{df}", &long] {
            assert_eq!(UserCode::parse(typed), None, "{typed}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_typed_is_read_or_refused(typed in "\\PC{0,80}") {
            if let Some(code) = UserCode::parse(&typed) {
                prop_assert_eq!(UserCode::parse(&code.to_string()), Some(code));
            }
        }
    }
}
