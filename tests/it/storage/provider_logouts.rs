//! Logouts at identity providers: what is kept of them, what they end, and the checks that they leave.

use portcullis::clock::Timestamp;
use portcullis::model::authorization::{Authorization, ProviderStanding, Purpose, SignIn};
use portcullis::model::grant::{EndReason, Grant};
use portcullis::model::ids::{IdentityId, Subject};
use portcullis::model::provider_logout::{ProviderLogout, StandingCheck};
use portcullis::secret::Sha256;
use portcullis::storage::{CheckLease, Checked, CodeIssue, GrantsOf, NewAccountSession, NewCode, Retention};

use super::{
    DAY, Fresh, HOUR, ISSUER, MINUTE, START, ada, authorization, contract, new_code, redemption, refresh_token,
    some_hash,
};

contract! {
    a_logout_counts_once_and_is_forgotten_when_it_has_been_applied_and_its_time_is_over,
    a_logout_of_a_session_ends_what_came_from_it_and_nothing_else,
    a_logout_of_a_user_ends_what_rests_on_any_session_of_theirs,
    a_grant_whose_session_is_not_known_counts_as_one_of_the_user,
    a_logout_that_ends_offline_access_ends_its_grants_and_asks_no_one,
    a_sign_in_of_a_session_that_has_ended_brings_no_code,
    a_sign_in_after_a_logout_of_the_user_brings_a_code,
    an_offline_sign_in_of_a_session_that_has_ended_is_asked_about,
    account_sessions_end_with_the_session_that_opened_them,
    a_check_is_over_when_it_was_not_asked_for_again,
    a_check_takes_the_lease_of_the_latest_token_and_a_refresh_waits_for_it,
    what_rests_on_a_refused_token_ends_and_what_a_later_sign_in_brought_does_not,
}

/// A logout of a user and a session that are not known.
pub(super) fn logout(now: Timestamp) -> ProviderLogout {
    ProviderLogout {
        id: some_hash(),
        identity: IdentityId::from("keycloak"),
        subject: None,
        session: None,
        ends_offline: false,
        issued_at: now,
        received_at: now,
        remembered_until: now + HOUR,
    }
}

fn user(name: &str) -> Subject {
    Subject::new(&IdentityId::from("keycloak"), name)
}

fn session(name: &str) -> Sha256 {
    Sha256::of(name.as_bytes())
}

fn standing(offline: bool, session: Option<Sha256>) -> ProviderStanding {
    ProviderStanding { offline, session, ..ada().standing }
}

/// A grant of a user that came from this session.
async fn granted(fresh: &Fresh, name: &str, offline: bool, session: Option<Sha256>) -> Grant {
    let (claimed, code, now) = (fresh.claimed("c_1").await, some_hash(), fresh.now());
    let sign_in = SignIn { subject: user(name), standing: standing(offline, session), ..ada() };
    let issued = fresh.store.issue_code(&claimed.id, &new_code(&code, now + MINUTE, &sign_in)).await.unwrap();
    assert_eq!(issued, CodeIssue::Issued);
    let standing = fresh.store.issued_code(&code).await.unwrap().unwrap().sign_in.standing;
    let grant = Grant { subject: sign_in.subject, standing, ..super::grant("c_1", now) };
    fresh.store.redeem_code(&redemption(&code, &grant, Some(&refresh_token(now)), now)).await.unwrap().unwrap();
    fresh.store.grant(&grant.id).await.unwrap().unwrap()
}

/// Keeps and applies a logout.
async fn apply(fresh: &Fresh, logout: &ProviderLogout) {
    assert!(fresh.store.keep_provider_logout(logout).await.unwrap());
    fresh.store.apply_logout(logout, fresh.now()).await.unwrap();
    let (those, reason) = (GrantsOf::LoggedOut(logout), EndReason::BackChannelLogout);
    while !fresh.store.end_grants_of(those, reason, fresh.now(), 2).await.unwrap().is_empty() {}
    fresh.store.note_logout_applied(logout).await.unwrap();
}

/// Which of these grants live.
async fn alive(fresh: &Fresh, grants: &[&Grant]) -> Vec<bool> {
    let mut alive = Vec::new();
    for grant in grants {
        alive.push(fresh.store.is_grant_unended(&grant.id).await.unwrap());
    }
    alive
}

async fn due(fresh: &Fresh) -> Vec<StandingCheck> {
    fresh.store.due_standing_checks(fresh.now(), 10).await.unwrap()
}

/// Whose checks are due.
async fn asked_about(fresh: &Fresh) -> Vec<String> {
    due(fresh).await.iter().map(|check| check.subject.key().to_owned()).collect()
}

