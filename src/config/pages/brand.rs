//! The operator's logo, colour and support link.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use url::Url;

use crate::config::problem::{Mistake, io_message};

/// The largest logo, in bytes: every page contains it, and anyone can request pages.
const LARGEST_LOGO: u64 = 16 * 1024;

/// A picture that browsers can show without loading anything else.
#[derive(Clone)]
pub struct Logo {
    /// `image/png` or `image/svg+xml`.
    pub media_type: &'static str,
    /// The bytes of the file.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Logo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}: {} bytes]", self.media_type, self.bytes.len())
    }
}

/// An sRGB colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color {
    /// From 0 to 255.
    pub red: u8,
    /// From 0 to 255.
    pub green: u8,
    /// From 0 to 255.
    pub blue: u8,
}

/// Where users get help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Support {
    /// An `https:` or `mailto:` URL.
    pub href: String,
    /// The text of the link.
    pub text: String,
}

impl Logo {
    /// Reads the file once, at start. Its type follows from its bytes, not from its name.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let unreadable = |error| format!("the file cannot be read: {}", io_message(&error));
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(LARGEST_LOGO + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > LARGEST_LOGO) {
            return Err("the file is larger than 16 KiB".to_owned());
        }
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            return Ok(Self { media_type: "image/png", bytes });
        }
        let is_svg = std::str::from_utf8(&bytes).is_ok_and(|text| {
            let text = text.trim_start_matches('\u{feff}').trim_start();
            text.starts_with('<') && text.contains("<svg") && text.contains("http://www.w3.org/2000/svg")
        });
        if is_svg {
            Ok(Self { media_type: "image/svg+xml", bytes })
        } else {
            Err("the file is neither PNG nor SVG".to_owned())
        }
    }
}

impl Color {
    /// Reads `#rrggbb`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let [_, red, green, blue] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
        Some(Self { red, green, blue })
    }
}

impl Support {
    /// Parses an `https:` or `mailto:` URL.
    pub(super) fn parse(text: &str) -> Result<Self, Mistake> {
        const EXAMPLE: &str = "\"https://help.example.com/mcp\" or \"mailto:help@example.com\"";
        let wrong = || Mistake::new("must be an https or mailto URL").hint(EXAMPLE);
        let url =
            Url::parse(text).ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_graphic())).ok_or_else(wrong)?;
        let plain = url.username().is_empty() && url.password().is_none();
        let shown = match url.scheme() {
            "https" if plain => url.host_str().map(str::to_owned),
            "mailto" => Some(url.path().to_owned()).filter(|address| address.contains('@')),
            _ => None,
        };
        Ok(Self { text: shown.ok_or_else(wrong)?, href: url.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::{Color, Logo, Support};

    #[test]
    fn a_colour_is_six_hexadecimal_digits() {
        assert_eq!(Color::parse("#0b5FfF"), Some(Color { red: 0x0b, green: 0x5f, blue: 0xff }));
        for bad in ["", "#", "0b5fff", "#fff", "#0b5fff0", "#+b5fff", "#0b5ffg", "red", "#0b5fff;}", "#0b5ff\u{e9}"] {
            assert_eq!(Color::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_support_link_is_an_https_or_mailto_url() {
        let read = |text| Support::parse(text).map(|support| (support.href, support.text)).ok();
        let pair = |href: &str, text: &str| Some((href.to_owned(), text.to_owned()));
        assert_eq!(read("https://help.example.com/mcp"), pair("https://help.example.com/mcp", "help.example.com"));
        assert_eq!(read("mailto:help@example.com"), pair("mailto:help@example.com", "help@example.com"));
        for bad in [
            "",
            "help@example.com",
            "http://help.example.com",
            "javascript:alert(1)",
            "data:text/html,x",
            "mailto:",
            "mailto:support",
            "https://user:pass@help.example.com/",
            "https://help.example.com/ x",
            "https:///x y",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_logo_is_a_small_png_or_svg_as_its_bytes_show() {
        let directory = tempfile::tempdir().unwrap();
        let read = |bytes: &[u8]| {
            let path = directory.path().join("logo.gif");
            std::fs::write(&path, bytes).unwrap();
            Logo::read(&path).map(|logo| logo.media_type)
        };
        assert_eq!(read(b"\x89PNG\r\n\x1a\nrest"), Ok("image/png"));
        let svg = "\u{feff}<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>";
        assert_eq!(read(svg.as_bytes()), Ok("image/svg+xml"));
        for bad in [&b"GIF89a"[..], b"<html>", b"", b"<svg/>", b"\x89PNG"] {
            assert!(read(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert!(read(&[b"\x89PNG\r\n\x1a\n".as_slice(), &[0; 16 * 1024]].concat()).unwrap_err().contains("larger"));
        assert!(Logo::read(&directory.path().join("none")).unwrap_err().contains("cannot be read"));
    }
}
