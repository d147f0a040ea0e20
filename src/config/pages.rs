//! `[pages]`: whose pages people see, and which addresses they are not warned of.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use url::Url;

use super::client::check_name;
use super::problem::{Mistake, io_words};
use super::reading::{Reading, Section};
use crate::oauth::redirect_uri::RedirectUri;

/// Where well-known clients take their codes, in the form of [`Pages::known_hosts`]. A list and not a memory of earlier
/// sign-ins, because an attacker could sign in first; with paths, because one open redirect anywhere else at such a host
/// would carry codes away from it.
const KNOWN_HOSTS: [&str; 7] = [
    "chatgpt.com/connector/oauth/",
    "chatgpt.com/connector_platform_oauth_redirect",
    "claude.ai/api/mcp/auth_callback",
    "claude.com/api/mcp/auth_callback",
    "insiders.vscode.dev/redirect",
    "vscode.dev/redirect",
    "www.cursor.com/agents/mcp/oauth/callback",
];

/// The largest logo, in bytes: every page carries it, those that strangers ask for too.
const LARGEST_LOGO: u64 = 16 * 1024;

/// What the pages look like.
#[derive(Debug, Clone)]
pub struct Pages {
    /// Whose pages they are.
    pub name: String,
    /// A picture beside the name.
    pub logo: Option<Logo>,
    /// The colour of buttons and links.
    pub color: Option<Color>,
    /// Where people get help.
    pub support: Option<Support>,
    /// Whether the page at `/` names the upstreams.
    pub list_upstreams: bool,
    /// Where codes may go without a warning, besides the redirect URIs of configured clients: a host, or a host and one
    /// path, or a host and all paths below the one that ends with a slash.
    pub known_hosts: Vec<String>,
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            name: "Portcullis".to_owned(),
            logo: None,
            color: None,
            support: None,
            list_upstreams: false,
            known_hosts: KNOWN_HOSTS.map(str::to_owned).to_vec(),
        }
    }
}

/// A picture that browsers show without loading anything else.
#[derive(Clone)]
pub struct Logo {
    /// `image/png` or `image/svg+xml`.
    pub media_type: &'static str,
    /// The file.
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

/// Where people get help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Support {
    /// An `https:` or `mailto:` URL.
    pub href: String,
    /// The same as people read it.
    pub text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    name: Option<String>,
    logo: Option<String>,
    color: Option<String>,
    support: Option<String>,
    list_upstreams: Option<bool>,
    known_hosts: Option<Vec<String>>,
}