async fn a_logout_counts_once_and_is_forgotten_when_it_has_been_applied_and_its_time_is_over(fresh: Fresh) {
    let retention = Retention {
        consent: HOUR,
        replay_window: MINUTE,
        unused_client: DAY,
        used_client: DAY,
        remembered_consent: DAY,
        access_token: HOUR,
    };
    let logout = ProviderLogout { subject: Some(user("ada")), session: Some(session("s")), ..logout(fresh.now()) };
    assert!(fresh.store.keep_provider_logout(&logout).await.unwrap());
    assert_eq!(fresh.store.unapplied_logouts(fresh.now(), 10).await.unwrap(), std::slice::from_ref(&logout));
    fresh.clock.advance(2 * HOUR);
    fresh.store.delete_expired(&retention, fresh.now(), 10).await.unwrap();
    assert!(!fresh.store.keep_provider_logout(&logout).await.unwrap(), "what it ends has not ended yet");
    fresh.store.note_logout_applied(&logout).await.unwrap();
    assert!(fresh.store.unapplied_logouts(fresh.now(), 10).await.unwrap().is_empty());
    fresh.store.delete_expired(&retention, fresh.now(), 10).await.unwrap();
    assert!(fresh.store.keep_provider_logout(&logout).await.unwrap(), "it is forgotten");
}

async fn a_logout_of_a_session_ends_what_came_from_it_and_nothing_else(fresh: Fresh) {
    let here = granted(&fresh, "ada", false, Some(session("laptop"))).await;
    let second = granted(&fresh, "ada", false, Some(session("laptop"))).await;
    let elsewhere = granted(&fresh, "ada", false, Some(session("desktop"))).await;
    let offline = granted(&fresh, "ada", true, Some(session("laptop"))).await;
    let other = granted(&fresh, "bob", false, Some(session("bob's"))).await;
    let others = granted(&fresh, "bob", true, Some(session("bob's"))).await;
    apply(&fresh, &ProviderLogout { session: Some(session("laptop")), ..logout(fresh.now()) }).await;
    let grants = [&here, &second, &elsewhere, &offline, &other, &others];
    assert_eq!(alive(&fresh, &grants).await, [false, false, true, true, true, true]);
    assert_eq!(asked_about(&fresh).await, ["ada"]);
    let ended = fresh.store.grant(&here.id).await.unwrap().unwrap();
    assert_eq!(ended.standing.sealed_token, None);
}

async fn a_logout_of_a_user_ends_what_rests_on_any_session_of_theirs(fresh: Fresh) {
    let mut grants = Vec::new();
    for name in ["laptop", "desktop", "tablet"] {
        grants.push(granted(&fresh, "ada", false, Some(session(name))).await);
    }
    let offline = granted(&fresh, "ada", true, None).await;
    let other = granted(&fresh, "bob", false, Some(session("bob's"))).await;
    apply(&fresh, &ProviderLogout { subject: Some(user("ada")), ..logout(fresh.now()) }).await;
    assert_eq!(alive(&fresh, &grants.iter().collect::<Vec<_>>()).await, [false; 3]);
    assert_eq!(alive(&fresh, &[&offline, &other]).await, [true, true]);
    assert_eq!(asked_about(&fresh).await, ["ada"]);
}

async fn a_grant_whose_session_is_not_known_counts_as_one_of_the_user(fresh: Fresh) {
    let unknown = granted(&fresh, "ada", false, None).await;
    let known = granted(&fresh, "ada", false, Some(session("desktop"))).await;
    let other = granted(&fresh, "bob", false, None).await;
    let of_session = ProviderLogout { session: Some(session("laptop")), ..logout(fresh.now()) };
    apply(&fresh, &of_session).await;
    assert_eq!(alive(&fresh, &[&unknown, &known, &other]).await, [true; 3], "nothing says whose the session was");
    apply(&fresh, &ProviderLogout { id: some_hash(), subject: Some(user("ada")), ..of_session }).await;
    assert_eq!(alive(&fresh, &[&unknown, &known, &other]).await, [false, true, true]);
}

async fn a_logout_that_ends_offline_access_ends_its_grants_and_asks_no_one(fresh: Fresh) {
    let here = granted(&fresh, "ada", true, Some(session("laptop"))).await;
    let bobs = granted(&fresh, "bob", true, Some(session("bob's"))).await;
    let all = ProviderLogout { session: Some(session("laptop")), ends_offline: true, ..logout(fresh.now()) };
    apply(&fresh, &all).await;
    assert_eq!(alive(&fresh, &[&here, &bobs]).await, [false, true]);
    // it was asked for before they ended: there is nothing to ask about any more
    for check in due(&fresh).await {
        let lease =
            fresh.store.take_check_lease(&check.subject, "us", fresh.now() + MINUTE, fresh.now()).await.unwrap();
        assert!(matches!(lease, CheckLease::Nothing), "{lease:?}");
    }
}

