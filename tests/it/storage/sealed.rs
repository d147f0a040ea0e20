//! Sealed values: found by the prefix that names their root key, and replaced if unchanged.

use portcullis::storage::SealedColumn;

use super::signing_keys::key;
use super::{Fresh, contract};

contract! {
    values_under_other_root_keys_are_found_in_batches_and_never_twice,
    resealing_does_not_replace_a_value_that_changed_meanwhile,
    ended_grants_and_redeemed_codes_hold_nothing_sealed,
}

async fn values_under_other_root_keys_are_found_in_batches_and_never_twice(fresh: Fresh) {
    for algorithm in ["a", "b", "c", "d", "e"] {
        let mut key = key(algorithm, 1);
        key.sealed_private_key = vec![if algorithm == "b" { 1 } else { 2 }, 9];
        fresh.store.insert_first_signing_key(&key).await.unwrap();
    }
    let (mut after, mut found) = (String::new(), 0);
    loop {
        let batch = fresh.store.sealed_otherwise(SealedColumn::SigningKeys, &[1], &after, 3).await.unwrap();
        assert!(batch.len() <= 3 && batch.iter().all(|value| value.bytes[0] == 2 && value.context == value.id));
        let Some(last) = batch.last() else { break };
        (after, found) = (last.id.clone(), found + batch.len());
    }
    assert_eq!(found, 4);
}

async fn resealing_does_not_replace_a_value_that_changed_meanwhile(fresh: Fresh) {
    let signed_in = fresh.signed_in("c_a").await;
    let found = fresh.store.sealed_otherwise(SealedColumn::Grants, b"new", "", 10).await.unwrap();
    assert_eq!(found[0].context, signed_in.grant.subject.as_str());
    let anew: Vec<_> = found.into_iter().map(|value| (value, b"new".to_vec())).collect();
    fresh.rotate(&signed_in.grant.id, &signed_in.token.hash).await;
    let now = fresh.store.grant(&signed_in.grant.id).await.unwrap().unwrap();
    assert_eq!(fresh.store.replace_sealed(SealedColumn::Grants, &anew).await.unwrap(), 0);
    let kept = fresh.store.grant(&signed_in.grant.id).await.unwrap().unwrap();
    assert_eq!(kept.standing.sealed_token, now.standing.sealed_token);
}

async fn ended_grants_and_redeemed_codes_hold_nothing_sealed(fresh: Fresh) {
    let signed_in = fresh.signed_in("c_a").await;
    let reason = portcullis::model::grant::EndReason::TooMany;
    fresh.store.end_grant(&signed_in.grant.id, reason, fresh.now()).await.unwrap();
    for column in SealedColumn::ALL {
        assert!(fresh.store.sealed_otherwise(column, b"new", "", 10).await.unwrap().is_empty(), "{column:?}");
    }
    fresh.code("c_b").await;
    assert_eq!(fresh.store.sealed_otherwise(SealedColumn::Authorizations, b"new", "", 10).await.unwrap().len(), 1);
}
