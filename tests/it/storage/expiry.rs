//! What the sweeps delete and end, and above all what they keep.

use std::time::Duration;

use portcullis::model::grant::{EndReason, Grant};
use portcullis::model::ids::{AuthorizationId, GrantId};
use portcullis::model::user::User;
use portcullis::secret::Sha256;
use portcullis::storage::{CodeIssue, NewRefreshToken, Retention};

use super::{
    DAY, Fresh, HOUR, MINUTE, SignedIn, ada, client, contract, new_code, redemption, refresh_token, some_hash,
};

const SECOND: Duration = Duration::from_secs(1);
const NEARLY_A_DAY: Duration = Duration::from_mins(24 * 60 - 1);

contract! {
    an_authorization_without_code_is_deleted_a_minute_after_its_expiry,
    an_authorization_is_kept_as_long_as_its_form_can_be_posted,
    an_unredeemed_code_is_deleted_but_not_while_it_is_valid,
    a_redeemed_authorization_is_kept_for_a_day,
    a_kept_response_is_erased_after_the_replay_window_and_its_token_stays,
    a_used_refresh_token_is_kept_as_long_as_its_grant_lives,
    an_ended_grant_is_kept_while_its_access_tokens_could_be_valid,
    an_expired_grant_is_deleted_with_its_refresh_tokens,
    a_grant_whose_refresh_token_expired_unused_ends_and_erases_the_user,
    a_grant_without_refresh_token_ends_at_its_expiry,
    a_grant_lives_as_long_as_its_last_access_token_could,
    two_grants_that_end_together_are_both_reported_as_the_last,
    a_sweep_ends_at_most_a_batch_of_each_kind,
    an_unused_client_is_deleted_after_a_day,
    registering_again_restarts_the_day_of_an_unused_client,
    a_client_is_deleted_ninety_days_after_its_last_grant_unless_one_is_live,
    a_sweep_deletes_at_most_a_batch_of_each_kind,
}

pub(super) fn retention() -> Retention {
    Retention {
        consent: 15 * MINUTE,
        replay_window: 30 * SECOND,
        unused_client: DAY,
        used_client: 90 * DAY,
        remembered_consent: Duration::ZERO,
        access_token: HOUR,
    }
}

async fn sweep(fresh: &Fresh) -> u64 {
    fresh.store.delete_expired(&retention(), fresh.now(), 100).await.unwrap()
}

async fn is_there(fresh: &Fresh, authorization: &AuthorizationId) -> bool {
    fresh.store.authorization(authorization).await.unwrap().is_some()
}

async fn an_authorization_without_code_is_deleted_a_minute_after_its_expiry(fresh: Fresh) {
    let (pending, claimed, refused) =
        (fresh.pending("c_1").await, fresh.claimed("c_1").await, fresh.pending("c_1").await);
    assert!(fresh.store.refuse_authorization(&refused.id, 0).await.unwrap());
    fresh.clock.advance(20 * MINUTE + 59 * SECOND);
    assert_eq!(sweep(&fresh).await, 0);
    assert!(is_there(&fresh, &claimed.id).await, "an answer may still be worked on");
    fresh.clock.advance(SECOND);
    assert_eq!(sweep(&fresh).await, 3);
    for gone in [pending, claimed, refused] {
        assert!(!is_there(&fresh, &gone.id).await);
    }
}

async fn an_authorization_is_kept_as_long_as_its_form_can_be_posted(fresh: Fresh) {
    let refused = fresh.pending("c_1").await;
    assert!(fresh.store.refuse_authorization(&refused.id, 0).await.unwrap());
    let retention = Retention { consent: HOUR, ..retention() };
    let sweep = async || fresh.store.delete_expired(&retention, fresh.now(), 100).await.unwrap();
    fresh.clock.advance(59 * MINUTE + 59 * SECOND);
    assert_eq!(sweep().await, 0);
    fresh.clock.advance(SECOND);
    assert_eq!(sweep().await, 1);
}