/// Tries to bring a code to a sign-in in progress.
async fn issue(fresh: &Fresh, standing: ProviderStanding, asserted_at: Timestamp) -> (CodeIssue, Sha256) {
    let (claimed, code) = (fresh.claimed("c_1").await, some_hash());
    let sign_in = SignIn { subject: user("ada"), standing, ..ada() };
    let new = NewCode { asserted_at: Some(asserted_at), ..new_code(&code, fresh.now() + MINUTE, &sign_in) };
    (fresh.store.issue_code(&claimed.id, &new).await.unwrap(), code)
}

async fn a_sign_in_of_a_session_that_has_ended_brings_no_code(fresh: Fresh) {
    let laptop = standing(false, Some(session("laptop")));
    let (_, waiting) = issue(&fresh, laptop.clone(), START).await;
    apply(&fresh, &ProviderLogout { session: Some(session("laptop")), ..logout(fresh.now()) }).await;
    let redeemed = fresh.store.redeem_code(&redemption(&waiting, &super::grant("c_1", START), None, START)).await;
    assert_eq!(redeemed.unwrap(), None, "a code that was issued before is taken back");
    let later = fresh.now() + MINUTE;
    assert_eq!(issue(&fresh, laptop, later).await.0, CodeIssue::TakenBack, "whatever the provider's clock says");
    assert_eq!(issue(&fresh, standing(false, Some(session("desktop"))), later).await.0, CodeIssue::Issued);
}

async fn a_sign_in_after_a_logout_of_the_user_brings_a_code(fresh: Fresh) {
    apply(&fresh, &ProviderLogout { subject: Some(user("ada")), ..logout(fresh.now()) }).await;
    for session in [Some(session("laptop")), None] {
        let session_bound = standing(false, session);
        assert_eq!(issue(&fresh, session_bound.clone(), START).await.0, CodeIssue::TakenBack);
        assert_eq!(issue(&fresh, session_bound, Timestamp(START.0 + 1)).await.0, CodeIssue::Issued);
    }
}

async fn an_offline_sign_in_of_a_session_that_has_ended_is_asked_about(fresh: Fresh) {
    let laptop = standing(true, Some(session("laptop")));
    apply(&fresh, &ProviderLogout { session: Some(session("laptop")), ..logout(fresh.now()) }).await;
    assert!(due(&fresh).await.is_empty());
    assert_eq!(issue(&fresh, laptop.clone(), START).await.0, CodeIssue::Issued);
    assert_eq!(asked_about(&fresh).await, ["ada"]);
    let lease = fresh.store.take_check_lease(&user("ada"), "us", fresh.now() + MINUTE, fresh.now()).await.unwrap();
    assert!(matches!(lease, CheckLease::Busy), "the code may become a grant: {lease:?}");
    let ends = ProviderLogout { session: Some(session("laptop")), ends_offline: true, ..logout(fresh.now()) };
    apply(&fresh, &ends).await;
    assert_eq!(issue(&fresh, laptop, START).await.0, CodeIssue::TakenBack);
}

async fn account_sessions_end_with_the_session_that_opened_them(fresh: Fresh) {
    let open = async |name: &str, provider_session: Option<Sha256>| {
        let pending = Authorization { purpose: Purpose::Account, ..authorization("", fresh.now()) };
        assert!(fresh.store.insert_authorization(&pending).await.unwrap());
        assert!(fresh.store.claim_authorization(&pending.id, 0, fresh.now()).await.unwrap());
        let (hash, subject) = (some_hash(), user(name));
        let session = NewAccountSession {
            hash: &hash,
            subject: &subject,
            identity: &IdentityId::from("keycloak"),
            issuer: ISSUER,
            name: None,
            provider_session: provider_session.as_ref(),
            asserted_at: Some(START),
        };
        fresh.store.open_account_session(&pending.id, &session, fresh.now()).await.unwrap().then_some(hash)
    };
    let laptop = open("ada", Some(session("laptop"))).await.unwrap();
    let desktop = open("ada", Some(session("desktop"))).await.unwrap();
    let bobs = open("bob", None).await.unwrap();
    let ends = ProviderLogout { session: Some(session("laptop")), subject: Some(user("ada")), ..logout(fresh.now()) };
    assert!(fresh.store.keep_provider_logout(&ends).await.unwrap());
    assert_eq!(fresh.store.apply_logout(&ends, fresh.now()).await.unwrap(), 1);
    for (hash, lives) in [(laptop, false), (desktop, true), (bobs, true)] {
        assert_eq!(fresh.store.account_session(&hash, fresh.now()).await.unwrap().is_some(), lives);
    }
    assert_eq!(open("ada", Some(session("laptop"))).await, None, "it was under way");
    assert!(open("ada", Some(session("desktop"))).await.is_some());
}

