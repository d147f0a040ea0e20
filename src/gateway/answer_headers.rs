//! Which headers of an upstream's response pass to the client.
//!
//! Defends against: an upstream that speaks for the whole origin, where people sign in (cookies, service workers, HSTS,
//! reporting), one that controls the proxy in front of us (`X-Accel-Redirect` sends any of its files), cache poisoning, and
//! one user's response in a cache that others read.

use std::sync::LazyLock;

use http::header::{AUTHORIZATION, CACHE_CONTROL, EXPIRES, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::headers::{is_checked, remove_connection_options, remove_where};
use crate::config::header_names::{HeaderNames, folded};

/// Fields that are dropped from an upstream's answer.
const NOT_THEIRS: &[&str] = &[
    // ends at this hop (RFC 9110 7.6.1)
    "connection",
    "keep-alive",
    "proxy-*",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    // a challenge would send the client to an authorization server that is not ours
    "dpop-nonce",
    "www-authenticate",
    // ours to say
    "access-control-*",
    "x-portcullis-*",
    "x-request-id",
    // browsers apply it to the whole origin
    "accept-ch*",
    "activate-storage-access",
    "alt-svc",
    "attribution-reporting-*",
    "clear-site-data",
    "critical-ch",
    "expect-ct",
    "expect-staple*",
    "idp-signin-status",
    "nel",
    "origin-agent-cluster",
    "origin-trial",
    "public-key-pins*",
    "refresh",
    "report-to",
    "reporting-endpoints",
    "sec-session-*",
    "secure-session-*",
    "service-worker-allowed",
    "set-cookie",
    "set-cookie2",
    "set-login",
    "shared-storage-write",
    "speculation-rules",
    "strict-transport-security",
    "use-as-dictionary",
    // instructions to a proxy, a cache or a CDN in front: send a file, redirect, store, take the host out of service
    "cache-tag",
    "edge-*",
    "netlify-*",
    "surrogate-*",
    "x-accel-*",
    "x-appengine-*",
    "x-envoy-*",
    "x-lighttpd-*",
    "x-litespeed-*",
    "x-reproxy-*",
    "x-sendfile*",
    "xkey",
];
/// `CDN-Cache-Control` (RFC 9213) and each CDN's own.
const CDN_CACHE_CONTROL: &str = "cdn-cache-control";

static DROPPED: LazyLock<HeaderNames> = LazyLock::new(|| HeaderNames::new(NOT_THEIRS.iter().copied()));

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Makes an upstream's headers fit for the client, in place.
pub(super) fn clean_response(headers: &mut HeaderMap) {
    remove_connection_options(headers);
    remove_where(headers, |name| {
        let folded = folded(name);
        let odd = *folded != *name;
        DROPPED.contains(&folded) || folded.ends_with(CDN_CACHE_CONTROL) || odd && is_checked(&folded)
    });
    keep_private(headers);
}

/// The answer to a bearer is for its user alone. `public`, `s-maxage` and even `must-revalidate` let a shared cache
/// keep it (RFC 9111 3.5), and some caches keep an answer without `Cache-Control`, whatever the request's
/// `Authorization`.
fn keep_private(headers: &mut HeaderMap) {
    // caches that know only this field cannot be told that an answer is private
    headers.remove(EXPIRES);
    let mut values = headers.get_all(CACHE_CONTROL).iter();
    let private = match (values.next(), values.next()) {
        (Some(value), None) => private(value.to_str().unwrap_or("\"")),
        // several lines are one list (RFC 9110 5.3)
        (Some(_), Some(_)) => {
            let lines = headers.get_all(CACHE_CONTROL).iter().map(|value| value.to_str().unwrap_or("\""));
            private(&lines.collect::<Vec<_>>().join(","))
        }
        (None, _) => Private::NoStore,
    };
    match private {
        Private::Already => {}
        Private::NoStore => drop(headers.insert(CACHE_CONTROL, NO_STORE)),
        Private::NeverStored(directives) => {
            headers.insert(CACHE_CONTROL, HeaderValue::try_from(directives).unwrap_or(NO_STORE));
        }
        Private::Stored(directives) => {
            headers.insert(CACHE_CONTROL, HeaderValue::try_from(directives).unwrap_or(NO_STORE));
            // a browser's own cache must not give it to the next user of the same page
            headers.append(VARY, HeaderValue::from_name(AUTHORIZATION));
        }
    }
}

/// How a `Cache-Control` is rewritten.
#[derive(Debug, PartialEq, Eq)]
enum Private {
    /// It stays as it is.
    Already,
    /// It is missing or malformed.
    NoStore,
    /// No cache may store it, by these directives.
    NeverStored(String),
    /// A single user's cache may store it, by these directives.
    Stored(String),
}

fn private(value: &str) -> Private {
    let Some(directives) = directives(value) else { return Private::NoStore };
    let name = |directive: &str| directive.split('=').next().unwrap_or_default().to_ascii_lowercase();
    // `private="field"` speaks of a field alone
    let shared = |directive: &&str| ["", "public", "s-maxage", "private"].contains(&name(directive).as_str());
    let kept: Vec<&str> = directives.iter().copied().filter(|directive| !shared(directive)).collect();
    if !kept.iter().any(|directive| directive.eq_ignore_ascii_case("no-store")) {
        return Private::Stored(["private"].into_iter().chain(kept).collect::<Vec<_>>().join(", "));
    }
    if kept.len() == directives.len() { Private::Already } else { Private::NeverStored(kept.join(", ")) }
}

/// The directives of a `Cache-Control`; commas inside quotes do not separate. `None` when caches may read it in
/// different ways.
fn directives(value: &str) -> Option<Vec<&str>> {
    let mut quoted = false;
    let divides = |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    };
    let directives: Vec<&str> = value.split(divides).map(str::trim).collect();
    directives.iter().all(|directive| directive.is_empty() || is_plain(directive)).then_some(directives)
}

/// Whether a directive is of the common form: `name`, `name=value` or `name="value"` without an escape (RFC 9111 5.2).
fn is_plain(directive: &str) -> bool {
    let token = |text: &str| HeaderName::from_bytes(text.as_bytes()).is_ok();
    let quoted = |text: &str| {
        let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        inside.is_some_and(|inside| !inside.contains(['"', '\\']))
    };
    match directive.split_once('=') {
        None => token(directive),
        Some((name, value)) => token(name) && (token(value) || quoted(value)),
    }
}

#[cfg(test)]
mod tests;
