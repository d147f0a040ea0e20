//! Who may sign in, who may use an upstream, and which of its scopes a user may have.
//!
//! Defends against rights that outlive what they rest on: the same questions are asked at a sign-in, at each refresh, and at the
//! first use of a token in a process. Machines are not asked them: what they may do stands in their own entries.

use crate::config::{Admission, Allow, AllowRule, Upstream};
use crate::model::caller::NotAdmitted;
use crate::model::ids::IdentityId;
use crate::model::user::User;
use crate::oauth::scope::ScopeSet;

/// A user as the rules see one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Person<'a> {
    /// The id of the provider.
    pub(crate) identity: &'a IdentityId,
    /// The provider's own unchanging id of the user.
    pub(crate) key: &'a str,
    /// What is known of the user.
    pub(crate) user: &'a User,
}

impl<'a> Person<'a> {
    /// The user of a subject.
    pub(crate) fn of(identity: &'a IdentityId, subject: &'a str, user: &'a User) -> Self {
        Self { identity, key: subject.split_once('|').map_or("", |(_, key)| key), user }
    }

    fn is_machine(&self) -> bool {
        matches!(self.identity.as_str(), IdentityId::CLIENT | IdentityId::API_KEY)
    }

    fn is_admitted_by(&self, allow: &Allow) -> bool {
        self.is_machine() || !allow.is_limited() || allow.0.iter().any(|rule| self.meets(rule))
    }

    /// Whether the user meets each list of a rule. One of whom nothing is known meets none.
    fn meets(&self, rule: &AllowRule) -> bool {
        let AllowRule { identity, groups, domains, tenants, users } = rule;
        let is_in = |group: &String| self.user.groups.contains(group);
        let domain = || self.user.domain.as_ref().is_some_and(|domain| domains.contains(domain));
        let tenant = || {
            let of_key = self.key.split_once('.').map(|(tenant, _)| tenant);
            of_key.is_some_and(|of_key| tenants.iter().any(|tenant| tenant.as_str() == of_key))
        };
        identity.as_ref().is_none_or(|id| id == self.identity.as_str())
            && (groups.is_empty() || groups.iter().any(is_in))
            && (domains.is_empty() || domain())
            && (tenants.is_empty() || tenant())
            && (users.is_empty() || users.iter().any(|user| user == self.key))
    }
}

/// Checks whether the users of a provider or an issuer may come in: `kind` is its word in the configuration.
///
/// # Errors
/// By which rule not.
pub(crate) fn admit(person: &Person<'_>, admission: &Admission, kind: &str) -> Result<(), NotAdmitted> {
    if person.is_admitted_by(&admission.allow) {
        return Ok(());
    }
    Err(NotAdmitted { rule: format!("{kind} {}: allow", person.identity), ask: admission.ask.clone(), server: None })
}

/// Checks whether a user may use an upstream, and answers which of these scopes the user may have there.
///
/// # Errors
/// By which rule not. A user who may not have the scopes without which the upstream cannot be entered may not use it.
pub(crate) fn admit_to(person: &Person<'_>, upstream: &Upstream, scope: &ScopeSet) -> Result<ScopeSet, NotAdmitted> {
    if !person.is_admitted_by(&upstream.settings.admission.allow) {
        return Err(kept_out(upstream, "allow"));
    }
    let withheld = withheld(person, upstream, scope);
    let left = scope.without(&withheld);
    // an upgrade of a consent may ask for a scope alone: it is denied as what is left would be
    if !withheld.is_empty() && !upstream.settings.scopes.missing(&left).is_empty() {
        return Err(kept_out(upstream, &format!("allow of scope {withheld}")));
    }
    Ok(left)
}

/// Those of the scopes of an upstream that a user may not have.
pub(crate) fn withheld(person: &Person<'_>, upstream: &Upstream, scope: &ScopeSet) -> ScopeSet {
    let limited = &upstream.settings.scopes.allow;
    if limited.is_empty() {
        return ScopeSet::empty();
    }
    let is_withheld = |scope: &&str| limited.get(*scope).is_some_and(|allow| !person.is_admitted_by(allow));
    scope.iter().filter(is_withheld).map(str::to_owned).collect()
}

/// What keeps a user out of an upstream.
pub(super) fn kept_out(upstream: &Upstream, rule: &str) -> NotAdmitted {
    let settings = &upstream.settings;
    NotAdmitted {
        rule: format!("upstream {}: {rule}", settings.id),
        ask: settings.admission.ask.clone(),
        server: Some(settings.name.clone()),
    }
}

#[cfg(test)]
mod tests;