async fn a_check_is_over_when_it_was_not_asked_for_again(fresh: Fresh) {
    granted(&fresh, "ada", true, Some(session("laptop"))).await;
    let logout = ProviderLogout { subject: Some(user("ada")), ..logout(fresh.now()) };
    fresh.store.apply_logout(&logout, fresh.now() + MINUTE).await.unwrap();
    assert!(due(&fresh).await.is_empty());
    fresh.clock.advance(MINUTE);
    let [check] = due(&fresh).await.try_into().unwrap();
    let now = fresh.now();
    assert!(fresh.store.claim_standing_check(&check, now, now + MINUTE).await.unwrap());
    assert!(!fresh.store.claim_standing_check(&check, now, now + MINUTE).await.unwrap(), "another process has it");
    fresh.store.note_standing_check(&check, Checked::Again(now, 1)).await.unwrap();
    assert_eq!(due(&fresh).await[0].good, 1);
    fresh.store.apply_logout(&logout, now).await.unwrap();
    fresh.store.note_standing_check(&check, Checked::Over).await.unwrap();
    let [again] = due(&fresh).await.try_into().unwrap();
    assert_eq!((again.good, again.request), (0, check.request + 1), "the answer was to an earlier question");
    fresh.store.note_standing_check(&again, Checked::Over).await.unwrap();
    assert!(due(&fresh).await.is_empty());
}

async fn a_check_takes_the_lease_of_the_latest_token_and_a_refresh_waits_for_it(fresh: Fresh) {
    let first = granted(&fresh, "ada", true, Some(session("laptop"))).await;
    let latest = granted(&fresh, "ada", true, Some(session("desktop"))).await;
    let (subject, now) = (user("ada"), fresh.now());
    let take = async |holder| fresh.store.take_check_lease(&subject, holder, now + MINUTE, now).await.unwrap();
    let CheckLease::Taken(leased) = take("us").await else { panic!("it is free") };
    assert_eq!(leased.standing.line, 2);
    assert!(matches!(take("them").await, CheckLease::Busy));
    let new = ProviderStanding { sealed_token: Some(b"renewed".to_vec()), ..leased.standing.clone() };
    assert!(!fresh.store.keep_checked(&subject, &leased.id, "them", &new).await.unwrap());
    assert!(fresh.store.keep_checked(&subject, &leased.id, "us", &new).await.unwrap());
    for (grant, from) in [(&first, "laptop"), (&latest, "desktop")] {
        let stored = fresh.store.grant(&grant.id).await.unwrap().unwrap().standing;
        assert_eq!(stored.sealed_token.as_deref(), Some(b"renewed".as_slice()));
        assert_eq!(stored.session, Some(session(from)), "the token is shared, the session is not");
    }
    assert!(matches!(take("them").await, CheckLease::Taken(_)), "it was released");
    assert!(!fresh.store.keep_checked(&subject, &leased.id, "us", &new).await.unwrap());
    assert!(matches!(
        fresh.store.take_check_lease(&user("bob"), "us", now + MINUTE, now).await.unwrap(),
        CheckLease::Nothing
    ));
}

async fn what_rests_on_a_refused_token_ends_and_what_a_later_sign_in_brought_does_not(fresh: Fresh) {
    let first = granted(&fresh, "ada", true, Some(session("laptop"))).await;
    let second = granted(&fresh, "ada", true, Some(session("desktop"))).await;
    let session_bound = granted(&fresh, "ada", false, Some(session("tablet"))).await;
    let bobs = granted(&fresh, "bob", true, None).await;
    let (subject, reason) = (user("ada"), EndReason::BackChannelLogout);
    let earlier = fresh.store.end_refused_token(&subject, 1, reason, fresh.now()).await.unwrap();
    assert!(earlier.is_empty(), "both rest on the second token by now");
    let (_, waiting) = issue(&fresh, standing(true, None), START).await;
    let line = fresh.store.grant(&first.id).await.unwrap().unwrap().standing.line;
    let ended = fresh.store.end_refused_token(&subject, line, reason, fresh.now()).await.unwrap();
    assert_eq!(ended.len(), 2);
    assert_eq!(alive(&fresh, &[&first, &second, &session_bound, &bobs]).await, [false, false, true, true]);
    let redeemed = fresh.store.redeem_code(&redemption(&waiting, &super::grant("c_1", START), None, START)).await;
    assert_eq!(redeemed.unwrap(), None);
}
