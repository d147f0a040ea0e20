//! The family of the program that sent a request, from its `User-Agent` (RFC 9110 10.1.5): enough for a user to tell one device
//! from another. Versions and systems are left out, because nothing here needs them.

use http::HeaderMap;
use http::header::USER_AGENT;

/// The longest name that is kept.
const LONGEST: usize = 40;

/// Browsers, by what only they write, the more specific ones first: each names those that it resembles.
const BROWSERS: [(&str, &str); 5] =
    [("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari")];

/// The name of the program: `claude-code`, `python-httpx`, `Firefox`. It is the program's own claim.
pub(crate) fn agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(USER_AGENT)?.to_str().ok()?;
    if text.starts_with("Mozilla/") {
        return BROWSERS.iter().find(|(mark, _)| text.contains(mark)).map(|(_, name)| (*name).to_owned());
    }
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || "-._".contains(*c);
    let name: String = text.chars().take_while(is_plain).take(LONGEST).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use http::header::USER_AGENT;
    use http::{HeaderMap, HeaderValue};

    use super::{LONGEST, agent};

    fn of(text: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_bytes(text.as_bytes()).unwrap());
        agent(&headers)
    }

    #[test]
    fn only_the_family_of_a_program_is_kept() {
        for (text, family) in [
            ("claude-code/2.1.0 (cli; linux x86_64)", Some("claude-code")),
            ("python-httpx/0.28.1", Some("python-httpx")),
            ("node", Some("node")),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", Some("Firefox")),
            ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", Some("Edge")),
            ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36", Some("Chrome")),
            ("Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15", Some("Safari")),
            ("Mozilla/5.0 (compatible; unknown)", None),
            ("<b>x</b>", None),
            ("", None),
            ("\u{e4}", None),
        ] {
            assert_eq!(of(text).as_deref(), family, "{text}");
        }
        assert_eq!(of(&"x".repeat(5000)).unwrap().len(), LONGEST);
        assert_eq!(agent(&HeaderMap::new()), None);
    }
}
