//! Rotation is atomic: it changes everything or nothing.

use portcullis::model::grant::{EndReason, Grant, RefreshUse, StoredRefreshToken};
use portcullis::model::user::User;
use portcullis::storage::{NewRefreshToken, Rotation};

use super::{Fresh, MINUTE, at_once, contract, new_standing, parameters, refresh_token, rotation, some_hash};

contract! {
    a_rotation_changes_token_grant_and_lease_together,
    a_rotation_without_the_lease_changes_nothing,
    a_used_refresh_token_cannot_be_rotated_again,
    a_refresh_token_cannot_be_rotated_under_another_grant,
    an_ended_grant_cannot_rotate_a_token,
    an_expired_grant_cannot_rotate_a_token,
    one_of_many_concurrent_rotations_succeeds,
    a_used_refresh_token_shows_whether_its_successor_was_used,
}

async fn a_rotation_changes_token_grant_and_lease_together(fresh: Fresh) {
    let signed_in = fresh.signed_in("c_1").await;
    let successor = NewRefreshToken { bound: true, ..refresh_token(fresh.now() + MINUTE) };
    let (id, used) = (&signed_in.grant.id, signed_in.token.hash);
    fresh.clock.advance(MINUTE);
    assert!(fresh.store.take_refresh_lease(&used, "us", fresh.now() + MINUTE, fresh.now()).await.unwrap().is_some());
    let renamed = User { name: Some("Ada King".to_owned()), ..User::default() };
    let rotation = Rotation { user: Some(&renamed), ..rotation(id, &used, &successor, fresh.now()) };
    assert!(fresh.store.rotate_refresh_token(&rotation).await.unwrap());

    let old = fresh.store.refresh_token(&used).await.unwrap().unwrap();
    let expected = RefreshUse {
        at: fresh.now(),
        parameters: *parameters(),
        sealed_response: Some(b"sealed".to_vec()),
        successor_used: false,
    };
    assert_eq!(old.used, Some(expected));
    let new = fresh.store.refresh_token(&successor.hash).await.unwrap().unwrap();
    let NewRefreshToken { hash, expires_at, bound } = successor;
    assert_eq!(new, StoredRefreshToken { hash, grant_id: id.clone(), expires_at, bound, used: None });
    assert!(!old.bound, "each token for itself");
    let grant = fresh.store.grant(id).await.unwrap().unwrap();
    assert_eq!(grant, Grant { user: renamed, standing: new_standing().clone(), ..signed_in.grant.clone() });
    let free = fresh
        .store
        .take_refresh_lease(&successor.hash, "them", fresh.now() + MINUTE, fresh.now())
        .await
        .unwrap()
        .is_some();
    assert!(free, "the lease was given back");
}

/// Asserts that a rotation fails and leaves the grant, the token and the place of its successor as they were.
async fn changes_nothing(fresh: &Fresh, rotation: Rotation<'_>) {
    let before =
        (fresh.store.grant(rotation.grant).await.unwrap(), fresh.store.refresh_token(rotation.used).await.unwrap());
    assert!(!fresh.store.rotate_refresh_token(&rotation).await.unwrap());
    let after =
        (fresh.store.grant(rotation.grant).await.unwrap(), fresh.store.refresh_token(rotation.used).await.unwrap());
    assert_eq!(before, after);
    assert_eq!(fresh.store.refresh_token(&rotation.successor.hash).await.unwrap(), None);
}

async fn a_rotation_without_the_lease_changes_nothing(fresh: Fresh) {
    let (signed_in, successor) = (fresh.signed_in("c_1").await, refresh_token(fresh.now()));
    let (id, used) = (&signed_in.grant.id, &signed_in.token.hash);
    changes_nothing(&fresh, rotation(id, used, &successor, fresh.now())).await;
    assert!(fresh.store.take_refresh_lease(used, "us", fresh.now() + MINUTE, fresh.now()).await.unwrap().is_some());
    fresh.clock.advance(MINUTE);
    assert!(fresh.store.take_refresh_lease(used, "them", fresh.now() + MINUTE, fresh.now()).await.unwrap().is_some());
    changes_nothing(&fresh, rotation(id, used, &successor, fresh.now())).await;
}