async fn an_unredeemed_code_is_deleted_but_not_while_it_is_valid(fresh: Fresh) {
    let (short, _) = fresh.code("c_1").await;
    let long = fresh.claimed("c_1").await;
    let late = fresh.now() + 2 * HOUR;
    assert_eq!(
        fresh.store.issue_code(&long.id, &new_code(&some_hash(), late, &ada())).await.unwrap(),
        CodeIssue::Issued
    );
    fresh.clock.advance(21 * MINUTE);
    assert_eq!(sweep(&fresh).await, 1);
    assert!(!is_there(&fresh, &short.id).await);
    assert!(is_there(&fresh, &long.id).await);
    fresh.clock.advance(2 * HOUR);
    assert_eq!(sweep(&fresh).await, 1);
}

async fn a_redeemed_authorization_is_kept_for_a_day(fresh: Fresh) {
    let signed_in = fresh.signed_in("c_1").await;
    fresh.clock.advance(NEARLY_A_DAY);
    assert_eq!(sweep(&fresh).await, 0);
    let issued = fresh.store.issued_code(&signed_in.code).await.unwrap().unwrap();
    assert_eq!(issued.redeemed.unwrap().1, signed_in.grant.id);
    fresh.clock.advance(MINUTE);
    assert_eq!(sweep(&fresh).await, 1);
    assert!(fresh.store.issued_code(&signed_in.code).await.unwrap().is_none());
    assert!(!is_there(&fresh, &signed_in.authorization).await);
    assert!(fresh.store.grant(&signed_in.grant.id).await.unwrap().is_some());
}

async fn sealed(fresh: &Fresh, token: &Sha256) -> Option<Vec<u8>> {
    fresh.store.refresh_token(token).await.unwrap().unwrap().used.unwrap().sealed_response
}

async fn a_kept_response_is_erased_after_the_replay_window_and_its_token_stays(fresh: Fresh) {
    let signed_in = fresh.signed_in("c_1").await;
    let used = &signed_in.token.hash;
    fresh.rotate(&signed_in.grant.id, used).await;
    fresh.clock.advance(29 * SECOND);
    assert_eq!(sweep(&fresh).await, 0);
    assert_eq!(sealed(&fresh, used).await, Some(b"sealed".to_vec()));
    fresh.clock.advance(SECOND);
    assert_eq!(sweep(&fresh).await, 1);
    assert_eq!(sealed(&fresh, used).await, None);
    assert_eq!(sweep(&fresh).await, 0, "once is enough");
}

async fn a_used_refresh_token_is_kept_as_long_as_its_grant_lives(fresh: Fresh) {
    let signed_in = fresh.signed_in("c_1").await;
    fresh.rotate(&signed_in.grant.id, &signed_in.token.hash).await;
    fresh.clock.advance(89 * DAY + NEARLY_A_DAY);
    sweep(&fresh).await;
    let late = fresh.store.refresh_token(&signed_in.token.hash).await.unwrap().unwrap();
    assert_eq!(late.grant_id, signed_in.grant.id);
    assert!(late.used.is_some());
}

async fn ended(fresh: &Fresh) -> SignedIn {
    let signed_in = fresh.signed_in("c_1").await;
    fresh.store.end_grant(&signed_in.grant.id, EndReason::CodeReplayed, fresh.now()).await.unwrap().unwrap();
    signed_in
}

async fn an_ended_grant_is_kept_while_its_access_tokens_could_be_valid(fresh: Fresh) {
    let signed_in = ended(&fresh).await;
    fresh.clock.advance(HOUR + 14 * MINUTE);
    assert_eq!(sweep(&fresh).await, 0);
    assert!(fresh.store.grant(&signed_in.grant.id).await.unwrap().unwrap().ended_at.is_some());
    fresh.clock.advance(MINUTE);
    assert_eq!(sweep(&fresh).await, 2, "the grant and its refresh token");
    assert!(fresh.store.grant(&signed_in.grant.id).await.unwrap().is_none());
    assert!(fresh.store.refresh_token(&signed_in.token.hash).await.unwrap().is_none());
    assert!(is_there(&fresh, &signed_in.authorization).await, "its code is still recognised");
}

