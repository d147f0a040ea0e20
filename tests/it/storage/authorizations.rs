//! From consent to redemption: every transition of the state machine happens once (replay).

use portcullis::model::authorization::{AnotherRound, Authorization, MAX_CODE_FAILURES, SignIn, Stage};
use portcullis::model::ids::{GrantId, Subject};
use portcullis::model::user::User;

use super::{
    Fresh, MINUTE, ada, ada_after, at_once, authorization, contract, grant, new_code, redemption, refresh_token,
    some_hash,
};
use portcullis::storage::{CodeIssue, GrantFilter, NewCode, Redemption};

contract! {
    an_authorization_is_read_as_stored_and_its_id_is_unique,
    a_provider_answer_is_claimed_once_in_its_round_and_in_time,
    one_of_many_concurrent_answers_is_claimed,
    a_new_round_starts_once_from_pending_or_claimed,
    a_silent_retry_happens_once,
    a_code_is_issued_only_for_a_claimed_authorization,
    a_refused_authorization_stays_refused,
    only_a_pending_authorization_can_be_denied,
    a_redeemed_code_keeps_nothing_about_the_user_but_the_subject,
    code_cannot_be_redeemed_twice,
    one_of_64_concurrent_redemptions_succeeds_and_leaves_one_grant,
    a_process_with_another_issuer_can_neither_issue_nor_redeem_a_code,
    a_code_is_redeemed_only_for_a_known_client,
    sign_ins_of_a_deleted_client_are_refused_and_their_tokens_stay_revocable,
    sign_ins_under_way_are_refused_by_user_client_and_resource,
    a_sign_in_under_way_when_a_users_grants_end_gets_that_user_no_code,
    ending_grants_bars_only_sign_ins_of_the_same_client_and_resource,
    an_expired_code_is_not_redeemed,
    five_failures_end_a_code,
    an_unknown_code_is_not_found_counted_or_redeemed,
}

async fn stage(fresh: &Fresh, authorization: &Authorization) -> Stage {
    fresh.store.authorization(&authorization.id).await.unwrap().unwrap().stage
}

async fn an_authorization_is_read_as_stored_and_its_id_is_unique(fresh: Fresh) {
    let first = fresh.pending("c_1").await;
    assert_eq!(fresh.store.authorization(&first.id).await.unwrap(), Some(first.clone()));
    let second = Authorization { id: first.id.clone(), ..authorization("c_2", fresh.now()) };
    assert!(!fresh.store.insert_authorization(&second).await.unwrap());
    assert_eq!(fresh.store.authorization(&first.id).await.unwrap(), Some(first));
    assert_eq!(fresh.store.authorization(&"r_unknown".into()).await.unwrap(), None);
}

async fn a_provider_answer_is_claimed_once_in_its_round_and_in_time(fresh: Fresh) {
    let pending = fresh.pending("c_1").await;
    let claim = async |round, now| fresh.store.claim_authorization(&pending.id, round, now).await.unwrap();
    assert!(!claim(1, fresh.now()).await, "another round");
    assert!(!claim(0, pending.expires_at).await, "too late");
    assert!(claim(0, fresh.now()).await);
    assert_eq!(stage(&fresh, &pending).await, Stage::Claimed);
    assert!(!claim(0, fresh.now()).await, "again");
}

async fn one_of_many_concurrent_answers_is_claimed(fresh: Fresh) {
    let (pending, now) = (fresh.pending("c_1").await, fresh.now());
    let answers = at_once(32, |_| {
        let (store, id) = (fresh.store.clone(), pending.id.clone());
        async move { store.claim_authorization(&id, 0, now).await.unwrap() }
    })
    .await;
    assert_eq!(answers.iter().filter(|claimed| **claimed).count(), 1);
}

