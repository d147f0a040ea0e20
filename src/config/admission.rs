//! `allow` and `ask`: who may sign in, call a server, or have a scope, and whom other users may ask.
//!
//! Defends against users who get in by a claim that is missing or misread: a rule admits, it never keeps out, so that a user of
//! whom nothing is known meets none. Without rules everyone is admitted; an empty list is a mistake, not "everyone".

use serde::Deserialize;

use super::problem::Mistake;
use super::reading::{Reading, Section, ValueRef};
use super::shape::Step;
use super::tenant::TenantId;

/// The longest name of a group, in bytes: a path in Keycloak may have several parts.
pub(crate) const MAX_GROUP: usize = 1024;
/// The longest key of a user, in bytes (OpenID Connect Core 2).
const MAX_USER: usize = 255;
/// The longest `ask`, in characters.
const MAX_ASK: usize = 200;

/// Who is admitted, and whom the others may ask.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    /// The rules.
    pub allow: Allow,
    /// Whom users may ask who are not admitted: a text for a page.
    pub ask: Option<String>,
}

/// Rules of which one must admit a user. Without any, everyone is admitted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow(pub Vec<AllowRule>);

/// Admits the users who meet all of its lists; one value of a list is enough, and an empty list demands nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowRule {
    /// The provider whose users it is about; `None`: the one that the rule belongs to, or the only one.
    pub identity: Option<String>,
    /// Groups, with the prefixes of their sources.
    pub groups: Vec<String>,
    /// Domains of verified e-mail addresses, in lower case.
    pub domains: Vec<String>,
    /// Tenants of Microsoft Entra ID.
    pub tenants: Vec<TenantId>,
    /// The providers' own ids of users: what follows the bar in a subject.
    pub users: Vec<String>,
}

impl Allow {
    /// Whether there is a rule.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        !self.0.is_empty()
    }
}

impl AllowRule {
    /// Whether this rule admits every user whom the other one admits.
    fn covers(&self, other: &Self) -> bool {
        fn within<T: PartialEq>(ours: &[T], theirs: &[T]) -> bool {
            ours.is_empty() || !theirs.is_empty() && theirs.iter().all(|value| ours.contains(value))
        }
        (self.identity.is_none() || self.identity == other.identity)
            && within(&self.groups, &other.groups)
            && within(&self.domains, &other.domains)
            && within(&self.tenants, &other.tenants)
            && within(&self.users, &other.users)
    }

    /// Whether it keeps anyone out.
    const fn limits(&self) -> bool {
        self.has_a_list() || self.identity.is_some()
    }

    const fn has_a_list(&self) -> bool {
        !(self.groups.is_empty() && self.domains.is_empty() && self.tenants.is_empty() && self.users.is_empty())
    }
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleWritten {
    identity: Option<String>,
    groups: Option<Vec<String>>,
    domains: Option<Vec<String>>,
    tenants: Option<Vec<String>>,
    roles: Option<Vec<String>>,
    users: Option<Vec<String>>,
}

/// What the rules are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// A provider: its users.
    Provider,
    /// An upstream, or a scope of one: users of several providers, perhaps.
    Upstream,
}

/// Where rules are written, for reporting problems.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) section: &'a Section<'a>,
    /// The way from the section to the table that has the key `allow`.
    pub(super) path: &'a [Step],
    pub(super) about: About,
}

impl Place<'_> {
    /// The list of rules, or one of them.
    pub(super) fn rule(&self, index: Option<usize>) -> ValueRef {
        self.at(index.map(Step::Item))
    }

    /// A list of a rule.
    pub(super) fn list(&self, rule: usize, key: &str) -> ValueRef {
        self.at([Step::Item(rule), Step::Key(key.to_owned())])
    }

    /// A value in a list of a rule.
    pub(super) fn value(&self, rule: usize, key: &str, index: usize) -> ValueRef {
        self.at([Step::Item(rule), Step::Key(key.to_owned()), Step::Item(index)])
    }

    fn at(&self, further: impl IntoIterator<Item = Step>) -> ValueRef {
        let key = std::iter::once(Step::Key("allow".to_owned()));
        self.section.within(&self.path.iter().cloned().chain(key).chain(further).collect::<Vec<_>>())
    }
}