async fn a_used_refresh_token_cannot_be_rotated_again(fresh: Fresh) {
    let signed_in = fresh.signed_in("c_1").await;
    let (id, used) = (&signed_in.grant.id, &signed_in.token.hash);
    let successor = fresh.rotate(id, used).await;
    assert!(
        fresh
            .store
            .take_refresh_lease(&successor.hash, "us", fresh.now() + MINUTE, fresh.now())
            .await
            .unwrap()
            .is_some()
    );
    changes_nothing(&fresh, rotation(id, used, &refresh_token(fresh.now()), fresh.now())).await;
    let unknown = some_hash();
    changes_nothing(&fresh, rotation(id, &unknown, &refresh_token(fresh.now()), fresh.now())).await;
}

async fn a_refresh_token_cannot_be_rotated_under_another_grant(fresh: Fresh) {
    let (ours, theirs) = (fresh.signed_in("c_1").await, fresh.signed_in("c_1").await);
    let id = &ours.grant.id;
    assert!(
        fresh
            .store
            .take_refresh_lease(&ours.token.hash, "us", fresh.now() + MINUTE, fresh.now())
            .await
            .unwrap()
            .is_some()
    );
    changes_nothing(&fresh, rotation(id, &theirs.token.hash, &refresh_token(fresh.now()), fresh.now())).await;
}

async fn an_ended_grant_cannot_rotate_a_token(fresh: Fresh) {
    let signed_in = fresh.signed_in("c_1").await;
    let id = &signed_in.grant.id;
    assert!(
        fresh
            .store
            .take_refresh_lease(&signed_in.token.hash, "us", fresh.now() + MINUTE, fresh.now())
            .await
            .unwrap()
            .is_some()
    );
    fresh.store.end_grant(id, EndReason::RefreshTokenReplayed, fresh.now()).await.unwrap().unwrap();
    changes_nothing(&fresh, rotation(id, &signed_in.token.hash, &refresh_token(fresh.now()), fresh.now())).await;
}

async fn an_expired_grant_cannot_rotate_a_token(fresh: Fresh) {
    let signed_in = fresh.signed_in_as(|grant| grant.expires_at = grant.created_at + MINUTE).await;
    let id = &signed_in.grant.id;
    assert!(
        fresh
            .store
            .take_refresh_lease(&signed_in.token.hash, "us", fresh.now() + 2 * MINUTE, fresh.now())
            .await
            .unwrap()
            .is_some()
    );
    fresh.clock.advance(MINUTE);
    changes_nothing(&fresh, rotation(id, &signed_in.token.hash, &refresh_token(fresh.now()), fresh.now())).await;
}

async fn one_of_many_concurrent_rotations_succeeds(fresh: Fresh) {
    let (signed_in, now) = (fresh.signed_in("c_1").await, fresh.now());
    assert!(fresh.store.take_refresh_lease(&signed_in.token.hash, "us", now + MINUTE, now).await.unwrap().is_some());
    let rotated = at_once(32, |_| {
        let (store, id, used) = (fresh.store.clone(), signed_in.grant.id.clone(), signed_in.token.hash);
        async move {
            let successor = refresh_token(now);
            let rotated = store.rotate_refresh_token(&rotation(&id, &used, &successor, now)).await.unwrap();
            assert_eq!(store.refresh_token(&successor.hash).await.unwrap().is_some(), rotated);
            rotated
        }
    })
    .await;
    assert_eq!(rotated.iter().filter(|rotated| **rotated).count(), 1);
}

async fn a_used_refresh_token_shows_whether_its_successor_was_used(fresh: Fresh) {
    let signed_in = fresh.signed_in("c_1").await;
    let (id, first) = (&signed_in.grant.id, &signed_in.token.hash);
    let successor_used = async || fresh.store.refresh_token(first).await.unwrap().unwrap().used.unwrap().successor_used;
    let second = fresh.rotate(id, first).await;
    assert!(!successor_used().await);
    fresh.rotate(id, &second.hash).await;
    assert!(successor_used().await);
}
