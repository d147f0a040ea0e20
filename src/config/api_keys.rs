//! `api_keys` of `[[upstream]]`: where its callers may send an API key.
//!
//! Defends against: keys in URLs, which logs and proxies keep, unless the operator asks for them.

use http::HeaderName;

use super::problem::Mistake;
use super::reading::{Reading, Section};
use super::request_headers::client_header;

/// The longest name of a query parameter.
const LONGEST_PARAMETER: usize = 64;

/// Where an upstream's callers may send an API key. Nowhere by default: API keys are off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiKeys {
    /// As a bearer token.
    pub bearer: bool,
    /// In these headers.
    pub headers: Vec<HeaderName>,
    /// In these parameters of the query.
    pub parameters: Vec<String>,
}

impl ApiKeys {
    /// Whether they are accepted at all.
    #[must_use]
    pub const fn are_accepted(&self) -> bool {
        self.bearer || !self.headers.is_empty() || !self.parameters.is_empty()
    }
}

/// Checks the list.
pub(super) fn read(written: Option<Vec<String>>, section: &Section<'_>, reading: &mut Reading<'_>) -> ApiKeys {
    let mut api_keys = ApiKeys::default();
    for (index, place) in written.unwrap_or_default().iter().enumerate() {
        reading.keep(&section.item("api_keys", index), add(&mut api_keys, place));
    }
    api_keys
}

fn add(api_keys: &mut ApiKeys, place: &str) -> Result<(), Mistake> {
    match place.split_once(':') {
        None if place == "bearer" => api_keys.bearer = true,
        Some(("header", name)) => api_keys.headers.push(client_header(name)?),
        Some(("query", name)) => api_keys.parameters.push(parameter(name)?),
        _ => {
            let mistake = Mistake::new("is not a place for an API key");
            return Err(mistake.hint("\"bearer\", \"header:x-api-key\" or, if nothing else works, \"query:code\""));
        }
    }
    Ok(())
}

fn parameter(name: &str) -> Result<String, Mistake> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > LONGEST_PARAMETER || !name.bytes().all(plain) {
        return Err(Mistake::new("does not name a query parameter").hint("such as \"query:code\""));
    }
    if name == "access_token" {
        return Err(Mistake::new("is where clients would send access tokens, which are refused in a query")
            .hint("choose another name"));
    }
    Ok(name.to_owned())
}