/// Reads both keys.
pub(super) fn read(
    written: (Option<Vec<RuleWritten>>, Option<String>),
    place: &Place<'_>,
    reading: &mut Reading<'_>,
) -> Admission {
    let (rules, ask) = written;
    Admission { allow: allow(rules, place, reading), ask: self::ask(ask, place.section, reading) }
}

/// Reads `ask`.
fn ask(written: Option<String>, section: &Section<'_>, reading: &mut Reading<'_>) -> Option<String> {
    let ask = written?;
    let valid = !ask.trim().is_empty() && ask.chars().count() <= MAX_ASK && !ask.chars().any(char::is_control);
    let mistake = || {
        Mistake::new(format!("must be 1 to {MAX_ASK} characters on one line"))
            .hint("whom to ask for access, as users read it: \"the platform team, platform@example.com\"")
    };
    reading.keep(&section.at("ask"), if valid { Ok(ask) } else { Err(mistake()) })
}

/// Reads rules.
pub(super) fn allow(written: Option<Vec<RuleWritten>>, place: &Place<'_>, reading: &mut Reading<'_>) -> Allow {
    let Some(written) = written else { return Allow::default() };
    if written.is_empty() {
        let mistake = Mistake::new("is empty: it would admit nobody");
        reading.error(&place.rule(None), mistake.hint("remove it to admit everyone, or list rules"));
    }
    let rules: Vec<_> =
        written.into_iter().enumerate().map(|(at, rule)| self::rule(rule, at, place, reading)).collect();
    warn_of_shadowed(&rules, place, reading);
    Allow(rules)
}

fn rule(written: RuleWritten, at: usize, place: &Place<'_>, reading: &mut Reading<'_>) -> AllowRule {
    if written.roles.is_some() {
        let mistake = Mistake::new("is no list of its own: roles become groups");
        let hint = "name their claim in groups_from of the identity, with prefix = \"role:\", and write groups = [\"role:NAME\"]";
        reading.error(&place.list(at, "roles"), mistake.hint(hint));
    }
    if written.identity.is_some() && place.about == About::Provider {
        let mistake = Mistake::new("has no effect: these rules are about the users of this provider");
        reading.error(&place.list(at, "identity"), mistake.hint("remove it"));
    }
    let mut list = |key: &str, values: Option<Vec<String>>, check: fn(&str) -> Result<(), Mistake>| {
        let Some(values) = values else { return Vec::new() };
        if values.is_empty() {
            let mistake = Mistake::new("is empty: it would admit nobody").hint("list values, or remove it");
            reading.error(&place.list(at, key), mistake);
        }
        for (index, value) in values.iter().enumerate() {
            reading.keep(&place.value(at, key, index), check(value));
        }
        values
    };
    let groups = list("groups", written.groups, check_group);
    let domains = list("domains", written.domains, check_domain);
    let tenants = list("tenants", written.tenants, check_tenant);
    let users = list("users", written.users, check_user);
    let rule = AllowRule {
        identity: written.identity,
        groups,
        domains: domains.into_iter().map(|domain| domain.to_ascii_lowercase()).collect(),
        tenants: tenants.iter().filter_map(|tenant| TenantId::parse(tenant)).collect(),
        users,
    };
    if !rule.limits() && written.roles.is_none() && !reading.is_refused_within(&place.rule(Some(at))) {
        let mistake = Mistake::new("admits everyone").hint("name groups, domains, tenants or users");
        reading.error(&place.rule(Some(at)), mistake);
    }
    rule
}

