//! Which redirect URIs are allowed, and when a requested one is a registered one (RFC 8252 7, RFC 9700 4.1).
//!
//! Defends against open redirectors and codes that reach an attacker: an allow-list, decided in one place and checked at
//! registration, `/authorize`, consent and callback. https and http URIs are compared in canonical form, because clients and
//! their libraries spell one URI in several ways (`http://127.0.0.1:8000` and `http://127.0.0.1:8000/`); URIs that are equal
//! in that form are equal for every browser too.

use std::fmt;

use url::{Host, Position, Url};

use super::parameters::add_to_query;
use super::web_uri::{MalformedUri, WebUri};

/// How long a redirect URI may be, in bytes.
pub const MAX_REDIRECT_URI: usize = 512;

/// A redirect URI that passed [`RedirectPolicy::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectUri {
    text: String,
    canonical: String,
    class: RedirectClass,
}

/// What kind of program receives the code at a redirect URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectClass {
    /// A web server with a name (RFC 8252 7.2).
    Https,
    /// Any program on the user's machine; its port may vary (RFC 8252 7.3).
    Loopback,
    /// An application whose private-use URI (RFC 8252 7.1) is on the operator's list.
    ListedApplication,
    /// An application whose private-use scheme has a dot and whose URI is not on the list.
    Application,
}

/// Why a redirect URI is not allowed. The messages are for the client's developer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedirectRefusal {
    /// Longer than [`MAX_REDIRECT_URI`].
    #[error("is longer than {MAX_REDIRECT_URI} bytes")]
    TooLong,
    /// Not a URI, or one that a parser would repair (two parsers may then disagree about its host).
    #[error("is not an absolute URI in normal form")]
    NotNormal,
    /// A wildcard, a trailing dot, or an address in an unusual notation.
    #[error("has a host that is neither a plain DNS name nor an IP address")]
    Host,
    /// RFC 6749 3.1.2.
    #[error("has a fragment")]
    Fragment,
    /// `https://claude.ai@evil.example/` shows one host and reaches another.
    #[error("has user information")]
    UserInfo,
    /// The client could not tell its own parameters from those of the response.
    #[error("has code, state, iss or error in its query")]
    ResponseParameter,
    /// Neither https, nor http on loopback, nor an allowed private-use URI.
    #[error("is neither https, nor http on a loopback address, nor an allowed private-use URI")]
    NotAllowed,
}

/// The private-use URIs that the operator allows, each as scheme, authority and path.
#[derive(Debug, Clone, Default)]
pub struct RedirectPolicy {
    applications: Vec<String>,
}

impl RedirectPolicy {
    /// A policy that allows these private-use URIs beside https and loopback.
    #[must_use]
    pub const fn new(applications: Vec<String>) -> Self {
        Self { applications }
    }

    /// Parses a redirect URI and checks it against the allow-list.
    ///
    /// # Errors
    /// Why it is not allowed.
    pub fn parse(&self, text: &str) -> Result<RedirectUri, RedirectRefusal> {
        if text.len() > MAX_REDIRECT_URI {
            return Err(RedirectRefusal::TooLong);
        }
        if text.contains('#') {
            return Err(RedirectRefusal::Fragment);
        }
        if text.bytes().any(|b| !b.is_ascii_graphic() || b"\\\"<>^`{|}".contains(&b)) {
            return Err(RedirectRefusal::NotNormal);
        }
        if has_user_information(text) {
            return Err(RedirectRefusal::UserInfo);
        }
        let (canonical, url) = read(text)?;
        if url.query_pairs().any(|(name, _)| matches!(&*name, "code" | "state" | "iss" | "error")) {
            return Err(RedirectRefusal::ResponseParameter);
        }
        let class = self.classify(&url).ok_or(RedirectRefusal::NotAllowed)?;
        Ok(RedirectUri { text: text.to_owned(), canonical, class })
    }

    /// An allowed spelling of a URI that is refused as it is written, if there is one.
    #[must_use]
    pub fn suggest(&self, text: &str) -> Option<String> {
        let url = Url::parse(text.trim()).ok()?;
        self.parse(url.as_str()).ok().map(|uri| uri.text)
    }

