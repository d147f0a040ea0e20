//! `api_keys`, `api_key_header` and `api_key_query` of `[[upstream]]`.
//!
//! Defends against: keys in URLs, which logs and proxies keep, unless the operator asks for them.

use http::HeaderName;

use super::problem::Mistake;
use super::reading::{Reading, Section};
use super::request_headers::client_header;

/// The longest name of a query parameter.
const LONGEST_PARAMETER: usize = 64;

/// How an upstream's callers may send an API key. As a bearer token they always may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiKeys {
    /// In this header.
    pub header: Option<HeaderName>,
    /// In this parameter of the query.
    pub query: Option<String>,
}

/// The keys of `[[upstream]]` that are read here.
pub(super) struct Written {
    pub(super) api_keys: Option<bool>,
    pub(super) header: Option<String>,
    pub(super) query: Option<String>,
}

/// Checks the keys; `None` when API keys are off.
pub(super) fn read(written: Written, section: &Section<'_>, reading: &mut Reading<'_>) -> Option<ApiKeys> {
    let enabled = written.api_keys.unwrap_or_default();
    let unused = [("api_key_header", written.header.is_some()), ("api_key_query", written.query.is_some())];
    for (key, _) in unused.into_iter().filter(|(_, is_set)| *is_set && !enabled) {
        let mistake = Mistake::new("has no effect: this upstream takes no API keys");
        reading.error(&section.at(key), mistake.hint("add api_keys = true"));
    }
    let header = written.header.map(|name| reading.keep(&section.at("api_key_header"), client_header(&name)));
    let query = written.query.map(|name| reading.keep(&section.at("api_key_query"), parameter(name)));
    enabled.then(|| ApiKeys { header: header.flatten(), query: query.flatten() })
}

fn parameter(name: String) -> Result<String, Mistake> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > LONGEST_PARAMETER || !name.bytes().all(plain) {
        return Err(Mistake::new("is not a name of a query parameter").hint("such as \"code\" or \"api_key\""));
    }
    if name == "access_token" {
        return Err(Mistake::new("is where clients would send access tokens, which are refused in a query")
            .hint("choose another name"));
    }
    Ok(name)
}
