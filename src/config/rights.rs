//! What the rules of upstreams and of providers must agree on: whose users they are about, and what is known of those.

use super::accepts::Issuers;
use super::admission::{About, Allow, AllowRule, Place};
use super::group_sources::GroupSources;
use super::id::is_id;
use super::identity::{Identity, IdentityKind, OidcFlavour};
use super::issuer_checks::IssuerKind;
use super::problem::Mistake;
use super::reading::{Reading, Section};
use super::sections::Sections;
use super::shape::Step;
use super::upstream::UpstreamSettings;
use super::{AssertionIssuer, TokenIssuer};

/// Where users come from, as the rules see it.
struct Users<'a> {
    id: &'a str,
    /// Whether they belong to a tenant of Entra ID, and prove no address.
    of_entra: bool,
    /// What becomes their groups; `None` where they have them by other means, or have none.
    groups: Option<&'a GroupSources>,
}

impl<'a> Users<'a> {
    fn of_identity(identity: &'a Identity) -> Self {
        let (of_entra, groups) = match &identity.kind {
            IdentityKind::Oidc(settings) => (matches!(settings.flavour, OidcFlavour::Entra(_)), Some(&settings.groups)),
            IdentityKind::Local(_) => (false, None),
        };
        Self { id: &identity.id, of_entra, groups }
    }

    fn of_issuer(issuer: &'a TokenIssuer) -> Self {
        Self { id: &issuer.id, of_entra: issuer.kind == IssuerKind::Entra, groups: Some(&issuer.groups) }
    }

    const fn of_assertions(issuer: &'a AssertionIssuer) -> Self {
        Self { id: issuer.id.as_str(), of_entra: false, groups: None }
    }
}

/// Everything that was read.
pub(super) struct Parts<'a> {
    identities: &'a [Identity],
    issuers: &'a Issuers,
    assertion_issuers: &'a [AssertionIssuer],
    upstreams: &'a [(Section<'a>, UpstreamSettings)],
}

impl<'a> Parts<'a> {
    pub(super) const fn new(
        identities: &'a [Identity],
        issuers: &'a Issuers,
        assertion_issuers: &'a [AssertionIssuer],
        upstreams: &'a [(Section<'a>, UpstreamSettings)],
    ) -> Self {
        Self { identities, issuers, assertion_issuers, upstreams }
    }
}

/// Checks all rules. Those of upstreams only where everything could be read: an entry with a mistake may be meant.
pub(super) fn check(parts: &Parts<'_>, sections: &Sections, reading: &mut Reading<'_>) {
    for section in sections.list("identity") {
        let Some(identity) = parts.identities.iter().find(|identity| section.node().text("id") == Some(&identity.id))
        else {
            continue;
        };
        let place = Place { section: &section, path: &[], about: About::Provider };
        check_rules(&identity.admission.allow, &[Users::of_identity(identity)], &place, reading);
        warn_of_other_door(identity, parts.issuers, &section, reading);
    }
    for section in sections.list("issuer") {
        let Some(issuer) = parts.issuers.read.iter().find(|issuer| section.node().text("id") == Some(&issuer.id))
        else {
            continue;
        };
        let place = Place { section: &section, path: &[], about: About::Provider };
        check_rules(&issuer.admission.allow, &[Users::of_issuer(issuer)], &place, reading);
    }
    let complete = parts.issuers.complete
        && sections.list("identity").count() == parts.identities.len()
        && sections.list("assertion_issuer").count() == parts.assertion_issuers.len()
        && parts.identities.iter().all(|identity| is_id(&identity.id))
        && parts.assertion_issuers.iter().all(|issuer| is_id(&issuer.id));
    if complete {
        for (section, settings) in parts.upstreams {
            check_upstream(section, settings, parts, reading);
        }
    }
}

