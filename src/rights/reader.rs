//! Reading the groups of one provider's users from claims.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::groups::SaidGroups;
use crate::config::{ClaimForm, GroupOrigin, GroupSource, GroupSources, MAX_GROUP};
use crate::keys::Members;

/// The most groups of a user from one source: as many as Microsoft Graph is asked for. A list that is cut off would let rules see
/// something that the provider did not say.
const MAX_GROUPS: usize = 2000;

/// What a document says of the user's e-mail address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SaidAddress<'a> {
    /// Whether it says anything of it.
    pub(crate) is_said: bool,
    /// The domain, if the provider itself calls the address verified.
    pub(crate) domain: Option<&'a str>,
}

/// Reads groups from claims. What cannot be read gives none, and is told to the operator once: it is a setting, not an event.
#[derive(Debug)]
pub(crate) struct GroupReader {
    /// Whose claims they are, for the log.
    whose: String,
    sources: GroupSources,
    told: Mutex<HashSet<(usize, &'static str)>>,
}

impl GroupReader {
    pub(crate) fn new(whose: String, sources: GroupSources) -> Self {
        Self { whose, sources, told: Mutex::default() }
    }

    /// What verified claims say.
    pub(crate) fn read(&self, claims: &Members, address: SaidAddress<'_>) -> SaidGroups {
        let sources = self.sources.0.iter().enumerate();
        SaidGroups::new(sources.map(|(at, source)| self.read_one(at, source, claims, address)).collect())
    }

    fn read_one(
        &self,
        at: usize,
        source: &GroupSource,
        claims: &Members,
        address: SaidAddress<'_>,
    ) -> Option<Vec<String>> {
        let (place, form) = match &source.origin {
            GroupOrigin::EmailDomain => {
                let domain = address.domain.map(|domain| format!("{}{domain}", source.prefix));
                return address.is_said.then(|| domain.into_iter().collect());
            }
            GroupOrigin::Claim { place, form } => (place, *form),
        };
        let claim = claims.at(place).filter(|claim| !claim.is_null())?;
        let names = names(claim, form).unwrap_or_else(|why| {
            self.tell(at, place, why);
            Vec::new()
        });
        Some(self.prefixed(names, (at, place), source))
    }

    /// The names with the prefix of their source. One that would then look like a name of a source with a longer prefix is left
    /// out: a user may be able to choose the names of groups, and not those of roles.
    fn prefixed<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
        (at, place): (usize, &str),
        source: &GroupSource,
    ) -> Vec<String> {
        let longer = |other: &&GroupSource| other.prefix != source.prefix && other.prefix.starts_with(&source.prefix);
        let others: Vec<_> = self.sources.0.iter().filter(longer).map(|other| other.prefix.as_str()).collect();
        let full = names.into_iter().filter(|name| !name.is_empty()).map(|name| format!("{}{name}", source.prefix));
        let (posing, groups): (Vec<_>, Vec<_>) =
            full.partition(|group| others.iter().any(|other| group.starts_with(other)));
        if !posing.is_empty() {
            self.tell(at, place, "a list with a name that begins with the prefix of another source, which is left out");
        }
        groups
    }

    /// Groups that were learned by other means than a claim, for the sources at these places.
    pub(crate) fn learned(&self, places: &[usize], names: &[String], said: &mut SaidGroups) {
        for &at in places {
            if let Some(source) = self.sources.0.get(at) {
                said.set(at, self.prefixed(names.iter().map(String::as_str), (at, "groups"), source));
            }
        }
    }

    /// The places of the sources whose claim this is.
    pub(crate) fn places_of(&self, is_it: impl Fn(&str) -> bool) -> Vec<usize> {
        let claim = |source: &GroupSource| match &source.origin {
            GroupOrigin::Claim { place, .. } => is_it(place),
            GroupOrigin::EmailDomain => false,
        };
        self.sources.0.iter().enumerate().filter(|(_, source)| claim(source)).map(|(at, _)| at).collect()
    }

    fn tell(&self, at: usize, claim: &str, was: &'static str) {
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert((at, was)) {
            tracing::warn!(
                provider = self.whose,
                claim,
                was,
                "a claim cannot be read as groups, so that its users have none by it: correct it at the provider, or its form in \
                 groups_from"
            );
        }
    }
}

