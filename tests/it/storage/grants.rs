//! Grants: what ends them, how many may be live, and the refresh lease.

use portcullis::model::authorization::ProviderStanding;
use portcullis::model::grant::{EndReason, Grant, MAX_LIVE_GRANTS};
use portcullis::model::ids::{ClientId, GrantId, IdentityId, Subject};
use portcullis::model::user::User;
use portcullis::secret::Sha256;
use portcullis::storage::{Feed, FeedPosition, Retention};

use super::{DAY, Fresh, MINUTE, ada, at_once, contract, some_hash};

contract! {
    a_grant_is_read_as_it_was_stored,
    ending_a_grant_returns_the_providers_token_and_erases_the_user,
    only_one_of_many_concurrent_ends_of_a_grant_succeeds,
    ending_a_grant_tells_whether_it_was_the_last_at_its_identity,
    the_feed_returns_every_end_after_a_position_whatever_its_stamp,
    a_position_that_was_deleted_from_the_feed_is_a_gap,
    the_twenty_first_grant_ends_the_least_recently_used,
    the_limit_of_grants_counts_one_user_client_and_resource,
    one_of_many_concurrent_callers_takes_the_refresh_lease,
    a_refresh_lease_belongs_to_its_holder_until_released_or_expired,
    a_grant_that_is_not_live_has_no_refresh_lease,
    a_lease_is_not_taken_for_a_used_or_unknown_token,
}

async fn stored(fresh: &Fresh, grant: &Grant) -> Grant {
    fresh.store.grant(&grant.id).await.unwrap().unwrap()
}

async fn a_grant_is_read_as_it_was_stored(fresh: Fresh) {
    let full = fresh.signed_in("c_1").await.grant;
    assert_eq!(stored(&fresh, &full).await, full);
    let bare = fresh.signed_in_as(|grant| {
        grant.user = User::default();
        grant.standing = ProviderStanding::default();
    });
    let bare = bare.await.grant;
    assert_eq!(stored(&fresh, &bare).await, bare);
    assert_eq!(fresh.store.grant(&"g_unknown".into()).await.unwrap(), None);
}

async fn ending_a_grant_returns_the_providers_token_and_erases_the_user(fresh: Fresh) {
    let grant = fresh.signed_in("c_1").await.grant;
    fresh.clock.advance(MINUTE);
    let end = async || fresh.store.end_grant(&grant.id, EndReason::CodeReplayed, fresh.now()).await.unwrap();
    let ended = end().await.unwrap();
    assert_eq!(ended.grant, grant);
    assert!(end().await.is_none());
    let left = stored(&fresh, &grant).await;
    assert_eq!(left.ended_at, Some(fresh.now()));
    assert_eq!(left.user, User::default());
    assert_eq!(left.standing, ProviderStanding { sealed_token: None, ..grant.standing });
}

async fn only_one_of_many_concurrent_ends_of_a_grant_succeeds(fresh: Fresh) {
    let (grant, now) = (fresh.signed_in("c_1").await.grant, fresh.now());
    let tokens = at_once(32, |_| {
        let (store, id) = (fresh.store.clone(), grant.id.clone());
        async move {
            let ended = store.end_grant(&id, EndReason::RefreshTokenReplayed, now).await.unwrap();
            ended.map(|ended| ended.grant.standing.sealed_token)
        }
    })
    .await;
    let told: Vec<_> = tokens.into_iter().flatten().collect();
    assert_eq!(told, [ada().standing.sealed_token]);
}