/// Warns of rules that change nothing, because another one admits all their users.
fn warn_of_shadowed(rules: &[AllowRule], place: &Place<'_>, reading: &mut Reading<'_>) {
    for (at, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.has_a_list()) {
        let covering = rules.iter().enumerate().find(|(other, covering)| {
            // of two equal rules the second is the one too many
            *other != at && covering.limits() && covering.covers(rule) && (*other < at || !rule.covers(covering))
        });
        if let Some((other, _)) = covering {
            let mistake = Mistake::new(format!("has no effect: allow[{other}] admits all these users"));
            let hint =
                "a rule admits who meets all of its lists, and one rule is enough: remove it, or narrow the other";
            reading.warn(&place.rule(Some(at)), mistake.hint(hint));
        }
    }
}

fn check_group(group: &str) -> Result<(), Mistake> {
    if group.is_empty() || group.len() > MAX_GROUP || group.chars().any(char::is_control) {
        return Err(Mistake::new("is not the name of a group").hint("as the provider writes it in the claim"));
    }
    Ok(())
}

fn check_domain(domain: &str) -> Result<(), Mistake> {
    if !domain.is_ascii() {
        let hint = "write its ASCII form, which begins with xn-- in each part that has other letters";
        return Err(Mistake::new("is not in ASCII").hint(hint));
    }
    let is_label = |label: &str| {
        let allowed = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        !label.is_empty() && label.len() <= 63 && allowed && !label.starts_with('-') && !label.ends_with('-')
    };
    if domain.len() <= 253 && domain.contains('.') && domain.split('.').all(is_label) {
        return Ok(());
    }
    let hint = "what follows the @ of an address, whole: \"example.com\" does not admit \"eu.example.com\"";
    Err(Mistake::new("is not a domain").hint(hint))
}

fn check_tenant(tenant: &str) -> Result<(), Mistake> {
    let hint = "the directory (tenant) id of its overview page, a GUID";
    TenantId::parse(tenant).map(drop).ok_or_else(|| Mistake::new("is not the id of a tenant").hint(hint))
}

fn check_user(user: &str) -> Result<(), Mistake> {
    let printable = user.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if printable && !user.is_empty() && user.len() <= MAX_USER && !user.contains('@') {
        return Ok(());
    }
    let hint = "the provider's own id, as in X-Forwarded-User behind the bar: `sub`, for Entra ID TENANT.OBJECT. Addresses change \
                hands and name no user";
    Err(Mistake::new("is not the id of a user").hint(hint))
}

#[cfg(test)]
mod tests {
    use super::{AllowRule, check_domain, check_user};

    #[test]
    fn a_domain_is_written_whole_and_in_ascii() {
        for good in ["example.com", "EXAMPLE.com", "a-b.example.co.uk", "xn--exmple-cua.com"] {
            assert!(check_domain(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "localhost",
            "@example.com",
            "a@example.com",
            "*.example.com",
            ".example.com",
            "example.com.",
            "exämple.com",
            "-a.com",
            "a-.com",
            "exa mple.com",
            "example.com/x",
        ] {
            assert!(check_domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_is_no_user() {
        assert!(check_user("00u1|x").is_ok());
        for bad in ["", "ada@example.com", "ä", "a\n", &"x".repeat(256)] {
            assert!(check_user(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rule_covers_the_rules_that_demand_at_least_as_much() {
        let of = |identity: Option<&str>, groups: &[&str], domains: &[&str]| AllowRule {
            identity: identity.map(str::to_owned),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            domains: domains.iter().map(|&domain| domain.to_owned()).collect(),
            ..AllowRule::default()
        };
        let staff = of(None, &["staff", "ops"], &[]);
        assert!(staff.covers(&of(None, &["ops"], &[])));
        assert!(staff.covers(&of(Some("corp"), &["ops"], &["example.com"])));
        assert!(!staff.covers(&of(None, &["ops", "guests"], &[])));
        assert!(!staff.covers(&of(None, &[], &["example.com"])));
        assert!(!of(Some("corp"), &["staff"], &[]).covers(&of(None, &["staff"], &[])));
        assert!(of(Some("corp"), &[], &[]).covers(&of(Some("corp"), &["staff"], &[])));
    }
}
