//! Signing keys: the first of each algorithm is made once.

use portcullis::clock::Timestamp;
use portcullis::model::ids::KeyId;
use portcullis::model::signing_key::StoredSigningKey;

use super::{Fresh, at_once, contract};

contract! {
    one_of_many_concurrent_first_keys_is_kept,
    each_algorithm_has_one_first_key_and_the_oldest_comes_first,
}

pub(crate) fn key(algorithm: &str, created_at: i64) -> StoredSigningKey {
    StoredSigningKey {
        id: KeyId::random(),
        algorithm: algorithm.to_owned(),
        sealed_private_key: vec![0, 159, 146, 150],
        created_at: Timestamp(created_at),
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

async fn each_algorithm_has_one_first_key_and_the_oldest_comes_first(fresh: Fresh) {
    for (algorithm, created_at) in [("RS256", 3), ("ES256", 2), ("EdDSA", 4), ("ES256", 1)] {
        fresh.store.insert_first_signing_key(&key(algorithm, created_at)).await.unwrap();
    }
    let kept = fresh.store.signing_keys().await.unwrap();
    let algorithms: Vec<_> = kept.iter().map(|key| key.algorithm.as_str()).collect();
    assert_eq!(algorithms, ["ES256", "RS256", "EdDSA"]);
}
