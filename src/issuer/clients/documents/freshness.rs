//! How long a document is fresh (RFC 9111 4.2), within our bounds: a host must not make us fetch at every sign-in, and a
//! document that was changed or withdrawn must not stay valid for ever.

use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES};

use crate::clock::Timestamp;

/// The lower bound, whatever the host says.
const LEAST: Duration = Duration::from_mins(5);
/// The upper bound.
const MOST: Duration = Duration::from_hours(24);

/// For how long a document with this header, which came at `now`, is fresh.
pub(crate) fn fresh_for(headers: &HeaderMap, now: Timestamp) -> Duration {
    let said = match directive(headers) {
        Some(Said::MaxAge(seconds)) => Duration::from_secs(seconds),
        Some(Said::NoCache) => Duration::ZERO,
        None => expires_in(headers, now).unwrap_or_default(),
    };
    let age = one(headers, AGE.as_str()).and_then(|age| age.parse().ok()).map_or(Duration::ZERO, Duration::from_secs);
    said.saturating_sub(age).clamp(LEAST, MOST)
}

enum Said {
    MaxAge(u64),
    NoCache,
}

/// The freshness by `Cache-Control`. The strictest directive applies; a malformed `max-age` means a stale document (RFC 9111
/// 4.2.1).
fn directive(headers: &HeaderMap) -> Option<Said> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut age: Option<u64> = None;
    for directive in values.flat_map(|value| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let name = name.trim();
        if ["no-store", "no-cache"].iter().any(|forbids| name.eq_ignore_ascii_case(forbids)) {
            return Some(Said::NoCache);
        }
        if name.eq_ignore_ascii_case("max-age") {
            let seconds = value.trim().trim_matches('"').parse().unwrap_or(0);
            age = Some(age.map_or(seconds, |before| before.min(seconds)));
        }
    }
    age.map(Said::MaxAge)
}

/// `Expires`, counted from `Date`, so that the host's clock need not be right.
fn expires_in(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let seconds = |name: &str| {
        let time = httpdate::parse_http_date(one(headers, name)?).ok()?;
        let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_secs()).ok().map(Timestamp)
    };
    Some(seconds(EXPIRES.as_str())?.since(seconds(DATE.as_str()).unwrap_or(now)))
}

fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::fresh_for;
    use crate::clock::Timestamp;

    const MINUTES: u64 = 60;
    const LEAST: u64 = 5 * MINUTES;

    #[test]
    fn the_host_says_how_long_a_document_counts_within_bounds() {
        // 2026-11-21T00:00:00Z
        let now = Timestamp(1_795_219_200);
        let (date, later) = ("Sat, 21 Nov 2026 00:00:00 GMT", "Sat, 21 Nov 2026 02:00:00 GMT");
        for (headers, seconds) in [
            (&[][..], LEAST),
            (&[("cache-control", "max-age=3600")], 3600),
            (&[("cache-control", "public, MAX-AGE=\"3600\", must-revalidate")], 3600),
            (&[("cache-control", "public"), ("cache-control", "max-age=3600")], 3600),
            (&[("cache-control", "max-age=7200, max-age=3600")], 3600),
            (&[("cache-control", "max-age=1")], LEAST),
            (&[("cache-control", "max-age=0")], LEAST),
            (&[("cache-control", "max-age=31536000")], 24 * 60 * MINUTES),
            (&[("cache-control", "max-age=99999999999999999999999")], LEAST),
            (&[("cache-control", "max-age=-1")], LEAST),
            (&[("cache-control", "no-store, max-age=3600")], LEAST),
            (&[("cache-control", "max-age=3600"), ("cache-control", "no-cache")], LEAST),
            (&[("cache-control", "max-age=3600"), ("age", "600")], 3000),
            (&[("cache-control", "max-age=3600"), ("age", "9999")], LEAST),
            (&[("cache-control", "max-age=3600"), ("age", "soon")], 3600),
            (&[("expires", later)], 7200),
            (&[("expires", later), ("date", date)], 7200),
            (&[("expires", later), ("date", "Fri, 20 Nov 2026 23:00:00 GMT")], 10800),
            (&[("expires", later), ("age", "3600")], 3600),
            (&[("expires", "0")], LEAST),
            (&[("expires", date)], LEAST),
            (&[("expires", later), ("cache-control", "max-age=600")], 600),
            (&[("expires", "Sat, 21 Nov 2099 00:00:00 GMT")], 24 * 60 * MINUTES),
            (&[("expires", "Thu, 01 Jan 1960 00:00:00 GMT")], LEAST),
        ] {
            let map: HeaderMap = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .fold(HeaderMap::new(), |mut map, (name, value)| {
                    map.append(name, value);
                    map
                });
            assert_eq!(fresh_for(&map, now).as_secs(), seconds, "{headers:?}");
        }
    }
}
