use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{AnswerFilter, Content, Denial, MissingScopes, decide, enter};
use crate::config::{
    Accepts, Admission, Allow, AllowRule, ApiKeys, Dpop, PublicUrl, Reach, ReachHttp, RequestHeaders, Upstream,
    UpstreamScopes, UpstreamSettings,
};
use crate::mcp::Message;
use crate::model::caller::{Caller, NotAdmitted};
use crate::model::user::User;
use crate::oauth::scope::ScopeSet;
use crate::oauth::scope_hierarchy::ScopeHierarchy;

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

fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text).unwrap()
}

/// Of an upstream that admits everyone and has no scopes.
pub(super) fn settings() -> UpstreamSettings {
    UpstreamSettings {
        id: "a".to_owned(),
        path: "/mcp".to_owned(),
        name: "A".to_owned(),
        reach: Reach::Http(ReachHttp::at("http://127.0.0.1:9/".parse().unwrap())),
        scopes: UpstreamScopes::default(),
        admission: Admission::default(),
        accepts: Accepts::default(),
        default: false,
        request_headers: RequestHeaders::default(),
        credential: None,
        api_keys: ApiKeys::default(),
        dpop: Dpop::default(),
        keep_alive: None,
    }
}

fn behind(scopes: UpstreamScopes) -> Behind {
    let settings = UpstreamSettings { scopes, ..settings() };
    Behind(Upstream::new(&PublicUrl::parse("http://127.0.0.1:1").unwrap(), settings).unwrap())
}

/// `mcp:admin` implies `mcp:write`, which implies `mcp:access`; `mcp:audit` stands alone.
fn ranked(required: &str) -> Behind {
    let direct = [("mcp:admin", "mcp:write"), ("mcp:write", "mcp:access")];
    let direct: BTreeMap<_, _> =
        direct.into_iter().map(|(scope, implied)| (scope.to_owned(), vec![implied.to_owned()])).collect();
    let required = scopes(required);
    behind(UpstreamScopes {
        optional: scopes("mcp:admin mcp:write mcp:access mcp:audit").without(&required),
        required,
        hierarchy: ScopeHierarchy::new(&direct).unwrap(),
        texts: Vec::new(),
        allow: BTreeMap::new(),
    })
}

fn by(text: &str) -> By {
    By(Caller {
        subject: "k|alice".into(),
        identity: "k".into(),
        client: "c_1".into(),
        scope: scopes(text),
        user: User::default(),
        kept_out: None,
    })
}

/// What a caller lacks who may not enter.
fn lacking(token: &str, upstream: &Behind) -> MissingScopes {
    let denial = enter(&by(token), upstream).unwrap_err();
    assert_eq!(denial.rule(), "scopes");
    let Denial::Scopes(missing) = denial else { panic!("{denial:?}") };
    missing
}

#[test]
fn entering_needs_every_scope_of_the_upstream_and_the_denial_names_what_is_missing() {
    let upstream = behind(UpstreamScopes::requiring(scopes("mcp:access mcp:write")));
    assert!(enter(&by("mcp:write other mcp:access"), &upstream).is_ok());
    assert_eq!(lacking("mcp:access", &upstream).missing, scopes("mcp:write"));
    assert_eq!(lacking("", &upstream).missing, scopes("mcp:access mcp:write"));
}

#[test]
fn a_scope_that_implies_what_is_required_is_enough() {
    let upstream = ranked("mcp:access");
    for (token, enters) in [
        ("mcp:access", true),
        ("mcp:write", true),
        ("mcp:admin", true),
        ("mcp:admin mcp:access", true),
        ("mcp:audit", false),
        ("mcp:administrator", false),
        ("", false),
    ] {
        assert_eq!(enter(&by(token), &upstream).is_ok(), enters, "{token}");
    }
}

#[test]
fn a_denial_names_all_that_is_missing_and_what_the_token_has_and_no_scope_that_cannot_be_granted() {
    for (required, token, missing, sufficient) in [
        ("mcp:access mcp:audit", "mcp:admin", "mcp:audit", "mcp:admin mcp:audit"),
        ("mcp:access mcp:audit", "mcp:access", "mcp:audit", "mcp:access mcp:audit"),
        ("mcp:write mcp:audit", "mcp:access", "mcp:audit mcp:write", "mcp:access mcp:audit mcp:write"),
        ("mcp:access", "mcp:audit removed:scope", "mcp:access", "mcp:access mcp:audit"),
        ("mcp:access", "", "mcp:access", "mcp:access"),
    ] {
        let expected = MissingScopes { missing: scopes(missing), sufficient: scopes(sufficient) };
        assert_eq!(lacking(token, &ranked(required)), expected, "{token} at {required}");
    }
}

