//! How long a document counts, and what happens when it changes or its host is down.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::{PATH, authorize, document, kept, published, refused};
use crate::support::browser::{Browser, location, parameter};
use crate::support::documents::{DocumentHost, Reply};
use crate::support::gate::{REDIRECT_URI, TestClient, TestGate, as_alice, tokens};
use crate::support::log::watch;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn many_authorizations_at_once_fetch_a_document_once() {
    let (host, client, gate) = published().await;
    let release = host.hold();
    let requests = join_all((0..64).map(|_| authorize(&gate, &client)));
    let (answers, ()) = tokio::join!(requests, async {
        while host.calls(PATH) == 0 {
            tokio::task::yield_now().await;
        }
        drop(release);
    });
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(host.calls(PATH), 1);
    // failures are shared as well
    host.answer("/dead.json", Reply::status(500));
    let dead = TestClient { id: host.url("/dead.json"), ..client };
    for answer in join_all((0..64).map(|_| authorize(&gate, &dead))).await {
        refused(&answer);
    }
    assert_eq!(host.calls("/dead.json"), 1);
}

#[tokio::test]
async fn a_document_is_fetched_again_when_its_host_says_so_within_bounds() {
    for (header, fresh) in [
        (None, 5 * MINUTE),
        (Some(("cache-control", "no-store")), 5 * MINUTE),
        (Some(("cache-control", "max-age=3600")), HOUR),
        (Some(("cache-control", "max-age=31536000")), DAY),
    ] {
        let (host, client, gate) = published().await;
        if let Some((name, value)) = header {
            host.answer(PATH, host.reply(PATH).with(name, value));
        }
        authorize(&gate, &client).await;
        gate.clock.advance(fresh.saturating_sub(SECOND));
        authorize(&gate, &client).await;
        assert_eq!(host.calls(PATH), 1, "{header:?}");
        gate.clock.advance(SECOND);
        authorize(&gate, &client).await;
        authorize(&gate, &client).await;
        assert_eq!(host.calls(PATH), 2, "{header:?}");
    }
}

#[tokio::test]
async fn the_last_good_document_serves_for_a_week_while_its_host_is_down() {
    let (host, client, gate) = published().await;
    let given = gate.tokens(&client).await;
    host.stop().await;
    // in another process, which never fetched it
    let gate = gate.restart().await;
    gate.clock.advance(DAY);
    let (lines, guard) = watch();
    assert_eq!(authorize(&gate, &client).await.status, 200);
    drop(guard);
    assert!(lines.text().contains("the last good metadata document of a client serves"), "{}", lines.text());
    let refreshed = tokens(&gate.refresh(&client, &given.refresh).await);
    gate.tokens(&client).await;
    gate.clock.advance((6 * DAY).saturating_sub(SECOND));
    let refreshed = tokens(&gate.refresh(&client, &refreshed.refresh).await);
    gate.clock.advance(SECOND);
    refused(&authorize(&gate, &client).await);
    let answer = gate.refresh(&client, &refreshed.refresh).await;
    assert_eq!((answer.status, answer.error().as_str()), (503, "temporarily_unavailable"), "nothing is lost");
    host.restart().await;
    gate.clock.advance(MINUTE);
    tokens(&gate.refresh(&client, &refreshed.refresh).await);
}

#[tokio::test]
async fn what_is_no_answer_of_the_publisher_leaves_the_last_good_document() {
    let (host, client, gate) = published().await;
    gate.tokens(&client).await;
    for reply in [
        Reply::status(500),
        Reply::status(429),
        Reply::status(403),
        Reply::status(302).with("location", "https://login.example/"),
        Reply::of("text/html", "<html>Are you human?</html>"),
        Reply::of("application/json", vec![b' '; 6000]),
    ] {
        gate.clock.advance(HOUR);
        host.answer(PATH, reply.clone());
        assert_eq!(authorize(&gate, &client).await.status, 200, "{reply:?}");
    }
    assert_eq!((host.calls(PATH), kept(&gate).await), (7, 1));
}

#[tokio::test]
async fn a_refresh_does_not_wait_for_the_host_of_a_document_and_asks_it_in_the_background() {
    let (host, client, gate) = published().await;
    let given = gate.tokens(&client).await;
    gate.clock.advance(HOUR);
    let release = host.hold();
    let refreshed = tokens(&gate.refresh(&client, &given.refresh).await);
    drop(release);
    gate.settle().await;
    assert_eq!(host.calls(PATH), 2);
    tokens(&gate.refresh(&client, &refreshed.refresh).await);
    gate.settle().await;
    assert_eq!(host.calls(PATH), 2, "it is fresh again");
    let twin = gate.twin().await;
    twin.get(&twin.authorize_path(&client, &[])).await;
    assert_eq!(host.calls(PATH), 2, "for every process");
}