/// The names in a claim.
///
/// # Errors
/// What it was, never its value.
fn names(claim: &Value, form: ClaimForm) -> Result<Vec<&str>, &'static str> {
    let names: Vec<&str> = match (form, claim) {
        (ClaimForm::List, Value::String(name)) => vec![name],
        (ClaimForm::List, Value::Array(items)) => {
            items.iter().map(Value::as_str).collect::<Option<_>>().ok_or("a list of something other than texts")?
        }
        (ClaimForm::Words, Value::String(text)) => text.split(' ').collect(),
        (ClaimForm::Keys, Value::Object(members)) => members.keys().map(String::as_str).collect(),
        (_, Value::String(_)) => return Err("a text"),
        (_, Value::Array(_)) => return Err("a list"),
        (_, Value::Object(_)) => return Err("an object (form = \"keys\" reads the names of its members)"),
        (_, Value::Bool(_)) => return Err("true or false"),
        (_, Value::Number(_)) => return Err("a number"),
        (_, Value::Null) => return Err("null"),
    };
    if names.len() > MAX_GROUPS {
        return Err("a list of more than 2000 names");
    }
    if names.iter().any(|name| name.len() > MAX_GROUP) {
        return Err("a list with a name of more than 1024 bytes");
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{GroupReader, SaidAddress};
    use crate::config::{ClaimForm, GroupOrigin, GroupSource, GroupSources};
    use crate::keys::Members;
    use crate::rights::SaidGroups;

    const UNSAID: SaidAddress<'_> = SaidAddress { is_said: false, domain: None };

    fn source(place: &str, form: ClaimForm, prefix: &str) -> GroupSource {
        GroupSource { origin: GroupOrigin::Claim { place: place.to_owned(), form }, prefix: prefix.to_owned() }
    }

    fn read(sources: &[GroupSource], claims: Value) -> SaidGroups {
        let claims: Members = serde_json::from_value(claims).unwrap();
        GroupReader::new("corp".to_owned(), GroupSources(sources.to_vec())).read(&claims, UNSAID)
    }

    #[test]
    fn groups_are_read_from_lists_texts_words_and_keys_of_objects() {
        let sources = [
            source("groups", ClaimForm::List, ""),
            source("/realm_access/roles", ClaimForm::List, "realm:"),
            source("/resource_access/portcullis/roles", ClaimForm::List, "role:"),
            source("urn:zitadel:iam:org:project:roles", ClaimForm::Keys, "project:"),
            source("entitlements", ClaimForm::Words, "may:"),
            source("/https:~1~1example.com~1team/0", ClaimForm::List, "team:"),
        ];
        let said = read(
            &sources,
            json!({
                "groups": ["/eng/core", "staff", ""],
                "realm_access": {"roles": ["admin"]},
                "resource_access": {"portcullis": {"roles": ["writer"]}, "other": {"roles": ["no"]}},
                "urn:zitadel:iam:org:project:roles": {"editor": {"1": "acme.zitadel.cloud"}},
                "entitlements": "read  write",
                "https://example.com/team": ["blue", "red"],
            }),
        );
        let expected = [
            "/eng/core",
            "staff",
            "realm:admin",
            "role:writer",
            "project:editor",
            "may:read",
            "may:write",
            "team:blue",
        ];
        assert!(said.is_complete());
        assert_eq!(said.all(), expected);
        assert_eq!(
            read(&[source("groups", ClaimForm::List, "g:")], json!({"groups": "one name"})).all(),
            ["g:one name"]
        );
    }

    #[test]
    fn a_claim_that_is_absent_or_null_says_nothing_and_one_of_the_wrong_type_gives_no_groups() {
        let list = [source("/a/b", ClaimForm::List, "")];
        for silent in [json!({}), json!({"a": null}), json!({"a": {"b": null}}), json!({"a": []}), json!({"a": "b"})] {
            assert!(!read(&list, silent.clone()).is_complete(), "{silent}");
        }
        let long = "x".repeat(1025);
        let many: Vec<_> = (0..2001).map(|number| format!("g{number}")).collect();
        for wrong in
            [json!(7), json!(true), json!({"admin": {}}), json!(["a", 7]), json!([["a"]]), json!([long]), json!(many)]
        {
            let said = read(&list, json!({"a": {"b": wrong}}));
            assert!(said.is_complete() && said.all().is_empty(), "{wrong}");
        }
        for (form, wrong) in
            [(ClaimForm::Keys, json!(["a"])), (ClaimForm::Keys, json!("a")), (ClaimForm::Words, json!(["a"]))]
        {
            assert!(read(&[source("x", form, "")], json!({"x": wrong})).all().is_empty(), "{wrong}");
        }
    }

    #[test]
    fn a_group_cannot_pose_as_a_name_of_another_source() {
        let sources = [source("groups", ClaimForm::List, ""), source("roles", ClaimForm::List, "role:")];
        let said = read(&sources, json!({"groups": ["role:admin", "staff"], "roles": ["reader"]}));
        assert_eq!(said.all(), ["staff", "role:reader"]);
        let nested = [source("groups", ClaimForm::List, "a:"), source("roles", ClaimForm::List, "a:b:")];
        assert_eq!(read(&nested, json!({"groups": ["b:x"], "roles": ["y"]})).all(), ["a:b:y"]);
    }

    #[test]
    fn a_domain_is_a_group_only_of_a_verified_address() {
        let sources =
            GroupSources(vec![GroupSource { origin: GroupOrigin::EmailDomain, prefix: "domain:".to_owned() }]);
        let reader = GroupReader::new("corp".to_owned(), sources);
        let claims: Members = serde_json::from_value(json!({"email": "ada@example.com"})).unwrap();
        let read = |is_said, domain| reader.read(&claims, SaidAddress { is_said, domain });
        assert_eq!(read(true, Some("example.com")).all(), ["domain:example.com"]);
        let unverified = read(true, None);
        assert!(unverified.is_complete() && unverified.all().is_empty());
        assert!(!read(false, None).is_complete());
    }

    fn hostile() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z:/ ]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z:]{0,4}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_the_claims_are_every_group_has_the_prefix_of_exactly_its_source(claim in hostile(), other in hostile()) {
            let sources = [
                source("x", ClaimForm::List, "x:"),
                source("x", ClaimForm::Keys, "keys:"),
                source("y", ClaimForm::Words, ""),
            ];
            let groups = read(&sources, json!({"x": claim.clone(), "y": other.clone()})).all();
            for group in groups {
                if let Some(name) = group.strip_prefix("x:") {
                    let listed = claim.as_array().is_some_and(|items| items.iter().any(|item| item == name));
                    prop_assert!(claim == name || listed, "{}", group);
                } else if let Some(name) = group.strip_prefix("keys:") {
                    prop_assert!(claim.as_object().is_some_and(|members| members.contains_key(name)), "{}", group);
                } else {
                    prop_assert!(other.as_str().is_some_and(|text| text.split(' ').any(|word| word == group)), "{}", group);
                }
            }
        }
    }
}