#[test]
fn a_permit_names_the_caller_and_the_upstream_that_were_checked_and_lets_the_answer_pass() {
    let (caller, upstream) = (by("mcp:access"), ranked("mcp:access"));
    let message = Message::read(br#"{"id":1,"method":"ping"}"#);
    for content in [Content::Nothing, Content::Unread, Content::Read(message)] {
        let permit = decide(enter(&caller, &upstream).unwrap(), &content).unwrap();
        assert!(
            std::ptr::eq(permit.caller(), &raw const caller) && std::ptr::eq(permit.upstream(), &raw const upstream)
        );
        assert_eq!(permit.filter(), AnswerFilter::Everything);
    }
}

fn any_scopes() -> impl Strategy<Value = String> {
    let all = ["mcp:access", "mcp:write", "mcp:admin", "mcp:audit", "removed:scope"];
    prop::sample::subsequence(all.to_vec(), 0..=all.len()).prop_map(|scopes| scopes.join(" "))
}

proptest! {
    #[test]
    fn step_up_ends_what_a_denial_names_enters_and_can_all_be_granted(token in any_scopes(), required in 1..16_u8) {
        let all = ["mcp:access", "mcp:write", "mcp:admin", "mcp:audit"];
        let chosen = (0..).zip(all).filter(|(bit, _)| required & (1 << bit) != 0);
        let upstream = ranked(&chosen.map(|(_, scope)| scope).collect::<Vec<_>>().join(" "));
        if let Err(denial) = enter(&by(&token), &upstream) {
            let Denial::Scopes(MissingScopes { sufficient, .. }) = &denial else { panic!("{denial:?}") };
            prop_assert!(enter(&by(&sufficient.to_string()), &upstream).is_ok());
            prop_assert!(sufficient.without(&upstream.0.settings.scopes.known()).is_empty());
            let again = enter(&by(&token), &upstream).unwrap_err();
            prop_assert_eq!(again, denial, "an equal token is denied in equal words");
        }
    }

    #[test]
    fn a_token_with_more_scopes_enters_wherever_it_entered_with_fewer(token in any_scopes(), more in any_scopes()) {
        let upstream = ranked("mcp:access mcp:audit");
        let before = enter(&by(&token), &upstream).is_ok();
        let after = enter(&by(&[token, more].join(" ")), &upstream).is_ok();
        prop_assert!(after || !before);
    }
}

/// `mcp:write` is for the group `writers`.
fn for_writers(required: &str) -> Behind {
    let Behind(upstream) = ranked(required);
    let mut settings = upstream.settings;
    let rule = AllowRule { groups: vec!["writers".to_owned()], ..AllowRule::default() };
    settings.scopes.allow = BTreeMap::from([("mcp:write".to_owned(), Allow(vec![rule]))]);
    Behind(Upstream::new(&PublicUrl::parse("http://127.0.0.1:1").unwrap(), settings).unwrap())
}

#[test]
fn a_user_who_may_never_have_a_scope_is_not_sent_for_it() {
    let upstream = for_writers("mcp:write");
    let denial = enter(&by("mcp:access"), &upstream).unwrap_err();
    assert_eq!(denial.rule(), "upstream a: allow of scope mcp:write");
    assert!(matches!(denial, Denial::NotAdmitted(_)));
    let mut writer = by("mcp:access");
    writer.0.user.groups = vec!["writers".to_owned()];
    assert!(matches!(enter(&writer, &upstream), Err(Denial::Scopes(_))), "this one can get it");
}

#[test]
fn a_user_who_was_kept_out_enters_with_no_scope() {
    let not_admitted = NotAdmitted { rule: "issuer corp: allow".to_owned(), ask: None, server: None };
    let mut caller = by("mcp:access mcp:admin");
    caller.0.kept_out = Some(Box::new(not_admitted.clone()));
    assert_eq!(enter(&caller, &ranked("mcp:access")).unwrap_err(), Denial::NotAdmitted(Box::new(not_admitted)));
}