async fn a_new_round_starts_once_from_pending_or_claimed(fresh: Fresh) {
    let first = fresh.pending("c_1").await;
    assert!(
        !fresh.store.next_round(&first.id, 1, AnotherRound::WithoutOffline).await.unwrap(),
        "from a round that is not"
    );
    assert!(fresh.store.next_round(&first.id, 0, AnotherRound::Retry).await.unwrap());
    assert!(!fresh.store.next_round(&first.id, 0, AnotherRound::Retry).await.unwrap(), "again");
    assert!(!fresh.store.claim_authorization(&first.id, 0, fresh.now()).await.unwrap(), "an answer to the old round");
    assert!(fresh.store.claim_authorization(&first.id, 1, fresh.now()).await.unwrap());
    assert!(fresh.store.next_round(&first.id, 1, AnotherRound::WithoutOffline).await.unwrap());
    let now = fresh.store.authorization(&first.id).await.unwrap().unwrap();
    assert_eq!(now, Authorization { round: 2, offline: false, retried: true, ..first });
    let (issued, _) = fresh.code("c_1").await;
    assert!(!fresh.store.next_round(&issued.id, 0, AnotherRound::WithoutOffline).await.unwrap(), "after the code");
}

async fn a_silent_retry_happens_once(fresh: Fresh) {
    let id = fresh.pending("c_1").await.id;
    assert!(fresh.store.next_round(&id, 0, AnotherRound::Retry).await.unwrap());
    assert!(fresh.store.authorization(&id).await.unwrap().unwrap().retried);
    assert!(!fresh.store.next_round(&id, 1, AnotherRound::Retry).await.unwrap());
    assert!(
        fresh.store.next_round(&id, 1, AnotherRound::WithoutOffline).await.unwrap(),
        "another reason for a round is not a retry"
    );
    assert!(fresh.store.authorization(&id).await.unwrap().unwrap().retried);
}

async fn a_code_is_issued_only_for_a_claimed_authorization(fresh: Fresh) {
    let (pending, code) = (fresh.pending("c_1").await, some_hash());
    let expires_at = fresh.now() + MINUTE;
    assert_eq!(
        fresh.store.issue_code(&pending.id, &new_code(&code, expires_at, &ada())).await.unwrap(),
        CodeIssue::TakenBack
    );
    assert!(fresh.store.claim_authorization(&pending.id, 0, fresh.now()).await.unwrap());
    assert_eq!(
        fresh.store.issue_code(&pending.id, &new_code(&code, expires_at, &ada())).await.unwrap(),
        CodeIssue::Issued
    );
    assert!(
        fresh.store.issue_code(&pending.id, &new_code(&some_hash(), expires_at, &ada())).await.unwrap()
            != CodeIssue::Issued,
        "another code"
    );
    let issued = fresh.store.issued_code(&code).await.unwrap().unwrap();
    assert_eq!((issued.purpose, Some(issued.identity)), (pending.purpose, pending.identity));
    assert_eq!(issued.sign_in, ada_after(1));
    assert_eq!((issued.code_expires_at, issued.failed_redemptions, issued.redeemed), (expires_at, 0, None));
}

async fn a_refused_authorization_stays_refused(fresh: Fresh) {
    for authorization in [fresh.pending("c_1").await, fresh.claimed("c_1").await] {
        let id = &authorization.id;
        assert!(!fresh.store.refuse_authorization(id, 1).await.unwrap(), "another round");
        assert!(fresh.store.refuse_authorization(id, 0).await.unwrap());
        assert!(!fresh.store.refuse_authorization(id, 0).await.unwrap());
        assert!(!fresh.store.claim_authorization(id, 0, fresh.now()).await.unwrap());
        assert!(!fresh.store.next_round(id, 0, AnotherRound::WithoutOffline).await.unwrap());
        assert_eq!(
            fresh.store.issue_code(id, &new_code(&some_hash(), fresh.now() + MINUTE, &ada())).await.unwrap(),
            CodeIssue::TakenBack
        );
        assert_eq!(stage(&fresh, &authorization).await, Stage::Refused);
    }
}

