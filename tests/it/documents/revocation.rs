//! A publisher takes a document back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::app::Outside;
use portcullis::audit::{Actor, Audit, Event, Sink};
use serde_json::json;

use super::{PATH, authorize, document, kept, published, refused, within};
use crate::engines::also_on_postgres;
use crate::support::documents::Reply;
use crate::support::gate::{TestGate, WORKS, tokens};

also_on_postgres! {
    a_document_that_is_gone_ends_authorizations_and_refreshes_of_its_client,
    a_code_of_a_client_that_another_process_saw_go_is_not_redeemed,
    a_document_that_another_process_forgot_is_kept_again_at_the_next_sign_in,
    a_document_that_is_gone_does_not_come_back_from_the_memory_of_another_process,
}

/// A sink that keeps what happens to documents.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

impl Sink for Kept {
    fn record(&self, event: &Event<'_>, _origin: &Actor<'_>) {
        let event = format!("{event:?}");
        if event.starts_with("Document") {
            self.0.lock().unwrap().push(event.split(' ').next().unwrap().to_owned());
        }
    }
}

async fn audited(gate: &mut TestGate) -> Kept {
    let kept = Kept::default();
    within(gate, Outside { audit: Audit::new(kept.clone()), ..Outside::default() }).await;
    kept
}

#[tokio::test]
async fn a_document_that_is_gone_ends_authorizations_and_refreshes_of_its_client() {
    for gone in [Reply::status(404), Reply::status(410), Reply::json(&json!({"client_id": "https://other.example/a"}))]
    {
        let (host, client, mut gate) = published().await;
        let events = audited(&mut gate).await;
        let given = gate.tokens(&client).await;
        assert_eq!(kept(&gate).await, 1);
        host.answer(PATH, gone.clone());
        gate.clock.advance(Duration::from_mins(5));
        refused(&authorize(&gate, &client).await);
        assert_eq!(kept(&gate).await, 0, "{gone:?}");
        let answer = gate.refresh(&client, &given.refresh).await;
        assert_eq!((answer.status, answer.error().as_str()), (401, "invalid_client"), "{gone:?}");
        assert_eq!(gate.call(&given.access).await.status, WORKS, "an access token lives to its end");
        // the same in a process that knew nothing of it
        let twin = gate.twin().await;
        assert_eq!(twin.refresh(&client, &given.refresh).await.error(), "invalid_client");

        host.publish(PATH, document());
        gate.clock.advance(Duration::from_secs(10));
        tokens(&gate.refresh(&client, &given.refresh).await);
        assert_eq!(*events.0.lock().unwrap(), ["DocumentKept", "DocumentRevoked"]);
    }
}

#[tokio::test]
async fn a_refresh_learns_in_the_background_that_the_document_is_gone() {
    let (host, client, gate) = published().await;
    let given = gate.tokens(&client).await;
    host.answer(PATH, Reply::status(404));
    gate.clock.advance(Duration::from_hours(1));
    let refreshed = tokens(&gate.refresh(&client, &given.refresh).await);
    gate.settle().await;
    let answer = gate.refresh(&client, &refreshed.refresh).await;
    assert_eq!((answer.status, answer.error().as_str()), (401, "invalid_client"));
}

#[tokio::test]
async fn a_code_of_a_client_that_another_process_saw_go_is_not_redeemed() {
    let (host, client, gate) = published().await;
    authorize(&gate, &client).await;
    gate.clock.advance(Duration::from_secs(280));
    let code = gate.code(&client).await;
    host.answer(PATH, Reply::status(410));
    // it starts with the kept document, and finds it stale first
    let twin = gate.twin().await;
    gate.clock.advance(Duration::from_secs(20));
    refused(&authorize(&twin, &client).await);
    // here it is asked for in the background only
    let refused = gate.redeem(&client, &code).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"), "{refused:?}");
}

#[tokio::test]
async fn a_change_of_the_document_is_audited_once() {
    let (host, client, mut gate) = published().await;
    let events = audited(&mut gate).await;
    gate.tokens(&client).await;
    gate.tokens(&client).await;
    assert_eq!(*events.0.lock().unwrap(), ["DocumentKept"]);
    gate.clock.advance(Duration::from_mins(5));
    gate.tokens(&client).await;
    assert_eq!(*events.0.lock().unwrap(), ["DocumentKept"]);
    assert_eq!(host.calls(PATH), 2);
}

#[tokio::test]
async fn a_document_that_another_process_forgot_is_kept_again_at_the_next_sign_in() {
    let (host, client, gate) = published().await;
    gate.tokens(&client).await;
    // a moment of trouble at the host, as the other process saw it, or an eviction there
    assert!(gate.app.store().forget_client_document(&client.id.as_str().into()).await.unwrap());
    let given = gate.tokens(&client).await;
    assert_eq!((gate.call(&given.access).await.status, kept(&gate).await, host.calls(PATH)), (WORKS, 1, 2));
    gate.tokens(&client).await;
    assert_eq!(host.calls(PATH), 2);
}

#[tokio::test]
async fn a_document_that_is_gone_does_not_come_back_from_the_memory_of_another_process() {
    let (host, client, gate) = published().await;
    gate.tokens(&client).await;
    host.answer(PATH, Reply::status(410));
    assert!(gate.app.store().forget_client_document(&client.id.as_str().into()).await.unwrap());
    let code = gate.code(&client).await;
    assert_eq!(gate.redeem(&client, &code).await.error(), "invalid_client");
    assert_eq!(kept(&gate).await, 0);
    refused(&authorize(&gate, &client).await);
}
