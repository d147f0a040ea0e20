use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Person, admit, admit_to};
use crate::config::{Admission, Allow, AllowRule, PublicUrl, TenantId, Upstream};
use crate::model::ids::IdentityId;
use crate::model::user::User;
use crate::oauth::scope::ScopeSet;
use crate::oauth::scope_hierarchy::ScopeHierarchy;
use crate::policy::tests::settings;

const TENANT: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn groups(names: &[&str]) -> AllowRule {
    AllowRule { groups: texts(names), ..AllowRule::default() }
}

fn member(names: &[&str]) -> User {
    User { groups: texts(names), ..User::default() }
}

fn admits(rules: &[AllowRule], identity: &str, key: &str, user: &User) -> bool {
    let admission = Admission { allow: Allow(rules.to_vec()), ask: Some("the platform team".to_owned()) };
    let identity = IdentityId::from(identity);
    let admitted = admit(&Person { identity: &identity, key, user }, &admission, "identity");
    if let Err(not_admitted) = &admitted {
        assert_eq!(not_admitted.rule, format!("identity {identity}: allow"));
        assert_eq!(not_admitted.ask.as_deref(), Some("the platform team"));
    }
    admitted.is_ok()
}

#[test]
fn one_rule_is_enough_and_each_list_of_it_counts() {
    let nobody = User::default();
    assert!(admits(&[], "corp", "u", &nobody), "without rules everyone is admitted");
    let rules = [
        AllowRule { domains: texts(&["example.com"]), ..groups(&["staff", "ops"]) },
        AllowRule { users: texts(&["00u1"]), ..AllowRule::default() },
    ];
    let of = |group: &str, domain: Option<&str>| User { domain: domain.map(str::to_owned), ..member(&[group]) };
    assert!(admits(&rules, "corp", "u", &of("ops", Some("example.com"))));
    assert!(!admits(&rules, "corp", "u", &of("ops", None)));
    assert!(!admits(&rules, "corp", "u", &of("ops", Some("evil-example.com"))));
    assert!(!admits(&rules, "corp", "u", &of("operations", Some("example.com"))));
    assert!(admits(&rules, "corp", "00u1", &nobody));
    assert!(!admits(&rules, "corp", "00u", &nobody));
}

#[test]
fn a_rule_for_one_provider_admits_no_user_of_another() {
    let rule = AllowRule { identity: Some("corp".to_owned()), ..groups(&["staff"]) };
    assert!(admits(std::slice::from_ref(&rule), "corp", "u", &member(&["staff"])));
    assert!(!admits(std::slice::from_ref(&rule), "guests", "u", &member(&["staff"])));
    let all_of_corp = AllowRule { groups: Vec::new(), ..rule };
    assert!(admits(std::slice::from_ref(&all_of_corp), "corp", "u", &User::default()));
    assert!(!admits(&[all_of_corp], "guests", "u", &User::default()));
}

#[test]
fn a_tenant_is_the_one_in_the_key_of_the_user() {
    let rule = AllowRule { tenants: vec![TenantId::parse(TENANT).unwrap()], ..AllowRule::default() };
    for (key, admitted) in [
        (format!("{TENANT}.0000"), true),
        (TENANT.to_owned(), false),
        (format!("x{TENANT}.0000"), false),
        ("u".to_owned(), false),
    ] {
        assert_eq!(admits(std::slice::from_ref(&rule), "entra", &key, &User::default()), admitted, "{key}");
    }
}

#[test]
fn machines_are_bounded_by_their_own_entries_alone() {
    for machine in ["client", "key"] {
        assert!(admits(&[groups(&["staff"])], machine, "c_1", &User::default()), "{machine}");
    }
}

/// `notes:read` is required; `notes:admin` implies it, is for admins, and `notes:export` is for everyone.
fn notes(rules: &[AllowRule]) -> Upstream {
    let mut settings = settings();
    settings.id = "notes".to_owned();
    settings.name = "Notes".to_owned();
    settings.admission.allow = Allow(rules.to_vec());
    settings.scopes.required = scopes("notes:read");
    settings.scopes.optional = scopes("notes:admin notes:export");
    let implies = BTreeMap::from([("notes:admin".to_owned(), texts(&["notes:read"]))]);
    settings.scopes.hierarchy = ScopeHierarchy::new(&implies).unwrap();
    settings.scopes.allow = BTreeMap::from([("notes:admin".to_owned(), Allow(vec![groups(&["admins"])]))]);
    Upstream::new(&PublicUrl::parse("http://127.0.0.1:1").unwrap(), settings).unwrap()
}

fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text).unwrap()
}

fn granted(upstream: &Upstream, user: &User, asked: &str) -> Result<String, String> {
    let identity = IdentityId::from("corp");
    let person = Person { identity: &identity, key: "u", user };
    let granted = admit_to(&person, upstream, &scopes(asked));
    granted.map(|scope| scope.to_string()).map_err(|not_admitted| not_admitted.rule)
}

#[test]
fn a_scope_that_the_user_may_not_have_is_dropped_and_nothing_left_is_a_denial() {
    let upstream = notes(&[]);
    let (admin, user) = (member(&["admins"]), member(&["staff"]));
    assert_eq!(granted(&upstream, &admin, "notes:read notes:admin"), Ok("notes:admin notes:read".to_owned()));
    assert_eq!(granted(&upstream, &user, "notes:read notes:admin"), Ok("notes:read".to_owned()));
    let denied = Err("upstream notes: allow of scope notes:admin".to_owned());
    assert_eq!(granted(&upstream, &user, "notes:admin"), denied);
    assert_eq!(granted(&upstream, &user, "notes:admin notes:export"), denied, "what is left does not open the server");
    assert_eq!(granted(&upstream, &user, "notes:export"), Ok("notes:export".to_owned()), "no rule took anything away");
}

#[test]
fn a_rule_of_the_upstream_comes_before_its_scopes() {
    let upstream = notes(&[groups(&["staff"])]);
    assert_eq!(granted(&upstream, &member(&["admins"]), "notes:read"), Err("upstream notes: allow".to_owned()));
    assert!(granted(&upstream, &member(&["staff"]), "notes:read").is_ok());
}

proptest! {
    #[test]
    fn a_user_of_whom_less_is_known_never_gets_more(
        known in prop::collection::btree_set("[a-d]", 0..4),
        kept in prop::collection::vec(any::<bool>(), 4),
        rules in prop::collection::vec(prop::collection::btree_set("[a-d]", 1..3), 0..3),
    ) {
        let rules: Vec<_> =
            rules.into_iter().map(|names| AllowRule { groups: names.into_iter().collect(), ..AllowRule::default() }).collect();
        let more = User { groups: known.iter().cloned().collect(), ..User::default() };
        let fewer = known.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(name, _)| name.clone());
        let less = User { groups: fewer.collect(), ..User::default() };
        prop_assert!(!admits(&rules, "corp", "u", &less) || admits(&rules, "corp", "u", &more));
    }
}