async fn only_a_pending_authorization_can_be_denied(fresh: Fresh) {
    let (pending, claimed, (issued, _)) =
        (fresh.pending("c_1").await, fresh.claimed("c_1").await, fresh.code("c_1").await);
    let later = fresh.claimed("c_1").await;
    assert!(fresh.store.next_round(&later.id, 0, AnotherRound::WithoutOffline).await.unwrap());
    for withdrawn in [pending, later] {
        assert!(fresh.store.withdraw_authorization(&withdrawn.id).await.unwrap());
        assert!(!fresh.store.withdraw_authorization(&withdrawn.id).await.unwrap());
        assert_eq!(stage(&fresh, &withdrawn).await, Stage::Denied);
    }
    for kept in [claimed, issued] {
        let before = stage(&fresh, &kept).await;
        assert!(!fresh.store.withdraw_authorization(&kept.id).await.unwrap());
        assert_eq!(stage(&fresh, &kept).await, before);
    }
}

async fn a_redeemed_code_keeps_nothing_about_the_user_but_the_subject(fresh: Fresh) {
    let signed_in = fresh.signed_in("c_1").await;
    let issued = fresh.store.issued_code(&signed_in.code).await.unwrap().unwrap();
    let authorization = fresh.store.authorization(&signed_in.authorization).await.unwrap().unwrap();
    assert_eq!(authorization.stage, Stage::Redeemed);
    assert_eq!(issued.redeemed, Some((fresh.now(), signed_in.grant.id)));
    assert_eq!(issued.sign_in.subject, ada().subject);
    assert_eq!((issued.sign_in.user, issued.sign_in.standing.sealed_token), (User::default(), None));
}

async fn code_cannot_be_redeemed_twice(fresh: Fresh) {
    let first = fresh.signed_in("c_1").await;
    let (again, token) = (grant("c_1", fresh.now()), refresh_token(fresh.now()));
    let second = fresh.store.redeem_code(&redemption(&first.code, &again, Some(&token), fresh.now())).await.unwrap();
    assert_eq!(second, None);
    assert_eq!(fresh.store.grant(&again.id).await.unwrap(), None);
    assert_eq!(fresh.store.refresh_token(&token.hash).await.unwrap(), None);
    let issued = fresh.store.issued_code(&first.code).await.unwrap().unwrap();
    assert_eq!(issued.redeemed.unwrap().1, first.grant.id);
}

async fn one_of_64_concurrent_redemptions_succeeds_and_leaves_one_grant(fresh: Fresh) {
    let ((_, code), now) = (fresh.code("c_1").await, fresh.now());
    let answers: Vec<Option<GrantId>> = at_once(64, |_| {
        let store = fresh.store.clone();
        async move {
            let (grant, token) = (grant("c_1", now), refresh_token(now));
            let redeemed = store.redeem_code(&redemption(&code, &grant, Some(&token), now)).await.unwrap();
            assert_eq!(store.grant(&grant.id).await.unwrap().is_some(), redeemed.is_some());
            assert_eq!(store.refresh_token(&token.hash).await.unwrap().is_some(), redeemed.is_some());
            redeemed.map(|_| grant.id)
        }
    })
    .await;
    let winners: Vec<_> = answers.into_iter().flatten().collect();
    let issued = fresh.store.issued_code(&code).await.unwrap().unwrap();
    assert_eq!(winners, [issued.redeemed.unwrap().1]);
}

async fn a_process_with_another_issuer_can_neither_issue_nor_redeem_a_code(fresh: Fresh) {
    let (claimed, hash) = (fresh.claimed("c_1").await, some_hash());
    let sign_in = ada();
    let new = new_code(&hash, fresh.now() + MINUTE, &sign_in);
    let other = NewCode { issuer: "https://other.example", ..new };
    assert_eq!(fresh.store.issue_code(&claimed.id, &other).await.unwrap(), CodeIssue::TakenBack);
    assert_eq!(fresh.store.issue_code(&claimed.id, &new).await.unwrap(), CodeIssue::Issued);
    let grant = grant("c_1", fresh.now());
    let right = redemption(&hash, &grant, None, fresh.now());
    let other = Redemption { issuer: "https://other.example", ..right };
    assert_eq!(fresh.store.redeem_code(&other).await.unwrap(), None);
    assert_eq!(fresh.store.grant(&grant.id).await.unwrap(), None);
    assert_eq!(fresh.store.redeem_code(&right).await.unwrap(), Some(vec![]));
}

