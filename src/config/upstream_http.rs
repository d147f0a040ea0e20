//! The keys of `[[upstream]]` for HTTP: host, time-outs, keep-alive.

use std::time::Duration;

use http::HeaderValue;
use http::uri::Authority;

use super::problem::Mistake;
use super::quantity::Scalar;
use super::reading::{Reading, Section, ValueRef};

/// HTTP settings of an upstream.
#[derive(Debug, Clone)]
pub struct UpstreamHttp {
    /// The `Host` header sent to the server, if it does not accept the one of `url`.
    pub host: Option<HeaderValue>,
    /// How long the response to anything but a GET may take to begin.
    pub first_byte: Duration,
    /// After how much silence a comment is written to an event stream; `None` writes none.
    pub keep_alive: Option<Duration>,
    /// How long a refused connection is retried; `None` fails at once.
    pub reconnect: Option<Duration>,
}

impl Default for UpstreamHttp {
    fn default() -> Self {
        Self {
            host: None,
            // a tool that answers in plain JSON may run for minutes
            first_byte: Duration::from_mins(5),
            // proxies close streams after 50 seconds of silence or more
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

/// Reads the keys; a wrong value is reported and replaced by its default.
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
        http.keep_alive = optional_duration(&section.at("keep_alive"), &written, Duration::from_hours(1), reading);
    }
    if let Some(written) = written.reconnect {
        http.reconnect = optional_duration(&section.at("reconnect"), &written, Duration::from_mins(1), reading);
    }
    http
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

fn optional_duration(
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