async fn ending_a_grant_tells_whether_it_was_the_last_at_its_identity(fresh: Fresh) {
    let end = async |grant: &Grant, now| {
        fresh.store.end_grant(&grant.id, EndReason::IdentityProvider, now).await.unwrap().unwrap().was_last
    };
    let first = fresh.signed_in("c_1").await.grant;
    let other_client = fresh.signed_in("c_2").await.grant;
    fresh.signed_in_as(|grant| grant.subject = Subject::new(&IdentityId::from("keycloak"), "bob")).await;
    fresh.signed_in_as(|grant| grant.identity = IdentityId::from("entra")).await;
    assert!(!end(&first, fresh.now()).await, "another client's grant is alive");
    let expired = fresh.signed_in_as(|grant| grant.expires_at = grant.created_at + MINUTE).await.grant;
    fresh.clock.advance(MINUTE);
    assert!(end(&other_client, fresh.now()).await, "the other grants are of another user or identity, or expired");
    assert!(end(&expired, fresh.now()).await);
}

async fn ended_after(fresh: &Fresh, position: FeedPosition) -> (Vec<GrantId>, FeedPosition) {
    match fresh.store.grants_ended_after(position).await.unwrap() {
        Feed::Ended(grants, newest) => (grants, newest),
        Feed::Gap => panic!("a gap behind {position:?}"),
    }
}

async fn the_feed_returns_every_end_after_a_position_whatever_its_stamp(fresh: Fresh) {
    let first = fresh.store.newest_grant_end().await.unwrap();
    assert_eq!(ended_after(&fresh, first).await, (Vec::new(), first));
    let mut told = Vec::new();
    let mut positions = Vec::new();
    for step in [4000, -8000, 1] {
        let grant = fresh.signed_in("c_1").await.grant;
        fresh.clock.step(step);
        fresh.store.end_grant(&grant.id, EndReason::CodeReplayed, fresh.now()).await.unwrap().unwrap();
        assert!(fresh.store.end_grant(&grant.id, EndReason::CodeReplayed, fresh.now()).await.unwrap().is_none());
        told.push(grant.id);
        positions.push(fresh.store.newest_grant_end().await.unwrap());
    }
    fresh.signed_in("c_1").await;
    assert_eq!(ended_after(&fresh, first).await, (told.clone(), positions[2]));
    assert_eq!(ended_after(&fresh, positions[0]).await.0, told[1..]);
    assert_eq!(ended_after(&fresh, positions[2]).await, (Vec::new(), positions[2]));
}

async fn a_position_that_was_deleted_from_the_feed_is_a_gap(fresh: Fresh) {
    let retention = Retention {
        consent: 15 * MINUTE,
        replay_window: MINUTE,
        unused_client: DAY,
        used_client: 90 * DAY,
        remembered_consent: DAY,
        access_token: MINUTE,
    };
    let first = fresh.store.newest_grant_end().await.unwrap();
    for _ in 0..2 {
        let grant = fresh.signed_in("c_1").await.grant;
        fresh.store.end_grant(&grant.id, EndReason::CodeReplayed, fresh.now()).await.unwrap().unwrap();
    }
    let newest = fresh.store.newest_grant_end().await.unwrap();
    fresh.clock.advance(2 * DAY);
    fresh.store.delete_expired(&retention, fresh.now(), 100).await.unwrap();
    assert_eq!(fresh.store.grants_ended_after(first).await.unwrap(), Feed::Gap);
    assert_eq!(ended_after(&fresh, newest).await, (Vec::new(), newest), "the newest stays");
}

async fn the_twenty_first_grant_ends_the_least_recently_used(fresh: Fresh) {
    let limit = usize::try_from(MAX_LIVE_GRANTS).unwrap();
    let mut held = Vec::new();
    for _ in 0..limit {
        held.push(fresh.signed_in("c_1").await);
        assert_eq!(held.last().unwrap().ended, []);
        fresh.clock.advance(MINUTE);
    }
    fresh.rotate(&held[0].grant.id, &held[0].token.hash).await;
    fresh.clock.advance(MINUTE);
    let position = fresh.store.newest_grant_end().await.unwrap();
    assert_eq!(fresh.signed_in("c_1").await.ended, [held[1].grant.id.clone()], "the first was used since");
    let ended = stored(&fresh, &held[1].grant).await;
    assert_eq!(ended.ended_at, Some(fresh.now()));
    assert_eq!((ended.user, ended.standing.sealed_token), (User::default(), None));
    assert_eq!(ended_after(&fresh, position).await.0, [held[1].grant.id.clone()], "the feed tells it");
    // one that ended makes room
    fresh.store.end_grant(&held[5].grant.id, EndReason::CodeReplayed, fresh.now()).await.unwrap().unwrap();
    assert_eq!(fresh.signed_in("c_1").await.ended, []);
    assert_eq!(fresh.signed_in("c_1").await.ended, [held[2].grant.id.clone()]);
}