/// Reads the section.
pub(super) fn read(section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Pages> {
    let written: Written = reading.shape(section)?;
    let mut pages = Pages::default();
    if let Some(name) = written.name {
        reading.keep(&section.at("name"), check_name(&name));
        pages.name = name;
    }
    if let Some(path) = written.logo {
        let logo = Logo::read(&reading.resolve(&path)).map_err(|why| {
            let hint = format!(
                "a PNG or SVG of at most 16 KiB: it is shown about 30 pixels high; relative paths begin at {}",
                reading.directory().display()
            );
            Mistake::new(why).hint(hint)
        });
        pages.logo = reading.keep(&section.at("logo"), logo);
    }
    if let Some(color) = written.color {
        let color = Color::parse(&color)
            .ok_or_else(|| Mistake::new("must be a colour").hint("six hexadecimal digits: \"#1b5e4f\""));
        pages.color = reading.keep(&section.at("color"), color);
    }
    if let Some(support) = written.support {
        pages.support = reading.keep(&section.at("support"), Support::parse(&support));
    }
    pages.list_upstreams = written.list_upstreams.unwrap_or(pages.list_upstreams);
    if let Some(hosts) = written.known_hosts {
        for (index, host) in hosts.iter().enumerate() {
            reading.keep(&section.item("known_hosts", index), check_known_host(host));
        }
        pages.known_hosts = hosts;
    }
    Some(pages)
}

impl Pages {
    /// Whether an https address is on the list. A query makes it another address: some answer at one path and go on to
    /// where the query says.
    #[must_use]
    pub fn knows(&self, redirect_uri: &RedirectUri) -> bool {
        let place = redirect_uri.canonical().strip_prefix("https://").unwrap_or_default();
        let host = place.split(['/', '?']).next().unwrap_or_default();
        self.known_hosts.iter().any(|known| {
            if known.ends_with('/') {
                place.strip_prefix(known.as_str()).is_some_and(is_plain_path)
            } else {
                known == if known.contains('/') { place } else { host }
            }
        })
    }
}

/// Nothing that a server could decode to a way out of the path before it.
fn is_plain_path(path: &str) -> bool {
    !path.is_empty() && !path.contains(['%', '?', ';'])
}

impl Logo {
    /// Reads the file, once: what becomes of it afterwards changes nothing. The bytes decide what it is, not its name.
    fn read(path: &Path) -> Result<Self, String> {
        let unreadable = |error| format!("the file cannot be read: {}", io_words(&error));
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
    /// Reads an address that a link may lead to.
    fn parse(text: &str) -> Result<Self, Mistake> {
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

/// A host and perhaps a path, as they stand in a redirect URI: in normal form, with a port unless that is 443.
fn check_known_host(known: &str) -> Result<(), Mistake> {
    let (host, path) = known.split_once('/').map_or((known, None), |(host, path)| (host, Some(path)));
    let url = format!("https://{host}/{}", path.unwrap_or_default());
    let normal = Url::parse(&url).is_ok_and(|parsed| parsed.as_str() == url && parsed.username().is_empty());
    let whole = !host.is_empty() && path != Some("") && !known.contains(['*', '@', '?', '#', '%']);
    if normal && whole {
        return Ok(());
    }
    Err(Mistake::new("is neither a host nor a host with a path").hint(
        "a name in lower case, a port unless it is 443, perhaps a path: \"chat.example.com\" or \"chat.example.com/callback\"",
    ))
}

#[cfg(test)]
mod tests {
    use super::{Color, KNOWN_HOSTS, Logo, Pages, Support, check_known_host};
    use crate::oauth::redirect_uri::RedirectPolicy;

    #[test]
    fn a_colour_is_six_digits() {
        assert_eq!(Color::parse("#0b5FfF"), Some(Color { red: 0x0b, green: 0x5f, blue: 0xff }));
        for bad in ["", "#", "0b5fff", "#fff", "#0b5fff0", "#+b5fff", "#0b5ffg", "red", "#0b5fff;}", "#0b5ff\u{e9}"] {
            assert_eq!(Color::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_link_for_help_leads_to_a_page_or_a_mailbox_and_nowhere_else() {
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
            "mailto:nobody",
            "https://user:pass@help.example.com/",
            "https://help.example.com/ x",
            "https:///x y",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_known_host_is_written_as_redirect_uris_have_it() {
        let own = ["chat.example.com:8443", "192.0.2.7", "xn--e1afmkfd.example", "chat.example.com/cb", "claude.ai/a/"];
        for good in KNOWN_HOSTS.into_iter().chain(own) {
            assert_eq!(check_known_host(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "*",
            "*.example.com",
            "Claude.ai",
            "https://claude.ai",
            "claude.ai/",
            "claude.ai:443",
            "/callback",
            "claude.ai/a/../b",
            "claude.ai/%63b",
            "claude.ai/cb?x=y",
            "claude.ai/*",
            "a@b",
            "a b",
            "é.example",
        ] {
            assert!(check_known_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_known_path_is_known_alone_and_a_known_host_whole() {
        let known = |pages: &Pages, uri: &str| pages.knows(&RedirectPolicy::default().parse(uri).unwrap());
        let built_in = Pages::default();
        for uri in [
            "https://claude.ai/api/mcp/auth_callback",
            "HTTPS://Claude.ai:443/api/mcp/auth_callback",
            "https://chatgpt.com/connector_platform_oauth_redirect",
            "https://chatgpt.com/connector/oauth/Ab3_-x",
            "https://vscode.dev/redirect",
            "https://www.cursor.com/agents/mcp/oauth/callback",
        ] {
            assert!(known(&built_in, uri), "{uri}");
        }
        for uri in [
            "https://claude.ai/",
            "https://claude.ai/api/mcp/auth_callback/",
            "https://claude.ai/api/mcp/auth_callback2",
            "https://claude.ai/api/mcp/auth_callback?next=https://evil.example",
            "https://claude.ai/logout?to=https://evil.example",
            "https://claude.ai:8443/api/mcp/auth_callback",
            "https://evil.example/claude.ai/api/mcp/auth_callback",
            "https://vscode.dev/redirect?url=vscode://evil.extension/",
            "https://vscode.dev/redirect/mcp/install",
            "https://chatgpt.com/connector/oauth/",
            "https://chatgpt.com/connector/oauth/../../logout",
            "https://chatgpt.com/connector/oauth/..%2f..%2flogout",
            "https://chatgpt.com/connector/oauth/x?to=y",
            "https://chatgpt.com/connector/oauthx",
        ] {
            let allowed = RedirectPolicy::default().parse(uri);
            assert!(!allowed.is_ok_and(|uri| built_in.knows(&uri)), "{uri}");
        }
        let own = Pages { known_hosts: vec!["chat.example.com".to_owned()], ..Pages::default() };
        assert!(known(&own, "https://chat.example.com/any/path?and=query"));
        assert!(!known(&own, "https://chat.example.com:8443/"));
        assert!(!known(&own, "https://claude.ai/api/mcp/auth_callback"), "a list of one's own replaces ours");
    }

    #[test]
    fn a_logo_is_a_small_png_or_svg_whatever_its_name() {
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
