//! The scopes of an upstream: what every call needs, what clients may ask for besides, and which of them imply others.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::admission::{self, About, Allow, Place, RuleWritten};
use super::id::{Seen, duplicate};
use super::name::check_name;
use super::problem::Mistake;
use super::reading::{Reading, Section};
use super::scope::check_scope;
use super::shape::Step;
use crate::oauth::client_name::MAX_CLIENT_NAME;
use crate::oauth::scope::{OFFLINE_ACCESS, ScopeSet, is_meaningless};
use crate::oauth::scope_hierarchy::ScopeHierarchy;

/// The scopes of an upstream.
#[derive(Debug, Clone, Default)]
pub struct UpstreamScopes {
    /// Those that every call needs. They are what metadata names, and what a client gets that asks for none.
    pub required: ScopeSet,
    /// Those that a client gets only if it asks for them.
    pub optional: ScopeSet,
    /// Which of them imply others.
    pub hierarchy: ScopeHierarchy,
    /// Descriptions, in the operator's order.
    pub texts: Vec<ScopeText>,
    /// Who may have which scope; everyone may have those that are not here.
    pub allow: BTreeMap<String, Allow>,
}

/// The description of a scope.
#[derive(Debug, Clone)]
pub struct ScopeText {
    /// The scope.
    pub value: String,
    /// What the scope allows, as the end of "It may …".
    pub text: String,
}

impl UpstreamScopes {
    /// An upstream whose calls need these scopes, and that has no others.
    #[must_use]
    pub fn requiring(required: ScopeSet) -> Self {
        Self { required, ..Self::default() }
    }

    /// All scopes that a token for this upstream can carry.
    #[must_use]
    pub fn known(&self) -> ScopeSet {
        self.required.union(&self.optional)
    }

    /// What these scopes lack for any call.
    #[must_use]
    pub fn missing(&self, granted: &ScopeSet) -> ScopeSet {
        self.hierarchy.missing(&self.required, granted)
    }
}

/// The keys of an upstream that are about scopes.
pub(super) struct Written {
    pub(super) required: Option<Vec<String>>,
    pub(super) optional: Option<Vec<String>>,
    pub(super) implies: Option<Implications>,
    pub(super) entries: Option<Vec<ScopeWritten>>,
}

/// An entry of `[[upstream.scope]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScopeWritten {
    value: String,
    text: String,
    allow: Option<Vec<RuleWritten>>,
}

/// Scopes, each with those that it implies.
pub(super) struct Implications(BTreeMap<String, Vec<String>>);

impl<'de> Deserialize<'de> for Implications {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lists;

        impl<'de> Visitor<'de> for Lists {
            type Value = Implications;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of scopes, such as { \"mcp:admin\" = [\"mcp:write\"] }")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Implications, A::Error> {
                let mut lists = BTreeMap::new();
                while let Some((scope, implied)) = map.next_entry()? {
                    lists.insert(scope, implied);
                }
                Ok(Implications(lists))
            }
        }

        deserializer.deserialize_map(Lists)
    }
}

/// Checks the keys. With `own` some of the tokens are ours, which always carry a scope; other issuers may not know any that
/// means this upstream.
pub(super) fn read(written: Written, own: bool, section: &Section<'_>, reading: &mut Reading<'_>) -> UpstreamScopes {
    let required = written.required.unwrap_or_else(|| vec!["mcp:access".to_owned()]);
    if required.is_empty() && own {
        let mistake =
            Mistake::new("is empty: tokens would carry no scope").hint("remove it for the default, [\"mcp:access\"]");
        reading.error(&section.at("scopes"), mistake);
    }
    for (index, scope) in required.iter().enumerate() {
        reading.keep(&section.item("scopes", index), check_own(scope));
    }
    let optional = written.optional.unwrap_or_default();
    for (index, scope) in optional.iter().enumerate() {
        let apart = || {
            let mistake =
                Mistake::new("is one of scopes, which every call needs").hint("remove it from one of the two");
            if required.contains(scope) { Err(mistake) } else { Ok(()) }
        };
        reading.keep(&section.item("optional_scopes", index), check_own(scope).and_then(|()| apart()));
    }
    let (required, optional): (ScopeSet, ScopeSet) = (required.into_iter().collect(), optional.into_iter().collect());
    let known = required.union(&optional);
    let hierarchy = written.implies.map(|implies| hierarchy(&implies.0, &known, section, reading)).unwrap_or_default();
    let (mut texts, mut allow) = (Vec::new(), BTreeMap::new());
    for (index, ScopeWritten { value, text, allow: rules }) in written.entries.into_iter().flatten().enumerate() {
        let place =
            Place { section, path: &[Step::Key("scope".to_owned()), Step::Item(index)], about: About::Upstream };
        let rules = admission::allow(rules, &place, reading);
        if rules.is_limited() {
            allow.insert(value.clone(), rules);
        }
        texts.push(ScopeText { value, text });
    }
    check_texts(&texts, &known, section, reading);
    check_ways_around(&allow, &known, &hierarchy, section, reading);
    UpstreamScopes { required, optional, hierarchy, texts, allow }
}

