//! Durations (`"15m"`) and sizes (`"1MiB"`).

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::problem::Mistake;

/// The longest duration, in seconds: it can be added to any time without overflow.
const LONGEST: u64 = 10 * 365 * 24 * 3600;

const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 24 * 3600)];
const SIZES: [(&str, u64); 3] = [("KiB", 1024), ("MiB", 1024 * 1024), ("GiB", 1024 * 1024 * 1024)];

/// A value that may be written as a string, a number or a boolean. It is parsed with the rest of its section and not during
/// deserialization, so that one wrong value does not hide another.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Scalar {
    Text(String),
    Number(i64),
    Boolean(bool),
}

impl Scalar {
    /// Whether it is "off" or false.
    pub(super) fn is_off(&self) -> bool {
        match self {
            Self::Text(text) => matches!(text.trim(), "off" | "false"),
            Self::Boolean(value) => !value,
            Self::Number(_) => false,
        }
    }

    /// Parses `"60s"`, `"15m"`, `"1h"` or `"30d"`.
    pub(super) fn duration(&self) -> Result<Duration, Mistake> {
        let wrong = || {
            Mistake::new("must be a duration")
                .hint("a whole number and s, m, h or d: \"60s\", \"15m\", \"1h\", \"30d\"")
        };
        let Self::Text(text) = self else { return Err(wrong()) };
        let seconds = parse_quantity(text, &UNITS).ok_or_else(wrong)?;
        if seconds > LONGEST {
            return Err(Mistake::new("is longer than ten years"));
        }
        Ok(Duration::from_secs(seconds))
    }

    /// Parses a number of bytes, or `"64KiB"`, `"1MiB"`.
    pub(super) fn bytes(&self) -> Result<u64, Mistake> {
        let bytes = match self {
            Self::Number(number) => u64::try_from(*number).ok(),
            Self::Text(text) => text.trim().parse().ok().or_else(|| parse_quantity(text, &SIZES)),
            Self::Boolean(_) => None,
        };
        bytes.ok_or_else(|| {
            Mistake::new("must be a size").hint("a number of bytes, or a text such as \"64KiB\" or \"1MiB\"")
        })
    }
}

/// Parses `"12h"` or `"90d"`, for an argument of a command.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    parse_quantity(text, &UNITS).filter(|seconds| *seconds <= LONGEST).map(Duration::from_secs)
}

fn parse_quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let (number, factor) = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    let digits = number.trim_end();
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse::<u64>().ok()?.checked_mul(*factor) } else { None }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyScalar;

        impl Visitor<'_> for AnyScalar {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string in quotes")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar::Number(number))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar::Boolean(value))
            }
        }

        deserializer.deserialize_any(AnyScalar)
    }
}

#[cfg(test)]
mod tests {
    use super::Scalar;

    fn text(text: &str) -> Scalar {
        Scalar::Text(text.to_owned())
    }

    #[test]
    fn a_duration_is_a_whole_number_with_a_unit() {
        for (written, seconds) in
            [("60s", 60), ("15m", 900), ("1h", 3600), ("30d", 2_592_000), (" 2 m ", 120), ("0s", 0)]
        {
            assert_eq!(text(written).duration().map(|d| d.as_secs()), Ok(seconds), "{written}");
        }
        for written in
            ["", "60", "s", "-1s", "+1s", "1.5h", "1h30m", "1w", "1 0s", "99999999999999999999s", "3651d", "é"]
        {
            assert!(text(written).duration().is_err(), "{written}");
        }
        assert!(Scalar::Number(60).duration().is_err());
        assert!(Scalar::Boolean(true).duration().is_err());
    }

    #[test]
    fn a_size_is_a_number_of_bytes_or_has_a_binary_unit() {
        for (written, bytes) in [("512", 512), ("64KiB", 65536), ("1 MiB", 1_048_576), ("2GiB", 2_147_483_648)] {
            assert_eq!(text(written).bytes(), Ok(bytes), "{written}");
        }
        assert_eq!(Scalar::Number(7).bytes(), Ok(7));
        for wrong in
            [text("1MB"), text("-1"), text(""), text("99999999999999GiB"), Scalar::Number(-1), Scalar::Boolean(true)]
        {
            assert!(wrong.bytes().is_err());
        }
    }

    #[test]
    fn off_is_a_word_or_false() {
        assert!(text("off").is_off() && text("false").is_off() && Scalar::Boolean(false).is_off());
        assert!(!text("1h").is_off() && !Scalar::Boolean(true).is_off() && !Scalar::Number(0).is_off());
    }
}
