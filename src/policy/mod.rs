//! Pure decisions: which caller may make which call to which upstream.
//!
//! A decision has two steps, and the types keep their order. [`enter`] checks the caller before anything of the body is
//! read, so that a caller who may not enter costs no memory. [`decide`] checks the call once its message is there, and
//! makes the [`Permit`]. Forwarding takes a permit and nothing else that names a caller or an upstream: a call that was not
//! decided about, or one that is sent in another caller's name (confused deputy), does not compile. A decision explains
//! itself: a [`Denial`] names its rule, and what would be enough.

mod admission;

pub(crate) use admission::{Person, admit, admit_to};
use admission::{kept_out, withheld};

use crate::config::Upstream;
use crate::mcp::Message;
use crate::model::caller::{Caller, NotAdmitted};
use crate::oauth::scope::ScopeSet;

/// The result of the first step of a decision: a caller may enter an upstream. It does not allow forwarding.
///
/// `C` is the caller with all that its call needs besides, `U` the same of the upstream. Both come out of the permit as they
/// were checked.
#[derive(Debug)]
pub(crate) struct Entry<'a, C, U> {
    caller: &'a C,
    upstream: &'a U,
}

/// The right to make one call, and how much of the answer the caller may see.
#[derive(Debug)]
pub(crate) struct Permit<'a, C, U> {
    entry: Entry<'a, C, U>,
    filter: AnswerFilter,
}

impl<'a, C, U> Permit<'a, C, U> {
    /// Who may make the call.
    pub(crate) const fn caller(&self) -> &'a C {
        self.entry.caller
    }

    /// Where the call may go.
    pub(crate) const fn upstream(&self) -> &'a U {
        self.entry.upstream
    }

    /// What of the answer may pass. It is part of the permit, so that no one who forwards the call can do without it.
    pub(crate) const fn filter(&self) -> AnswerFilter {
        self.filter
    }
}

/// What of an answer may pass to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerFilter {
    /// All of it, byte for byte.
    Everything,
}

/// What a call carries.
#[derive(Debug)]
pub(crate) enum Content<'a> {
    /// No message: the method has none.
    Nothing,
    /// A message that streams through: a rule about messages cannot check it, and must not let it pass.
    Unread,
    /// This message.
    Read(Message<'a>),
}

/// A call that is not allowed: by which rule, and what would be enough.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// The token lacks scopes that the upstream requires. The client can get them (step-up).
    Scopes(MissingScopes),
    /// The user may not use the upstream, and no sign-in would change that.
    NotAdmitted(Box<NotAdmitted>),
}

impl Denial {
    /// The setting that forbids the call, for the operator's log.
    pub(crate) fn rule(&self) -> &str {
        match self {
            Self::Scopes(_) => "scopes",
            Self::NotAdmitted(not_admitted) => &not_admitted.rule,
        }
    }
}

/// Scopes that a token lacks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MissingScopes {
    /// What the token does not allow.
    pub(crate) missing: ScopeSet,
    /// What would be enough: the scopes that are missing, and those that the token has. A client that asks for these loses
    /// nothing, whether or not it adds what it had before.
    ///
    /// Every one of them is a scope of the upstream that this user may have, which is granted to each client that asks and whose
    /// user agrees. So a denial never sends a client for something that it cannot get, and equal denials name equal scopes:
    /// clients compare them to notice that an upgrade has not helped.
    pub(crate) sufficient: ScopeSet,
}

/// Checks whether a caller may enter an upstream at all, by what its scopes imply.
///
/// # Errors
/// Names every scope that is missing, so that the client can ask for all of them at once; or the rule that keeps the user out.
pub(crate) fn enter<'a, C, U>(caller: &'a C, upstream: &'a U) -> Result<Entry<'a, C, U>, Denial>
where
    C: AsRef<Caller>,
    U: AsRef<Upstream>,
{
    let who = caller.as_ref();
    if let Some(not_admitted) = &who.kept_out {
        return Err(Denial::NotAdmitted(not_admitted.clone()));
    }
    let (granted, scopes) = (&who.scope, &upstream.as_ref().settings.scopes);
    let missing = scopes.missing(granted);
    if missing.is_empty() {
        return Ok(Entry { caller, upstream });
    }
    let person = Person::of(&who.identity, &who.subject, &who.user);
    let withheld = withheld(&person, upstream.as_ref(), &missing);
    if !withheld.is_empty() {
        return Err(Denial::NotAdmitted(Box::new(kept_out(upstream.as_ref(), &format!("allow of scope {withheld}")))));
    }
    // a scope that has left the configuration is not granted again
    let sufficient = missing.union(&granted.intersection(&scopes.known()));
    Err(Denial::Scopes(MissingScopes { missing, sufficient }))
}

/// Checks one call of a caller who entered, by what it carries.
///
/// # Errors
/// When a rule forbids the message. Scopes are the only rules, and they are about entering, so today everything passes.
#[expect(clippy::unnecessary_wraps, reason = "rules about messages deny here; callers already handle the denial")]
pub(crate) const fn decide<'a, C, U>(
    entry: Entry<'a, C, U>,
    _content: &Content<'_>,
) -> Result<Permit<'a, C, U>, Denial> {
    Ok(Permit { entry, filter: AnswerFilter::Everything })
}

/// What these scopes lack to enter an upstream, by what they imply.
#[must_use]
pub(crate) fn missing(granted: &ScopeSet, upstream: &Upstream) -> ScopeSet {
    upstream.settings.scopes.missing(granted)
}

#[cfg(test)]
mod tests;
