//! Pure decisions: who may do what.
//!
//! Only [`decide`] makes a [`Permit`], and forwarding takes one: a call that nobody decided about does not compile.

use crate::config::Upstream;
use crate::oauth::scope::ScopeSet;

/// The right to make one call.
#[derive(Debug)]
pub(crate) struct Permit<'a, C> {
    call: &'a C,
}

impl<'a, C> Permit<'a, C> {
    /// The call that may be made.
    #[must_use]
    pub(crate) const fn call(&self) -> &'a C {
        self.call
    }
}

/// A call that is not allowed, and what was missing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    /// What the token does not allow.
    pub(crate) missing: ScopeSet,
}

/// Whether a token with these scopes may make a call to an upstream.
///
/// # Errors
/// Names the scopes that are missing.
pub(crate) fn decide<'a, C: AsRef<Upstream>>(granted: &ScopeSet, call: &'a C) -> Result<Permit<'a, C>, Denial> {
    let missing = missing(granted, call.as_ref());
    if missing.is_empty() { Ok(Permit { call }) } else { Err(Denial { missing }) }
}

/// What these scopes lack to enter an upstream.
#[must_use]
pub(crate) fn missing(granted: &ScopeSet, upstream: &Upstream) -> ScopeSet {
    upstream.settings.scopes.without(granted)
}

#[cfg(test)]
mod tests {
    use super::decide;
    use crate::config::{PublicUrl, RequestHeaders, Upstream, UpstreamHttp, UpstreamSettings};
    use crate::oauth::scope::ScopeSet;

    #[derive(Debug)]
    struct Call(Upstream);

    impl AsRef<Upstream> for Call {
        fn as_ref(&self) -> &Upstream {
            &self.0
        }
    }

    #[test]
    fn every_scope_of_the_door_is_needed_and_the_denial_names_what_is_missing() {
        let settings = UpstreamSettings {
            id: "a".to_owned(),
            path: "/mcp".to_owned(),
            name: "A".to_owned(),
            url: "http://127.0.0.1:9/".parse().unwrap(),
            scopes: ScopeSet::parse("mcp:access mcp:write").unwrap(),
            scope_texts: Vec::new(),
            default: false,
            ca_file: None,
            request_headers: RequestHeaders::default(),
            http: UpstreamHttp::default(),
        };
        let call = Call(Upstream::new(&PublicUrl::parse("http://127.0.0.1:1").unwrap(), settings).unwrap());
        let scopes = |text| ScopeSet::parse(text).unwrap();
        assert!(decide(&scopes("mcp:write other mcp:access"), &call).is_ok());
        assert_eq!(decide(&scopes("mcp:access"), &call).unwrap_err().missing, scopes("mcp:write"));
        assert_eq!(decide(&scopes(""), &call).unwrap_err().missing, call.0.settings.scopes);
    }
}