fn check_upstream(section: &Section<'_>, settings: &UpstreamSettings, parts: &Parts<'_>, reading: &mut Reading<'_>) {
    let own = settings.accepts.own;
    let identities = parts.identities.iter().filter(|_| own).map(Users::of_identity);
    let asserted = parts.assertion_issuers.iter().filter(|issuer| own && issuer.bounds.allow(&settings.id));
    let foreign = settings.accepts.foreign.iter().map(|accepted| Users::of_issuer(&accepted.issuer));
    let all: Vec<_> = identities.chain(asserted.map(Users::of_assertions)).chain(foreign).collect();
    check_rules(&settings.admission.allow, &all, &Place { section, path: &[], about: About::Upstream }, reading);
    for (index, text) in settings.scopes.texts.iter().enumerate() {
        if let Some(rules) = settings.scopes.allow.get(&text.value) {
            let path = [Step::Key("scope".to_owned()), Step::Item(index)];
            check_rules(rules, &all, &Place { section, path: &path, about: About::Upstream }, reading);
        }
    }
}

/// `all` has an entry for each way in which users may come.
fn check_rules(rules: &Allow, all: &[Users<'_>], place: &Place<'_>, reading: &mut Reading<'_>) {
    let mut ids: Vec<_> = all.iter().map(|users| users.id).collect();
    ids.sort_unstable();
    ids.dedup();
    // what is not an id may be a misplaced secret
    let printable = || ids.iter().copied().filter(|id| is_id(id)).collect::<Vec<_>>().join(", ");
    for (at, rule) in rules.0.iter().enumerate() {
        let meant: Vec<_> = match (&rule.identity, &*ids) {
            (Some(id), _) if place.about == About::Upstream => all.iter().filter(|users| users.id == id).collect(),
            (_, [_one]) => all.iter().collect(),
            (_, []) => continue,
            _ => {
                let mistake =
                    Mistake::new("does not say whose users it is about: groups of two providers may have one name");
                let hint = format!("add identity = \"…\" to the rule, one of {}", printable());
                reading.error(&place.rule(Some(at)), mistake.hint(hint));
                continue;
            }
        };
        if meant.is_empty() {
            let mistake = Mistake::new("is not a provider whose users can call this server");
            reading.error(&place.list(at, "identity"), mistake.hint(format!("one of {}", printable())));
        } else {
            check_knowledge(rule, at, &meant, place, reading);
        }
    }
}

/// What can never be known of these users can admit none of them.
fn check_knowledge(rule: &AllowRule, at: usize, meant: &[&Users<'_>], place: &Place<'_>, reading: &mut Reading<'_>) {
    if !rule.domains.is_empty() && meant.iter().all(|users| users.of_entra) {
        let mistake = Mistake::new("proves nothing with Entra ID: a tenant writes any address into its tokens");
        reading.error(&place.list(at, "domains"), mistake.hint("write tenants = [\"TENANT-ID\"], or groups"));
    }
    if !rule.tenants.is_empty() && !meant.iter().all(|users| users.of_entra) {
        let mistake = Mistake::new("are known of users of Entra ID alone");
        reading.error(&place.list(at, "tenants"), mistake.hint("write domains or groups"));
    }
    for (index, group) in rule.groups.iter().enumerate() {
        let never = |users: &&&Users<'_>| users.groups.is_some_and(|sources| !sources.may_give(group));
        if meant.iter().filter(never).count() == meant.len() {
            let mistake = Mistake::new("is no group that a user can have: it begins with no prefix of groups_from");
            reading.warn(&place.value(at, "groups", index), mistake.hint("write it with the prefix of its source"));
        }
    }
    for (index, user) in rule.users.iter().enumerate() {
        if meant.iter().any(|users| user.strip_prefix(users.id).is_some_and(|rest| rest.starts_with('|'))) {
            let mistake = Mistake::new("begins with the id of the provider");
            reading.error(&place.value(at, "users", index), mistake.hint("write what follows the bar alone"));
        }
    }
}

/// The same users have a second way in, by tokens of their provider. A rule at one of the two alone keeps nobody out.
fn warn_of_other_door(identity: &Identity, issuers: &Issuers, section: &Section<'_>, reading: &mut Reading<'_>) {
    let Some(issuer) = issuers.read.iter().find(|issuer| issuer.id == identity.id) else { return };
    if identity.admission.allow.is_limited() != issuer.admission.allow.is_limited() {
        let mistake =
            Mistake::new("limits who comes in by one of two ways: [[issuer]] and [[identity]] have the same users");
        let key = if identity.admission.allow.is_limited() { "allow" } else { "id" };
        reading.warn(&section.at(key), mistake.hint("write allow in both"));
    }
}
