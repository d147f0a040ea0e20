//! What is sent through the public URL to a running process, and findings about that URL.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::cli::doctor::finding::{Finding, Id};
use crate::wire::{DOCTOR_PASS, X_FORWARDED_FOR};

/// The key that all of this is about.
const KEY: &str = "public_url";
/// An address that no client has (RFC 5737).
pub(super) const MADE_UP: &str = "203.0.113.77";
/// What a proxy may drop, and with what it is tried.
pub(super) const SENT: [(&str, &str); 6] = [
    ("mcp-session-id", "doctor"),
    ("mcp-protocol-version", "2025-11-25"),
    ("last-event-id", "doctor"),
    ("mcp-method", "server/discover"),
    ("mcp-param-user_id", "doctor"),
    ("mcp-param-a.b", "doctor"),
];

pub(super) fn finding(id: Id, what: impl Into<String>) -> Finding {
    Finding::new(id, "", KEY, what)
}

pub(super) fn headers(pass: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in SENT {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer doctor"));
    headers.insert(X_FORWARDED_FOR, HeaderValue::from_static(MADE_UP));
    if let Ok(pass) = HeaderValue::try_from(pass) {
        headers.insert(DOCTOR_PASS, pass);
    }
    headers
}

pub(super) fn not_examined(why: &str) -> Finding {
    let what =
        format!("the running process does not say what reaches it ({why}): the proxy in front could not be examined");
    finding(Id::PublicNotExamined, what).mend(
        "it must run this version with these root keys (secrets.keys), its clock within two minutes of this one's, and the proxy \
         must pass X-Portcullis-Doctor on",
    )
}