    fn classify(&self, url: &Url) -> Option<RedirectClass> {
        match url.scheme() {
            "https" if reaches_this_machine(url) => Some(RedirectClass::Loopback),
            "https" => url.host_str().is_some_and(|host| !host.is_empty()).then_some(RedirectClass::Https),
            "http" => is_loopback(url).then_some(RedirectClass::Loopback),
            scheme => {
                let (place, _) = url.as_str().split_once('?').unwrap_or((url.as_str(), ""));
                if self.applications.iter().any(|listed| listed == place) {
                    Some(RedirectClass::ListedApplication)
                } else {
                    scheme.contains('.').then_some(RedirectClass::Application)
                }
            }
        }
    }
}

/// The canonical form of a URI, and what a browser makes of it; the two must agree.
fn read(text: &str) -> Result<(String, Url), RedirectRefusal> {
    let scheme = text.split(':').next().unwrap_or_default();
    let canonical = if ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web)) {
        let uri = WebUri::parse(text).map_err(|malformed| match malformed {
            MalformedUri::Syntax => RedirectRefusal::NotNormal,
            MalformedUri::Host => RedirectRefusal::Host,
        })?;
        uri.canonical()
    } else {
        // no rule says which spellings of a private-use URI are equal: it is compared byte for byte
        text.to_owned()
    };
    let url = Url::parse(text).or(Err(RedirectRefusal::NotNormal))?;
    if url.as_str() == canonical { Ok((canonical, url)) } else { Err(RedirectRefusal::NotNormal) }
}

/// Whether the authority contains an `@`, whatever a parser makes of it.
fn has_user_information(text: &str) -> bool {
    let after_scheme = text.split_once("://").map_or("", |(_, rest)| rest);
    after_scheme.split(['/', '?']).next().is_some_and(|authority| authority.contains('@'))
}

/// Whether a URL's host is this machine: 127.0.0.0/8, `[::1]` or `localhost`.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Whether an https URL leads to the user's own machine: by a name that [`is_loopback`] knows, or by another that browsers
/// resolve to it (RFC 6761 6.3). TLS then says nothing about the program that receives the code.
fn reaches_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback() || address.to_canonical().is_unspecified(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

impl RedirectUri {
    /// The URI as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme and host in lower case, no default port, a path: equal exactly when browsers treat two URIs as equal.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The kind of program that receives the code.
    #[must_use]
    pub const fn class(&self) -> RedirectClass {
        self.class
    }

    /// The canonical form, without the port of a loopback address: what is stored and compared (RFC 8252 7.3).
    #[must_use]
    pub fn registered_form(&self) -> String {
        match (self.class, Url::parse(&self.canonical)) {
            (RedirectClass::Loopback, Ok(url)) => {
                format!("{}{}", &url[..Position::AfterHost], &url[Position::BeforePath..])
            }
            _ => self.canonical.clone(),
        }
    }

    /// Whether this is the registered URI, whatever the port of a loopback address. `localhost` is not `127.0.0.1`.
    #[must_use]
    pub fn is_registered_as(&self, registered: &str) -> bool {
        if matches!(self.class, RedirectClass::Application | RedirectClass::ListedApplication) {
            return self.text == registered;
        }
        let registered = RedirectPolicy::default().parse(registered);
        registered.is_ok_and(|registered| self.registered_form() == registered.registered_form())
    }

    /// Whether both spell the same URI, port included.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }

    /// Who receives the code, as people read it: a host, or an application's scheme and authority.
    #[must_use]
    pub fn receiver(&self) -> String {
        let Ok(url) = Url::parse(&self.text) else { return String::new() };
        match self.class {
            RedirectClass::Https => url[Position::BeforeHost..Position::BeforePath].to_owned(),
            RedirectClass::Loopback => url.host_str().unwrap_or_default().to_owned(),
            RedirectClass::Application | RedirectClass::ListedApplication => url[..Position::BeforePath].to_owned(),
        }
    }

    /// The URI with response parameters added to its query (RFC 6749 4.1.2), which stays as it was.
    #[must_use]
    pub fn with_parameters(&self, parameters: &[(&str, &str)]) -> String {
        add_to_query(&self.text, parameters)
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
