//! Pure decisions: which caller may make which call to which upstream.
//!
//! A decision has two steps, and the types keep their order. [`enter`] judges the caller before anything of the body is
//! read, so that a caller who may not enter costs no memory. [`decide`] judges the call once its message is there, and
//! makes the [`Permit`]. Forwarding takes a permit and nothing else that names a caller or an upstream: a call that was not
//! decided about, or one that is sent in another caller's name (confused deputy), does not compile.

use crate::config::Upstream;
use crate::mcp::Message;
use crate::model::caller::Caller;
use crate::oauth::scope::ScopeSet;

/// A caller at the door of an upstream: the first step of a decision. It cannot be forwarded.
///
/// `C` is the caller with all that its call needs besides, `U` the same of the upstream. Both come out of the permit as they
/// were judged.
#[derive(Debug)]
pub(crate) struct Entry<'a, C, U> {
    caller: &'a C,
    upstream: &'a U,
}

/// The right to make one call.
#[derive(Debug)]
pub(crate) struct Permit<'a, C, U>(Entry<'a, C, U>);

impl<'a, C, U> Permit<'a, C, U> {
    /// Who may make the call.
    pub(crate) const fn caller(&self) -> &'a C {
        self.0.caller
    }

    /// Where the call may go.
    pub(crate) const fn upstream(&self) -> &'a U {
        self.0.upstream
    }
}

/// A call that is not allowed, and what was missing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    /// What the token does not allow.
    pub(crate) missing: ScopeSet,
}

/// Judges whether a caller may enter an upstream at all.
///
/// # Errors
/// Names every scope that is missing, so that the client can ask for all of them at once.
pub(crate) fn enter<'a, C, U>(caller: &'a C, upstream: &'a U) -> Result<Entry<'a, C, U>, Denial>
where
    C: AsRef<Caller>,
    U: AsRef<Upstream>,
{
    let missing = missing(&caller.as_ref().scope, upstream.as_ref());
    if missing.is_empty() { Ok(Entry { caller, upstream }) } else { Err(Denial { missing }) }
}

/// Judges one call of a caller who entered. `message` is missing where none was read: the method has none, or the body
/// streams.
///
/// # Errors
/// When a rule forbids the message. Scopes are the only rules, and they are about entering, so today every message passes.
#[expect(clippy::unnecessary_wraps, reason = "rules about messages deny here; callers already handle the denial")]
pub(crate) const fn decide<'a, C, U>(
    entry: Entry<'a, C, U>,
    _message: Option<&Message<'_>>,
) -> Result<Permit<'a, C, U>, Denial> {
    Ok(Permit(entry))
}

/// What these scopes lack to enter an upstream.
#[must_use]
pub(crate) fn missing(granted: &ScopeSet, upstream: &Upstream) -> ScopeSet {
    upstream.settings.scopes.without(granted)
}

#[cfg(test)]
mod tests {
    use super::{decide, enter};
    use crate::config::{ApiKeys, PublicUrl, Reach, ReachHttp, RequestHeaders, Upstream, UpstreamSettings};
    use crate::mcp::Message;
    use crate::model::caller::Caller;
    use crate::model::user::User;
    use crate::oauth::scope::ScopeSet;

    #[derive(Debug)]
    struct Behind(Upstream);

    impl AsRef<Upstream> for Behind {
        fn as_ref(&self) -> &Upstream {
            &self.0
        }
    }

    #[derive(Debug)]
    struct By(Caller);

    impl AsRef<Caller> for By {
        fn as_ref(&self) -> &Caller {
            &self.0
        }
    }

    fn behind(scopes: &str) -> Behind {
        let settings = UpstreamSettings {
            id: "a".to_owned(),
            path: "/mcp".to_owned(),
            name: "A".to_owned(),
            reach: Reach::Http(ReachHttp::at("http://127.0.0.1:9/".parse().unwrap())),
            scopes: ScopeSet::parse(scopes).unwrap(),
            scope_texts: Vec::new(),
            default: false,
            request_headers: RequestHeaders::default(),
            api_keys: ApiKeys::default(),
            keep_alive: None,
        };
        Behind(Upstream::new(&PublicUrl::parse("http://127.0.0.1:1").unwrap(), settings).unwrap())
    }

    fn by(scopes: &str) -> By {
        By(Caller {
            subject: "k|alice".into(),
            identity: "k".into(),
            client: "c_1".into(),
            scope: ScopeSet::parse(scopes).unwrap(),
            user: User::default(),
        })
    }

    #[test]
    fn entering_needs_every_scope_of_the_upstream_and_the_denial_names_what_is_missing() {
        let upstream = behind("mcp:access mcp:write");
        assert!(enter(&by("mcp:write other mcp:access"), &upstream).is_ok());
        let lacking = |scopes| enter(&by(scopes), &upstream).unwrap_err().missing;
        assert_eq!(lacking("mcp:access"), ScopeSet::parse("mcp:write").unwrap());
        assert_eq!(lacking(""), upstream.0.settings.scopes);
    }

    #[test]
    fn a_permit_names_the_caller_and_the_upstream_that_were_judged() {
        let (caller, upstream) = (by("mcp:access"), behind("mcp:access"));
        let message = Message::read(br#"{"id":1,"method":"ping"}"#);
        for message in [None, Some(&message)] {
            let permit = decide(enter(&caller, &upstream).unwrap(), message).unwrap();
            assert!(
                std::ptr::eq(permit.caller(), &raw const caller)
                    && std::ptr::eq(permit.upstream(), &raw const upstream)
            );
        }
    }
}
