//! `[outbound]`: the proxy for calls to identity providers. Upstreams are always called directly.

use std::fmt;

use ipnet::IpNet;
use serde::Deserialize;
use url::{Host, Url};

use super::problem::Mistake;
use super::reading::{Reading, Section};

/// Always called directly: loopback, in all its spellings.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1,::ffff:127.0.0.0/104";

const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];
const NO: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The proxy for calls to identity providers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum OutboundProxy {
    /// No proxy.
    #[default]
    Off,
    /// One proxy per scheme.
    Through(Proxies),
}

/// A proxy per scheme, and the hosts that are called without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxies {
    /// For https URLs.
    pub https: Option<ProxyUrl>,
    /// For http URLs.
    pub http: Option<ProxyUrl>,
    /// Names, addresses and networks that are called directly, separated by commas, with loopback.
    pub direct: String,
}

/// The URL of a proxy. It may contain a password, so it prints as host and port.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Url);

impl ProxyUrl {
    /// The complete URL, possibly with a password.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }

    /// Host and port, for messages.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        self.0.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    fn parse(text: &str) -> Option<Self> {
        // as curl does, a variable without a scheme means http
        let text = text.trim();
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&whole).ok()?;
        let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        (matches!(url.scheme(), "http" | "https") && url.host().is_some() && plain).then_some(Self(url))
    }

    fn has_credentials(&self) -> bool {
        !self.0.username().is_empty() || self.0.password().is_some()
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[proxy: {}]", self.authority())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    proxy: Option<String>,
    no_proxy: Option<Vec<String>>,
}

/// Reads the section.
pub(super) fn read(section: &Section<'_>, reading: &mut Reading<'_>) -> Option<OutboundProxy> {
    let written: Written = reading.shape(section)?;
    let direct = written.no_proxy.unwrap_or_default();
    for (index, entry) in direct.iter().enumerate() {
        reading.keep(&section.item("no_proxy", index), check_direct(entry));
    }
    let at = section.at("proxy");
    match written.proxy.as_deref().map(str::trim) {
        None | Some("off") => Some(OutboundProxy::Off),
        Some("env") => from_environment(section, direct, reading),
        Some(url) => {
            let proxy = reading.keep(&at, configured(url))?;
            let direct = joined(direct.into_iter().chain([LOOPBACK.to_owned()]));
            Some(OutboundProxy::Through(Proxies { https: Some(proxy.clone()), http: Some(proxy), direct }))
        }
    }
}

/// Warns when the usual proxy variables are set but `proxy` is not.
pub(super) fn warn_of_unused(section: &Section<'_>, reading: &mut Reading<'_>) {
    let set = HTTPS.into_iter().chain(ALL).find(|name| variable(&[name], reading).is_some());
    let Some(name) = set.filter(|_| !section.has("proxy")) else { return };
    let mistake = Mistake::new(format!("{name} is set but not used: identity providers are called directly"));
    let hint = "[outbound] proxy = \"env\" uses it and NO_PROXY; proxy = \"off\" silences this warning";
    reading.warn(&section.at("proxy"), mistake.hint(hint));
}

fn from_environment(section: &Section<'_>, direct: Vec<String>, reading: &mut Reading<'_>) -> Option<OutboundProxy> {
    let at = section.at("proxy");
    let mut proxy = |names: [&'static str; 2]| {
        let Some((name, text)) = variable(&names, reading).or_else(|| variable(&ALL, reading)) else {
            return Some(None);
        };
        let wrong = || {
            Mistake::new(format!("{name} is not the http or https URL of a proxy"))
                .hint("such as http://proxy.example.com:3128; SOCKS is not supported")
        };
        reading.keep(&at, ProxyUrl::parse(text).ok_or_else(wrong)).map(Some)
    };
    let (https, http) = (proxy(HTTPS)?, proxy(HTTP)?);
    if https.is_none() && http.is_none() {
        let mistake = Mistake::new("is \"env\", but neither HTTPS_PROXY nor HTTP_PROXY nor ALL_PROXY is set");
        reading.warn(&at, mistake.hint("set HTTPS_PROXY for this process, or write \"off\""));
        return Some(OutboundProxy::Off);
    }
    let no_proxy = variable(&NO, reading).map(|(_, text)| text).unwrap_or_default();
    let direct = joined(no_proxy.split(',').map(as_suffix).chain(direct).chain([LOOPBACK.to_owned()]));
    Some(OutboundProxy::Through(Proxies { https, http, direct }))
}

