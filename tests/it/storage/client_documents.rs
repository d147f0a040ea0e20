//! The documents of clients: which are kept, which go, and that a code needs one.

use portcullis::model::client_document::KeptDocument;
use portcullis::model::ids::ClientId;
use portcullis::storage::{GrantFilter, Redemption};

use super::expiry::retention;
use super::{DAY, Fresh, HOUR, MINUTE, at_once, contract, grant, redemption};
use crate::support::database::{by_hand, number};

contract! {
    a_document_is_kept_as_it_came_and_its_news_are_told,
    a_document_that_was_fetched_earlier_replaces_none_that_was_fetched_later,
    only_a_kept_document_is_renewed,
    a_forgotten_document_is_gone_once,
    a_code_of_a_client_with_a_document_is_redeemed_only_while_the_document_is_kept,
    a_document_is_deleted_a_week_after_it_was_fetched,
    the_oldest_document_that_nothing_needs_makes_room,
    documents_kept_at_once_leave_no_more_than_may_be,
    a_grant_is_listed_with_the_name_in_its_clients_document,
}

const ID: &str = "https://client.example/client.json";

fn id() -> ClientId {
    ClientId::from(ID)
}

fn document(fresh: &Fresh, text: &str) -> KeptDocument {
    KeptDocument { text: text.to_owned(), fetched_at: fresh.now(), fresh_until: fresh.now() + HOUR }
}

async fn keep(fresh: &Fresh, id: &str, document: &KeptDocument) -> bool {
    fresh.store.keep_client_document(&ClientId::from(id), Some("Ada’s client"), document, fresh.now()).await.unwrap()
}

async fn a_document_is_kept_as_it_came_and_its_news_are_told(fresh: Fresh) {
    let first = document(&fresh, "{\"client_name\": \"Ada’s \\u0000 \\\"client\\\"\"}\n\u{0}");
    assert_eq!(fresh.store.client_document(&id()).await.unwrap(), None);
    assert!(keep(&fresh, ID, &first).await);
    assert_eq!(fresh.store.client_document(&id()).await.unwrap(), Some(first.clone()));
    fresh.clock.advance(HOUR);
    let same = KeptDocument { fetched_at: fresh.now(), ..first };
    assert!(!keep(&fresh, ID, &same).await, "its text is the same");
    assert_eq!(fresh.store.client_document(&id()).await.unwrap(), Some(same));
    assert!(keep(&fresh, ID, &document(&fresh, "{}")).await);
}

async fn a_document_that_was_fetched_earlier_replaces_none_that_was_fetched_later(fresh: Fresh) {
    let early = document(&fresh, "early");
    fresh.clock.advance(MINUTE);
    let late = document(&fresh, "late");
    keep(&fresh, ID, &late).await;
    keep(&fresh, ID, &early).await;
    assert!(!fresh.store.renew_client_document(&id(), None, &early).await.unwrap());
    assert_eq!(fresh.store.client_document(&id()).await.unwrap(), Some(late));
}

async fn only_a_kept_document_is_renewed(fresh: Fresh) {
    let first = document(&fresh, "first");
    assert!(!fresh.store.renew_client_document(&id(), None, &first).await.unwrap());
    assert_eq!(fresh.store.client_document(&id()).await.unwrap(), None);
    keep(&fresh, ID, &first).await;
    fresh.clock.advance(HOUR);
    let second = document(&fresh, "second");
    assert!(fresh.store.renew_client_document(&id(), None, &second).await.unwrap());
    assert_eq!(fresh.store.client_document(&id()).await.unwrap(), Some(second));
}

async fn a_forgotten_document_is_gone_once(fresh: Fresh) {
    keep(&fresh, ID, &document(&fresh, "{}")).await;
    let forgotten = at_once(8, |_| {
        let store = fresh.store.clone();
        async move { store.forget_client_document(&id()).await.unwrap() }
    })
    .await;
    assert_eq!(forgotten.iter().filter(|forgotten| **forgotten).count(), 1);
    assert_eq!(fresh.store.client_document(&id()).await.unwrap(), None);
}

async fn a_code_of_a_client_with_a_document_is_redeemed_only_while_the_document_is_kept(fresh: Fresh) {
    let now = fresh.now();
    for is_kept in [true, false] {
        keep(&fresh, ID, &document(&fresh, "{}")).await;
        let (_, code) = fresh.code(ID).await;
        if !is_kept {
            fresh.store.forget_client_document(&id()).await.unwrap();
        }
        let grant = grant(ID, now);
        let redemption = Redemption { client_is_configured: false, ..redemption(&code, &grant, None, now) };
        assert_eq!(fresh.store.redeem_code(&redemption).await.unwrap().is_some(), is_kept);
    }
}

async fn a_document_is_deleted_a_week_after_it_was_fetched(fresh: Fresh) {
    keep(&fresh, ID, &document(&fresh, "{}")).await;
    fresh.signed_in(ID).await;
    fresh.clock.advance(6 * DAY + 23 * HOUR + 59 * MINUTE);
    fresh.store.delete_expired(&retention(), fresh.now(), 100).await.unwrap();
    assert!(fresh.store.client_document(&id()).await.unwrap().is_some());
    fresh.clock.advance(MINUTE);
    fresh.store.delete_expired(&retention(), fresh.now(), 100).await.unwrap();
    assert!(fresh.store.client_document(&id()).await.unwrap().is_none(), "it would not count any more");
}

/// As many documents as are kept, each fetched at a time of its own before any other.
const FULL: &str = "
    WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 10000)
    INSERT INTO client_documents (id, document, fetched_at, fresh_until) SELECT 'https://a.example/' || n, '{}', n, n FROM number";

async fn count(fresh: &Fresh) -> i64 {
    number(&fresh.settings, "SELECT count(*) FROM client_documents").await
}

async fn the_oldest_document_that_nothing_needs_makes_room(fresh: Fresh) {
    by_hand(&fresh.settings, FULL).await;
    // the first has a grant, the second a sign-in under way
    fresh.signed_in("https://a.example/1").await;
    fresh.pending("https://a.example/2").await;
    let there = async |id: &str| fresh.store.client_document(&ClientId::from(id)).await.unwrap().is_some();
    keep(&fresh, ID, &document(&fresh, "{}")).await;
    assert_eq!(count(&fresh).await, 10_000);
    assert!(!there("https://a.example/3").await);
    for stays in [ID, "https://a.example/1", "https://a.example/2", "https://a.example/4"] {
        assert!(there(stays).await, "{stays}");
    }
    keep(&fresh, ID, &document(&fresh, "changed")).await;
    assert_eq!(count(&fresh).await, 10_000, "one that is known takes no room");
}

async fn documents_kept_at_once_leave_no_more_than_may_be(fresh: Fresh) {
    by_hand(&fresh.settings, FULL).await;
    let now = fresh.now();
    at_once(64, |n| {
        let (store, document) = (fresh.store.clone(), document(&fresh, "{}"));
        let id = ClientId::from(format!("https://b.example/{n}"));
        async move { store.keep_client_document(&id, None, &document, now).await.unwrap() }
    })
    .await;
    assert_eq!(count(&fresh).await, 10_000);
}

async fn a_grant_is_listed_with_the_name_in_its_clients_document(fresh: Fresh) {
    keep(&fresh, ID, &document(&fresh, "{}")).await;
    fresh.signed_in(ID).await;
    let grants = fresh.store.list_grants(&GrantFilter::default(), None, fresh.now(), 10).await.unwrap();
    assert_eq!(grants[0].client_name.as_deref(), Some("Ada’s client"));
}
