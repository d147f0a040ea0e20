//! The keys of `[[upstream]]` that say how its server is reached.

use std::time::Duration;

use http::uri::Authority;
use http::{HeaderValue, Uri};

use super::ca_file::CaFile;
use super::identity::web_url;
use super::problem::Mistake;
use super::quantity::Scalar;
use super::reading::{At, Reading, Section};

/// The way to an MCP server.
#[derive(Debug, Clone)]
pub enum Reach {
    /// Streamable HTTP.
    Http(ReachHttp),
}

/// How an MCP server is called over HTTP.
#[derive(Debug, Clone)]
pub struct ReachHttp {
    /// Where it listens; without a query, which is the client's to send.
    pub url: Uri,
    /// Certificates that are trusted for it besides the global ones.
    pub ca_file: Option<CaFile>,
    /// The `Host` that the server sees, where the one in `url` is not a name that it accepts.
    pub host: Option<HeaderValue>,
    /// How long the answer to anything but a GET may take to begin.
    pub first_byte: Duration,
    /// How long a connection that is refused is tried again; `None` fails at once.
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
            // tools that answer in plain JSON may think for minutes
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

/// Reads them. Where a key other than `url` is wrong, that is reported and its default stands.
pub(super) fn read(written: Written, section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Reach> {
    let ca_file = reading.ca_file(section, written.ca_file);
    let host = written.host.and_then(|text| reading.keep(&section.at("host"), host(&text)));
    let first_byte = written
        .first_byte
        .and_then(|written| bounded(&section.at("first_byte"), &written, Duration::from_hours(24), reading));
    let reconnect = written
        .reconnect
        .map(|written| switchable(&section.at("reconnect"), &written, Duration::from_mins(1), reading));
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

/// Reads where an MCP server listens.
///
/// # Errors
/// Says what the URL must be, without the URL, which may hold a password.
pub fn upstream_url(text: &str) -> Result<Uri, &'static str> {
    const WANTED: &str = "must be a whole http or https URL, without user information and fragment";
    let url = web_url(text).ok_or(WANTED)?;
    if url.query().is_some() {
        return Err("has a query, which is the client's to send");
    }
    url.as_str().parse().or(Err(WANTED))
}

/// A `Host` value (RFC 9110 7.2), sent exactly as it is written.
fn host(text: &str) -> Result<HeaderValue, Mistake> {
    let wrong = || {
        Mistake::new("is no host")
            .hint("a name or address, and a port unless it is the scheme's own: \"localhost:8080\"")
    };
    let authority: Authority = text.trim().parse().ok().ok_or_else(wrong)?;
    let plain = !authority.host().is_empty() && !authority.as_str().contains(['@', '*', '%']);
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    let whole = port.is_empty() || authority.port_u16().is_some();
    HeaderValue::from_str(authority.as_str()).ok().filter(|_| plain && whole).ok_or_else(wrong)
}

/// A duration, or `None` where the operator wrote "off".
pub(super) fn switchable(at: &At, written: &Scalar, longest: Duration, reading: &mut Reading<'_>) -> Option<Duration> {
    if written.is_off() { None } else { bounded(at, written, longest, reading) }
}

fn bounded(at: &At, written: &Scalar, longest: Duration, reading: &mut Reading<'_>) -> Option<Duration> {
    let duration = written.duration().and_then(|duration| {
        if (Duration::from_secs(1)..=longest).contains(&duration) {
            return Ok(duration);
        }
        Err(Mistake::new(format!("must lie between 1s and {}s", longest.as_secs())))
    });
    reading.keep(at, duration)
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn a_host_is_sent_as_it_is_written_and_is_never_more_than_a_host() {
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
