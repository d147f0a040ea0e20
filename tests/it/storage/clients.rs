//! Registered clients, and which are evicted when there are too many.

use portcullis::clock::Timestamp;
use portcullis::model::client::{Authentication, Client, ClientKeys};
use portcullis::oauth::scope::ScopeSet;

use super::{Fresh, MINUTE, client, contract};

contract! {
    a_client_is_read_as_it_was_stored,
    a_client_with_keys_is_refused_because_keys_are_not_stored,
    a_client_that_registers_again_is_not_changed,
    eviction_takes_the_oldest_client_of_the_address_with_most_clients,
    a_shared_client_moves_to_the_address_with_fewer_clients,
    an_attacker_cannot_move_a_shared_client_to_its_address_and_evict_it,
    a_used_client_is_neither_counted_nor_evicted,
    a_client_whose_authorization_is_pending_stays_and_so_do_those_of_others,
    the_table_comes_back_to_its_limit,
    the_new_client_never_goes,
    an_address_that_holds_the_new_client_alone_does_not_keep_the_others,
    an_id_with_any_character_is_looked_up_and_none_is_another,
}

async fn a_client_is_read_as_it_was_stored(fresh: Fresh) {
    let full = fresh.register("c_full", "192.0.2.1").await;
    assert_eq!(fresh.store.client(&full.id).await.unwrap(), Some(full));
    let bare = Client {
        name: None,
        authentication: Authentication::None,
        refresh_token: false,
        scope: ScopeSet::empty(),
        application_type: None,
        ..client("c_bare", fresh.now())
    };
    fresh.store.insert_client(&bare, "192.0.2.1", 1000, fresh.now()).await.unwrap();
    assert_eq!(fresh.store.client(&bare.id).await.unwrap(), Some(bare));
    assert_eq!(fresh.store.client(&"c_unknown".into()).await.unwrap(), None);
}

async fn a_client_with_keys_is_refused_because_keys_are_not_stored(fresh: Fresh) {
    let keys = Authentication::Keys(ClientKeys::Set(jsonwebtoken::jwk::JwkSet::default()));
    let client = Client { authentication: keys, ..client("c_keys", fresh.now()) };
    assert!(fresh.store.insert_client(&client, "192.0.2.1", 1000, fresh.now()).await.is_err());
    assert_eq!(fresh.store.client(&client.id).await.unwrap(), None);
}

async fn a_client_that_registers_again_is_not_changed(fresh: Fresh) {
    let first = fresh.register("c_1", "192.0.2.1").await;
    let again = Client { name: Some("Mallory".to_owned()), created_at: Timestamp(1), ..first.clone() };
    fresh.store.insert_client(&again, "192.0.2.2", 1000, fresh.now()).await.unwrap();
    assert_eq!(fresh.store.client(&first.id).await.unwrap(), Some(first));
}

/// Registers in order, a minute apart, `(id, address)`.
async fn registered(fresh: &Fresh, clients: &[(&str, &str)]) {
    for (id, address) in clients {
        fresh.register(id, address).await;
        fresh.clock.advance(MINUTE);
    }
}

/// Registers one more where only `limit` may be unused, and answers which of `ids` are left.
async fn left<'a>(fresh: &Fresh, limit: i64, ids: &[&'a str]) -> Vec<&'a str> {
    fresh.store.insert_client(&client("c_new", fresh.now()), "198.51.100.7", limit, fresh.now()).await.unwrap();
    assert!(fresh.store.client(&"c_new".into()).await.unwrap().is_some(), "the new one is there");
    let mut left = Vec::new();
    for id in ids {
        if fresh.store.client(&(*id).into()).await.unwrap().is_some() {
            left.push(*id);
        }
    }
    left
}

async fn eviction_takes_the_oldest_client_of_the_address_with_most_clients(fresh: Fresh) {
    registered(&fresh, &[("a1", "A"), ("b1", "B"), ("b2", "B"), ("b3", "B"), ("a2", "A")]).await;
    fresh.register("b1", "B").await; // again: it is the youngest of B now
    assert_eq!(left(&fresh, 5, &["a1", "a2", "b1", "b2", "b3"]).await, ["a1", "a2", "b1", "b3"]);
}