async fn a_code_is_redeemed_only_for_a_known_client(fresh: Fresh) {
    let ((_, code), grant) = (fresh.code("c_1").await, grant("c_1", fresh.now()));
    let unknown = Redemption { client_is_configured: false, ..redemption(&code, &grant, None, fresh.now()) };
    assert_eq!(fresh.store.redeem_code(&unknown).await.unwrap(), None);
    fresh.register("c_1", "A").await;
    assert_eq!(fresh.store.redeem_code(&unknown).await.unwrap(), Some(vec![]));
}

async fn sign_ins_of_a_deleted_client_are_refused_and_their_tokens_stay_revocable(fresh: Fresh) {
    fresh.register("c_1", "A").await;
    let (pending, claimed, (issued, code)) =
        (fresh.pending("c_1").await, fresh.claimed("c_1").await, fresh.code("c_1").await);
    let (other, _) = fresh.code("c_2").await;
    assert_eq!(fresh.store.delete_client(&"c_1".into()).await.unwrap(), Some(3));
    for refused in [&pending, &claimed, &issued] {
        assert_eq!(stage(&fresh, refused).await, Stage::Refused);
    }
    assert_eq!(stage(&fresh, &other).await, Stage::CodeIssued);
    let grant = grant("c_1", fresh.now());
    assert_eq!(fresh.store.redeem_code(&redemption(&code, &grant, None, fresh.now())).await.unwrap(), None);
    assert_eq!(fresh.store.issued_code(&code).await.unwrap().unwrap().sign_in, ada_after(2));
    fresh.clock.advance(60 * MINUTE);
    assert_eq!(fresh.store.take_abandoned_tokens(fresh.now(), 10).await.unwrap().len(), 2);
}

async fn sign_ins_under_way_are_refused_by_user_client_and_resource(fresh: Fresh) {
    let filter = |subject: Option<&str>, client: Option<&str>, resource: Option<&str>| GrantFilter {
        subject: subject.map(str::to_owned),
        client: client.map(str::to_owned),
        resource: resource.map(str::to_owned),
    };
    let (issued, _) = fresh.code("c_1").await;
    for none in [
        filter(Some("keycloak|bob"), None, None),
        filter(Some("keycloak|ada"), Some("c_2"), None),
        filter(None, Some("c_1"), Some("https://other.example/mcp")),
    ] {
        assert_eq!(fresh.store.cancel_sign_ins(&none).await.unwrap(), 0, "{none:?}");
        assert_eq!(stage(&fresh, &issued).await, Stage::CodeIssued);
    }
    for one in [
        filter(Some("keycloak|ada"), None, None),
        filter(None, Some("c_1"), Some("https://mcp.example.com/mcp")),
        filter(None, None, None),
    ] {
        let (issued, _) = if one.subject.is_some() { (issued.clone(), some_hash()) } else { fresh.code("c_1").await };
        assert_eq!(fresh.store.cancel_sign_ins(&one).await.unwrap(), 1, "{one:?}");
        assert_eq!(stage(&fresh, &issued).await, Stage::Refused);
    }
}

/// Whether a code can be issued for Ada, or for another user who signed in.
async fn issues(fresh: &Fresh, claimed: &Authorization, subject: &str) -> bool {
    let (hash, sign_in) = (some_hash(), SignIn { subject: Subject::stored(subject.to_owned()), ..ada() });
    let issued = fresh.store.issue_code(&claimed.id, &new_code(&hash, fresh.now() + MINUTE, &sign_in)).await.unwrap();
    let issued = issued == CodeIssue::Issued;
    assert_eq!(fresh.store.issued_code(&hash).await.unwrap().is_some(), issued);
    issued
}

