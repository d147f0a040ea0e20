use std::collections::BTreeMap;

use proptest::prelude::*;

use super::ScopeHierarchy;
use crate::oauth::scope::ScopeSet;

/// The direct implications in a text such as `admin>write write>read,list`.
fn implications(text: &str) -> BTreeMap<String, Vec<String>> {
    let lines = text.split(' ').filter_map(|line| line.split_once('>'));
    lines.map(|(scope, implied)| (scope.to_owned(), implied.split(',').map(str::to_owned).collect())).collect()
}

fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text).unwrap()
}

#[test]
fn a_scope_is_covered_by_itself_and_by_what_implies_it_through_any_number_of_others() {
    let hierarchy = ScopeHierarchy::new(&implications("admin>write,audit write>read,list owner>admin")).unwrap();
    for (held, needed, missing) in [
        ("", "read", "read"),
        ("read", "read", ""),
        ("write", "read list", ""),
        ("admin", "read", ""),
        ("owner", "read audit write list", ""),
        ("write", "read audit", "audit"),
        ("write audit", "admin", "admin"),
        ("read list", "write", "write"),
        ("other", "read write", "read write"),
        ("admin", "", ""),
        ("admin", "other read", "other"),
    ] {
        assert_eq!(hierarchy.missing(&scopes(needed), &scopes(held)), scopes(missing), "{held:?} for {needed:?}");
        let covered = hierarchy.covered(&scopes(needed), &scopes(held));
        assert_eq!(covered, scopes(needed).without(&scopes(missing)), "{held:?} for {needed:?}");
    }
    assert_eq!(hierarchy.effective(&scopes("write other")), scopes("list other read write"));
    assert_eq!(hierarchy.effective(&scopes("")), scopes(""));
}

#[test]
fn without_implications_names_are_compared() {
    let hierarchy = ScopeHierarchy::new(&BTreeMap::new()).unwrap();
    assert_eq!(hierarchy, ScopeHierarchy::default());
    assert_eq!(hierarchy.missing(&scopes("a b"), &scopes("a")), scopes("b"));
    assert_eq!(hierarchy.effective(&scopes("a")), scopes("a"));
}

#[test]
fn a_scope_that_implies_itself_is_refused_with_the_way_that_leads_back() {
    for (text, cycle) in [
        ("a>a", "a → a"),
        ("a>b b>a", "a → b → a"),
        ("a>b b>c c>b", "b → c → b"),
        ("a>b,c b>d c>d d>e e>c", "d → e → c → d"),
    ] {
        assert_eq!(ScopeHierarchy::new(&implications(text)).unwrap_err().to_string(), cycle, "{text}");
    }
    assert!(ScopeHierarchy::new(&implications("a>b,c b>d c>d")).is_ok(), "two ways to one scope are no cycle");
}

/// A hierarchy without cycles: a scope implies later ones only.
fn any_hierarchy() -> impl Strategy<Value = ScopeHierarchy> {
    prop::collection::btree_map(0..8_u8, prop::collection::vec(0..8_u8, 0..4), 0..8).prop_map(|implies| {
        let name = |number: u8| format!("s{number}");
        let later = implies.into_iter().map(|(scope, implied)| {
            let implied = implied.into_iter().filter(|implied| *implied > scope).map(name).collect();
            (name(scope), implied)
        });
        ScopeHierarchy::new(&later.collect()).expect("it has no cycle")
    })
}

fn any_scopes() -> impl Strategy<Value = ScopeSet> {
    prop::collection::vec(0..8_u8, 0..6).prop_map(|scopes| scopes.into_iter().map(|n| format!("s{n}")).collect())
}

proptest! {
    #[test]
    fn more_scopes_never_lose_access(hierarchy in any_hierarchy(), held in any_scopes(), more in any_scopes(), needed in any_scopes()) {
        let (before, after) = (hierarchy.missing(&needed, &held), hierarchy.missing(&needed, &held.union(&more)));
        prop_assert!(after.without(&before).is_empty());
        prop_assert!(hierarchy.missing(&held, &held).is_empty());
    }

    #[test]
    fn what_is_missing_is_what_helps(hierarchy in any_hierarchy(), held in any_scopes(), needed in any_scopes()) {
        let missing = hierarchy.missing(&needed, &held);
        prop_assert!(hierarchy.missing(&needed, &held.union(&missing)).is_empty());
    }

    #[test]
    fn implied_scopes_add_nothing_to_what_the_scopes_held_cover(
        hierarchy in any_hierarchy(),
        held in any_scopes(),
        needed in any_scopes(),
    ) {
        let effective = hierarchy.effective(&held);
        prop_assert_eq!(hierarchy.effective(&effective), effective.clone());
        prop_assert_eq!(hierarchy.missing(&needed, &effective), hierarchy.missing(&needed, &held));
        prop_assert_eq!(needed.without(&effective), hierarchy.missing(&needed, &held));
        prop_assert!(hierarchy.covered(&needed, &held).without(&effective).is_empty());
    }
}
