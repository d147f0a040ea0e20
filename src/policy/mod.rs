//! Pure decisions: who may do what.
//!
//! Only [`decide`] makes a [`Permit`], and forwarding takes one: a call that nobody decided about does not compile.

use crate::config::Upstream;
use crate::oauth::scope::ScopeSet;

/// The right to call one upstream once.
#[derive(Debug)]
pub struct Permit<'a> {
    upstream: &'a Upstream,
}

impl<'a> Permit<'a> {
    /// The upstream that may be called.
    #[must_use]
    pub const fn upstream(&self) -> &'a Upstream {
        self.upstream
    }
}

/// A call that is not allowed, and what was missing.
#[derive(Debug, PartialEq, Eq)]
pub struct Denial {
    /// What the token does not allow.
    pub missing: ScopeSet,
}

/// Whether a token with these scopes may call the upstream.
///
/// # Errors
/// Names the scopes that are missing.
pub fn decide<'a>(granted: &ScopeSet, upstream: &'a Upstream) -> Result<Permit<'a>, Denial> {
    let missing = upstream.settings.scopes.without(granted);
    if missing.is_empty() { Ok(Permit { upstream }) } else { Err(Denial { missing }) }
}

#[cfg(test)]
mod tests {
    use super::decide;
    use crate::config::{PublicUrl, Upstream, UpstreamSettings};
    use crate::oauth::scope::ScopeSet;

    #[test]
    fn every_scope_of_the_door_is_needed_and_the_denial_names_what_is_missing() {
        let settings = UpstreamSettings {
            id: "a".to_owned(),
            path: "/mcp".to_owned(),
            name: "A".to_owned(),
            url: "http://127.0.0.1:9/".parse().unwrap(),
            scopes: ScopeSet::parse("mcp:access mcp:write").unwrap(),
            default: false,
            ca_file: None,
        };
        let upstream = Upstream::new(&PublicUrl::parse("http://127.0.0.1:1").unwrap(), settings).unwrap();
        let scopes = |text| ScopeSet::parse(text).unwrap();
        assert!(decide(&scopes("mcp:write other mcp:access"), &upstream).is_ok());
        assert_eq!(decide(&scopes("mcp:access"), &upstream).unwrap_err().missing, scopes("mcp:write"));
        assert_eq!(decide(&scopes(""), &upstream).unwrap_err().missing, upstream.settings.scopes);
    }
}