async fn a_sign_in_under_way_when_a_users_grants_end_gets_that_user_no_code(fresh: Fresh) {
    let ends = GrantFilter { subject: Some("keycloak|ada".to_owned()), ..GrantFilter::default() };
    let (claimed, pending, bobs) = (fresh.claimed("c_1").await, fresh.pending("c_1").await, fresh.pending("c_1").await);
    for _ in 0..2 {
        assert_eq!(fresh.store.cancel_sign_ins(&ends).await.unwrap(), 0, "their users are not known yet");
    }
    let later = fresh.claimed("c_1").await;
    for claim in [&pending, &bobs] {
        assert!(fresh.store.claim_authorization(&claim.id, 0, fresh.now()).await.unwrap());
    }
    assert!(!issues(&fresh, &claimed, "keycloak|ada").await);
    assert!(!issues(&fresh, &pending, "keycloak|ada").await);
    assert!(issues(&fresh, &bobs, "keycloak|bob").await);
    assert!(issues(&fresh, &later, "keycloak|ada").await, "begun after the end, in the same second");
}

async fn ending_grants_bars_only_sign_ins_of_the_same_client_and_resource(fresh: Fresh) {
    let ends = |client: Option<&str>, resource: Option<&str>| GrantFilter {
        subject: Some("keycloak|ada".to_owned()),
        client: client.map(str::to_owned),
        resource: resource.map(str::to_owned),
    };
    let here = Some("https://mcp.example.com/mcp");
    for (filter, bars) in [
        (ends(Some("c_2"), None), false),
        (ends(None, Some("https://other.example/mcp")), false),
        (ends(Some("c_1"), Some("https://other.example/mcp")), false),
        (ends(Some("c_1"), None), true),
        (ends(Some("c_1"), here), true),
        (ends(None, here), true),
    ] {
        let claimed = fresh.claimed("c_1").await;
        fresh.store.cancel_sign_ins(&filter).await.unwrap();
        assert_eq!(issues(&fresh, &claimed, "keycloak|ada").await, !bars, "{filter:?}");
    }
}

async fn an_expired_code_is_not_redeemed(fresh: Fresh) {
    let (_, code) = fresh.code("c_1").await;
    fresh.clock.advance(MINUTE);
    let grant = grant("c_1", fresh.now());
    assert_eq!(fresh.store.redeem_code(&redemption(&code, &grant, None, fresh.now())).await.unwrap(), None);
    assert_eq!(fresh.store.grant(&grant.id).await.unwrap(), None);
}

async fn five_failures_end_a_code(fresh: Fresh) {
    let (_, survives) = fresh.code("c_1").await;
    let (_, ends) = fresh.code("c_1").await;
    for count in 1..=MAX_CODE_FAILURES {
        assert_eq!(fresh.store.count_code_failure(&ends).await.unwrap(), count);
        if count < MAX_CODE_FAILURES {
            assert_eq!(fresh.store.count_code_failure(&survives).await.unwrap(), count);
        }
    }
    let redeem = async |code| {
        fresh.store.redeem_code(&redemption(code, &grant("c_1", fresh.now()), None, fresh.now())).await.unwrap()
    };
    assert_eq!(redeem(&ends).await, None);
    assert_eq!(redeem(&survives).await, Some(vec![]));
    assert_eq!(fresh.store.issued_code(&ends).await.unwrap().unwrap().failed_redemptions, MAX_CODE_FAILURES);
}

async fn an_unknown_code_is_not_found_counted_or_redeemed(fresh: Fresh) {
    let code = some_hash();
    assert_eq!(fresh.store.issued_code(&code).await.unwrap(), None);
    assert_eq!(fresh.store.count_code_failure(&code).await.unwrap(), 0);
    let grant = grant("c_1", fresh.now());
    assert_eq!(fresh.store.redeem_code(&redemption(&code, &grant, None, fresh.now())).await.unwrap(), None);
}