/// Approves and returns the browser and the page that asks for the password.
async fn half_way(gate: &TestGate, client: &TestClient) -> (Browser, crate::support::gate::Answer) {
    let mut browser = Browser::default();
    let form = gate.consent_form(&mut browser, client, &[]).await;
    let approved = browser.submit(gate, &form.with("decision", "approve").with("identity", "local")).await;
    let page = browser.get(gate, &location(&approved)).await;
    (browser, page)
}

#[tokio::test]
async fn a_redirect_uri_that_left_the_document_gets_no_answer_of_a_sign_in_under_way_and_its_code_no_token() {
    let (host, client, gate) = published().await;
    let mut asked = Browser::default();
    let form = gate.consent_form(&mut asked, &client, &[]).await;
    let (mut approved, page) = half_way(&gate, &client).await;
    let code = gate.code(&client).await;

    host.publish(PATH, json!({"client_name": "Document client", "redirect_uris": ["http://127.0.0.1/moved"]}));
    gate.clock.advance(5 * MINUTE);
    let lapsed = gate.redeem(&client, &code).await;
    assert_eq!(lapsed.error(), "invalid_grant", "it has expired by now");
    let moved = TestClient { redirect_uri: "http://127.0.0.1:1/moved".to_owned(), ..client.clone() };
    assert_eq!(authorize(&gate, &moved).await.status, 200);
    for answer in [
        asked.submit(&gate, &form.with("decision", "approve").with("identity", "local")).await,
        approved.submit(&gate, &as_alice(&page)).await,
        authorize(&gate, &client).await,
    ] {
        assert_eq!((answer.status, answer.header("location")), (400, ""), "{answer:?}");
        assert!(answer.body.contains("redirect_uri is not registered for this client"), "{answer:?}");
    }
}

#[tokio::test]
async fn an_unredeemed_code_is_checked_against_the_document_of_today() {
    let (host, client, gate) = published().await;
    authorize(&gate, &client).await;
    gate.clock.advance(4 * MINUTE + 30 * SECOND);
    let code = gate.code(&client).await;
    host.publish(PATH, json!({"client_name": "Document client", "redirect_uris": ["http://127.0.0.1/moved"]}));
    gate.clock.advance(Duration::from_secs(40));
    let moved = TestClient { redirect_uri: "http://127.0.0.1:1/moved".to_owned(), ..client.clone() };
    assert_eq!(authorize(&gate, &moved).await.status, 200);
    let refused = gate.redeem(&client, &code).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"), "{refused:?}");
    assert!(refused.body.contains("does not have the redirect URI any more"), "{refused:?}");
}

#[tokio::test]
async fn the_grants_of_clients_with_documents_survive_a_restart_and_end_when_their_host_is_removed() {
    let (host, client, gate) = published().await;
    let given = gate.tokens(&client).await;
    let gate = gate.restart().await;
    let refreshed = tokens(&gate.refresh(&client, &given.refresh).await);
    let gate = gate.restart_with(|config| config.client_documents.hosts = Some(vec!["127.0.0.1".to_owned()])).await;
    let refreshed = tokens(&gate.refresh(&client, &refreshed.refresh).await);
    let gate =
        gate.restart_with(|config| config.client_documents.hosts = Some(vec!["client.example".to_owned()])).await;
    assert_eq!(gate.call(&refreshed.access).await.status, 401);
    let gate = gate.restart_with(|config| config.client_documents.hosts = None).await;
    assert_eq!(gate.refresh(&client, &refreshed.refresh).await.error(), "invalid_grant");
    assert_eq!(host.calls(PATH), 1);
}

#[tokio::test]
async fn two_processes_on_one_store_fetch_a_document_for_themselves_until_it_is_kept() {
    let host = DocumentHost::start().await;
    let client = host.publish(PATH, document());
    let (gate, twin) = {
        let gate = host.gate().await;
        let twin = gate.twin().await;
        (gate, twin)
    };
    let url = gate.sign_in(&mut Browser::default(), &client, &[]).await;
    let redeemed = twin.redeem(&client, &parameter(&url, "code").unwrap()).await;
    let given = tokens(&redeemed);
    tokens(&twin.refresh(&client, &given.refresh).await);
    assert_eq!(host.calls(PATH), 1);
    assert_eq!(client.redirect_uri, REDIRECT_URI);
    gate.clock.advance(5 * MINUTE);
    authorize(&twin, &client).await;
    assert_eq!(host.calls(PATH), 2);
    let third = gate.twin().await;
    authorize(&third, &client).await;
    assert_eq!(host.calls(PATH), 2, "what one renewed is kept for all");
}
