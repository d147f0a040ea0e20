//! The keys of `[[upstream]]` that say how its server is called over HTTP.

use std::time::Duration;

use http::HeaderValue;
use http::uri::Authority;

use super::problem::Mistake;
use super::quantity::Scalar;
use super::reading::{At, Reading, Section};

/// How an upstream is called over HTTP.
#[derive(Debug, Clone)]
pub struct UpstreamHttp {
    /// The `Host` that the server sees, where the one in `url` is not a name that it accepts.
    pub host: Option<HeaderValue>,
    /// How long the answer to anything but a GET may take to begin.
    pub first_byte: Duration,
    /// How long an event stream may be silent before a comment is written to it; `None` writes none.
    pub keep_alive: Option<Duration>,
    /// How long a connection that is refused is tried again; `None` fails at once.
    pub reconnect: Option<Duration>,
}

impl Default for UpstreamHttp {
    fn default() -> Self {
        Self {
            host: None,
            // tools that answer in plain JSON may think for minutes
            first_byte: Duration::from_mins(5),
            // proxies cut streams that are silent for 50 seconds and longer
            keep_alive: Some(Duration::from_secs(25)),
            reconnect: Some(Duration::from_secs(4)),
        }
    }
}

/// The keys as they were written.
pub(super) struct Written {
    pub(super) host: Option<String>,
    pub(super) first_byte: Option<Scalar>,
    pub(super) keep_alive: Option<Scalar>,
    pub(super) reconnect: Option<Scalar>,
}

/// Reads them; what is wrong is replaced by its default, and reported.
pub(super) fn read(written: Written, section: &Section<'_>, reading: &mut Reading<'_>) -> UpstreamHttp {
    let mut http = UpstreamHttp::default();
    if let Some(text) = written.host {
        http.host = reading.keep(&section.at("host"), host(&text));
    }
    if let Some(written) = written.first_byte {
        let at = section.at("first_byte");
        http.first_byte = bounded(&at, &written, Duration::from_hours(24), reading).unwrap_or(http.first_byte);
    }
    if let Some(written) = written.keep_alive {
        http.keep_alive = switchable(&section.at("keep_alive"), &written, Duration::from_hours(1), reading);
    }
    if let Some(written) = written.reconnect {
        http.reconnect = switchable(&section.at("reconnect"), &written, Duration::from_mins(1), reading);
    }
    http
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

fn switchable(at: &At, written: &Scalar, longest: Duration, reading: &mut Reading<'_>) -> Option<Duration> {
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