async fn an_expired_grant_is_deleted_with_its_refresh_tokens(fresh: Fresh) {
    let signed_in = fresh.signed_in("c_1").await;
    let successor = fresh.rotate(&signed_in.grant.id, &signed_in.token.hash).await;
    fresh.clock.advance(DAY);
    assert_eq!(sweep(&fresh).await, 2, "the authorization and the sealed answer");
    fresh.clock.advance(89 * DAY);
    assert_eq!(end_unusable(&fresh).await, [(signed_in.grant.id.clone(), EndReason::Expired)]);
    fresh.clock.advance(HOUR + 14 * MINUTE);
    assert_eq!(sweep(&fresh).await, 0);
    fresh.clock.advance(MINUTE);
    assert_eq!(sweep(&fresh).await, 3);
    assert!(fresh.store.grant(&signed_in.grant.id).await.unwrap().is_none());
    assert!(fresh.store.refresh_token(&successor.hash).await.unwrap().is_none());
}

/// What the background sweep ends, and why.
async fn end_unusable(fresh: &Fresh) -> Vec<(GrantId, EndReason)> {
    let ended = fresh.store.end_unusable_grants(HOUR, fresh.now(), 100).await.unwrap();
    for ended in &ended {
        let left = fresh.store.grant(&ended.grant.id).await.unwrap().unwrap();
        assert_eq!((left.user, left.standing.sealed_token, left.ended_at), (User::default(), None, Some(fresh.now())));
        assert!(ended.grant.standing.sealed_token.is_some(), "it is returned for the last time");
    }
    ended.into_iter().map(|ended| (ended.grant.id, ended.reason)).collect()
}

async fn a_grant_whose_refresh_token_expired_unused_ends_and_erases_the_user(fresh: Fresh) {
    let idle = fresh.signed_in("c_1").await.grant.id;
    let used = fresh.signed_in("c_1").await;
    fresh.clock.advance(DAY);
    fresh.rotate(&used.grant.id, &used.token.hash).await;
    fresh.clock.advance(29 * DAY + 14 * MINUTE);
    assert_eq!(end_unusable(&fresh).await, []);
    fresh.clock.advance(MINUTE);
    assert_eq!(end_unusable(&fresh).await, [(idle, EndReason::Unused)]);
    assert_eq!(end_unusable(&fresh).await, []);
}

async fn a_grant_without_refresh_token_ends_at_its_expiry(fresh: Fresh) {
    let (_, code) = fresh.code("c_1").await;
    let grant = Grant { expires_at: fresh.now() + HOUR, ..super::grant("c_1", fresh.now()) };
    fresh.store.redeem_code(&redemption(&code, &grant, None, fresh.now())).await.unwrap().unwrap();
    fresh.clock.advance(59 * MINUTE + 59 * SECOND);
    assert_eq!(end_unusable(&fresh).await, []);
    fresh.clock.advance(SECOND);
    assert_eq!(end_unusable(&fresh).await, [(grant.id, EndReason::Expired)]);
}

async fn a_grant_lives_as_long_as_its_last_access_token_could(fresh: Fresh) {
    let soon = NewRefreshToken { expires_at: fresh.now() + MINUTE, ..refresh_token(fresh.now()) };
    let ((_, code), grant) = (fresh.code("c_1").await, super::grant("c_1", fresh.now()));
    fresh.store.redeem_code(&redemption(&code, &grant, Some(&soon), fresh.now())).await.unwrap().unwrap();
    fresh.clock.advance(HOUR + 14 * MINUTE);
    assert_eq!(end_unusable(&fresh).await, []);
    fresh.clock.advance(MINUTE);
    assert_eq!(end_unusable(&fresh).await, [(grant.id, EndReason::Unused)]);
}

async fn two_grants_that_end_together_are_both_reported_as_the_last(fresh: Fresh) {
    fresh.signed_in("c_1").await;
    fresh.signed_in("c_2").await;
    fresh.clock.advance(DAY);
    let later = fresh.signed_in("c_1").await;
    let was_last = async || {
        let ended = fresh.store.end_unusable_grants(HOUR, fresh.now(), 100).await.unwrap();
        ended.into_iter().map(|ended| ended.was_last).collect::<Vec<_>>()
    };
    fresh.clock.advance(30 * DAY);
    assert_eq!(was_last().await, [false, false], "the user has another");
    fresh.clock.advance(DAY);
    assert_eq!(was_last().await, [true]);
    let both = [fresh.signed_in("c_1").await, fresh.signed_in("c_2").await];
    fresh.clock.advance(31 * DAY);
    assert_eq!(was_last().await, [true, true]);
    for gone in both.iter().chain([&later]) {
        assert!(!fresh.store.grant(&gone.grant.id).await.unwrap().unwrap().is_live(fresh.now()));
    }
}

