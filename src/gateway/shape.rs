//! The shape of a request to an upstream: headers, query and method.
//!
//! Defends against: fields that two servers read in different ways (parser differential, request smuggling), and tokens in
//! URLs, which logs keep.

use std::borrow::Cow;

use http::Method;
use http::request::Parts;

use super::credential::is_in_query;
use super::headers::says_two_things;
use super::refusal::Refusal;

/// Checks a request's headers, query and method.
///
/// # Errors
/// When no MCP client sends such a request, or it can be read in two ways.
pub(super) fn check(parts: &Parts) -> Result<(), Refusal> {
    if says_two_things(&parts.headers) {
        return Err(Refusal::Malformed("a Content-Type, Last-Event-ID or Mcp-* header has more than one value"));
    }
    if query_names(parts.uri.query().unwrap_or_default()).any(|name| name == "access_token") {
        return Err(Refusal::Malformed("access tokens do not belong in a query: use the Authorization header"));
    }
    if is_in_query(parts.uri.query().unwrap_or_default()) {
        return Err(Refusal::Malformed("this server takes no API key in a query: send it in a header, and replace it"));
    }
    // MCP has no other method, and servers misbehave on methods that they do not expect
    let known = [Method::GET, Method::POST, Method::DELETE];
    if known.contains(&parts.method) { Ok(()) } else { Err(Refusal::Method) }
}

/// The names in a query; some servers treat `;` as `&`.
fn query_names(query: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let pairs = query.split(['&', ';']);
    pairs.filter_map(|pair| form_urlencoded::parse(pair.as_bytes()).next()).map(|(name, _)| name)
}
