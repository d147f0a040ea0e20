//! A caller may go away at any moment: what it had asked for happens whole or not at all, and no other caller notices.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use portcullis::model::authorization::Stage;
use portcullis::model::grant::EndReason;

use super::{Fresh, MINUTE, contract, grant, redemption, refresh_token, rotation};

contract! {
    on_sqlite, crate::storage::SqlitePlace::new();
    a_redemption_that_is_dropped_happened_whole_or_not_at_all,
    a_rotation_that_is_dropped_happened_whole_or_not_at_all,
    an_end_that_is_dropped_happened_whole_or_not_at_all
}

// one connection: the next call waits until the server is done with what was dropped
contract! {
    on_postgres, crate::storage::PostgresPlace::new().with(1);
    a_redemption_that_is_dropped_happened_whole_or_not_at_all,
    a_rotation_that_is_dropped_happened_whole_or_not_at_all,
    an_end_that_is_dropped_happened_whole_or_not_at_all
}

/// When a caller is dropped.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    /// While it waits.
    Waiting,
    /// When the answer of a step is ready, before the caller reads it.
    Answered,
}

/// Polls a call this many times and then drops it; `None` when it was dropped before its end.
async fn dropped_after<T>(polls: usize, leaves: Leaves, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if left == 0 && matches!(leaves, Leaves::Waiting) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// How many calls are dropped under way. How far a call has come after some polls depends on how fast the engine's thread
/// answers, so the moments are found by many attempts, not by counting.
const DROPPED: usize = 100;

/// Drops calls at every moment; `attempt` makes one call and says whether it finished.
async fn at_every_moment(attempt: impl AsyncFn(usize, Leaves) -> bool) {
    assert!(attempt(usize::MAX, Leaves::Waiting).await, "a call that is not dropped finishes");
    let mut dropped = 0;
    for attempts in 0.. {
        let leaves = if attempts % 2 == 0 { Leaves::Waiting } else { Leaves::Answered };
        if !attempt(1 + attempts / 2 % 12, leaves).await {
            dropped += 1;
        }
        if dropped == DROPPED {
            return;
        }
        assert!(attempts < 100 * DROPPED, "only {dropped} of {attempts} calls were dropped under way");
    }
}

async fn a_redemption_that_is_dropped_happened_whole_or_not_at_all(fresh: Fresh) {
    fresh.register("c_1", "A").await;
    at_every_moment(async |polls, leaves| {
        let ((authorization, code), token) = (fresh.code("c_1").await, refresh_token(fresh.now()));
        let grant = grant("c_1", fresh.now());
        let redemption = redemption(&code, &grant, Some(&token), fresh.now());
        let call = fresh.store.redeem_code(&redemption);
        let answer = dropped_after(polls, leaves, call).await;
        // the next write waits for what the writer still does, and works
        fresh.pending("c_1").await;
        let issued = fresh.store.issued_code(&code).await.unwrap().unwrap();
        let redeemed = fresh.store.authorization(&authorization.id).await.unwrap().unwrap().stage == Stage::Redeemed;
        assert_eq!(issued.redeemed.is_some(), redeemed, "{polls} {leaves:?}");
        assert_eq!(fresh.store.grant(&grant.id).await.unwrap().is_some(), redeemed, "{polls} {leaves:?}");
        assert_eq!(fresh.store.refresh_token(&token.hash).await.unwrap().is_some(), redeemed, "{polls} {leaves:?}");
        if let Some(answer) = &answer {
            assert!(answer.as_ref().unwrap().is_some() && redeemed);
        }
        answer.is_some()
    })
    .await;
}

async fn a_rotation_that_is_dropped_happened_whole_or_not_at_all(fresh: Fresh) {
    at_every_moment(async |polls, leaves| {
        let (signed_in, successor) = (fresh.signed_in_alone("c_1").await, refresh_token(fresh.now()));
        let (id, used) = (&signed_in.grant.id, &signed_in.token.hash);
        assert!(fresh.store.take_refresh_lease(used, "us", fresh.now() + MINUTE, fresh.now()).await.unwrap().is_some());
        let rotation = rotation(id, used, &successor, fresh.now());
        let answer = dropped_after(polls, leaves, fresh.store.rotate_refresh_token(&rotation)).await;
        fresh.pending("c_1").await;
        let rotated = fresh.store.refresh_token(&successor.hash).await.unwrap().is_some();
        let old = fresh.store.refresh_token(used).await.unwrap().unwrap();
        assert_eq!(old.used.is_some(), rotated, "{polls} {leaves:?}");
        let standing = fresh.store.grant(id).await.unwrap().unwrap().standing;
        assert_eq!(standing == *super::new_standing(), rotated, "{polls} {leaves:?}");
        let unused = if rotated { &successor.hash } else { used };
        let free =
            fresh.store.take_refresh_lease(unused, "them", fresh.now() + MINUTE, fresh.now()).await.unwrap().is_some();
        assert_eq!(free, rotated, "{polls} {leaves:?}");
        if let Some(answer) = &answer {
            assert!(*answer.as_ref().unwrap() && rotated);
        }
        answer.is_some()
    })
    .await;
}

async fn an_end_that_is_dropped_happened_whole_or_not_at_all(fresh: Fresh) {
    at_every_moment(async |polls, leaves| {
        let id = fresh.signed_in("c_1").await.grant.id;
        let call = fresh.store.end_grant(&id, EndReason::CodeReplayed, fresh.now());
        let answer = dropped_after(polls, leaves, call).await;
        fresh.pending("c_1").await;
        let grant = fresh.store.grant(&id).await.unwrap().unwrap();
        assert_eq!(grant.ended_at.is_some(), grant.standing.sealed_token.is_none(), "{polls} {leaves:?}");
        assert_eq!(grant.ended_at.is_some(), grant.user.name.is_none(), "{polls} {leaves:?}");
        answer.is_some()
    })
    .await;
}
