//! Which headers of a request pass to an upstream (RFC 9110 7.6.1, RFC 9112 6), and which we add.
//!
//! Defends against: header spoofing, request smuggling, and fields that two servers read in different ways. An upstream must
//! not take anything that a client sends for one of our own headers, so names are compared after
//! [`folding`](crate::config::header_names::folded).

use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::header_names::{HeaderNames, PROTECTED, folded};
use crate::config::{PublicUrl, RequestHeaders};
use crate::mcp::headers;
use crate::wire::{ClientAddress, X_FORWARDED_FOR};

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Whether a folded name is a field that is checked here: the session id, or one that says how to read the message. A server
/// that folds names would accept an odd spelling of it. The parameters of tools (`Mcp-Param-…`) may have any name.
pub(super) fn is_checked(folded: &str) -> bool {
    let begins = ["content-", headers::PREFIX, "accept"].iter().any(|begin| folded.starts_with(begin));
    folded == headers::LAST_EVENT_ID || begins && !headers::is_parameter(folded)
}

/// Removes the fields that `Connection` names (RFC 9110 7.6.1). A client may name any field; what we write comes
/// afterwards.
pub(super) fn remove_connection_options(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .filter(|option| !["close", "keep-alive"].iter().any(|usual| usual.eq_ignore_ascii_case(option)))
        .filter_map(|name| name.parse().ok())
        .collect();
    for name in &named {
        headers.remove(name);
    }
}

/// Removes all fields with such names.
pub(super) fn remove_where(headers: &mut HeaderMap, drops: impl Fn(&str) -> bool) {
    let dropped: Vec<HeaderName> = headers.keys().filter(|name| drops(name.as_str())).cloned().collect();
    for name in &dropped {
        headers.remove(name);
    }
}

/// Whether a checked field has two values: one server would read the first, another the last.
pub(super) fn says_two_things(fields: &HeaderMap) -> bool {
    let once =
        |name: &str| name == "content-type" || name == headers::LAST_EVENT_ID || name.starts_with(headers::PREFIX);
    let repeated = |name: &HeaderName| once(name.as_str()) && fields.get_all(name).iter().nth(1).is_some();
    // few requests repeat anything
    let repeats = fields.len() > fields.keys_len() && fields.keys().any(repeated);
    repeats || fields.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().contains(&b','))
}

/// Which headers of a request pass to one upstream. Built once.
pub(super) struct RequestRules {
    /// Names that no client may send; no exception applies.
    never: HeaderNames,
    /// The same, and the names that the configuration drops: an ordinary header costs one lookup.
    dropped: HeaderNames,
    /// Exceptions to the names that the configuration drops.
    kept: HeaderNames,
    added: Vec<(HeaderName, HeaderValue)>,
}

impl RequestRules {
    /// `ours` are the headers in which clients send their key to us, and that in which we send a credential.
    pub(super) fn new(settings: &RequestHeaders, ours: &[&HeaderName]) -> Self {
        let added: Vec<_> = settings.added.iter().map(|added| (added.name.clone(), added.value.clone())).collect();
        let own = || added.iter().map(|(name, _)| name).chain(ours.iter().copied()).map(HeaderName::as_str);
        let never = || PROTECTED.iter().copied().chain(own());
        let by_setting = settings.dropped.patterns.iter().map(String::as_str);
        Self {
            never: HeaderNames::new(never()),
            dropped: HeaderNames::new(never().chain(by_setting)),
            kept: settings.dropped.kept.clone(),
            added,
        }
    }

    /// Removes what a client may not send, in place.
    pub(super) fn clean(&self, headers: &mut HeaderMap) {
        remove_connection_options(headers);
        remove_where(headers, |name| self.drops(name));
    }

    /// Adds the configured headers to a request that was cleaned.
    pub(super) fn add(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.added {
            headers.insert(name.clone(), value.clone());
        }
    }

    fn drops(&self, name: &str) -> bool {
        let folded = folded(name);
        let odd = *folded != *name;
        if self.dropped.contains(&folded) {
            // a proxy in front overwrites its own header only in the usual spelling
            odd || self.never.contains(&folded) || !self.kept.contains(&folded)
        } else {
            odd && is_checked(&folded)
        }
    }
}

/// The `X-Forwarded-*` fields that are the same for every request. Built once.
pub(super) struct Forwarding {
    proto: HeaderValue,
    host: HeaderValue,
}

impl Forwarding {
    /// What clients know this gateway as.
    pub(super) fn new(public_url: &PublicUrl) -> Self {
        let proto = HeaderValue::from_static(if public_url.is_https() { "https" } else { "http" });
        // an origin's authority is ASCII without spaces
        let host = HeaderValue::from_str(public_url.authority()).unwrap_or(HeaderValue::from_static(""));
        Self { proto, host }
    }

    /// Adds it to a request from which everything of that kind was removed.
    pub(super) fn write(&self, headers: &mut HeaderMap, client: ClientAddress) {
        headers.insert(FORWARDED_PROTO, self.proto.clone());
        headers.insert(FORWARDED_HOST, self.host.clone());
        if let Ok(client) = HeaderValue::try_from(client.0.to_string()) {
            headers.insert(X_FORWARDED_FOR, client);
        }
    }
}

#[cfg(test)]
mod tests;
