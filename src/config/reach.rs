//! The keys of `[[upstream]]` for reaching its server: URL, host, time-outs.

use std::time::Duration;

use http::uri::Authority;
use http::{HeaderValue, Uri};

use super::ca_file::CaFile;
use super::identity::web_url;
use super::problem::Mistake;
use super::quantity::Scalar;
use super::reading::{Reading, Section, ValueRef};

/// How an MCP server is reached.
#[derive(Debug, Clone)]
pub enum Reach {
    /// Streamable HTTP.
    Http(ReachHttp),
}

/// HTTP settings of an upstream.
#[derive(Debug, Clone)]
pub struct ReachHttp {
    /// Where it listens; without a query, because the client sends its own.
    pub url: Uri,
    /// Roots that are trusted for it besides the global ones.
    pub ca_file: Option<CaFile>,
    /// The `Host` header sent to the server, if it does not accept the one of `url`.
    pub host: Option<HeaderValue>,
    /// How long the response to anything but a GET may take to begin.
    pub first_byte: Duration,
    /// How long a refused connection is retried; `None` fails at once.
    pub reconnect: Option<Duration>,
}

impl Reach {
    /// Where the server is, for the log and for messages.
    #[must_use]
    pub const fn url(&self) -> &Uri {
        match self {
            Self::Http(http) => &http.url,
        }
    }
}

impl ReachHttp {
    /// A server at this URL, by the defaults.
    #[must_use]
    pub const fn at(url: Uri) -> Self {
        Self {
            url,
            ca_file: None,
            host: None,
            // a tool that answers in plain JSON may run for minutes
            first_byte: Duration::from_mins(5),
            reconnect: Some(Duration::from_secs(4)),
        }
    }
}

/// The keys as they were written.
pub(super) struct Written {
    pub(super) url: String,
    pub(super) ca_file: Option<String>,
    pub(super) host: Option<String>,
    pub(super) first_byte: Option<Scalar>,
    pub(super) reconnect: Option<Scalar>,
}

/// Reads the keys. A wrong value of a key other than `url` is reported and replaced by its default.
pub(super) fn read(written: Written, section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Reach> {
    let ca_file = reading.ca_file(section, written.ca_file);
    let host = written.host.and_then(|text| reading.keep(&section.at("host"), host(&text)));
    let first_byte = written
        .first_byte
        .and_then(|written| bounded(&section.at("first_byte"), &written, Duration::from_hours(24), reading));
    let reconnect = written
        .reconnect
        .map(|written| optional_duration(&section.at("reconnect"), &written, Duration::from_mins(1), reading));
    let url = upstream_url(&written.url).map_err(|why| Mistake::new(why).hint("such as \"http://127.0.0.1:8420/mcp\""));
    let defaults = ReachHttp::at(reading.keep(&section.at("url"), url)?);
    Some(Reach::Http(ReachHttp {
        ca_file,
        host,
        first_byte: first_byte.unwrap_or(defaults.first_byte),
        reconnect: reconnect.unwrap_or(defaults.reconnect),
        url: defaults.url,
    }))
}

/// Parses the URL of an MCP server.
///
/// # Errors
/// What the URL must be, without the URL, which may contain a password.
pub fn upstream_url(text: &str) -> Result<Uri, &'static str> {
    const WANTED: &str = "must be an absolute http or https URL without user information or fragment";
    let url = web_url(text).ok_or(WANTED)?;
    if url.query().is_some() {
        return Err("must not have a query: clients send their own");
    }
    url.as_str().parse().or(Err(WANTED))
}

/// Parses a `Host` value (RFC 9110 7.2), which is sent exactly as written.
fn host(text: &str) -> Result<HeaderValue, Mistake> {
    let wrong = || {
        Mistake::new("is not a host")
            .hint("a name or address, and a port unless it is the scheme's own: \"localhost:8080\"")
    };
    let authority: Authority = text.trim().parse().ok().ok_or_else(wrong)?;
    let plain = !authority.host().is_empty() && !authority.as_str().contains(['@', '*', '%']);
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    let whole = port.is_empty() || authority.port_u16().is_some();
    HeaderValue::from_str(authority.as_str()).ok().filter(|_| plain && whole).ok_or_else(wrong)
}

/// A duration, or `None` for "off".
pub(super) fn optional_duration(
    at: &ValueRef,
    written: &Scalar,
    longest: Duration,
    reading: &mut Reading<'_>,
) -> Option<Duration> {
    if written.is_off() { None } else { bounded(at, written, longest, reading) }
}

fn bounded(at: &ValueRef, written: &Scalar, longest: Duration, reading: &mut Reading<'_>) -> Option<Duration> {
    let duration = written.duration().and_then(|duration| {
        if (Duration::from_secs(1)..=longest).contains(&duration) {
            return Ok(duration);
        }
        Err(Mistake::new(format!("must be between 1s and {}s", longest.as_secs())))
    });
    reading.keep(at, duration)
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn a_host_keeps_its_spelling_and_contains_nothing_else() {
        for good in ["localhost:8080", "MCP.internal", "127.0.0.1:1", "[::1]:8080", "[::1]", " localhost "] {
            assert_eq!(host(good).unwrap(), good.trim(), "{good}");
        }
        for bad in
            ["", ":80", "a:b", "a:", "a:99999", "a@b", "*", "*.a", "a/b", "a b", "a?b", "http://a", "a\r\nb", "a%2eb"]
        {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
