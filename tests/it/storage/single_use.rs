//! What counts once, in all processes together.

use std::time::Duration;

use super::expiry::retention;
use super::{Fresh, MINUTE, at_once, contract, some_hash};

contract! {
    of_many_uses_at_once_one_is_the_first,
    what_was_used_is_remembered_until_it_expires,
}

async fn of_many_uses_at_once_one_is_the_first(fresh: Fresh) {
    let (hash, until) = (some_hash(), fresh.now() + MINUTE);
    let first = at_once(64, |_| {
        let store = fresh.store.clone();
        async move { store.use_once(&hash, until).await.unwrap() }
    })
    .await;
    assert_eq!(first.iter().filter(|first| **first).count(), 1);
    assert!(fresh.store.use_once(&some_hash(), until).await.unwrap(), "another one is not affected");
}

async fn what_was_used_is_remembered_until_it_expires(fresh: Fresh) {
    let (hash, until) = (some_hash(), fresh.now() + MINUTE);
    assert!(fresh.store.use_once(&hash, until).await.unwrap());
    for (now, remembered) in [(until.before(Duration::from_secs(1)), true), (until, false)] {
        fresh.store.delete_expired(&retention(), now, 100).await.unwrap();
        assert_eq!(!fresh.store.use_once(&hash, until).await.unwrap(), remembered, "{now:?}");
    }
}