async fn a_shared_client_moves_to_the_address_with_fewer_clients(fresh: Fresh) {
    registered(&fresh, &[("shared", "X"), ("x1", "X"), ("x2", "X"), ("x3", "X"), ("shared", "V")]).await;
    // X registers its own clients again, which makes them younger than the shared one
    registered(&fresh, &[("x1", "X"), ("x2", "X"), ("x3", "X")]).await;
    assert_eq!(left(&fresh, 4, &["shared", "x1", "x2", "x3"]).await, ["shared", "x2", "x3"]);
}

async fn an_attacker_cannot_move_a_shared_client_to_its_address_and_evict_it(fresh: Fresh) {
    registered(&fresh, &[("v1", "V"), ("shared", "V"), ("x1", "X"), ("x2", "X"), ("x3", "X")]).await;
    registered(&fresh, &[("shared", "X"), ("x1", "X"), ("x2", "X"), ("x3", "X")]).await;
    assert_eq!(left(&fresh, 5, &["shared", "v1", "x1", "x2", "x3"]).await, ["shared", "v1", "x2", "x3"]);
}

async fn a_used_client_is_neither_counted_nor_evicted(fresh: Fresh) {
    registered(&fresh, &[("b1", "B"), ("b2", "B"), ("a1", "A")]).await;
    fresh.signed_in("b1").await;
    assert_eq!(left(&fresh, 3, &["a1", "b1", "b2"]).await, ["a1", "b1", "b2"]);
    assert_eq!(left(&fresh, 2, &["a1", "b1", "b2"]).await, ["a1", "b1"]);
}

async fn a_client_whose_authorization_is_pending_stays_and_so_do_those_of_others(fresh: Fresh) {
    registered(&fresh, &[("a1", "A"), ("b1", "B"), ("b2", "B"), ("b3", "B")]).await;
    fresh.pending("b1").await;
    fresh.claimed("b2").await;
    fresh.code("b3").await;
    let all = ["a1", "b1", "b2", "b3"];
    assert_eq!(left(&fresh, 3, &all).await, all, "B holds most, and none of its clients may be evicted");
    fresh.clock.advance(MINUTE);
    assert_eq!(left(&fresh, 4, &all).await, ["a1", "b1", "b2"], "its code expired");
    fresh.clock.advance(20 * MINUTE);
    assert_eq!(left(&fresh, 3, &all).await, ["a1", "b2"], "the provider's answer came too late");
}

async fn the_table_comes_back_to_its_limit(fresh: Fresh) {
    let ids: Vec<_> = (0..10).map(|n| format!("b{n}")).collect();
    for id in &ids {
        fresh.register(id, "B").await;
        fresh.clock.advance(MINUTE);
    }
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    assert_eq!(left(&fresh, 4, &ids).await, ids[7..]);
}

async fn the_new_client_never_goes(fresh: Fresh) {
    assert_eq!(left(&fresh, 0, &[]).await, [""; 0]);
}

async fn an_address_that_holds_the_new_client_alone_does_not_keep_the_others(fresh: Fresh) {
    // registered in the same second, so that the address decides, and the new client's comes first
    let now = fresh.now();
    for (id, address) in [("b", "B"), ("c", "C"), ("a", "A")] {
        fresh.store.insert_client(&client(id, now), address, 2, now).await.unwrap();
    }
    for (id, stays) in [("a", true), ("b", false), ("c", true)] {
        assert_eq!(fresh.store.client(&id.into()).await.unwrap().is_some(), stays, "{id}");
    }
}

async fn an_id_with_any_character_is_looked_up_and_none_is_another(fresh: Fresh) {
    let ids = ["c_\0", "c_\u{fdd0}0", "c_\u{fdd0}", "c_\u{fffd}", "c_'; DROP TABLE clients; --"];
    for id in ids {
        assert_eq!(fresh.store.client(&id.into()).await.unwrap(), None, "{id:?}");
    }
    for id in ids {
        let strange = Client { application_type: Some(id.to_owned()), ..client(id, fresh.now()) };
        fresh.store.insert_client(&strange, "A", 1000, fresh.now()).await.unwrap();
        assert_eq!(fresh.store.client(&id.into()).await.unwrap(), Some(strange), "{id:?}");
    }
    assert!(!fresh.store.is_degraded());
}