/// A scope that everyone may have must not include one that only some may have.
fn check_ways_around(
    allow: &BTreeMap<String, Allow>,
    known: &ScopeSet,
    hierarchy: &ScopeHierarchy,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) {
    for scope in known.iter().filter(|scope| !allow.contains_key(*scope)) {
        let implied = hierarchy.effective(&ScopeSet::empty().with(scope));
        if let Some(limited) = implied.iter().find(|implied| allow.contains_key(*implied)) {
            let mistake =
                Mistake::new(format!("gives everyone {limited}, which [[upstream.scope]] allows to some users only"));
            let hint = "add [[upstream.scope]] with an allow of its own for the scope that implies it";
            reading.error(&section.nested_key("implies", scope), mistake.hint(hint));
        }
    }
}

fn check_own(scope: &str) -> Result<(), Mistake> {
    if scope == OFFLINE_ACCESS || is_meaningless(scope) {
        return Err(Mistake::new("has a meaning of its own and cannot be required by an upstream")
            .hint("openid, profile, email and offline_access cannot be used here"));
    }
    check_scope(scope)
}

/// Checks the implications: only scopes of this upstream, and none that leads back to itself.
fn hierarchy(
    implies: &BTreeMap<String, Vec<String>>,
    known: &ScopeSet,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> ScopeHierarchy {
    const HINT: &str = "add it to scopes or optional_scopes, or correct it here";
    let mut all_known = true;
    for (scope, implied) in implies {
        if !known.contains(scope) {
            all_known = false;
            let mistake = Mistake::new("names a scope that is not one of this upstream's").hint(HINT);
            reading.error(&section.nested_key("implies", scope), mistake);
        }
        for (index, _) in implied.iter().enumerate().filter(|(_, implied)| !known.contains(implied)) {
            all_known = false;
            let mistake = Mistake::new("implies a scope that is not one of this upstream's").hint(HINT);
            reading.error(&section.nested_item("implies", scope, index), mistake);
        }
    }
    match ScopeHierarchy::new(implies) {
        Ok(hierarchy) => hierarchy,
        Err(cycle) => {
            // scopes of the upstream are public, other texts may be misplaced secrets
            let way = if all_known { format!(": {cycle}") } else { String::new() };
            let first = cycle.0.first().map_or("", String::as_str);
            let mistake = Mistake::new(format!("has a scope that implies itself{way}"));
            reading.error(
                &section.nested_key("implies", first),
                mistake.hint("let each scope imply narrower ones only; scopes that mean the same can be one"),
            );
            ScopeHierarchy::default()
        }
    }
}

/// Checks the descriptions: each needs a scope of this upstream, and each scope has at most one.
fn check_texts(texts: &[ScopeText], known: &ScopeSet, section: &Section<'_>, reading: &mut Reading<'_>) {
    let mut seen = Seen::default();
    for (index, ScopeText { value, text }) in texts.iter().enumerate() {
        let at = section.item("scope", index);
        let checked = if known.contains(value) {
            seen.insert(value, &at.location).map_err(|before| duplicate(&before))
        } else {
            Err(Mistake::new("has a value that is not one of this upstream's scopes")
                .hint("add it to scopes or optional_scopes, or remove this entry"))
        };
        reading.keep(&at, checked);
        if check_name(text).is_err() {
            let mistake = Mistake::new(format!("has a text that is not 1 to {MAX_CLIENT_NAME} characters on one line"));
            reading.error(&at, mistake.hint("it is read as the end of \"It may …\""));
        }
    }
}