async fn the_limit_of_grants_counts_one_user_client_and_resource(fresh: Fresh) {
    for _ in 0..MAX_LIVE_GRANTS {
        fresh.signed_in("c_1").await;
    }
    let differences: [fn(&mut Grant); 3] = [
        |grant| grant.client_id = ClientId::from("c_2"),
        |grant| grant.resource.push_str("/other"),
        |grant| grant.subject = Subject::new(&IdentityId::from("keycloak"), "bob"),
    ];
    for differs in differences {
        assert_eq!(fresh.signed_in_as(differs).await.ended, []);
    }
    // none of the twenty is alive any more
    fresh.clock.advance(90 * DAY);
    assert_eq!(fresh.signed_in("c_1").await.ended, []);
}

async fn one_of_many_concurrent_callers_takes_the_refresh_lease(fresh: Fresh) {
    let (hash, now) = (fresh.signed_in("c_1").await.token.hash, fresh.now());
    let taken =
        at_once(32, |n| {
            let store = fresh.store.clone();
            async move {
                store.take_refresh_lease(&hash, &format!("holder {n}"), now + MINUTE, now).await.unwrap().is_some()
            }
        })
        .await;
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 1);
}

async fn a_refresh_lease_belongs_to_its_holder_until_released_or_expired(fresh: Fresh) {
    let signed_in = fresh.signed_in("c_1").await;
    let (id, token) = (signed_in.grant.id, signed_in.token.hash);
    let take = async |holder: &str| {
        fresh.store.take_refresh_lease(&token, holder, fresh.now() + MINUTE, fresh.now()).await.unwrap().is_some()
    };
    assert!(take("us").await);
    assert!(!take("them").await);
    assert!(take("us").await, "again");
    fresh.store.release_refresh_lease(&id, "them").await.unwrap();
    assert!(!take("them").await, "what is not theirs they cannot give back");
    fresh.store.release_refresh_lease(&id, "us").await.unwrap();
    assert!(take("them").await);
    fresh.clock.advance(MINUTE);
    assert!(take("us").await, "it ran out");
}

async fn a_grant_that_is_not_live_has_no_refresh_lease(fresh: Fresh) {
    let take = async |token: &Sha256| {
        fresh.store.take_refresh_lease(token, "us", fresh.now() + MINUTE, fresh.now()).await.unwrap().is_some()
    };
    let ended = fresh.signed_in("c_1").await;
    fresh.store.end_grant(&ended.grant.id, EndReason::CodeReplayed, fresh.now()).await.unwrap().unwrap();
    assert!(!take(&ended.token.hash).await);
    let expired = fresh.signed_in("c_1").await;
    fresh.clock.advance(90 * DAY);
    assert!(!take(&expired.token.hash).await);
}

async fn a_lease_is_not_taken_for_a_used_or_unknown_token(fresh: Fresh) {
    let take = async |token: &Sha256| {
        fresh.store.take_refresh_lease(token, "us", fresh.now() + MINUTE, fresh.now()).await.unwrap().is_some()
    };
    let signed_in = fresh.signed_in("c_1").await;
    let successor = fresh.rotate(&signed_in.grant.id, &signed_in.token.hash).await;
    assert!(!take(&signed_in.token.hash).await, "it was used, so a grant that was read before is stale");
    assert!(!take(&some_hash()).await);
    assert!(take(&successor.hash).await);
}