async fn a_sweep_ends_at_most_a_batch_of_each_kind(fresh: Fresh) {
    for _ in 0..3 {
        fresh.signed_in("c_1").await;
    }
    fresh.clock.advance(40 * DAY);
    let end = async || fresh.store.end_unusable_grants(HOUR, fresh.now(), 2).await.unwrap().len();
    assert_eq!([end().await, end().await, end().await], [2, 1, 0]);
}

async fn knows(fresh: &Fresh, client: &str) -> bool {
    fresh.store.client(&client.into()).await.unwrap().is_some()
}

async fn an_unused_client_is_deleted_after_a_day(fresh: Fresh) {
    fresh.register("c_idle", "A").await;
    fresh.register("c_pending", "A").await;
    fresh.clock.advance(NEARLY_A_DAY);
    assert_eq!(sweep(&fresh).await, 0);
    fresh.pending("c_pending").await;
    fresh.clock.advance(MINUTE);
    assert_eq!(sweep(&fresh).await, 1);
    assert!(!knows(&fresh, "c_idle").await);
    assert!(knows(&fresh, "c_pending").await, "its user is at the provider");
    fresh.clock.advance(20 * MINUTE);
    assert_eq!(sweep(&fresh).await, 2, "and what it waited for");
    assert!(!knows(&fresh, "c_pending").await);
}

async fn registering_again_restarts_the_day_of_an_unused_client(fresh: Fresh) {
    let first = fresh.register("c_1", "A").await;
    fresh.clock.advance(NEARLY_A_DAY);
    fresh.register("c_1", "A").await;
    fresh.clock.advance(NEARLY_A_DAY);
    assert_eq!(sweep(&fresh).await, 0);
    assert_eq!(fresh.store.client(&first.id).await.unwrap().unwrap().created_at, first.created_at);
    fresh.clock.advance(MINUTE);
    assert_eq!(sweep(&fresh).await, 1);
}

async fn a_client_is_deleted_ninety_days_after_its_last_grant_unless_one_is_live(fresh: Fresh) {
    for id in ["c_used", "c_lives", "c_again"] {
        fresh.register(id, "A").await;
    }
    fresh
        .signed_in_as(|grant| {
            grant.client_id = "c_lives".into();
            grant.expires_at = grant.created_at + 400 * DAY;
        })
        .await;
    for id in ["c_used", "c_again"] {
        let signed_in = fresh.signed_in(id).await;
        fresh.store.end_grant(&signed_in.grant.id, EndReason::TooMany, fresh.now()).await.unwrap().unwrap();
    }
    fresh.clock.advance(89 * DAY);
    sweep(&fresh).await;
    for id in ["c_used", "c_lives", "c_again"] {
        assert!(knows(&fresh, id).await, "{id}");
    }
    fresh.clock.advance(NEARLY_A_DAY);
    assert_eq!(sweep(&fresh).await, 0);
    fresh.register("c_again", "A").await;
    fresh.clock.advance(MINUTE);
    sweep(&fresh).await;
    assert!(!knows(&fresh, "c_used").await);
    assert!(knows(&fresh, "c_lives").await);
    assert!(knows(&fresh, "c_again").await, "it registered a minute ago");
    fresh.clock.advance(310 * DAY);
    sweep(&fresh).await;
    assert!(!knows(&fresh, "c_lives").await, "its grant is over");
    assert!(!knows(&fresh, "c_again").await);
}

async fn a_sweep_deletes_at_most_a_batch_of_each_kind(fresh: Fresh) {
    for n in 0..5 {
        fresh.store.insert_client(&client(&format!("c_idle_{n}"), fresh.now()), "A", 100, fresh.now()).await.unwrap();
        fresh.pending("c_other").await;
        ended(&fresh).await;
    }
    fresh.clock.advance(2 * DAY);
    let sweep = async || fresh.store.delete_expired(&retention(), fresh.now(), 2).await.unwrap();
    // pending and redeemed authorizations, refresh tokens, then their grants, clients
    assert_eq!([sweep().await, sweep().await, sweep().await, sweep().await], [10, 10, 5, 0]);
}
