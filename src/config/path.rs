//! The path of an upstream on our listener.
//!
//! Defends against: an upstream that shadows one of our endpoints.

use super::problem::Mistake;
use crate::oauth::paths::is_ours;

const LONGEST: usize = 255;

/// Checks a path. Requests are compared with it byte for byte, so it must have only one spelling.
pub(super) fn check(path: &str) -> Result<(), Mistake> {
    const EXAMPLE: &str = "write a path such as \"/mcp\" or \"/team/expenses\"";
    let Some(below_root) = path.strip_prefix('/') else {
        return Err(Mistake::new("must begin with /").hint(EXAMPLE));
    };
    if below_root.is_empty() {
        return Err(Mistake::new("must not be / alone: our own pages are there").hint(EXAMPLE));
    }
    if path.ends_with('/') {
        return Err(Mistake::new("must not end with /").hint("remove it: clients reach the path with and without it"));
    }
    if path.len() > LONGEST {
        return Err(Mistake::new(format!("is longer than {LONGEST} characters")));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    if !path.bytes().all(plain) {
        return Err(Mistake::new("has characters that clients would have to encode")
            .hint("letters, digits and - . _ ~ have one spelling everywhere"));
    }
    if below_root.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(Mistake::new("has an empty segment or a dot segment, which clients remove").hint(EXAMPLE));
    }
    if below_root.split('/').any(|segment| segment.eq_ignore_ascii_case(".well-known")) || is_ours(path) {
        return Err(Mistake::new("is one of our own paths, or below one").hint(EXAMPLE));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::check;
    use crate::oauth::paths::{RESERVED, ROUTES};

    #[test]
    fn a_path_has_one_spelling_and_is_not_reserved() {
        for good in ["/mcp", "/a/b/c", "/Expenses", "/v1.2/mcp", "/~me", "/tokens", "/token-s", "/mcp/token"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/",
            "mcp",
            "/mcp/",
            "//mcp",
            "/a//b",
            "/./mcp",
            "/a/..",
            "/m%63p",
            "/mcp?x",
            "/mcp#x",
            "/a b",
            "/é",
            "/a;b",
            "/mcp/.well-known/oauth-protected-resource",
            "/Token",
            "/authorize/x",
            "/.Well-Known/x",
            "http://x/mcp",
            "/a\\b",
            &format!("/{}", "a".repeat(255)),
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_upstream_cannot_shadow_our_endpoints() {
        for own in ROUTES.iter().chain(RESERVED).map(|own| own.replace(['{', '}', '*'], "")) {
            for path in [format!("{own}/below"), own.to_ascii_uppercase(), own] {
                assert!(check(&path).is_err(), "{path}");
            }
        }
    }

    proptest! {
        #[test]
        fn an_accepted_path_survives_url_parsing_unchanged(path in "[/a-zA-Z0-9._~%;?#\\\\ é-]{0,24}") {
            if check(&path).is_ok() {
                let url = Url::parse(&format!("https://mcp.example.com{path}")).unwrap();
                prop_assert_eq!(url.path(), &path);
            }
        }
    }
}
