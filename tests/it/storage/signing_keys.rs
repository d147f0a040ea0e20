//! Signing keys: the first of each algorithm is made once, the next one at a time; how they go.

use std::time::Duration;

use portcullis::clock::Timestamp;
use portcullis::model::ids::KeyId;
use portcullis::model::signing_key::StoredSigningKey;

use super::{Fresh, at_once, contract};

contract! {
    one_of_many_concurrent_first_keys_is_kept,
    each_algorithm_has_one_first_key_in_the_order_in_which_they_were_made,
    one_key_at_a_time_waits_for_its_turn_unless_a_wrong_clock_made_it,
    a_key_goes_when_its_successor_has_signed_for_long_and_the_newest_never,
    withdrawn_keys_are_replaced_at_once_and_remembered_for_a_month,
}

pub(crate) fn key(algorithm: &str, created_at: i64) -> StoredSigningKey {
    StoredSigningKey {
        id: KeyId::random(),
        algorithm: algorithm.to_owned(),
        sealed_private_key: vec![0, 159, 146, 150],
        created_at: Timestamp(created_at),
        active_from: Timestamp(created_at),
    }
}

async fn one_of_many_concurrent_first_keys_is_kept(fresh: Fresh) {
    let ids = at_once(16, |_| {
        let store = fresh.store.clone();
        async move {
            let key = key("ES256", 1);
            store.insert_first_signing_key(&key).await.unwrap();
            key.id
        }
    })
    .await;
    let kept = fresh.store.signing_keys().await.unwrap();
    assert_eq!(kept.len(), 1);
    assert!(ids.contains(&kept[0].id));
    assert_eq!((kept[0].algorithm.as_str(), kept[0].created_at), ("ES256", Timestamp(1)));
    assert_eq!(kept[0].sealed_private_key, [0, 159, 146, 150]);
}

async fn each_algorithm_has_one_first_key_in_the_order_in_which_they_were_made(fresh: Fresh) {
    for (algorithm, created_at) in [("RS256", 3), ("ES256", 2), ("EdDSA", 4), ("ES256", 1)] {
        fresh.store.insert_first_signing_key(&key(algorithm, created_at)).await.unwrap();
    }
    let kept = fresh.store.signing_keys().await.unwrap();
    let algorithms: Vec<_> = kept.iter().map(|key| key.algorithm.as_str()).collect();
    assert_eq!(algorithms, ["RS256", "ES256", "EdDSA"], "whatever the clocks said");
}

const HORIZON: Duration = Duration::from_secs(1000);

fn next(created_at: i64, active_from: i64) -> StoredSigningKey {
    StoredSigningKey { active_from: Timestamp(active_from), ..key("ES256", created_at) }
}

async fn one_key_at_a_time_waits_for_its_turn_unless_a_wrong_clock_made_it(fresh: Fresh) {
    let store = &fresh.store;
    store.insert_first_signing_key(&key("ES256", 100)).await.unwrap();
    assert!(store.insert_next_signing_key(&next(200, 300), HORIZON).await.unwrap());
    for created_at in [200, 250, 299] {
        assert!(!store.insert_next_signing_key(&next(created_at, 400), HORIZON).await.unwrap(), "{created_at}");
    }
    assert!(store.insert_next_signing_key(&next(300, 999_999), HORIZON).await.unwrap(), "the other one signs now");
    assert!(store.insert_next_signing_key(&next(301, 400), HORIZON).await.unwrap(), "it does not wait for years");
    let times: Vec<_> = store.signing_keys().await.unwrap().iter().map(|key| key.active_from.0).collect();
    assert_eq!(times, [100, 300, 999_999, 400], "in the order of their making");
}

async fn a_key_goes_when_its_successor_has_signed_for_long_and_the_newest_never(fresh: Fresh) {
    let store = &fresh.store;
    store.insert_first_signing_key(&key("ES256", 100)).await.unwrap();
    let first = store.signing_keys().await.unwrap()[0].id.clone();
    let (second, third) = (next(200, 300), next(400, 500));
    for key in [&second, &third] {
        assert!(store.insert_next_signing_key(key, HORIZON).await.unwrap());
    }
    let retired = async |cutoff: i64| store.delete_retired_signing_keys(Timestamp(cutoff)).await.unwrap();
    assert!(retired(299).await.is_empty());
    assert_eq!(retired(300).await, [first]);
    assert_eq!(retired(500).await, [second.id]);
    assert!(retired(i64::MAX).await.is_empty());
    assert_eq!(store.signing_keys().await.unwrap(), [third]);
}

async fn withdrawn_keys_are_replaced_at_once_and_remembered_for_a_month(fresh: Fresh) {
    let store = &fresh.store;
    store.insert_first_signing_key(&key("ES256", 100)).await.unwrap();
    let waiting = next(200, 300);
    assert!(store.insert_next_signing_key(&waiting, HORIZON).await.unwrap());
    let replacement = key("EdDSA", 250);
    let mut withdrawn = store.replace_signing_keys(&replacement).await.unwrap();
    withdrawn.sort();
    assert!(withdrawn.len() == 2 && withdrawn.contains(&waiting.id), "one that waits may be known to others too");
    assert_eq!(store.signing_keys().await.unwrap(), [replacement]);
    let mut remembered = store.withdrawn_keys().await.unwrap();
    assert!(remembered.iter().all(|key| (key.algorithm.as_str(), key.withdrawn_at.0) == ("ES256", 250)));
    remembered.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(remembered.into_iter().map(|key| key.id).collect::<Vec<_>>(), withdrawn);
    let month = Duration::from_hours(32 * 24);
    assert_eq!(store.forget_withdrawn_keys(Timestamp(249) + month).await.unwrap(), 0);
    assert_eq!(store.forget_withdrawn_keys(Timestamp(250) + month).await.unwrap(), 2);
    assert!(store.withdrawn_keys().await.unwrap().is_empty());
}
