//! Registered clients, and which are evicted when there are too many.

use portcullis::clock::Timestamp;
use portcullis::model::client::{Authentication, Client, ClientKeys};
use portcullis::oauth::scope::ScopeSet;
use portcullis::storage::{GrantsOf, ManagedClient, StoredClient};

use super::{Fresh, MINUTE, client, contract, redemption, some_hash};

contract! {
    a_client_is_read_as_it_was_stored,
    a_client_with_keys_is_read_as_it_was_stored,
    a_client_is_found_by_its_management_token_and_by_no_other,
    an_update_replaces_everything_but_the_id_and_needs_the_current_token,
    a_disabled_client_stays_known_and_disabled_whatever_happens_to_its_row,
    a_disabled_client_redeems_no_code_and_its_grants_are_found,
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

/// A set of one key.
fn key_set() -> ClientKeys {
    let jwks = r#"{"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "use": "sig",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    ClientKeys::read(Some(jwks), None).unwrap().unwrap()
}

async fn a_client_with_keys_is_read_as_it_was_stored(fresh: Fresh) {
    for (id, keys) in [("c_set", key_set()), ("c_url", ClientKeys::Url("https://client.example/\u{e4}".to_owned()))] {
        let client = Client { authentication: Authentication::Keys(keys), ..client(id, fresh.now()) };
        fresh.store.insert_client(&client, "192.0.2.1", 1000, fresh.now()).await.unwrap();
        assert_eq!(fresh.store.client(&client.id).await.unwrap(), Some(client));
    }
}

async fn a_client_is_found_by_its_management_token_and_by_no_other(fresh: Fresh) {
    let (mine, yours) = (some_hash(), some_hash());
    let (one, other) = (client("c_1", fresh.now()), client("c_2", fresh.now()));
    for (client, token) in [(&one, &mine), (&other, &yours)] {
        let managed = ManagedClient { client, token };
        fresh.store.insert_managed_client(managed, "A", 1000, fresh.now()).await.unwrap();
    }
    fresh.register("c_without", "A").await;
    assert_eq!(fresh.store.managed_client(&mine).await.unwrap(), Some(one));
    assert_eq!(fresh.store.managed_client(&yours).await.unwrap(), Some(other));
    assert_eq!(fresh.store.managed_client(&some_hash()).await.unwrap(), None);
}

async fn an_update_replaces_everything_but_the_id_and_needs_the_current_token(fresh: Fresh) {
    let (first, second) = (some_hash(), some_hash());
    let before = client("c_1", fresh.now());
    fresh.register("c_2", "A").await;
    let managed = ManagedClient { client: &before, token: &first };
    fresh.store.insert_managed_client(managed, "A", 1000, fresh.now()).await.unwrap();
    let after = Client {
        name: None,
        redirect_uris: vec!["https://b.example/".to_owned()],
        authentication: Authentication::Keys(key_set()),
        refresh_token: false,
        scope: ScopeSet::empty(),
        application_type: None,
        ..before.clone()
    };
    let new = ManagedClient { client: &after, token: &second };
    assert!(!fresh.store.update_client(&some_hash(), new).await.unwrap());
    let of_another = Client { id: "c_2".into(), ..after.clone() };
    let stolen = ManagedClient { client: &of_another, token: &second };
    assert!(!fresh.store.update_client(&first, stolen).await.unwrap());
    assert_eq!(fresh.store.client(&before.id).await.unwrap(), Some(before));
    assert!(fresh.store.update_client(&first, new).await.unwrap());
    assert!(!fresh.store.update_client(&first, new).await.unwrap(), "the token was replaced");
    assert_eq!(fresh.store.managed_client(&second).await.unwrap(), Some(after));
    assert_eq!(fresh.store.managed_client(&first).await.unwrap(), None);
}

async fn a_disabled_client_stays_known_and_disabled_whatever_happens_to_its_row(fresh: Fresh) {
    let client = fresh.register("c_1", "A").await;
    let known = |disabled| Some(StoredClient { client: client.clone(), disabled });
    assert_eq!(fresh.store.known_by_id(&client.id).await.unwrap(), known(false));
    assert!(fresh.store.disable_client(&client.id, fresh.now()).await.unwrap());
    assert!(!fresh.store.disable_client(&client.id, fresh.now()).await.unwrap(), "a second time");
    assert_eq!(fresh.store.known_by_id(&client.id).await.unwrap(), known(true));
    assert!(fresh.store.list_clients(None, fresh.now(), 10).await.unwrap()[0].disabled);
    assert_eq!(fresh.store.delete_client(&client.id).await.unwrap(), Some(0));
    assert!(fresh.store.is_client_disabled(&client.id).await.unwrap());
    fresh.register("c_1", "A").await;
    assert_eq!(fresh.store.known_by_id(&client.id).await.unwrap(), known(true), "it registered again");
    assert!(fresh.store.enable_client(&client.id).await.unwrap());
    assert!(!fresh.store.enable_client(&client.id).await.unwrap());
    assert_eq!(fresh.store.known_by_id(&client.id).await.unwrap(), known(false));
    assert!(!fresh.store.is_client_disabled(&"chat".into()).await.unwrap());
}

async fn a_disabled_client_redeems_no_code_and_its_grants_are_found(fresh: Fresh) {
    let (its, others) = (fresh.signed_in("chat").await, fresh.signed_in("other").await);
    let (_, code) = fresh.code("chat").await;
    fresh.store.disable_client(&"chat".into(), fresh.now()).await.unwrap();
    let grant = super::grant("chat", fresh.now());
    assert_eq!(fresh.store.redeem_code(&redemption(&code, &grant, None, fresh.now())).await.unwrap(), None);
    let reason = portcullis::model::grant::EndReason::Operator;
    let ended = fresh.store.end_grants_of(GrantsOf::DisabledClients, reason, fresh.now(), 10).await.unwrap();
    let ids: Vec<_> = ended.into_iter().map(|ended| ended.grant.id).collect();
    assert_eq!(ids, [its.grant.id]);
    assert!(fresh.store.grant(&others.grant.id).await.unwrap().unwrap().ended_at.is_none());
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
