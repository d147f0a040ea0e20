//! `[registration]`: dynamic client registration, and the redirect URIs that are allowed.
//!
//! Defends against: codes sent to another function of an application, registration floods.

use serde::Deserialize;
use url::Url;

use super::needs::SecretFor;
use super::problem::Mistake;
use super::reading::{Reading, Section};
use super::secret_source::SecretSources;
use crate::oauth::redirect_uri::RedirectPolicy;
use crate::secret::Sha256;

/// The private-use URIs of well-known clients: the default.
pub(crate) const KNOWN_APPLICATIONS: [&str; 2] =
    ["cursor://anysphere.cursor-mcp/oauth/callback", "claude://claude.ai/mcp-auth-callback/sdk"];

/// Dynamic client registration.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Whether `/register` exists and is advertised.
    pub enabled: bool,
    /// The redirect URIs that are allowed.
    pub redirect_policy: RedirectPolicy,
    /// Registrations per address (IPv6: /64), redirect host and hour, counted apart for browsers and programs.
    pub per_address_per_hour: u32,
    /// How many unused clients are kept.
    pub max_unused: i64,
    /// The hashes of the initial access tokens, one of which a registration must bring (RFC 7591 3). Empty: anyone registers.
    pub initial_access_tokens: Vec<Sha256>,
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            enabled: true,
            redirect_policy: RedirectPolicy::new(KNOWN_APPLICATIONS.map(str::to_owned).to_vec()),
            per_address_per_hour: 60,
            max_unused: 10_000,
            initial_access_tokens: Vec::new(),
        }
    }
}

/// The least characters of an initial access token: 32 hexadecimal digits are 128 bits.
const SHORTEST_TOKEN: usize = 32;

/// Schemes that browsers handle themselves.
const NO_APPLICATIONS: [&str; 12] = [
    "about",
    "blob",
    "chrome",
    "data",
    "file",
    "filesystem",
    "ftp",
    "javascript",
    "view-source",
    "vbscript",
    "ws",
    "wss",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    enabled: Option<bool>,
    private_use_redirect_uris: Option<Vec<String>>,
    per_address_per_hour: Option<u32>,
    max_unused: Option<u32>,
    initial_access_tokens: Option<SecretSources>,
}

/// Reads the section.
pub(super) fn read(section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Registration> {
    let written: Written = reading.shape(section)?;
    let mut registration = Registration::default();
    registration.enabled = written.enabled.unwrap_or(registration.enabled);
    if let Some(applications) = written.private_use_redirect_uris {
        for (index, uri) in applications.iter().enumerate() {
            reading.keep(&section.item("private_use_redirect_uris", index), application(uri));
        }
        registration.redirect_policy = RedirectPolicy::new(applications);
    }
    for (key, count) in [("per_address_per_hour", written.per_address_per_hour), ("max_unused", written.max_unused)] {
        if count == Some(0) {
            let mistake = Mistake::new("must be at least 1").hint("enabled = false switches registration off");
            reading.error(&section.at(key), mistake);
        }
    }
    registration.per_address_per_hour = written.per_address_per_hour.unwrap_or(registration.per_address_per_hour);
    registration.max_unused = written.max_unused.map_or(registration.max_unused, i64::from);
    registration.initial_access_tokens = initial_access_tokens(written.initial_access_tokens, section, reading);
    Some(registration)
}

/// Reads the initial access tokens, of which only the hashes are kept. An empty list would look like a lock and be none.
fn initial_access_tokens(
    written: Option<SecretSources>,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> Vec<Sha256> {
    let Some(SecretSources(sources)) = written else { return Vec::new() };
    if sources.is_empty() {
        let mistake = Mistake::new("is empty: anyone may register");
        let hint = "add a source, { file = \"…\" } or { env = \"NAME\" }, remove the key, or set enabled = false";
        reading.error(&section.at("initial_access_tokens"), mistake.hint(hint));
    }
    let mut hashes = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let at = section.item("initial_access_tokens", index);
        let Some(token) = reading.secret(&at, SecretFor::Serving, source) else { continue };
        let is_token = token.expose().bytes().all(|byte| byte.is_ascii_graphic());
        if !is_token || token.expose().len() < SHORTEST_TOKEN {
            let what = format!("must be at least {SHORTEST_TOKEN} printable ASCII characters without spaces");
            reading.error(&at, Mistake::new(what).hint("make one with `openssl rand -hex 32`"));
            continue;
        }
        hashes.push(Sha256::of(token.expose().as_bytes()));
    }
    hashes
}

/// Checks an entry of the list: scheme, authority and path of one application (RFC 8252 7.1). A scheme alone would allow
/// every URL that the application handles.
fn application(uri: &str) -> Result<(), Mistake> {
    const EXAMPLE: &str =
        "scheme, authority and path of one application: \"cursor://anysphere.cursor-mcp/oauth/callback\"";
    if uri.contains('*') {
        return Err(Mistake::new("patterns are not supported: redirect URIs are compared exactly").hint(EXAMPLE));
    }
    let wrong = |what| Err(Mistake::new(what).hint(EXAMPLE));
    let Ok(url) = Url::parse(uri) else { return wrong("is not a URI") };
    if matches!(url.scheme(), "http" | "https") {
        return Err(Mistake::new("is not a private-use URI")
            .hint("https, and http on loopback, are allowed without being listed"));
    }
    if NO_APPLICATIONS.contains(&url.scheme()) {
        return wrong("has a scheme that belongs to browsers, not to an application");
    }
    let whole = !url.cannot_be_a_base() && (url.path().len() > 1 || url.has_host() && url.path() == "/");
    let plain = whole && url.query().is_none() && url.fragment().is_none();
    let passes = |spelling: &str| RedirectPolicy::new(vec![spelling.to_owned()]).parse(spelling).is_ok();
    if plain && url.as_str() != uri && passes(url.as_str()) {
        return Err(Mistake::new("is not in normal form").hint(format!("write \"{url}\"")));
    }
    if url.as_str() != uri || !plain {
        return wrong("must be scheme, authority and path in normal form, without query and fragment");
    }
    if !passes(uri) {
        return wrong("can never be a redirect URI");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{KNOWN_APPLICATIONS, application};

    #[test]
    fn only_a_complete_private_use_uri_can_be_listed() {
        for good in KNOWN_APPLICATIONS.into_iter().chain(["com.example.app:/cb", "com.example.app://cb/", "x://y/z"]) {
            assert_eq!(application(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "cursor",
            "cursor:",
            "cursor://",
            "cursor:///",
            "cursor:cb",
            "cursor://*/cb",
            "cursor://a/*",
            "https://a/cb",
            "http://127.0.0.1/cb",
            "javascript:alert(1)",
            "javascript://a/b",
            "data:text/html,x",
            "file:///etc",
            "x://a/b?c",
            "x://a/b#c",
            "x://u@a/b",
            "x://a/b c",
            "X://a/b",
            "x://a/../b",
        ] {
            assert!(application(bad).is_err(), "{bad}");
        }
    }
}