fn joined(entries: impl Iterator<Item = String>) -> String {
    entries.filter(|entry| !entry.is_empty()).collect::<Vec<_>>().join(",")
}

/// Many programs accept `*.example.com`; the HTTP library wants `.example.com`.
fn as_suffix(entry: &str) -> String {
    let entry = entry.trim();
    entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry).to_owned()
}

/// The first of these variables that is set and not empty.
fn variable<'a>(names: &[&'static str], reading: &Reading<'a>) -> Option<(&'static str, &'a str)> {
    let set = names.iter().filter_map(|name| Some((*name, reading.variable(name)?)));
    set.into_iter().find(|(_, text)| !text.trim().is_empty())
}

fn configured(url: &str) -> Result<ProxyUrl, Mistake> {
    let wrong = || {
        Mistake::new("must be the URL of a proxy, \"env\" or \"off\"")
            .hint("such as \"http://proxy.example.com:3128\"; \"env\" uses HTTPS_PROXY and NO_PROXY")
    };
    let proxy = ProxyUrl::parse(url).filter(|_| url.contains("://")).ok_or_else(wrong)?;
    if proxy.has_credentials() {
        let mistake = Mistake::new("contains a password, and secrets are not allowed in this file");
        return Err(mistake.hint("write \"env\", and put the whole URL into the variable HTTPS_PROXY"));
    }
    Ok(proxy)
}

fn check_direct(entry: &str) -> Result<(), Mistake> {
    let name = entry.strip_prefix('.').unwrap_or(entry);
    let plain = |domain: &str| domain == name.to_ascii_lowercase() && !domain.contains('*');
    let domain = || matches!(Host::parse(name), Ok(Host::Domain(domain)) if plain(&domain));
    if entry.parse::<IpNet>().is_ok() || entry.parse::<std::net::IpAddr>().is_ok() || domain() {
        return Ok(());
    }
    Err(Mistake::new("is not a name, an address or a network")
        .hint("such as \"keycloak\", \".internal\" or \"10.0.0.0/8\", without scheme and port"))
}

#[cfg(test)]
mod tests {
    use super::{ProxyUrl, as_suffix, check_direct, configured};

    #[test]
    fn a_proxy_is_an_http_url_and_prints_without_its_password() {
        for (text, authority) in [
            ("http://proxy.example.com:3128", "proxy.example.com:3128"),
            ("http://user:s3cret@proxy:3128/", "proxy:3128"),
            ("proxy:3128", "proxy:3128"),
            ("user:s3cret@proxy:3128", "proxy:3128"),
            ("https://[::1]", "[::1]:443"),
        ] {
            let proxy = ProxyUrl::parse(text).unwrap();
            assert_eq!(
                (proxy.authority().as_str(), format!("{proxy:?}")),
                (authority, format!("[proxy: {authority}]"))
            );
        }
        for bad in ["", "socks5://proxy:1080", "http://", "http://proxy/path", "http://proxy/?x", "file:///x", "a b"] {
            assert!(ProxyUrl::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_proxy_password_in_the_file_is_refused() {
        assert!(configured("http://proxy:3128").is_ok());
        for bad in ["http://u:p@proxy:3128", "http://u@proxy:3128", "proxy:3128", "on", ""] {
            assert!(configured(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_proxy_lists_names_addresses_and_networks() {
        for good in ["keycloak", "sso.example.com", ".internal", "10.0.0.0/8", "192.0.2.7", "::1", "fd00::/8"] {
            assert!(check_direct(good).is_ok(), "{good}");
        }
        for bad in ["", "http://keycloak", "keycloak:8080", "*", "*.internal", "a/b", "a b", "10.0.0.0/33"] {
            assert!(check_direct(bad).is_err(), "{bad}");
        }
        assert_eq!((as_suffix(" *.example.com"), as_suffix("*")), (".example.com".to_owned(), "*".to_owned()));
    }
}
